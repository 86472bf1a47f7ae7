"""Notebooks as they are committed: with outputs, without what differs by machine."""

import pathlib
import runpy

import nbclient
import nbformat
import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
EXECUTE = runpy.run_path(str(FOLDER / "execute.py"))
complaints, executed = EXECUTE["complaints"], EXECUTE["executed"]
v4 = nbformat.v4


def printed(text, stream="stdout"):
    cell = v4.new_code_cell("print()", outputs=[v4.new_output("stream", text=text)])
    cell.outputs[0].name = stream
    return v4.new_notebook(cells=[cell])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.stem)
def test_committed(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert complaints(notebook) == []
    assert notebook.metadata == EXECUTE["METADATA"]
    assert notebook.cells[0].source.startswith("# ")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
    assert not any(cell.metadata for cell in notebook.cells)
    assert any("image/png" in o.get("data", {}) for c in code for o in c.outputs)


def test_all_are_listed():
    text = (FOLDER / "README.md").read_text("utf-8")
    names = sorted(path.name for path in FOLDER.glob("*.ipynb"))
    assert len(names) == 10
    assert [name for name in names if f"({name})" not in text] == []


@pytest.mark.parametrize(
    ("notebook", "complaint"),
    [
        (printed("a warning", "stderr"), "cell 0 prints to standard error: a warning"),
        (printed("1\nWARNING:tensorflow:slow"), "cell 0 logs: WARNING:tensorflow:slow"),
        (printed("written to /tmp/x.tflite"), "the absolute path '/tmp/x.tflite'"),
        (printed(""), "no outputs"),
        (printed("long " * 60_001), "at most 300,000"),
    ],
)
def test_complaints(notebook, complaint):
    if not notebook.cells[0].outputs[0].text:
        notebook.cells[0].outputs = []
    (found,) = complaints(notebook)
    assert complaint in found


def test_ratios_and_addresses_are_no_paths():
    text = "1/2 of https://example.org/tmp/x and build/tmp/x"
    assert complaints(printed(text)) == []


def test_executed_again_with_nothing_that_changes():
    cells = [v4.new_code_cell("print(6 * 7)", metadata={"collapsed": True})]
    notebook = v4.new_notebook(cells=cells, metadata={"orig_nbformat": 4})
    first, again = executed(notebook), executed(notebook)
    assert first == again and first.metadata == EXECUTE["METADATA"]
    assert first.cells[0].outputs[0].text == "42\n"
    assert notebook.cells[0].outputs == []


def test_errors_are_not_passed_over():
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivision"):
        executed(v4.new_notebook(cells=[v4.new_code_cell("1 / 0")]))
