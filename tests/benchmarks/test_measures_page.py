import measures_page


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
        "commit": "d",
        "date": "2026-01-02",
        "versions": {"keras": "3"},
    }
    lines = measures_page.page("# Head\n", [result]).splitlines()
    assert "| accuracy | 99.32 % | >= 99.3: met | 99.25 |  |" in lines
    assert lines[-1] == "- seed 0, 3 s, 2026-01-02 at commit d, c, keras 3"
