import json

import pruning_page


def test_the_page_is_that_of_the_results():
    results = json.loads(pruning_page.RESULTS.read_text())
    assert pruning_page.PAGE.read_text() == pruning_page.page(results)


def test_methods_of_several_seeds_are_one_line():
    run = {
        "row": "a",
        "method": "m",
        "kept_percent": 5.0,
        "file_bytes": 1000,
        "left": "1-2",
        "seconds": 3.0,
        "paper": 1.6,
        "target": "error <= 2 %",
        "met": True,
        "note": "n",
        "machine": "c",
    }
    runs = [
        {**run, "error_percent": error, "seed": seed}
        for seed, error in enumerate((1.5, 2.5))
    ]
    runs[1]["met"] = False
    lines = pruning_page.page(runs).splitlines()
    assert (
        "| m | 5.00 | 2.00 (1.50-2.50) | 1.6 | error <= 2 %: missed | 1,000 |  | 3 |"
        in lines
    )
    assert lines[-4:] == ["", "- n", "- seeds 0, 1", "- c"]
