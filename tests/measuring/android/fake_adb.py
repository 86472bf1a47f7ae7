"""Stands for the program adb, with a folder as the device: `$FAKE_ADB`.

`script.json` there says how it behaves, each call is a line of `calls`. Commands are run by
this machine's shell, with /data/local/tmp in the folder; the runner is played.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

HOME = pathlib.Path(os.environ["FAKE_ADB"])
SCRIPT = json.loads((HOME / "script.json").read_text())
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
    return text.replace("/data/local/tmp", str(HOME / "tmp"))


def disconnect():
    """Nothing is listed from now on, as long as nobody connects it again."""
    (HOME / "gone").touch()


def run_again(name):
    """How often something happened before."""
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
    """The output and the status of the runner; `script["runs"]` says what happens."""
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


def shell(command):
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
