import json

import measures_page
import pytest


@pytest.mark.parametrize("name", measures_page.HEADS)
def test_the_page_is_that_of_the_results(name):
    results = json.loads((measures_page.FOLDER / f"{name}.json").read_text())
    text = (measures_page.FOLDER / f"{name}.md").read_text()
    assert text == measures_page.page(measures_page.HEADS[name], results)


def test_a_line_by_hand():
    result = {
        "row": "a",
        "measure": "accuracy",
        "value": 99.318,
        "unit": "%",
        "target": ">= 99.3",
        "met": True,
        "paper": 99.25,
        "note": None,
        "seed": 0,
        "seconds": 3.4,
        "machine": "c",
    }
    lines = measures_page.page("# Head\n", [result]).splitlines()
    assert "| accuracy | 99.32 % | >= 99.3: met | 99.25 |  |" in lines
    assert lines[-1] == "- seed 0, 3 s, c"
