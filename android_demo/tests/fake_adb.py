"""Replaces the program adb, with a folder as the device: `$FAKE_ADB`.

`script.json` there controls its behaviour, and each call is a line in `calls`. Commands are
run by this machine's shell, with /data/local/tmp in the folder; the runner is faked.
"""

import hashlib
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

HOME = pathlib.Path(os.environ.get("FAKE_ADB", "."))
SCRIPT = {}
PROPERTIES = {
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.manufacturer": "Acme",
    "ro.product.model": "Phone 8",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.soc.manufacturer": "Acme",
    "ro.soc.model": "S1",
    "ro.board.platform": "board",
}
HEALTH = """IsStatusOverride: false
Thermal Status: 1
Cached temperatures:

Current Battery Service state:
  AC powered: false
  level: 85
  temperature: 287
"""


def here(text):
    text = text.replace("/data/local/tmp", str(HOME / "tmp"))
    return text.replace("/sdcard", str(HOME / "sdcard"))


def disconnect():
    """Nothing is listed from now on, until it is connected again."""
    (HOME / "gone").touch()


def run_again(name):
    """How often this was called before."""
    path = HOME / f"count.{name}"
    count = int(path.read_text()) if path.exists() else 0
    path.write_text(str(count + 1))
    return count


def fnv1a(content):
    value = 0xCBF29CE484222325
    for byte in content:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def result(size_bytes, error=None):
    run = {
        "runtime_version": SCRIPT.get("version", "2.16.1"),
        "model": {"size_bytes": size_bytes},
        "init_ms": 2.5,
        "memory": {"before_bytes": 1000, "after_bytes": 5000, "peak_bytes": 9000},
        "nodes": {"total": 5, "delegated": {"tfcompress": 1, "xnnpack": 4}},
        "first_ms": 7.0,
        "warm_up_ms": [7.0, 3.0],
        "samples_ms": [] if error else [1.0, 2.0, 3.0, 4.0, 5.0],
        "error": error,
    }
    line = json.dumps(run)
    return f"{line}\nend {len(line)} {fnv1a(line.encode()):016x}\n"


