import json
import sys

import harness
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
    assert first == {
        "row": "first",
        "measure": "time",
        "value": 1.5,
        "unit": "ms",
        "target": "<= 2",
        "met": True,
        "paper": None,
        "peer": {"other": 2.0},
        "seed": 1,
    }
    assert (second["row"], second["target"], second["met"]) == ("second", None, None)


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
