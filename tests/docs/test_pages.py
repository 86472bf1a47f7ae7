"""What the pages show runs, and prints what they say."""

import doctest
import re

import pytest

from tests.docs.pages import DOCS, blocks, pages, run

_LOOSE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_MOST_NOT_RUN = 3
# Compiling a step takes longer than the few steps of their trainings.
_STEP_BY_STEP = {
    "binary.md",
    "channels.md",
    "distillation.md",
    "dynamic.md",
    "factorization.md",
    "migrate_from_larq.md",
    "migrate_from_tfmot.md",
    "pruning.md",
}


def runnable(name):
    return any(block.reason is None for block in blocks(name))


@pytest.mark.parametrize("name", [name for name in pages() if runnable(name)])
def test_code_runs_and_prints_what_the_page_shows(name, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name in _STEP_BY_STEP:
        request.getfixturevalue("uncompiled")
    for block, printed in run(name):
        if block.output is not None:
            same = doctest.OutputChecker().check_output(block.output, printed, _LOOSE)
            assert same, f"{name}:{block.line} prints\n{printed}"


@pytest.mark.parametrize("name", pages())
def test_every_block_of_python_is_found(name):
    text = (DOCS / name).read_text()
    assert len(re.findall(r"^ *```(?:python|py)\b", text, re.MULTILINE)) == len(
        blocks(name)
    )


def test_few_blocks_are_not_run():
    reasons = [block.reason for name in pages() for block in blocks(name)]
    assert sum(map(bool, reasons)) <= _MOST_NOT_RUN
