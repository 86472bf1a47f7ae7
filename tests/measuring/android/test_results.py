import json
import pathlib

import numpy as np
import pytest

from tfcompress.measuring.android.results import read_results, results
from tfcompress.measuring.benchmark import Benchmark

CORE = pathlib.Path(__file__).parents[3] / "android_demo/core/src"
# The tests of the app check that it writes exactly this.
GOLDEN = CORE / "test/resources/result-1.json"
SCHEMA = CORE / "main/resources/result.schema.json"


@pytest.fixture
def content():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_reads_what_the_app_writes():
    result = read_results(GOLDEN)
    assert result.started_at == "2026-11-28T20:01:24Z"
    assert result.device == "Example Phone 7"
    assert result.system == "Android 14 (API 34)"
    assert result.runtime == "LiteRT 1.4.2"
    assert result.runner == "app"
    run = result.runs[0]
    assert run.name == 'digits int8, "small"'
    assert run.sha256 == "a" * 64
    assert run.size_bytes == 5120
    assert (run.backend, run.num_threads, run.warm_up) == ("xnnpack", 4, 2)
    assert run.cpu == "SoC 9000"
    assert run.samples_ms == (1.5, 1.0, 1.25, 1.75, 4.5)
    assert (run.init_ms, run.first_ms) == (12.25, 9.5)
    assert run.peak_memory_bytes == 3_000_000
    assert run.pss_bytes == 31_000_000
    assert run.num_nodes == 53
    assert run.delegated == {"tfcompress": 16, "XNNPACK": 36}
    assert run.accuracy == 351 / 360
    assert run.same_top1 == 359 / 360
    assert (run.max_error, run.mean_error) == (0.0625, 0.001)
    assert (run.cancelled, run.error) == (False, None)


def test_figures_follow_from_the_samples():
    # Sorted 1 1.25 1.5 1.75 4.5: ranks of 90, 95 and 99 % are 3.6, 3.8 and 3.96.
    run = read_results(GOLDEN).runs[0]
    assert run.runs == 5
    assert run.median_ms == run.p50_ms == 1.5
    assert (run.min_ms, run.max_ms) == (1.0, 4.5)
    np.testing.assert_allclose(
        [run.p90_ms, run.p95_ms, run.p99_ms],
        [1.75 + 0.6 * 2.75, 1.75 + 0.8 * 2.75, 1.75 + 0.96 * 2.75],
        rtol=1e-15,
    )


def test_a_stopped_run_keeps_its_samples():
    run = read_results(GOLDEN).runs[1]
    assert run.name == "übung"
    assert run.cancelled
    assert run.error == "Cancelled in the timed runs, after 2 timed runs."
    assert run.median_ms == 2.0625
    assert run.peak_memory_bytes is None
    assert run.delegated == {}


def test_a_failed_run_has_no_figures():
    run = read_results(GOLDEN).runs[2]
    assert run.error == "Failed in opening the model: not a model"
    assert not run.cancelled
    assert run.runs == 0
    assert run.median_ms is run.p99_ms is run.min_ms is run.init_ms is None
    assert run.accuracy is run.same_top1 is None


def test_figures_have_the_names_of_a_benchmark():
    names = json.loads(read_results(GOLDEN).runs[0].to_json())
    missing = {field for field in Benchmark.__dataclass_fields__ if field not in names}
    assert not missing
    assert "median_ms" in names


def test_text_is_read_like_a_file():
    assert read_results(GOLDEN.read_text(encoding="utf-8")) == read_results(str(GOLDEN))


def test_what_a_runner_may_leave_out(content):
    content["device"].pop("soc")
    run = content["runs"][0]
    content["runs"] = [{key: run[key] for key in ("model", "samples_ms", "error")}]
    read = results(content).runs[0]
    assert read.cpu == "Example Phone 7"
    assert read.init_ms is read.peak_memory_bytes is read.num_nodes is None
    assert read.median_ms == 1.5


