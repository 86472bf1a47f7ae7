"""Predicted latency: sums by hand, with made-up times."""

import functools
import json
import pathlib
import tempfile

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.runtime import host
from tfcompress.search import latency
from tfcompress.search.latency import LatencyTable
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import read

L = keras.layers
# Milliseconds of a call and of each operation.
CALL = 0.5
COSTS = {"RELU": 0, "PAD": 8, "CONV_2D": 4, "RESHAPE": 0.25, "FULLY_CONNECTED": 2}


class Runtime:
    """Replaces LiteRT and the clock: adds up the times of operations, and records files.

    Zeros before a convolution cost nothing, as in XNNPACK.
    """

    def __init__(self):
        self.timed = []
        self.late = iter(())

    def __call__(self, content, num_threads):
        file = read(content)
        names = [operation_name(file, op) for op in file.subgraphs[0].operators]
        self.timed.append(names)
        costs = [COSTS[n] for n in names if n != "PAD" or "CONV_2D" not in names]
        return CALL + sum(costs) + next(self.late, 0)

    @property
    def kinds(self):
        """The timed operations, in order, without calls."""
        return [*dict.fromkeys(names[0] for names in self.timed if names != ["RELU"])]


@pytest.fixture
def runtime(monkeypatch):
    made = Runtime()
    monkeypatch.setattr(latency, "_milliseconds", made)
    return made


def exported(model, path, precision="float32"):
    x = np.random.default_rng(0).normal(size=(8, *model.input_shape[1:]))
    samples = x.astype("float32") if precision == "int8" else None
    tfc.export_tflite(model, path, precision, samples=samples, verify=False)
    return path


