"""What the site is made of."""

import docstrings
import public_names
import pytest
import reference


def test_every_public_name_has_an_entry():
    text = "".join(text for _, text in reference.pages().values())
    lost = [name for name in public_names.public() if f"#tfc.{name} " not in text]
    assert not lost


def test_every_public_name_has_a_docstring():
    assert not public_names.undocumented()


def test_an_object_is_described_once():
    assert public_names.home("post_training.Ladder") == "search.Ladder"
    assert public_names.home("runtime.Interpreter") == "Interpreter"
    text = reference.pages()["reference/runtime.md"][1]
    assert "The same as [`tfc.Interpreter`][tfc.Interpreter]." in text
    assert text.count("\n::: tfcompress.runtime") == 4


def test_examples_become_blocks():
    text = "Adds.\n\nExample:\n    >>> 1 + 1\n    2\n\n    More."
    assert docstrings.as_blocks(text) == (
        "Adds.\n\nExamples:\n    ```pycon\n    >>> 1 + 1\n    2\n    ```\n\n    More."
    )


@pytest.mark.parametrize(
    ("text", "linked"),
    [
        ("`tfc.prune`", "[`tfc.prune`][tfc.prune]"),
        ("`tfc.prune(model, 0.5)`", "[`tfc.prune(model, 0.5)`][tfc.prune]"),
        ("`tfc.criteria`", "[`tfc.criteria`][tfc.criteria]"),
        ("`tfc.BConv2D`", "`tfc.BConv2D`"),
    ],
)
def test_names_become_links(text, linked):
    assert public_names.linked(text) == linked


def test_names_that_are_gone_are_found():
    text = "`tfc.prune` `tfc.prun(model)` `tfc.BDense`"
    assert public_names.unknown(text) == ["`tfc.prun(model)`"]
