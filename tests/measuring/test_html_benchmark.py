"""The page of benchmarks: rows of this host and of a device, compared with the first."""

import dataclasses
import pathlib

import pytest

from tests.measuring.page import Page
from tfcompress.measuring.android.results import read_results
from tfcompress.measuring.benchmark import Benchmark, Benchmarks
from tfcompress.measuring.html_benchmark import write_html_benchmark

# Output of the app: a model measured completely, one stopped, one failed.
DEVICE = read_results(
    pathlib.Path(__file__).parents[2]
    / "android_demo/core/src/test/resources/result-1.json"
).runs
HOST = Benchmark(
    name="float.tflite", size_bytes=80_000, num_threads=1, runs=2000, warm_up=5,
    p50_ms=4.0, p90_ms=4.5, p99_ms=5.0, min_ms=3.0, init_ms=20.0,
    peak_memory_bytes=8_000_000, cpu="Example CPU",
)  # fmt: skip
SMALL = dataclasses.replace(HOST, name="int8.tflite", size_bytes=20_000, p50_ms=1.0)


def written(tmp_path, *rows, about=""):
    path = write_html_benchmark(tmp_path / "page.html", Benchmarks(rows, about))
    return Page(path.read_text("utf-8"))


def test_host_and_device_stand_in_one_table(tmp_path):
    page = written(tmp_path, HOST, SMALL, *DEVICE, about="Example Phone 7, Android 14")
    assert page.says("5 models on Example CPU and SoC 9000.")
    assert page.says("Device: Example Phone 7, Android 14.")
    assert page.tags.count("tr") == 1 + 5
    assert page.says("1 thread, 2,000 runs") and page.says("xnnpack, 4 threads, 5 runs")
    assert page.says("4.00 ms") and page.says("p90 4.50 ms")
    assert page.says("9.50 ms")
    assert page.says("12.2 ms") and page.says("20.0 ms")
    assert page.says("3.00 MB") and page.says("PSS 31.0 MB")
    assert page.says("52 of 53") and page.says("tfcompress 16")
    assert page.says(f"{351 / 360:.2%}") and page.says(f"{359 / 360:.2%}")
    assert page.says("broken on SoC 9000Failed in opening the model: not a model")


def test_ratios_are_to_the_first_in_the_same_place(tmp_path):
    faster = dataclasses.replace(
        DEVICE[0], name="faster", size_bytes=2560, samples_ms=(0.5,)
    )
    page = written(tmp_path, HOST, SMALL, DEVICE[0], faster)
    # 4 to 1 ms and 80 to 20 kB here, 1.5 to 0.5 ms and 5120 to 2560 bytes there.
    assert page.says("4.00× faster") and page.says("4.00× smaller")
    assert page.says("3.00× faster") and page.says("2.00× smaller")
    assert not page.says("slower") and not page.says("larger")


def test_columns_that_nothing_is_known_of_are_left_out(tmp_path):
    page = written(tmp_path, HOST, SMALL)
    assert page.says("not on a phone")
    for name in ("first run", "nodes delegated", "accuracy", "agreement"):
        assert f">{name}</th>" not in page.text
    assert not page.says("Not all was measured")
    page = written(tmp_path, HOST, DEVICE[0])
    for name in ("first run", "nodes delegated", "accuracy", "agreement"):
        assert f">{name}</th>" in page.text


def test_everything_given_is_escaped(tmp_path):
    evil = '<b>&"x"</b>'
    run = dataclasses.replace(
        DEVICE[2], name=evil, cpu=evil, delegated={evil: 1}, num_nodes=2, error=evil
    )
    page = written(tmp_path, run, about=evil)
    assert "b" not in page.tags
    # Place and delegate, error and device; in names lines may break at the slash.
    assert page.text.count("&lt;b&gt;&amp;&quot;x&quot;&lt;/b&gt;") == 6
    assert page.text.count("&lt;b&gt;&amp;&quot;x&quot;&lt;/<wbr>b&gt;") == 2


def test_nothing_measured(tmp_path):
    with pytest.raises(ValueError, match="no rows: measure at least one model"):
        written(tmp_path)


def test_a_path_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="nowhere"):
        write_html_benchmark(tmp_path / "nowhere" / "a.html", Benchmarks((HOST,)))
