"""The README's example runs as it is pasted, and prints what it shows."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]


def numbers(text):
    """All numbers of a text."""
    return [float(one.replace(",", "")) for one in re.findall(r"\d[\d,]*\.?\d*", text)]


def test_the_example_prints_what_it_shows(tmp_path, monkeypatch, capsys):
    text = (ROOT / "README.md").read_text()
    example, shown = re.search(
        r"```python\n(.*?)```\n\n```\n(.*?)```", text, re.S
    ).groups()
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.sub(r"[\d,.]+", "", printed) == re.sub(r"[\d,.]+", "", shown)
    for (size, right), (size_shown, right_shown) in zip(
        map(numbers, printed.splitlines()),
        map(numbers, shown.splitlines()),
        strict=True,
    ):
        assert size == pytest.approx(size_shown, rel=0.03)
        assert right == pytest.approx(right_shown, abs=1.0)


def test_it_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= 7000
