import json
import zipfile

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.cli.main import run
from tfcompress.measuring.android import app_runner, driver, shell_runner
from tfcompress.measuring.android.adb import Adb, AdbError, Disconnected, TimedOut
from tfcompress.measuring.android.driver import benchmark_on_device
from tfcompress.measuring.android.output import parse
from tfcompress.measuring.android.plan import Plan
from tfcompress.measuring.android.results import read_results as results

ARM64, X86_64 = 183, 62


def elf(machine):
    """The beginning of a program or library, which is all that the driver reads."""
    return b"\x7fELF\x02\x01".ljust(18, b"\0") + machine.to_bytes(2, "little") + b"..."


@pytest.fixture
def tools(tmp_path):
    """`native` and `library` for an arm64 device."""
    folder = tmp_path / "native"
    (folder / "arm64-v8a").mkdir(parents=True)
    for name in ("runner", "libtfcompress.so"):
        (folder / "arm64-v8a" / name).write_bytes(elf(ARM64))
    library = tmp_path / "libtensorflowlite_jni.so"
    library.write_bytes(elf(ARM64))
    return {"native": folder, "library": library}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Three small files with different content."""
    folder, found = tmp_path_factory.mktemp("models"), {}
    for size, name in enumerate("abc", 3):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(size)])
        found[f"{name}.tflite"] = folder / f"{name}.tflite"
        tfc.export_tflite(model, found[f"{name}.tflite"])
    return found


def measure(models, tools, **options):
    return benchmark_on_device(Adb.connect(), models, **tools, **options)


def test_result(phone, models, tools, tmp_path):
    said = []
    plan = Plan("cpu", num_threads=2, warm_up=2, runs=5, seconds=0)
    document = measure(
        models, tools, plan=plan, results=tmp_path / "r", say=said.append
    )
    assert json.loads((tmp_path / "r/result.json").read_text()) == document
    assert [p.name for p in (tmp_path / "r").iterdir()] == ["result.json"]
    assert document["device"] == {
        "kind": "android",
        "name": "Acme Phone 8",
        "soc": "Acme S1",
        "system": "Android 14 (API 34)",
        "abi": "arm64-v8a",
        "num_cores": document["device"]["num_cores"],
        "memory_bytes": document["device"]["memory_bytes"],
    }
    assert document["device"]["num_cores"] >= 1
    assert document["device"]["memory_bytes"] > 2**20
    assert document["runtime"] == {
        "name": "TFLite",
        "version": "2.16.1",
        "runner": "shell",
    }
    assert document["plan"]["backend"] == "cpu"
    assert document["plan"]["num_threads"] == 2
    first = document["runs"][0]
    assert first["model"]["name"] == "a.tflite"
    assert first["model"]["size_bytes"] == models["a.tflite"].stat().st_size
    assert first["samples_ms"] == [1, 2, 3, 4, 5]
    health = {"thermal_status": 1, "battery_percent": 85, "battery_celsius": 28.7}
    # 2.5 to load, 10 of warm-up, 15 timed.
    assert first["conditions"] == [{"at_ms": 0} | health, {"at_ms": 27.5} | health]
    assert len(document["runs"]) == 3
    assert "2/3 b.tflite: running" in said
    assert phone.files == []


def test_all_options_reach_the_runner(phone, models, tools):
    plan = Plan("xnnpack", 3, warm_up=4, runs=6, seconds=1.5, timeout=77)
    measure(models, tools, plan=plan)
    calls = (phone.home / "calls").read_text()
    for option in (
        *("backend xnnpack", "threads 3", "warm-up 4", "runs 6", "seconds 1.5"),
        "timeout 77",
    ):
        assert f"--{option} " in calls.replace("\n", " ")


def test_old_versions_of_android_tell_no_heat(phone, models, tools):
    phone.script(old=True)
    (before, _) = measure(models, tools)["runs"][0]["conditions"]
    assert before == {
        "at_ms": 0,
        "thermal_status": None,
        "battery_percent": None,
        "battery_celsius": None,
    }


def test_no_adb(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AdbError, match="adb cannot be started .* apt install adb"):
        Adb.connect()


@pytest.mark.parametrize(
    ("devices", "serial", "message"),
    [
        ({}, None, "No device: adb lists none. Enable USB debugging"),
        ({}, "P8", "No device P8; adb lists none"),
        ({"A": "device"}, "P8", r"No device P8; adb lists A \(device\)"),
        (
            {"A": "device", "B": "offline"},
            None,
            r"Several devices: A \(device\), B \(offline\). Choose one with --serial",
        ),
        ({"A": "unauthorized"}, None, "A does not trust this computer .* accept"),
        ({"A": "offline"}, None, "A does not answer: plug it in again"),
        ({"A": "no permissions (user in plugdev); see [x]"}, "A", "A may not .* udev"),
        ({"A": "recovery"}, None, "the state 'recovery', expected 'device'"),
    ],
)
def test_devices_that_cannot_be_used(phone, devices, serial, message):
    phone.script(devices=devices)
    with pytest.raises(AdbError, match=message):
        Adb.connect(serial)


def test_one_of_several_devices(phone, monkeypatch):
    phone.script(devices={"A": "unauthorized", "B": "device"}, daemon=True)
    assert Adb.connect("B").serial == "B"
    monkeypatch.setenv("ANDROID_SERIAL", "B")
    assert Adb.connect().serial == "B"


def test_statuses_come_from_the_device(phone):
    adb = Adb.connect()
    assert adb.shell("echo out; exit 3 | true; (exit 3)") == (3, "out\n")
    with pytest.raises(AdbError, match=r"cannot run 'false' \(status 1\)"):
        adb.checked("false")


@pytest.mark.parametrize("happens", ["cut", "cut before the status"])
def test_a_cut_connection_keeps_what_is_done(phone, models, tools, tmp_path, happens):
    phone.script(runs=["works", happens])
    with pytest.raises(Disconnected) as raised:
        measure(models, tools, results=tmp_path / "r")
    message = str(raised.value)
    assert "The device P8 was disconnected" in message
    assert "Already measured: a.tflite. Repeat the command with --results" in message
    assert str(tmp_path / "r") in message
    assert "stay in /data/local/tmp/tfcompress-" in message
    assert [p.name for p in (tmp_path / "r").iterdir()] == ["unfinished.json"]
    assert phone.files != []

    phone.connect_again()
    phone.script()
    document = measure(models, tools, results=tmp_path / "r")
    names = [run["model"]["name"] for run in document["runs"]]
    assert names == ["a.tflite", "b.tflite", "c.tflite"]
    assert phone.num_runs == 4
    assert [p.name for p in (tmp_path / "r").iterdir()] == ["result.json"]
    assert phone.files == []


def test_cut_without_a_folder_for_results(phone, models, tools, monkeypatch, tmp_path):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(driver.tempfile, "tempdir", str(tmp_path / "scratch"))
    phone.script(runs=["cut"])
    with pytest.raises(Disconnected, match="No model was measured"):
        measure(models, tools)
    assert list((tmp_path / "scratch").iterdir()) == []
    phone.connect_again()
    phone.script(runs=["works", "works", "cut"])
    (phone.home / "count.runs").unlink()
    with pytest.raises(Disconnected, match=r"Already measured: a.tflite, b.tflite\."):
        measure(models, tools)
    (left,) = (tmp_path / "scratch").iterdir()
    phone.connect_again()
    phone.script()
    assert len(measure(models, tools, results=left)["runs"]) == 3
    assert phone.num_runs == 5


@pytest.mark.parametrize("name", ["runner", "libtensorflowlite_jni.so", "model.tflite"])
def test_cut_while_files_are_copied(phone, models, tools, name):
    phone.script(cut_push=name)
    with pytest.raises(Disconnected, match="disconnected: .* No model was measured"):
        measure(models, tools)


def test_a_bad_cable(phone, models, tools):
    phone.script(runs=["cut, still there"])
    with pytest.raises(AdbError, match="ended too soon: .* another cable"):
        measure(models, tools)
    assert phone.files == []


def test_a_full_device(phone, models, tools):
    phone.script(room=500)
    with pytest.raises(AdbError) as raised:
        measure(models, tools)
    size = models["a.tflite"].stat().st_size
    assert f"is full: model.tflite has {size:,} bytes, and df says" in str(raised.value)
    assert "99% /data" in str(raised.value)
    assert phone.files == []


@pytest.mark.parametrize(
    ("happens", "message"),
    [
        ("crashes", "the runner ended with status 139: .* Segmentation fault"),
        ("damaged", "the runner ended with status 0: .* damaged"),
        ("timeout", "longer than 600 seconds; allow more with --timeout"),
        ("half", "the device has 7 of its [0-9,]+ bytes"),
        ("the model cannot run.", "the model cannot run"),
    ],
)
def test_one_model_that_fails_leaves_the_others(phone, models, tools, happens, message):
    phone.script(runs=["works", happens, "works"])
    runs = measure(models, tools)["runs"]
    assert [run["error"] is None for run in runs] == [True, False, True]
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(runs[1]["error"])
    assert runs[1]["model"]["name"] == "b.tflite"
    assert phone.files == []


def test_failed_models_are_run_again(phone, models, tools, tmp_path):
    phone.script(runs=["crashes", "cut"])
    with pytest.raises(Disconnected):
        measure(models, tools, results=tmp_path / "r")
    phone.connect_again()
    phone.script()
    runs = measure(models, tools, results=tmp_path / "r")["runs"]
    assert [run["error"] for run in runs] == [None] * 3


def test_silence(phone, models, tools, monkeypatch):
    monkeypatch.setattr(shell_runner, "_PATIENCE", 1)
    phone.script(runs=["hangs"])
    with pytest.raises(TimedOut, match="did not answer within 2 seconds"):
        measure(models, tools, plan=Plan(timeout=1))
    assert phone.files == []


def test_interrupted_by_the_user(phone, models, tools, monkeypatch, tmp_path):
    said, play = [], shell_runner.ShellRunner.run

    def stop_at_second(self, *arguments):
        if phone.num_runs == 1:
            raise KeyboardInterrupt
        return play(self, *arguments)

    monkeypatch.setattr(shell_runner.ShellRunner, "run", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        measure(models, tools, results=tmp_path / "r", say=said.append)
    assert "Already measured: a.tflite. Repeat the command" in said[-1]
    assert phone.files == []


def test_what_is_unfinished_must_be_the_same(phone, models, tools, tmp_path):
    phone.script(runs=["works", "cut"])
    with pytest.raises(Disconnected):
        measure(models, tools, results=tmp_path / "r")
    phone.connect_again()
    before = (tmp_path / "r/unfinished.json").read_text()
    with pytest.raises(ValueError, match="has another plan. Delete it to start again"):
        measure(models, tools, plan=Plan(num_threads=4), results=tmp_path / "r")
    with pytest.raises(ValueError, match="has another runner. Delete it"):
        measure(models, tools, runner="app", results=tmp_path / "r")
    phone.script(version="2.17.0")
    with pytest.raises(ValueError, match=r"results of TFLite 2.16.1, and .* is 2.17.0"):
        measure(models, tools, results=tmp_path / "r")
    assert (tmp_path / "r/unfinished.json").read_text() == before
    (tmp_path / "r/unfinished.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a result of this command"):
        measure(models, tools, results=tmp_path / "r")


def test_equal_models_run_once(phone, models, tools):
    twice = {"one": models["a.tflite"], "two": models["a.tflite"]}
    runs = measure(twice, tools)["runs"]
    assert [run["model"]["name"] for run in runs] == ["one", "two"]
    assert phone.num_runs == 1


def test_accuracy_and_agreement(phone, models, tools):
    x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    with tfc.Interpreter(models["a.tflite"]) as interpreter:
        expected = interpreter.run(x)
    best = expected.argmax(axis=1)
    labels = np.array([best[0], best[1], (best[2] + 1) % 3, best[3]])
    device = expected.copy()
    device[0, (best[0] + 1) % 3] = expected[0].max() + 1  # another answer
    (phone.home / "outputs").write_bytes(device.tobytes())
    one = {"a.tflite": models["a.tflite"]}
    (found,) = measure(one, tools, data=(x, labels))["runs"]
    assert found["accuracy"] == {"examples": 4, "correct": 2}
    assert found["agreement"]["examples"] == 4
    assert found["agreement"]["same_top1"] == 3
    largest = np.abs(device.astype(float) - expected).max()
    assert found["agreement"]["max_error"] == pytest.approx(largest)
    assert found["agreement"]["mean_error"] == pytest.approx(largest / 12)
    one_hot = np.eye(3)[labels]
    (found,) = measure(one, tools, data=(x, one_hot))["runs"]
    assert found["accuracy"] == {"examples": 4, "correct": 2}
    (found,) = measure(one, tools, data=(x, None))["runs"]
    assert found["accuracy"] is None
    (phone.home / "outputs").write_bytes(device.tobytes()[:-4])
    (found,) = measure(one, tools, data=(x, labels))["runs"]
    assert found["error"] == "received 44 bytes of outputs, expected 4 times 12"


def test_data_that_do_not_fit(phone, models, tools):
    with pytest.raises(ValueError, match=r"expected \(batch, 4\)"):
        measure(models, tools, data=(np.zeros((2, 5), "float32"), None))
    with pytest.raises(ValueError, match="y has 3 labels, expected 2"):
        measure(models, tools, data=(np.zeros((2, 4), "float32"), np.zeros(3)))


def test_a_batch_is_filled_up(phone, tools, tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    tfc.export_tflite(model, tmp_path / "m.tflite", batch_size=3)
    x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    with tfc.Interpreter(tmp_path / "m.tflite") as interpreter:
        expected = interpreter.run(x[[0, 1, 2, 3, 3, 3]])
    (phone.home / "outputs").write_bytes(expected.tobytes())
    found = measure({"m": tmp_path / "m.tflite"}, tools, data=(x, None))["runs"][0]
    assert found["error"] is None
    assert found["agreement"]["examples"] == found["agreement"]["same_top1"] == 4
    assert found["agreement"]["max_error"] == 0


def test_files_for_the_device(phone, models, tools, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.*build_native.py --output"):
        measure(models, tools | {"native": tmp_path / "nowhere"})
    with pytest.raises(FileNotFoundError, match="TFLite's library is needed. Download"):
        measure(models, tools | {"library": None})
    with pytest.raises(FileNotFoundError, match="No file '.*none.aar'. Download"):
        measure(models, tools | {"library": tmp_path / "none.aar"})
    tools["library"].write_bytes(elf(X86_64))
    with pytest.raises(
        ValueError, match="is for x86_64, but this device needs arm64-v8a"
    ):
        measure(models, tools)
    tools["library"].write_text("hello, this is no library")
    with pytest.raises(ValueError, match="is for no device"):
        measure(models, tools)
    archive = tmp_path / "tflite.aar"
    for abi, fits in (("x86_64", False), ("arm64-v8a", True)):
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(f"jni/{abi}/libtensorflowlite_jni.so", elf(ARM64))
        if fits:
            assert len(measure(models, tools | {"library": archive})["runs"]) == 3
        else:
            with pytest.raises(
                ValueError, match=r"has no jni/arm64.*it has jni/x86_64"
            ):
                measure(models, tools | {"library": archive})


@pytest.fixture
def in_app(phone, models, monkeypatch):
    """A function that runs the models in the simulated app."""
    monkeypatch.setattr(app_runner, "_PAUSE", 0.01)
    monkeypatch.setattr(app_runner, "_START", 0)

    def function(**options):
        return benchmark_on_device(Adb.connect(), models, runner="app", **options)

    return function


def test_the_app(phone, in_app, tmp_path):
    plan = Plan("nnapi", 2, warm_up=3, runs=4, seconds=0.5)
    document = in_app(plan=plan, results=tmp_path / "r")
    assert document["runtime"] == {
        "name": "TFLite",
        "version": "1.4.2",
        "runner": "app",
    }
    assert [run["model"]["name"] for run in document["runs"]] == [
        *("a.tflite", "b.tflite", "c.tflite"),
    ]
    assert document["runs"][0]["samples_ms"] == [1, 2, 3, 4, 5]
    assert document["plan"]["backend"] == "nnapi"
    assert phone.files == []
    found = results((tmp_path / "r/result.json").read_text())
    assert [run.p50_ms for run in found.runs] == [3, 3, 3]


def test_data_for_the_app(phone, in_app, models):
    x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    in_app(data=(x, np.eye(3)[[2, 0, 1, 1]]))
    data, reference = (np.load(phone.home / f"{n}.npz") for n in ("data", "reference"))
    np.testing.assert_array_equal(data["x"], x)
    assert data["x"].dtype == np.float32
    np.testing.assert_array_equal(data["y"], np.array([2, 0, 1, 1], "int32"))
    assert data["y"].dtype == np.int32
    with tfc.Interpreter(models["c.tflite"]) as interpreter:
        np.testing.assert_array_equal(reference["outputs"], interpreter.run(x))
    assert reference["outputs"].dtype == np.float32


def test_the_app_is_not_there(phone, in_app):
    phone.script(no_app=True)
    with pytest.raises(AdbError, match="is not installed on P8. Build and install it"):
        in_app()
    phone.script(runs=["is another app"])
    with pytest.raises(AdbError, match="The app does not start: .* does not exist"):
        in_app()
    assert phone.files == []


@pytest.mark.parametrize(
    ("happens", "message"),
    [
        ("GPU is not offered.", "GPU is not offered."),
        ("dies", "the app ended without a result; 'adb logcat -d -b crash' shows why"),
        ("sleeps", "longer than 1 seconds; unlock the device, or allow more"),
    ],
)
def test_errors_in_the_app(phone, in_app, happens, message):
    phone.script(runs=["works", happens, "works"])
    runs = in_app(plan=Plan(timeout=1))["runs"]
    assert [run["error"] is None for run in runs] == [True, False, True]
    assert message in runs[1]["error"]
    stopped = "am force-stop" in (phone.home / "calls").read_text()
    assert stopped == (happens == "sleeps")
    assert phone.files == []


def test_damaged_result_of_the_app(phone, in_app):
    phone.script(runs=["damaged"])
    with pytest.raises(AdbError, match="The result arrived with .* Repeat the command"):
        in_app()


def test_cut_while_the_app_runs(phone, in_app, tmp_path):
    phone.script(runs=["works", "cut"])
    with pytest.raises(Disconnected, match=r"Already measured: a.tflite\."):
        in_app(results=tmp_path / "r")
    phone.connect_again()
    phone.script()
    runs = in_app(results=tmp_path / "r")["runs"]
    assert [run["error"] for run in runs] == [None] * 3
    assert phone.files == []


def test_command(phone, models, tools, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--native", str(tools["native"]), "--library", str(tools["library"])]
    paths = [str(path) for path in models.values()]
    assert run(["benchmark", *paths, "--device", "android", *flags, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows] == list(models)
    assert [row["median_ms"] for row in rows] == [3, 3, 3]
    assert [row["peak_memory_bytes"] for row in rows] == [8000] * 3
    phone.script(runs=["crashes", "works"])
    (phone.home / "count.runs").unlink()
    short = ["--runs", "3", "--seconds", "0", "--html", "page.html"]
    assert run(["benchmark", *paths[:2], "--device", "both", *flags, *short]) == 0
    text = capsys.readouterr().out
    assert text.count("a.tflite") == 3  # host, device, error
    assert text.count("b.tflite") == 2
    assert "3.000 ms" in text
    assert "a.tflite: the runner ended with status 139" in text
    assert "Acme Phone 8, Android 14 (API 34), TFLite 2.16.1, xnnpack" in text
    page = (tmp_path / "page.html").read_text()
    assert page.count('<tr role="row" class="') == 4
    assert "the runner ended with status 139" in page and "3.00 ms" in page


def test_command_runs_keras_models_and_data(
    phone, tools, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.save("m.keras")
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    y = model.predict(x, verbose=0)
    np.savez("eval.npz", x_test=x, y_test=y.argmax(axis=1))
    (phone.home / "outputs").write_bytes(y.tobytes())
    flags = ["--native", str(tools["native"]), "--library", str(tools["library"])]
    data = ["--data", "eval.npz", "--results", "r"]
    assert run(["benchmark", "m.keras", "--device", "android", *flags, *data]) == 0
    captured = capsys.readouterr()
    assert "m.keras" in captured.out
    assert captured.out.count("100.00%") == 2
    assert "1/1 m.keras: running" in captured.err
    assert (tmp_path / "r/result.json").is_file()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--device", "android", "--backend", "gpu"],
            "--backend gpu is for --runner app",
        ),
        (["--data", "eval.npz"], "are for --device android"),
        (
            ["--device", "android", "--serial", "X"],
            "No device X; adb lists P8 (device)",
        ),
        (["--device", "android", "--native", "none"], "build_native.py"),
    ],
)
def test_errors_are_one_clear_line(phone, models, capsys, flags, message):
    assert run(["benchmark", str(models["a.tflite"]), *flags]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tfcompress: error: ")
    assert message in line


def test_output_of_the_runner():
    line = '{"error": null}'
    # FNV-1a as printed by another implementation.
    whole = f"{line}\nend 15 {fnv1a_by_hand(line):016x}\n"
    assert parse(whole) == {"error": None}
    assert parse(f"noise\r\n{whole}\nmore".replace("\n", "\r\n")) == {"error": None}
    for broken in (
        "",
        line,
        whole.replace("end 15", "end 16"),
        whole.replace("null", "true"),
        whole[:-3],
        whole.split("\n", 1)[1],
    ):
        with pytest.raises(ValueError, match="output of the runner"):
            parse(broken)


def fnv1a_by_hand(text):
    value = 14695981039346656037
    for byte in text.encode():
        value = ((value ^ byte) * 1099511628211) & (2**64 - 1)
    return value
