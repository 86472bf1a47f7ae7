"""A phone simulated by fake_adb.py."""

import json
import pathlib
import sys

FAKE = pathlib.Path(__file__).with_name("fake_adb.py")


class Phone:
    """A simulated device.

    Attributes:
        home: the folder that is the device.
        programs: the folder with `adb`.
    """

    def __init__(self, home):
        self.home = home
        self.programs = home / "programs"
        (home / "tmp").mkdir(parents=True)
        self.programs.mkdir()
        adb = self.programs / "adb"
        adb.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S {FAKE} "$@"\n')
        adb.chmod(0o755)
        self.script(devices={"P8": "device"})

    def script(self, **script):
        (self.home / "script.json").write_text(
            json.dumps({"devices": {"P8": "device"}} | script)
        )

    def connect_again(self):
        (self.home / "gone").unlink()

    @property
    def files(self):
        places = (self.home / "tmp").rglob("*"), self.home.glob("sdcard/*/*/*/*/*")
        return sorted(path.name for place in places for path in place)

    @property
    def num_runs(self):
        calls = (self.home / "calls").read_text()
        return calls.count("./runner --library")
