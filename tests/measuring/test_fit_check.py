"""Which microcontrollers files fit."""

import importlib.util
import json

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tfcompress as tfc
from tfcompress.cli.main import run
from tfcompress.measuring import fit_check as module
from tfcompress.measuring import micro
from tfcompress.measuring.chips import CHIPS
from tfcompress.measuring.micro import Arena

L = keras.layers


@pytest.fixture
def path(tmp_path):
    """A float32 file of one dense layer."""
    model = keras.Sequential([keras.Input((8,)), L.Dense(4)])
    tfc.export_tflite(model, tmp_path / "m.tflite")
    return tmp_path / "m.tflite"


@pytest.fixture
def no_micro(monkeypatch):
    """As without the package tflite-micro."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("flash", "ram", "verdict"),
    [
        # The file below is 34,464 bytes, with the interpreter 100,000; the arena 40,000.
        (125_000, 50_000, "FITS"),
        (124_999, 50_000, "TIGHT"),
        (125_000, 49_999, "TIGHT"),
        (100_000, 40_000, "TIGHT"),
        (99_999, 50_000, "TOO BIG"),
        (125_000, 39_999, "TOO BIG"),
    ],
)
def test_verdicts_by_hand(flash, ram, verdict, path, monkeypatch):
    monkeypatch.setattr(module, "arena", lambda path: Arena(40_000, True))
    monkeypatch.setattr(module, "RUNTIME_BYTES", 100_000 - path.stat().st_size)
    (row,) = tfc.fit_check(path, [tfc.runtime.Chip("c", "", flash, ram)]).rows
    assert (row.verdict, row.fits) == (verdict, verdict != "TOO BIG")


def test_what_takes_flash(path):
    found = tfc.fit_check(path)
    assert found.flash_bytes == path.stat().st_size + 65_536
    assert [row.chip.name for row in found.rows] == list(CHIPS)


@pytest.mark.usefixtures("no_micro")
def test_an_estimate_by_hand(path):
    # 8 inputs and 4 outputs of 4 bytes, and one operation.
    needed = tfc.fit_check(path).arena
    assert (needed.size_bytes, needed.is_measured) == (4 * 12 + 400, False)
    assert "tflite-micro is not installed" in str(tfc.fit_check(path))


def test_measured_by_tflite_micro(path):
    pytest.importorskip("tflite_micro")
    needed = tfc.fit_check(path).arena
    assert needed.is_measured
    # It also keeps a few hundred bytes for each operation.
    assert 48 < needed.size_bytes < 4096
    assert "measured with TFLite Micro" in str(tfc.fit_check(path))


def test_an_estimate_is_near_what_is_measured(tmp_path, monkeypatch):
    pytest.importorskip("tflite_micro")
    model = keras.Sequential(
        [keras.Input((16, 16, 8)), *(L.Conv2D(8, 3, padding="same") for _ in range(4))]
    )
    path = tmp_path / "m.tflite"
    x = np.random.default_rng(0).normal(size=(16, 16, 16, 8)).astype("float32")
    tfc.export_tflite(model, path, "int8", x)
    measured = micro.arena(path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    estimated = micro.arena(path)
    assert measured.is_measured and not estimated.is_measured
    assert estimated.size_bytes == pytest.approx(measured.size_bytes, rel=0.2)


def test_operations_that_tflite_micro_lacks(tmp_path):
    x = keras.Input((8,))
    model = keras.Model(x, keras.ops.gelu(L.Dense(4)(x), approximate=False))
    path = tmp_path / "m.tflite"
    tfc.export_tflite(model, path)
    found = tfc.fit_check(path)
    assert found.unsupported == {"GELU": 1}
    assert not found.arena.is_measured
    assert "It does not run: TFLite Micro has no GELU (1)" in str(found)
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_bytes(path.read_bytes())


def test_encodings_that_tflite_micro_lacks(tmp_path):
    keras.utils.set_random_seed(0)
    model = tfc.prune(keras.Sequential([keras.Input((64,)), L.Dense(64)]), 0.9)
    x = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    verdicts = {}
    for codec in ("rans", "huffman"):
        path = tmp_path / f"{codec}.tflite"
        tfc.export_tflite(model, path, "int8", x, codec=codec)
        verdicts[codec] = tfc.fit_check(path, ["nrf52840"])
    assert verdicts["rans"].unsupported == {"TFLM_DECODE of kind 128": 1}
    assert verdicts["rans"].rows[0].verdict == "DOES NOT RUN"
    assert not verdicts["rans"].rows[0].fits
    assert verdicts["huffman"].unsupported == {}
    assert verdicts["huffman"].rows[0].verdict == "FITS"


def test_the_operations_are_those_of_the_format():
    own = {"CIRCULAR_BUFFER", "TFLM_DECODE", "TFLite_Detection_PostProcess"}
    assert vars(schema.BuiltinOperator).keys() >= micro.OPERATIONS - own


def test_where_tflite_micro_ends_itself(path, tmp_path, monkeypatch):
    pytest.importorskip("tflite_micro")
    (tmp_path / "child.py").write_text("import os; os.abort()")
    monkeypatch.setattr(micro, "_CHILD", tmp_path / "child.py")
    needed = micro.arena(path)
    assert (needed.size_bytes, needed.is_measured) == (448, False)
    assert needed.note == "TFLite Micro does not load it"


def test_on_the_command_line(path, capsys):
    chips = ["--chip", "nrf52840", "--flash", "80", "--ram", "1"]
    assert run(["fit-check", str(path), *chips, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    mine = found["rows"][1]
    assert [row["name"] for row in found["rows"]] == ["nrf52840", "yours"]
    assert (mine["flash_bytes"], mine["ram_bytes"]) == (81_920, 1024)
    assert found["rows"][0]["verdict"] == "FITS"
    assert run(["fit-check", str(path)]) == 0
    assert "esp32s3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.tflite"], "No file 'none.tflite'"),
        (["broken.tflite"], "complete"),
        (["m.tflite", "--flash=256"], "both --flash and --ram"),
        (["m.tflite", "--chip=nrf52480"], "Did you mean 'nrf52840'"),
    ],
)
def test_errors_are_one_clear_line(arguments, message, path, monkeypatch, capsys):
    monkeypatch.chdir(path.parent)
    (path.parent / "broken.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3 cut off")
    assert run(["fit-check", *arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
