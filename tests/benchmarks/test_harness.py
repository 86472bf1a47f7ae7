import argparse
import json
import sys

import harness
import keras
import numpy as np
import pytest


@pytest.fixture
def rows():
    def first(options):
        limit = 1.0 + options.seed
        return [harness.Measure("time", 1.5, "ms", at_most=limit, peer={"other": 2.0})]

    return {"first": first, "second": lambda options: [harness.Measure("count", 3)]}


def run(capsys, rows, *arguments):
    harness.main("Title", rows, arguments=arguments)
    return capsys.readouterr().out


def test_json_has_every_field(capsys, rows):
    first, second = json.loads(run(capsys, rows, "--json", "--seed", "1"))
    assert first.pop("seconds") >= 0
    assert "cores" in first.pop("machine")
    assert first.pop("date") >= "2026"
    assert first.pop("versions")["keras"] == keras.__version__
    assert first.pop("commit")
    assert first == {
        "row": "first",
        "measure": "time",
        "value": 1.5,
        "unit": "ms",
        "target": "<= 2",
        "met": True,
        "paper": None,
        "peer": {"other": 2.0},
        "note": None,
        "seed": 1,
    }
    assert (second["row"], second["target"], second["met"]) == ("second", None, None)


def test_scalars_of_numpy_are_written(capsys):
    measures = [
        harness.Measure("bool", np.float32(0.5), at_most=np.float64(1.0)),
        harness.Measure("peer", np.int64(3), at_least=2, peer={"it": np.float32(4.0)}),
        harness.Measure("flag", np.bool(True), paper=np.int8(1)),
    ]
    results = json.loads(run(capsys, {"row": lambda _: measures}, "--json"))
    assert [r["value"] for r in results] == [0.5, 3, True]
    assert [r["met"] for r in results] == [True, False, None]
    assert results[1]["peer"] == {"it": 4.0}
    assert "1,234" in run(
        capsys, {"row": lambda _: [harness.Measure("m", np.int64(1234))]}
    )


def test_a_quick_run_is_no_result(capsys, rows):
    results = json.loads(run(capsys, rows, "--json", "--quick"))
    assert {r["note"] for r in results} == {harness.NO_RESULT}
    assert {r["met"] for r in results} == {None}
    assert harness.NO_RESULT in run(capsys, rows, "--quick")


def test_a_quick_run_leaves_rows_out_unless_asked_for(capsys, rows):
    def notes(*arguments):
        harness.main("Title", rows, arguments=["--json", *arguments], quick=["second"])
        results = json.loads(capsys.readouterr().out)
        return {r["row"]: (r["value"], r["note"]) for r in results}

    assert notes("--quick")["first"] == (None, "--quick runs second only")
    assert notes("--quick", "--only", "first")["first"] == (1.5, harness.NO_RESULT)
    assert notes()["first"] == (1.5, None)
    harness.main("Title", rows, arguments=["--quick"], quick=["second"])
    assert "--quick runs second only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", (28, 28, 1)), ("cifar10", (32, 32, 3))]
)
def test_digits_stand_for_data_that_are_not_there(name, shape, monkeypatch, tmp_path):
    monkeypatch.delenv("TFCOMPRESS_DATA", raising=False)
    options = argparse.Namespace(quick=True, data_dir=None)
    for images, labels in harness.load_data(name, options, num_quick=5):
        assert images.shape == (5, *shape)
        assert images.dtype == np.float32
        assert (images.min(), images.max()) == (0.0, 1.0)
        assert labels.shape == (5,)
    whole = np.zeros((9, *shape), np.uint8)
    parts = {f"x_{part}": whole for part in ("train", "test")}
    parts |= {f"y_{part}": np.arange(9) for part in ("train", "test")}
    np.savez(tmp_path / f"{name}.npz", **parts)
    options.data_dir = tmp_path
    assert harness.load_data(name, options, num_quick=5)[0][0].shape == (5, *shape)
    options.quick = False
    assert harness.load_data(name, options, num_quick=5)[0][0].shape == (9, *shape)


def test_only_runs_the_named_rows(capsys, rows):
    (result,) = json.loads(run(capsys, rows, "--json", "--only", "second"))
    assert result["row"] == "second"
    with pytest.raises(SystemExit):
        run(capsys, rows, "--only", "third")
    assert "invalid choice: 'third'" in capsys.readouterr().err


def test_table_shows_a_missed_target(capsys, rows):
    table = run(capsys, rows)
    assert [word in table for word in ("Title", "<= 1", "other 2", "no")] == [True] * 4


@pytest.mark.parametrize(
    ("value", "limits", "peer", "met"),
    [
        (0.9, {"at_least": 0.9}, None, True),
        (0.9, {"at_least": 0.8}, {"other": 0.95}, False),
        (0.9, {"at_most": 0.9}, {"other": 0.9}, True),
        (0.9, {}, {"other": 0.1}, None),
    ],
)
def test_met(value, limits, peer, met):
    assert harness.Measure("m", value, **limits, peer=peer).met is met


def test_variants_run_in_turn_after_one_warm_up():
    order = []
    variants = {name: lambda name=name: order.append(name) for name in "ABC"}
    times = harness.interleaved(variants, rounds=2)
    assert "".join(order) == "ABC" * 3
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys(
        "ABC", 2
    )


def test_peer_environment_is_built_once(tmp_path, monkeypatch):
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers/echo.txt").write_text("# nothing to install\n")
    script = (
        "import json, sys; print('noise'); print(json.dumps([sys.argv[1], sys.prefix]))"
    )
    (tmp_path / "peers/echo.py").write_text(script)
    monkeypatch.setattr(harness, "FOLDER", tmp_path)
    task, prefix = harness.run_peer("echo", "echo.py", {"a": 1}, tmp_path / "cache")
    assert json.loads(task) == {"a": 1}
    assert prefix.startswith(str(tmp_path / "cache/echo-"))
    assert prefix != sys.prefix
    built = []
    monkeypatch.setattr(harness, "progress", built.append)
    assert harness.run_peer("echo", "echo.py", {}, tmp_path / "cache")[1] == prefix
    assert built == []


def test_peer_packages_are_fetched_once(tmp_path, monkeypatch):
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers/some.txt").write_text("# nothing to install\n")
    monkeypatch.setattr(harness, "FOLDER", tmp_path)
    home = harness.peer_packages("some", tmp_path / "cache")
    assert home.parent == tmp_path / "cache"
    built = []
    monkeypatch.setattr(harness, "progress", built.append)
    assert harness.peer_packages("some", tmp_path / "cache") == home
    assert built == []


def test_two_figures_of_one_name_are_refused(capsys):
    twice = {"row": lambda _: [harness.Measure("size", 1), harness.Measure("size", 2)]}
    with pytest.raises(ValueError, match="'row' has several figures called"):
        run(capsys, twice)