def changed(content, path, value):
    *parents, last = path
    for key in parents:
        content = content[key]
    if value is ...:
        del content[last]
    else:
        content[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "x", "result.format must be 'tfcompress-benchmark'; got 'x'."),
        (
            ["version"],
            2,
            "result.version must be 1; use the app of the same release; got 2.",
        ),
        (
            ["started_at"],
            "2026-11-28",
            "result.started_at must be a date such as 2026-11-28T20:01:24Z; "
            "got '2026-11-28'.",
        ),
        (["device"], ..., "result.device must be an object; it is missing."),
        (["device"], [], "result.device must be an object; got []."),
        (["device", "name"], 7, "result.device.name must be text; got 7."),
        (
            ["device", "num_cores"],
            0,
            "result.device.num_cores must be a whole number of at least 1; got 0.",
        ),
        (
            ["runtime", "runner"],
            "hand",
            "result.runtime.runner must be 'app' or 'shell' or 'python'; got 'hand'.",
        ),
        (
            ["plan", "num_threads"],
            True,
            "result.plan.num_threads must be a whole number of at least 1; got True.",
        ),
        (["plan", "seconds"], "1", "result.plan.seconds must be a number; got '1'."),
        (["runs"], {}, "result.runs must be a list; got {}."),
        (["runs", 1], None, "result.runs[1] must be an object; got None."),
        (
            ["runs", 0, "samples_ms"],
            ...,
            "result.runs[0].samples_ms must be a list; it is missing.",
        ),
        (
            ["runs", 0, "samples_ms", 1],
            None,
            "result.runs[0].samples_ms must be a list of numbers; "
            "got [1.5, None, 1.25, 1.75, 4.5].",
        ),
        (
            ["runs", 2, "model", "sha256"],
            "C" * 4,
            "result.runs[2].model.sha256 must be 64 hexadecimal digits in lower case; "
            "got 'CCCC'.",
        ),
        (
            ["runs", 0, "accuracy", "correct"],
            361,
            "result.runs[0].accuracy.correct must be at most the number of examples, 360; "
            "got 361.",
        ),
        (
            ["runs", 0, "nodes", "delegated", "XNNPACK"],
            "all",
            "result.runs[0].nodes.delegated.XNNPACK must be a whole number of at least 0; "
            "got 'all'.",
        ),
        (
            ["runs", 0, "cancelled"],
            "no",
            "result.runs[0].cancelled must be true or false; got 'no'.",
        ),
    ],
)
def test_refuses_what_is_wrong(content, path, value, message):
    changed(content, path, value)
    with pytest.raises(ValueError) as error:
        results(content)
    assert str(error.value) == message


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "cut.json"
    path.write_bytes(GOLDEN.read_bytes()[:1000])
    with pytest.raises(
        ValueError, match="cut.json' cannot be read: it is not JSON, or is truncated"
    ):
        read_results(path)
    with pytest.raises(FileNotFoundError, match="none.json"):
        read_results(tmp_path / "none.json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "1" + "0" * 400])
def test_refuses_numbers_that_json_lacks(number):
    text = GOLDEN.read_text(encoding="utf-8").replace("12.25", number, 1)
    with pytest.raises(
        ValueError, match=r"JSON has no number|init_ms must be a number"
    ):
        read_results(text)


def test_refuses_what_is_nested_too_deep():
    with pytest.raises(ValueError, match="nested too deep"):
        read_results('{"a":' + "[" * 200_000)


def problems(value, schema, root, place="result"):
    """Violations of a schema, for the parts of JSON Schema that it uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "const" in schema and value != schema["const"]:
        return [f"{place} is not {schema['const']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{place} is none of {schema['enum']}"]
    names = schema.get("type", [])
    if names and not any(is_type(value, name) for name in np.atleast_1d(names)):
        return [f"{place} is no {names}"]
    if is_type(value, "number") and value < schema.get("minimum", value):
        return [f"{place} is below {schema['minimum']}"]
    found = []
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            found += problems(item, schema["items"], root, f"{place}[{index}]")
    if isinstance(value, dict):
        found += [
            f"{place} lacks {key}"
            for key in schema.get("required", [])
            if key not in value
        ]
        known = schema.get("properties", {})
        for key, item in value.items():
            other = schema.get("additionalProperties", {})
            if key not in known and other is False:
                found.append(f"{place} has {key}")
            elif key in known or other:
                found += problems(item, known.get(key, other), root, f"{place}.{key}")
    return found


def is_type(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    types = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "null": type(None),
        "boolean": bool,
    }
    return isinstance(value, types[name])


def test_what_the_app_writes_follows_the_schema(content):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert problems(content, schema, schema) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["version"], 2, "result.version is not 1"),
        (["more"], 1, "result has more"),
        (["device", "num_cores"], 0, "result.device.num_cores is below 1"),
        (["plan", "backend"], "tpu", "result.plan.backend is none of"),
        (["runs", 1, "error"], ..., "result.runs[1] lacks error"),
        (
            ["runs", 0, "samples_ms", 0],
            "1",
            "result.runs[0].samples_ms[0] is no number",
        ),
        (["runs", 0, "nodes", "delegated", "a"], 1.5, "delegated.a is no integer"),
    ],
)
def test_the_schema_tells_what_is_wrong(content, path, value, problem):
    changed(content, path, value)
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    (found,) = problems(content, schema, schema)
    assert problem in found
