import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.cli import benchmark, convert
from tfcompress.cli.main import COMMANDS, run
from tfcompress.export.prepare import PROFILES
from tfcompress.measuring.android import app_runner

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = """
steps:
  - compress: {rules: {".*": [mask, {uniform: {bits: 8}}]}}
  - quantize_activations
  - fit: {epochs: 2, batch_size: 16, pruning: {schedule: {constant: {sparsity: 0.5}}}}
  - export: {path: small.tflite, precision: int8}
  - strip
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model, its data and a recipe, where commands run."""
    monkeypatch.chdir(tmp_path)
    model = models.sequential()
    model.save("model.keras")
    x, y = models.inputs(model, 64), models.classes(64)
    np.savez("data.npz", x_train=x, y_train=y, x_test=x[:16], y_test=y[:16])
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_overview_and_help(capsys):
    assert run(["--help"]) == 0
    overview = capsys.readouterr().out
    for name in COMMANDS:
        assert name in overview
        assert run([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert f"usage: tfcompress {name}" in text
        assert "Example:" in text
        assert "--json" in text


@pytest.mark.parametrize(
    "line",
    ["--help", "--version", "convrt", "completion", *map("{} --help".format, COMMANDS)],
)
def test_texts_need_no_tensorflow(line):
    # Like the installed command.
    code = f"""
import sys
from tfcompress_cli.main import run
run({line.split()})
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    imported = done.stdout.splitlines()[-1].split()
    assert "tfcompress_cli.main" in imported
    assert not {"tfcompress", "tensorflow", "keras", "numpy", "rich"} & {*imported}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("tfcompress ", [*COMMANDS]),
        ("tfcompress comp", ["compress", "compare"]),
        ("tfcompress convert --sa", ["--safe-mode", "--samples"]),
        ("tfcompress convert --precision int", ["int8", "int16x8", "int4"]),
        ("tfcompress convert  --precision=int4", ["--precision=int4"]),
        ("tfcompress convert --verify=", ["--verify=true", "--verify=false"]),
        ("tfcompress convert --verify ", []),  # The shell offers file names here.
        ("tfcompress convert --samples ", []),
        ("tfcompress convert --smaples=", []),
        ("tfcompress convrt --", []),
    ],
)
def test_completion(line, offered, monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", f"{line} and what is after the cursor")
    monkeypatch.setenv("COMP_POINT", f"{len(line)}")
    assert run(["completion"]) == 0
    assert capsys.readouterr().out.split() == offered


def test_bash_asks_for_what_comes_after_an_equals_sign(monkeypatch, capsys):
    line = "tfcompress convert --precision=int1"
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", f"{len(line)}")
    assert run(["completion", "tfcompress", "int1", "="]) == 0
    assert capsys.readouterr().out.split() == ["int16x8"]


def test_choices_are_those_of_the_package():
    assert convert.PRECISIONS == tfc.export.PRECISIONS
    assert convert.PROFILES == PROFILES
    assert convert.SPARSE == tfc.export.SPARSE
    assert convert.CODECS == tfc.export.CODECS
    assert convert.NAMES == tfc.export.NAMES
    assert benchmark.BACKENDS == app_runner.BACKENDS


def test_convert_inspect_benchmark_compare(folder, capsys):
    assert run(["convert", "model.keras", "float.tflite"]) == 0
    options = ["--precision", "int8", "--samples", "data.npz", "--json"]
    assert run(["convert", "model.keras", "int8.tflite", *options]) == 0
    output = capsys.readouterr().out
    assert json.loads(output[output.index("\n{") :])["precision"] == "int8"
    assert run(["convert", "model.keras", "four.tflite", "--batch_size=4"]) == 0
    with tfc.Interpreter("four.tflite") as interpreter:
        assert {d["shape"][0] for d in interpreter.input_details.values()} == {4}
    capsys.readouterr()
    assert run(["inspect", "int8.tflite"]) == 0
    assert "1 CONV_2D" in capsys.readouterr().out
    assert run(["inspect", "model.keras", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["parameters"] > 0
    options = ["--runs", "5", "--html", "b.html", "--json"]
    assert run(["benchmark", "int8.tflite", *options]) == 0
    assert json.loads(capsys.readouterr().out)["median_ms"] > 0
    assert "int8.tflite" in (folder / "b.html").read_text()
    files = ["model.keras", "float.tflite", "int8.tflite"]
    assert (
        run(["compare", *files, "--data", "data.npz", "--html", "r.html", "--json"])
        == 0
    )
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["label"] for row in rows] == files
    assert rows[1]["agreement"] == 1.0
    assert "int8.tflite" in (folder / "r.html").read_text()


def test_flags_may_have_dashes(folder, capsys):
    options = ["--dataset=mnist", "--data-dir=nowhere"]
    assert run(["compare", "model.keras", *options]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_compress_runs_a_recipe(folder, capsys):
    arguments = [
        "model.keras",
        "recipe.yaml",
        "small.keras",
        "--data",
        "data.npz",
        "--json",
    ]
    assert run(["compress", *arguments]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert totals["sparsity"] == pytest.approx(0.5, abs=0.01)
    plain = keras.models.load_model("small.keras")
    assert not any("tfcompress" in type(a).__module__ for a in plain._flatten_layers())
    with tfc.Interpreter("small.tflite") as interpreter:
        assert interpreter.run(np.zeros((1, 8, 8, 3), "float32")).shape == (1, 5)


def test_recipes_are_listed_printed_and_run_by_name(folder, capsys):
    assert run(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(tfc.Recipe.names())
    assert run(["recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert all(name in line for name, line in zip(listed, lines, strict=True))
    assert run(["recipes", "half_the_file", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["description"] == listed["half_the_file"]
    assert [*printed["steps"][0]] == ["export"]
    assert run(["recipes", "half_the_file"]) == 0
    (folder / "mine.yaml").write_text(capsys.readouterr().out)
    for recipe in ("half_the_file", "mine.yaml"):
        assert run(["compress", "model.keras", recipe, "out.keras", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["totals"]["parameters"] > 0
        (folder / "half_the_file.tflite").unlink()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["recipes", "binry"], 1, "Did you mean 'binary'"),
        (["recipes", "binary", "use_them_all"], 1, "Got 2 names"),
        (["compress", "model.keras", "binry", "y.keras"], 1, "Did you mean 'binary'"),
        (["convrt"], 2, "unknown command 'convrt'"),
        (["convert", "model.keras"], 2, "usage: tfcompress convert MODEL OUTPUT"),
        (["convert", "model.keras", "x.tflite", "--precison=int8"], 2, "precison"),
        (["convert", "model.keras", "x.tflite", "--precision=int9"], 2, "int9"),
        (["convert", "none.keras", "x.tflite"], 1, "none.keras"),
        (["convert", "model.keras", "no/x.tflite"], 1, "does not exist"),
        (
            ["convert", "model.keras", "x.tflite", "--precision=int8"],
            1,
            "needs samples",
        ),
        (["convert", "broken.keras", "x.tflite"], 1, "broken.keras"),
        (
            ["convert", "model.keras", "x.tflite", "--samples=recipe.yaml"],
            1,
            "recipe.yaml",
        ),
        (["inspect", "broken.tflite"], 1, "complete"),
        (["benchmark", "none.tflite"], 1, "none.tflite"),
        (["compress", "model.keras", "broken.yaml", "y.keras"], 1, "line 2"),
        (["compress", "model.keras", "wrong.yaml", "y.keras"], 1, "wrong.yaml: Step 1"),
        (
            ["compress", "model.keras", "recipe.yaml", "y.keras", "--data=x.npz"],
            1,
            "has x and no y",
        ),
        (["compress", "model.keras", "recipe.yaml", "y.keras"], 1, "needs data"),
        (["compress", "model.keras", "recipe.yaml", "y.h5"], 1, "ends in .keras"),
        (["compress", "model.keras", "none.yaml", "y.keras"], 1, "none.yaml"),
        (["demo", "--dataset", "mnits"], 1, "mnist"),
    ],
)
def test_errors_are_one_clear_line(arguments, code, message, folder, capsys):
    (folder / "broken.keras").write_bytes(b"PK\x03\x04 cut off")
    (folder / "broken.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3 cut off")
    (folder / "broken.yaml").write_text("steps:\n  - compress: {rules: [}\n")
    (folder / "wrong.yaml").write_text("steps:\n  - compress: {rules: [mask]}\n")
    np.savez(folder / "x.npz", x=np.zeros((4, 8, 8, 3), "float32"))
    before = sorted(p.name for p in folder.iterdir())
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("tfcompress: error: ")
    assert message in line
    assert sorted(p.name for p in folder.iterdir()) == before


def test_demo_on_digits(folder, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    code = "import sys; from tfcompress.cli.main import run; sys.exit(run())"
    arguments = ["demo", "--output", "out", "--epochs", "3", "--json"]
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    # There are no warnings.
    told = done.stderr.splitlines()
    assert [line for line in told if not re.match(r"\[ *\d+\.\d s\] ", line)] == []
    rows = {row["label"]: row for row in json.loads(done.stdout)["rows"]}
    dense, small = rows["dense float32"], rows["pruned, shared, int8"]
    assert small["accuracy"] >= dense["accuracy"] - 0.02
    assert small["size_bytes"] < dense["size_bytes"] / 3
    assert small["zipped_bytes"] < dense["zipped_bytes"] / 8
    assert small["nonzero_parameters"] < dense["nonzero_parameters"] * 0.25
    page = (folder / "out" / "report.html").read_text()
    assert "pruned, shared, int8" in page
