import json

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress import native
from tfcompress.measuring import measure
from tfcompress.measuring.benchmark import Benchmarks


def small():
    return keras.Sequential(
        [keras.Input((16,)), keras.layers.Dense(4, name="d")], name="small"
    )


def test_figures_of_a_file(tmp_path):
    path = tmp_path / "m.tflite"
    tfc.export_tflite(small(), path)
    result = tfc.benchmark(path, num_threads=2, runs=20, warm_up=2, min_seconds=0)
    assert result.runs == 20
    assert result.num_threads == 2
    assert 0 < result.min_ms <= result.p50_ms <= result.p90_ms <= result.p99_ms
    assert result.median_ms == result.p50_ms
    assert result.size_bytes == path.stat().st_size
    assert result.init_ms > 0
    assert result.peak_memory_bytes >= 0
    assert result.cpu
    assert json.loads(result.to_json())["name"] == "m.tflite"
    assert "ms median" in str(result)


def test_a_larger_model_is_slower_and_takes_more_memory():
    large = keras.Sequential([keras.Input((2048,)), keras.layers.Dense(2048)])
    a, b = (tfc.benchmark(m, runs=20, min_seconds=0) for m in (small(), large))
    assert b.median_ms > 3 * a.median_ms
    assert b.peak_memory_bytes > a.peak_memory_bytes


@pytest.mark.parametrize("has_core", [True, False])
def test_encoded_files(tmp_path, monkeypatch, has_core):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="d")])
    shared = tfc.strip(tfc.compress(model, {".*": tfc.transforms.Codebook(4)}))
    path = tmp_path / "encoded.tflite"
    tfc.export_tflite(shared, path, codec="huffman")
    if not has_core:
        monkeypatch.setattr(native, "library", lambda: None)
        monkeypatch.setattr(native, "library_path", lambda: None)
    result = tfc.benchmark(path, runs=5, min_seconds=0)
    assert result.size_bytes == path.stat().st_size < 4 * 64 * 64
    row = tfc.compare(
        {"encoded": path},
        (np.ones((8, 64), "float32"), np.zeros(8, int)),
        latency=False,
    )["encoded"]
    assert row.parameters == 64 * 64


@pytest.mark.parametrize(
    "arguments", [{"num_threads": 0}, {"runs": 0}, {"warm_up": -1}]
)
def test_bad_numbers(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        tfc.benchmark(small(), **arguments)


def test_compare_models_and_files(tmp_path):
    dense = models.sequential()
    x, y = models.inputs(dense, 32), models.classes(32)
    model = tfc.compress(dense, {".*": "mask"})
    pruning = tfc.callbacks.Pruning(0.5)
    pruning.set_model(model)
    pruning.update(0)
    path = tmp_path / "int8.tflite"
    tfc.export_tflite(model, path, "int8", samples=x)
    table = tfc.compare({"dense": dense, "pruned": model, "int8": path}, (x, y))
    assert [row.label for row in table.rows] == ["dense", "pruned", "int8"]
    assert table["dense"].agreement == 1.0
    expected = np.mean(dense.predict(x, verbose=0).argmax(axis=1) == y)
    assert table["dense"].accuracy == pytest.approx(expected)
    assert table["dense"].parameters == dense.count_params()
    assert table["pruned"].nonzero_parameters < table["dense"].nonzero_parameters
    assert table["int8"].size_bytes == path.stat().st_size
    assert table["int8"].macs == table["dense"].macs == table["pruned"].macs
    assert all(row.latency_ms > 0 for row in table.rows)
    text = str(table)
    assert "int8" in text
    assert len(json.loads(table.to_json())["rows"]) == 3


def test_compare_regression_and_datasets():
    import tensorflow as tf

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    x = models.inputs(model, 10)
    y = model.predict(x, verbose=0) + 2.0
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    row = tfc.compare({"a": model}, data, latency=False)["a"]
    assert row.accuracy == pytest.approx(-4.0, rel=1e-5)
    assert row.agreement == 0.0


def test_compare_nothing():
    with pytest.raises(ValueError, match="got {}, expected"):
        tfc.compare({})


def test_compare_data_that_do_not_fit():
    with pytest.raises(ValueError, match=r"expected \(x, y\)"):
        tfc.compare({"a": small()}, (np.zeros((4, 16)), np.zeros(3)), latency=False)


def test_several_models_are_a_table():
    wide = keras.Sequential([keras.Input((16,)), keras.layers.Dense(400)], name="wide")
    rows = [tfc.benchmark(m, runs=2, min_seconds=0) for m in (small(), wide)]
    both = Benchmarks(rows, about="here")
    text = str(both)
    for word in ("small", "wide", "median", "threads", "here"):
        assert word in text
    assert "accuracy" not in text
    found = json.loads(both.to_json())
    assert [row["name"] for row in found["rows"]] == ["small", "wide"]
    assert found["rows"][0]["median_ms"] == rows[0].p50_ms


@pytest.mark.parametrize(
    ("runs", "min_seconds", "expected"),
    [(2, 0, [1000, 4000]), (1, 4, [1000, 4000]), (1, 5.5, [1000, 4000, 2000])],
)
def test_runs_are_timed_until_there_are_enough(
    monkeypatch, runs, min_seconds, expected
):
    """Runs of 1, 4, 2 and 8 seconds, with a clock that stands still in between."""
    now, seconds = [0.0], iter([1, 4, 2, 8])

    def run():
        now[0] += next(seconds)

    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])
    assert measure.times_ms(run, runs, min_seconds) == expected