@functools.cache
def network_content(*args, **kwargs):
    """The bytes of the file of a `network`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "m.tflite"
        return exported(network(*args, **kwargs), path).read_bytes()


def written(path, *args, **kwargs):
    """A file of a `network`."""
    path.write_bytes(network_content(*args, **kwargs))
    return path


def network(padded=True, units=3):
    layers = [L.ZeroPadding2D(1)] if padded else []
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            *layers,
            L.Conv2D(4, 3, strides=2, activation="relu"),
            L.Flatten(),
            L.Dense(units),
        ]
    )


def test_times_of_operations_and_of_one_call_add_up(runtime, tmp_path):
    table = LatencyTable(tmp_path / "t.json")
    path = written(tmp_path / "m.tflite")
    # The convolution includes its padding, and a call counts once.
    assert table.predict(path) == pytest.approx(0.5 + 4 + 0.25 + 2)
    assert len(table) == 4
    assert runtime.kinds == ["PAD", "RESHAPE", "FULLY_CONNECTED"]
    assert ["PAD", "CONV_2D"] * 64 in runtime.timed


def test_bytes_are_as_good_as_a_path(runtime, tmp_path):
    table = LatencyTable(tmp_path / "t.json")
    path = written(tmp_path / "m.tflite")
    assert table.predict(path.read_bytes()) == table.predict(str(path))


def test_an_operation_counts_as_often_as_it_runs_and_is_timed_once(runtime, tmp_path):
    layers = [L.Conv2D(4, 1) for _ in range(3)]
    model = keras.Sequential([keras.Input((6, 6, 4)), *layers])
    table = LatencyTable(tmp_path / "t.json")
    assert table.predict(exported(model, tmp_path / "m.tflite")) == 0.5 + 3 * 4
    assert len(table) == 2


def test_what_the_table_has_is_not_timed_again(runtime, tmp_path):
    path = written(tmp_path / "m.tflite")
    first = LatencyTable(tmp_path / "t.json").predict(path)
    runtime.timed.clear()
    assert LatencyTable(tmp_path / "t.json").predict(path) == first
    other = written(tmp_path / "m.tflite", units=5)
    LatencyTable(tmp_path / "t.json").predict(other)
    assert runtime.kinds == ["FULLY_CONNECTED"]


def test_the_least_of_the_rounds_counts(runtime, tmp_path):
    model = keras.Sequential([keras.Input((4,)), L.Dense(3)])
    # A call and a layer in each of five rounds, while other work is running.
    runtime.late = iter([0.2, 900, 0, 7, 5, 0, 1, 1, 3, 3])
    table = LatencyTable(tmp_path / "t.json")
    path = exported(model, tmp_path / "m.tflite")
    assert table.predict(path) == pytest.approx(0.5 + 2)


def test_weights_of_large_networks_have_times_of_their_own(runtime, tmp_path):
    """A layer of 64 KiB: four copies are 256 KiB, the least; sixteen make 1 MiB."""

    def model(*more):
        layers = [L.Dense(128, use_bias=False), *(L.Dense(units) for units in more)]
        return keras.Sequential([keras.Input((128,)), *layers])

    table = LatencyTable(tmp_path / "t.json")
    table.predict(exported(model(), tmp_path / "m.tflite"))
    assert ["FULLY_CONNECTED"] * 4 in runtime.timed
    runtime.timed.clear()
    table.predict(exported(model(2000), tmp_path / "m.tflite"))
    assert ["FULLY_CONNECTED"] * 16 in runtime.timed
    # The other layer has 1,032,000 bytes.
    assert ["FULLY_CONNECTED"] in runtime.timed
    assert len(table) == 1 + 1 + 2


def test_small_operations_are_repeated_more(runtime, tmp_path):
    """16x16x8 floats are a quarter of 32 KiB, 2x2x8 ones 1/256."""
    for side, copies in (16, 4), (2, 64):
        model = keras.Sequential([keras.Input((side, side, 8)), L.Conv2D(8, 1)])
        path = exported(model, tmp_path / "m.tflite")
        # Of the second one, 288 bytes of weights outweigh 128 of values.
        LatencyTable(tmp_path / f"{side}.json").predict(path)
        assert ["CONV_2D"] * copies in runtime.timed


def test_encoded_weights_take_the_time_of_plain_ones(runtime, tmp_path):
    model = keras.Sequential([keras.Input((64,)), L.Dense(64)])
    shared = tfc.compress(model, {".*": tfc.transforms.Codebook(8)})
    encoded = tmp_path / "encoded.tflite"
    tfc.export_tflite(shared, encoded, codec="huffman")
    table = LatencyTable(tmp_path / "t.json")
    plain = table.predict(exported(model, tmp_path / "plain.tflite"))
    runtime.timed.clear()
    assert table.predict(encoded) == plain == 0.5 + 2
    assert not runtime.timed


@pytest.mark.parametrize("stops_at", [0, 1, 2])
def test_what_was_measured_outlives_the_process(runtime, stops_at, tmp_path):
    table = LatencyTable(tmp_path / "t.json")
    table.predict(written(tmp_path / "m.tflite"))
    kept = (tmp_path / "t.json").read_bytes()

    class Killed(BaseException):
        pass

    def late():
        yield from [0] * stops_at
        raise Killed

    runtime.late = late()
    other = written(tmp_path / "other.tflite", padded=False, units=7)
    with pytest.raises(Killed):
        table.predict(other)
    assert (tmp_path / "t.json").read_bytes() == kept
    runtime.late, runtime.timed = iter(()), []
    again = LatencyTable(tmp_path / "t.json")
    again.predict(tmp_path / "m.tflite")
    assert not runtime.timed
    assert again.predict(other) == pytest.approx(0.5 + 4 + 0.25 + 2)


def test_two_processes_share_a_table(runtime, tmp_path):
    tables = [LatencyTable(tmp_path / "t.json") for _ in range(2)]
    for units, table in enumerate(tables, 3):
        table.predict(written(tmp_path / f"{units}.tflite", units=units))
    runtime.timed.clear()
    for units in (3, 4):
        LatencyTable(tmp_path / "t.json").predict(tmp_path / f"{units}.tflite")
    assert not runtime.timed


@pytest.mark.parametrize(
    ("what", "other"),
    [("processor", "Other 9000"), ("runtime", "ai-edge-litert 0.1")],
)
def test_a_table_of_another_machine_is_refused(runtime, what, other, tmp_path):
    path = tmp_path / "t.json"
    LatencyTable(path).predict(written(tmp_path / "m.tflite"))
    content = {**json.loads(path.read_text()), what: other}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"measured with {what} '{other}': expected"):
        LatencyTable(path)
    assert json.loads(path.read_text()) == content


def test_threads_have_tables_of_their_own(runtime, tmp_path):
    path = tmp_path / "t.json"
    LatencyTable(path).predict(written(tmp_path / "m.tflite"))
    with pytest.raises(ValueError, match="num_threads 1: expected 2"):
        LatencyTable(path, num_threads=2)


def test_the_usual_place_names_the_machine(runtime, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(host, "cpu_name", lambda: "Some CPU @ 2.0GHz/8")
    one, two = LatencyTable(), LatencyTable(num_threads=2)
    one.predict(written(tmp_path / "m.tflite"))
    (found,) = (tmp_path / "tfcompress").iterdir()
    assert found == one.path
    assert found.name.startswith("latency_Some_CPU_2.0GHz_8_ai_edge_litert_")
    assert two.path.name == one.path.name.replace("_1.json", "_2.json")
    monkeypatch.setattr(host, "cpu_name", lambda: "Other")
    assert len(LatencyTable()) == 0


def test_a_cache_folder_that_cannot_be(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"Cannot make the folder .* Pass a path"):
        LatencyTable()


@pytest.mark.parametrize(
    "content",
    [
        "",
        '{"processor"',
        "[]",
        "{}",
        '{"milliseconds": 3}',
        '{"milliseconds": {"call": NaN}}',
        '{"milliseconds": {"call": -1}}',
        '{"milliseconds": {"call": "x"}}',
        '{"milliseconds": {"call": null}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_table_is_refused_and_left_alone(content, tmp_path):
    path, content = tmp_path / "t.json", getattr(content, "encode", lambda: content)()
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is no latency table, .* Delete it"):
        LatencyTable(path)
    assert path.read_bytes() == content


def test_bad_input_is_refused_before_anything_is_measured(runtime, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        LatencyTable(tmp_path / "nowhere" / "t.json")
    table = LatencyTable(tmp_path / "t.json")
    with pytest.raises(FileNotFoundError, match="No file"):
        table.predict(tmp_path / "m.tflite")
    with pytest.raises(ValueError, match="not a TFLite model"):
        table.predict(b"nothing at all")
    with pytest.raises(TypeError, match=r"predict\(model\): got 5"):
        table.predict(5)
    assert not runtime.timed
    assert not table.path.exists()


def test_an_operation_that_does_not_run_alone_is_named(monkeypatch, tmp_path):
    def refuse(content, num_threads):
        if len(read(content).subgraphs[0].operators) > 1:
            raise RuntimeError("Node 0 failed to invoke.")
        return CALL

    monkeypatch.setattr(latency, "_milliseconds", refuse)
    table = LatencyTable(tmp_path / "t.json")
    path = written(tmp_path / "m.tflite")
    message = r"PAD \+ CONV_2D of m.tflite does not run by itself.*Node 0"
    with pytest.raises(ValueError, match=message):
        table.predict(path)
    assert not table.path.exists()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_litert_runs_what_is_timed(precision, tmp_path):
    table = LatencyTable(tmp_path / "t.json")
    path = exported(network(), tmp_path / "m.tflite", precision)
    predicted = table.predict(path)
    assert predicted > 0
    stored = json.loads((tmp_path / "t.json").read_text())["milliseconds"]
    assert predicted == pytest.approx(sum(stored.values()))
