"""Every script from its first line to its last, as `--quick` on a bare machine."""

import json
import runpy
import sys

import harness
import pytest

SCRIPTS = sorted(
    path.stem
    for path in harness.FOLDER.glob("*.py")
    if not path.stem.startswith("test_") and "harness.main(" in path.read_text()
)
FIELDS = (
    "row measure value unit target met paper peer note seconds seed machine commit date "
    "versions"
).split()
OF_PRUNED = (
    "row method kept_percent error_percent weight_bits file_bytes left seconds paper "
    "target met note seed machine commit date versions"
).split()


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", SCRIPTS)
def test_runs_whole_and_prints_json(name, monkeypatch, capsys):
    monkeypatch.delenv("TFCOMPRESS_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--json", "--no-peers"])
    runpy.run_path(str(harness.FOLDER / f"{name}.py"), run_name="__main__")
    results = json.loads(capsys.readouterr().out)
    assert results
    for result in results:
        assert list(result) in (FIELDS, OF_PRUNED)
        assert result["note"]
        assert result["met"] is None
        if "measure" not in result:
            assert result["kept_percent"] >= 0
        elif result["measure"] == "left out":
            assert result["value"] is None
        else:
            assert isinstance(result["value"], (int, float))
            assert not result["peer"]


def test_every_script_is_in_the_table():
    table = (harness.FOLDER / "README.md").read_text()
    assert [name for name in SCRIPTS if f"| `{name}.py` |" not in table] == []
