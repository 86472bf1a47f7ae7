"""Printed figures are those of the results."""

import results


def test_nothing_has_drifted():
    assert results.check() == []


def test_a_figure_that_is_in_no_result_is_found():
    text = "Half of it, 12 %, 3x; 91.7 % and 1,234 bytes; ```9.99 %``` and 8.88 %."
    assert results.unsourced(text, [91.74, 1234]) == ["8.88 %"]


def test_blocks_are_filled_from_templates(monkeypatch, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "table.md").write_text("| {{f / r / size: ,}} bytes |\n")
    (tmp_path / "f.json").write_text('[{"row": "r", "measure": "size", "value": 1234}]')
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    results.results.cache_clear()
    text = "a\n<!-- figures: table -->\nold\n<!-- end of figures -->\nb"
    assert results.with_figures(text).splitlines()[2] == "| 1,234 bytes |"
    results.results.cache_clear()


def test_comments_and_docstrings_are_no_change():
    old = "a.py", 'def f():\n    """Old."""\n    return 1  # one\n'
    new = "a.py", 'def f():\n    """New."""\n    return 1\n'
    assert results._code(old) == results._code(new)
    assert results._code(old) != results._code(("a.py", "def f():\n    return 2\n"))
