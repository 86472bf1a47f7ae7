"""Compares the emulated runner for arm64 with Python's LiteRT on this machine."""

import json
import shutil

import numpy as np
import pytest

from tfcompress.measuring.android.output import parse
from tfcompress.tflite.decode import decode_tflite

CPUS = ("cortex-a72", "cortex-a76", "neoverse-n1")
SHORT = ("--warm-up", 2, "--runs", 3, "--seconds", 0)


def _run(machine, case, backend, *options, cpu="cortex-a76"):
    path, expected = case[0], case[1][backend]
    inputs, outputs = path.with_suffix(".in"), path.with_suffix(".out")
    data = ("--input", inputs, "--output", outputs)
    done = machine.run(
        "--model", path, *SHORT, *data, "--backend", backend, *options, cpu=cpu
    )
    y = np.frombuffer(outputs.read_bytes(), expected.dtype).reshape(expected.shape)
    return parse(done.stdout), y


NUM_DELEGATED = {"float32": 0, "int8": 0, "chain": 5, "residual": 3, "encoded": 1}
PAIRS = [(name, backend) for name in NUM_DELEGATED for backend in ("cpu", "xnnpack")]
# Built-in int8 convolutions of LiteRT 2.16.1 and of Python's newer version differ by one
# in few values, on each processor; signs of a binary network make more of it.
OTHER_ROUNDING = [("encoded", "cpu"), ("residual", "cpu")]
SAME_ROUNDING = [pair for pair in PAIRS if pair not in OTHER_ROUNDING]


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize(("name", "backend"), SAME_ROUNDING)
def test_outputs_are_those_of_python(arm64, cases, name, backend, cpu):
    run, y = _run(arm64, cases[name], backend, cpu=cpu)
    expected = cases[name][1][backend]
    if name == "float32":
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(y, expected)
    assert run["error"] is None
    assert run["runtime_version"] == "2.16.1"
    assert run["model"]["size_bytes"] == cases[name][0].stat().st_size
    assert len(run["warm_up_ms"]) == 2
    assert len(run["samples_ms"]) == 3
    assert run["first_ms"] == run["warm_up_ms"][0]
    assert min(run["init_ms"], *run["warm_up_ms"], *run["samples_ms"]) > 0
    assert run["nodes"]["delegated"]["tfcompress"] == NUM_DELEGATED[name]
    others = run["nodes"]["total"] - NUM_DELEGATED[name]
    if backend == "xnnpack":
        assert 0 < run["nodes"]["delegated"]["xnnpack"] <= others
    else:
        assert "xnnpack" not in run["nodes"]["delegated"]
    memory = run["memory"]
    assert 0 < memory["before_bytes"] <= memory["peak_bytes"]


@pytest.mark.parametrize(("name", "backend"), OTHER_ROUNDING)
def test_outputs_are_those_of_the_same_version_here(
    arm64, x86_64, cases, name, backend
):
    _, expected = _run(x86_64, cases[name], backend)
    for cpu in CPUS:
        run, y = _run(arm64, cases[name], backend, cpu=cpu)
        np.testing.assert_array_equal(y, expected)
        assert run["nodes"]["delegated"] == {"tfcompress": NUM_DELEGATED[name]}


@pytest.mark.parametrize("cpu", CPUS)
def test_encoded_weights_are_those_of_the_plain_file(arm64, cases, tmp_path, cpu):
    path, expected = cases["encoded"]
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(decode_tflite(path.read_bytes()))
    shutil.copy(path.with_suffix(".in"), plain.with_suffix(".in"))
    run, y = _run(arm64, cases["encoded"], "cpu", cpu=cpu)
    _, y_of_plain = _run(arm64, (plain, expected), "cpu", cpu=cpu)
    assert run["nodes"]["delegated"] == {"tfcompress": 1}
    np.testing.assert_array_equal(y, y_of_plain)


def test_runs_go_on_until_both_limits_are_reached(x86_64, cases):
    path = cases["float32"][0]
    few = parse(x86_64.run("--model", path, "--runs", 4, "--seconds", 0).stdout)
    assert len(few["samples_ms"]) == 4
    assert len(few["warm_up_ms"]) == 5
    long = parse(x86_64.run("--model", path, "--runs", 1, "--seconds", 0.2).stdout)
    # The last run began before the end, however long it took on a busy machine.
    assert sum(long["samples_ms"][:-1]) < 200
    assert len(long["samples_ms"]) > 4


def test_two_threads(x86_64, cases):
    run, y = _run(x86_64, cases["residual"], "xnnpack", "--threads", 2)
    np.testing.assert_array_equal(y, cases["residual"][1]["xnnpack"])
    assert run["error"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "MODEL", "--threads", "0"], '--threads: got "0", expected'),
        (["--model", "MODEL", "--runs", "1.5"], '--runs: got "1.5", expected a whole'),
        (["--model", "MODEL", "--runs"], "--runs has no value"),
        (["--model", "MODEL", "--backend", "gpu"], 'got "gpu", expected cpu or xnnpack'),
        (["--model", "MODEL", "--thread", "1"], 'unknown option "--thread"'),
        (["--threads", "1"], "expected --library"),
        (["--model", "no\n\"file\"", "--runs", "1"], 'no\n"file" cannot be opened'),
        (["--model", "TEXT"], "is not a TFLite model"),
        (["--model", "MODEL", "--output", "out"], "--output needs --input"),
        (["--model", "MODEL", "--input", "TEXT"], "ends within an example"),
        (["--model", "MODEL", "--input", "EMPTY"], "is empty; expected examples"),
    ],
)  # fmt: skip
def test_errors(x86_64, cases, tmp_path, options, message):
    (tmp_path / "text").write_text("no model")
    (tmp_path / "empty").touch()
    names = {
        "MODEL": cases["float32"][0],
        "TEXT": tmp_path / "text",
        "EMPTY": tmp_path / "empty",
    }
    done = x86_64.run(*(names.get(option, option) for option in options))
    assert done.returncode == 1
    assert message in parse(done.stdout)["error"]
    assert message in done.stderr


def test_a_model_whose_operations_need_the_delegate(x86_64, cases):
    options = ("--model", cases["chain"][0], "--delegate", x86_64.library)
    error = parse(x86_64.run(*options).stdout)["error"]
    assert "has no delegate; expected libtfcompress.so" in error


def test_the_end_is_the_line_before_counted_and_hashed(x86_64, cases):
    done = x86_64.run("--model", cases["int8"][0], *SHORT)
    line, end = done.stdout.splitlines()
    json.loads(line)
    value = 0xCBF29CE484222325
    for byte in line.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    assert end == f"end {len(line)} {value:016x}"


def test_it_ends_after_the_timeout(x86_64, cases):
    options = ("--timeout", 1, "--seconds", 1000)
    done = x86_64.run("--model", cases["float32"][0], *options)
    assert done.returncode == -14  # SIGALRM
    assert done.stdout == ""
