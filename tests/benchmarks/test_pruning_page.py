import pruning_page


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
        "date": "2026-01-02",
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
    assert lines[-4:] == ["", "- n", "- seeds 0, 1", "- 2026-01-02, c"]