def play_runner(command):
    """The output and the status of the runner, as set in `script["runs"]`."""
    words = command.split()
    option = {name: here(words[i + 1]) for i, name in enumerate(words[:-1])}
    number = run_again("runs")
    happens = (SCRIPT.get("runs") or ["works"])[number % len(SCRIPT.get("runs", [0]))]
    output = result(os.path.getsize(option["--model"]))
    if happens == "works":
        if "--output" in option:
            shutil.copy(HOME / "outputs", option["--output"])
        return output, 0
    if happens == "cut":
        disconnect()
        return output[: len(output) // 2], None
    if happens == "cut before the status":
        disconnect()
        return output, None
    if happens == "cut, still there":
        return output[: len(output) // 2], None
    if happens == "damaged":
        return output.replace("2.5", "2.4"), 0
    if happens == "crashes":
        return "Segmentation fault\n", 139
    if happens == "timeout":
        return "Alarm clock\n", 142
    if happens == "half":
        return result(7), 0
    if happens == "hangs":
        time.sleep(60)
    return result(os.path.getsize(option["--model"]), happens), 1


def play_app(command):
    """What the app does when it is started, as set in `script["runs"]`."""
    words = shlex.split(command.splitlines()[0])
    folder = HOME / "sdcard/Android/data/org.tfcompress.benchmark/files"
    folder /= words[words.index("folder") + 1]
    plan = json.loads(words[words.index("plan") + 1])
    number = run_again("runs")
    happens = (SCRIPT.get("runs") or ["works"])[number % len(SCRIPT.get("runs", [0]))]
    print("Starting: Intent { cmp=org.tfcompress.benchmark/.RunActivity }")
    if happens == "in the real app":
        intent = {"folder": folder.name, "plan": json.dumps(plan)}
        (HOME / "intent.new").write_text(json.dumps(intent))
        (HOME / "intent.new").rename(HOME / "intent.json")
        return
    if happens == "is another app":
        print("Error: Activity class does not exist.")
        return
    (HOME / "dead").unlink(missing_ok=True)
    (model,) = json.loads((folder / "manifest.json").read_text())["models"]
    for file in (model, model.get("data"), model.get("reference")):
        if file:
            content = (folder / file["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == file["sha256"]
            shutil.copy(folder / file["file"], HOME)
    if happens == "dies":
        (HOME / "dead").touch()
        return
    if happens == "sleeps":
        return
    if happens not in ("works", "damaged", "cut"):
        (folder / "done").write_text(json.dumps({"error": happens}))
        return
    run = json.loads(result(0).splitlines()[0])
    run["model"] = {key: model[key] for key in ("name", "sha256", "size_bytes")}
    device = {
        "kind": "android",
        "name": "Acme Phone 8",
        "soc": None,
        "system": "Android 14",
    }
    document = {
        "format": "tfcompress-benchmark",
        "version": 1,
        "started_at": "2026-11-28T20:01:24Z",
        "device": device | {"abi": "arm64-v8a", "num_cores": 8},
        "runtime": {"name": "LiteRT", "version": "1.4.2", "runner": "app"},
        "plan": plan,
        "runs": [run],
    }
    content = json.dumps(document).encode()
    end = {"error": None, "sha256": hashlib.sha256(content).hexdigest()}
    end["size_bytes"] = len(content)
    if happens == "damaged":
        content = content[:-1]
    (folder / "result.json").write_bytes(content)
    (folder / "done").write_text(json.dumps(end))
    if happens == "cut":
        disconnect()


def shell(command):
    if command.startswith("am start"):
        play_app(command)
        command = command.partition("\n")[2]
    if "./runner" in command:
        output, status = play_runner(command)
        sys.stdout.write(f"WARNING: linker: no matter\n{output}")
        if status is not None:
            print(f"\ntfcompress-status {status}")
        return 0
    bin_folder = HOME / "bin"
    bin_folder.mkdir(exist_ok=True)
    programs = {
        "getprop": "case $1 in "
        + " ".join(f"{k}) echo '{v}';;" for k, v in PROPERTIES.items())
        + " esac",
        "pm": "true" if SCRIPT.get("no_app") else "echo package:/data/app/x.apk",
        "am": "true",
        "pidof": f"test ! -e {HOME}/dead",
        "dumpsys": "true" if SCRIPT.get("old") else f"cat <<'E'\n{HEALTH}E",
        "df": "echo Filesystem; echo /dev/block/dm-5 100 99 1 99% /data",
    }
    for name, text in programs.items():
        (bin_folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{bin_folder}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", here(command)], env=environment)
    return done.returncode


def push(source, target):
    if os.path.getsize(source) > SCRIPT.get("room", 1e9):
        print(f"adb: error: failed to copy '{source}' to '{target}': remote write failed: "
              "No space left on device", file=sys.stderr)  # fmt: skip
        return 1
    if SCRIPT.get("cut_push") == pathlib.Path(target).name:
        disconnect()
        print("adb: error: failed to read copy response", file=sys.stderr)
        return 1
    shutil.copy(source, here(target))
    print(f"{source}: 1 file pushed")
    return 0


def main(arguments):
    SCRIPT.update(json.loads((HOME / "script.json").read_text()))
    with (HOME / "calls").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    devices = {} if (HOME / "gone").exists() else SCRIPT["devices"]
    if arguments == ["devices"]:
        if SCRIPT.get("daemon"):
            print("* daemon not running; starting now at tcp:5037")
        print("List of devices attached")
        for serial, state in devices.items():
            print(f"{serial}\t{state}")
        print()
        return 0
    _, serial, action, *rest = arguments
    if serial not in devices:
        print(f"adb: device '{serial}' not found", file=sys.stderr)
        return 1
    if action == "shell":
        return shell(*rest)
    if action == "push":
        return push(*rest)
    shutil.copy(here(rest[0]), rest[1])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
