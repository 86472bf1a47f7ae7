"""How programs of the comparison with other tools are counted, run and printed."""

import json

import numpy as np
import peer_task
import peers_page
import pytest


def _result(measure, value, note=None):
    made = {"seed": 0, "seconds": 1.0, "date": "2026-01-02", "commit": "abc"}
    made |= {"machine": "one", "versions": {"keras": "3"}}
    return {"row": "r", "measure": measure, "value": value, "note": note} | made


def test_best_of_each_column_is_bold_without_the_reference():
    page = peers_page.page(
        [
            _result("float32 file: accuracy", 99.0, "trained before"),
            _result("float32 file: file", 1000),
            _result("a 1, plain: accuracy", 98.0),
            _result("a 1, plain: file", 300),
            _result("b 2, PCQAT: some: accuracy", 97.0),
            _result("b 2, PCQAT: some: file", 200),
            _result("c 3, other: left out", None, "ValueError: no"),
        ]
    )
    assert "| float32 file | 99.00 | 1,000 |" in page
    assert "| a 1, plain | **98.00** | 300 |" in page
    assert "| b 2, PCQAT: some | 97.00 | **200** |" in page
    assert "- left out: c 3, other: ValueError: no" in page
    assert "- float32 file: trained before" in page


def _write(path):
    # Says what it was.
    with open(path, "w") as file:
        file.write("written")


def _program(task, path):
    """Writes.

    And counts both.
    """
    print(task.float_file)

    _write(path)


def test_lines_of_called_functions_count_once_without_comments():
    assert peer_task.source_lines(_program) == [
        "print(task.float_file)",
        "_write(path)",
        'with open(path, "w") as file:',
        'file.write("written")',
    ]


@pytest.fixture
def settings(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (300, 28, 28, 1), dtype="uint8")
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(300) % 10)
    return {
        "network": "lenet_5",
        "data": str(tmp_path / "data.npz"),
        "scale": 1 / 255,
        "learning_rate": 1e-3,
        "num_samples": 4,
        "seed": 3,
        "is_quick": False,
        "float_file": "the file",
    }


def test_a_program_is_answered_with_its_title(settings, tmp_path, capsys):
    path = tmp_path / "written"
    answer = peer_task.answer(_program, None, settings, path)
    assert path.read_text() == "written"
    assert (answer["title"], answer["lines"], answer["step"]) == ("Writes", 4, None)
    assert tuple(capsys.readouterr()) == ("", "the file\n")


def test_what_a_tool_cannot_do_is_an_answer(settings):
    def fails(task, path):
        """Fails."""
        raise ValueError("not here\nmore")

    answer = peer_task.answer(fails, None, settings, "")
    assert answer == {"title": "Fails", "error": "ValueError: not here"}
    with pytest.raises(ValueError, match="not here"):
        peer_task.answer(fails, None, {**settings, "is_quick": True}, "")


def test_batches_depend_on_the_seed_only(settings):
    task = peer_task.Task(None, settings)
    assert task.steps(3) == 6
    first, again = ([y.numpy() for _, y in task.batches(5)] for _ in range(2))
    assert len(first) == 5
    assert {len(labels) for labels in first} == {peer_task.BATCH_SIZE}
    np.testing.assert_array_equal(first, again)
    other = peer_task.Task(None, {**settings, "seed": 4}).batches(5)
    assert any(np.any(a != b) for a, (_, b) in zip(first, other, strict=True))
    np.testing.assert_allclose(task.samples, task.images[:4] / 255, rtol=1e-6)


def test_the_answer_of_a_process_is_json(settings, tmp_path, capsys, monkeypatch):
    task = json.dumps([settings, {"program": str(tmp_path / "file")}])
    monkeypatch.setattr("sys.argv", ["script", task])
    peer_task.main({"program": _program}, None, "tool 1")
    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["tool"], answer["title"], answer["lines"]) == ("tool 1", "Writes", 4)
