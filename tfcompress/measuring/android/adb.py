"""One device, through the program `adb` of Android's platform tools."""

import contextlib
import os
import subprocess

_END = "tfcompress-status"
_STATES = {
    "unauthorized": "does not trust this computer yet: unlock it and accept its prompt "
    "about USB debugging (if there is none, revoke the authorizations in its developer "
    "options and plug it in again)",
    "offline": "does not answer: plug it in again, or run 'adb reconnect offline'",
    "no permissions": "may not be used by this user: install udev rules for it (Debian: "
    "apt install android-sdk-platform-tools-common) and run 'adb kill-server'",
}


class AdbError(RuntimeError):
    """What adb could not do, and how to fix it."""


class Disconnected(AdbError):
    """The device is no longer connected."""


class TimedOut(AdbError):
    """The device does not respond; it may be connected or not."""


class Adb:
    """A connected device that is ready.

    Args:
        serial: serial number of the device, as listed by `adb devices`.
    """

    def __init__(self, serial):
        self.serial = serial

    @classmethod
    def connect(cls, serial=None):
        """The device with this serial number, that of `ANDROID_SERIAL`, or the only one.

        Raises:
            AdbError: if there is no adb, no such device or none that is ready, or if there
                are several to choose from.
        """
        serial = serial or os.environ.get("ANDROID_SERIAL")
        states = _states()
        listed = ", ".join(f"{name} ({state})" for name, state in states.items())
        if serial and serial not in states:
            raise AdbError(
                f"No device {serial}; adb lists {listed or 'none'}. Connect it, and check "
                "that 'adb devices' shows it."
            )
        if not states:
            raise AdbError(
                "No device: adb lists none. Enable USB debugging in its developer "
                "options, connect it, and check that 'adb devices' shows it."
            )
        if not serial and len(states) > 1:
            raise AdbError(f"Several devices: {listed}. Choose one with --serial.")
        serial = serial or next(iter(states))
        if states[serial] != "device":
            raise AdbError(f"The device {serial} {_advice(states[serial])}.")
        return cls(serial)

    def shell(self, command, timeout=60):
        """`(status, output)` of a command on the device.

        The status of adb itself is 0 if the connection is cut, so the status of the command
        is printed after its output, and is missing if any output is.

        Raises:
            Disconnected: if the device is gone.
            TimedOut: if it takes longer than `timeout` seconds.
            AdbError: if the output is incomplete.
        """
        ended = f"{command}\ns=$?; echo; echo {_END} $s"
        done = self._run("shell", ended, timeout=timeout)
        output, _, status = done.stdout.rpartition(_END)
        if status.strip().isdigit():
            return int(status), output.removesuffix("\n").removesuffix("\r\n")
        self._check_there(done)
        raise AdbError(
            f"The output of the device {self.serial} ended too soon: {_said(done)}. Try "
            "another cable or port."
        )

    def checked(self, command, timeout=60):
        """The output of a command on the device, which has to succeed.

        Raises:
            AdbError: if it fails, and as for `shell`.
        """
        status, output = self.shell(command, timeout)
        if status:
            raise AdbError(
                f"The device {self.serial} cannot run '{command}' (status {status}): "
                f"{' '.join(output.split()) or 'it printed nothing'}."
            )
        return output

    def push(self, source, target, timeout=600):
        """Copies a file to the device.

        Raises:
            AdbError: if it does not fit, and as for `shell`.
        """
        done = self._run("push", str(source), target, timeout=timeout)
        if not done.returncode:
            return
        said = _said(done)
        if "No space left" in said:
            free = self.checked(f"df {os.path.dirname(target)} | tail -n 1").split()
            raise AdbError(
                f"The device {self.serial} is full: {os.path.basename(source)} has "
                f"{os.path.getsize(source):,} bytes, and df says '{' '.join(free)}'. "
                "Free some space and repeat the command."
            )
        self._check_there(done)
        raise AdbError(f"{source} cannot be copied to {self.serial}: {said}.")

    def pull(self, source, target, timeout=600):
        """Copies a file from the device.

        Raises:
            AdbError: if it does not exist, and as for `shell`.
        """
        done = self._run("pull", source, str(target), timeout=timeout)
        if not done.returncode:
            return
        self._check_there(done)
        raise AdbError(f"{source} cannot be copied from {self.serial}: {_said(done)}.")

    def _run(self, *arguments, timeout):
        try:
            return _adb("-s", self.serial, *arguments, timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise TimedOut(
                f"The device {self.serial} did not answer within {timeout:g} seconds "
                f"(adb {arguments[0]}). Wake it and plug it in again; if that does not "
                "help, run 'adb kill-server'."
            ) from error

    def _check_there(self, done):
        """Raises `Disconnected` if something failed because the device is gone."""
        with contextlib.suppress(AdbError, subprocess.TimeoutExpired):
            if _states().get(self.serial) == "device":
                return
        raise Disconnected(f"The device {self.serial} was disconnected: {_said(done)}.")


def _adb(*arguments, timeout):
    try:
        return subprocess.run(
            ["adb", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
    except OSError as error:
        raise AdbError(
            f"The program adb cannot be started ({error.strerror}): install Android's "
            "platform tools (Debian: apt install adb) and check that adb is on PATH."
        ) from error


def _states():
    """`{serial: state}` of the connected devices."""
    try:
        done = _adb("devices", timeout=60)
    except subprocess.TimeoutExpired as error:
        raise AdbError(
            "adb did not list devices within 60 seconds. Run 'adb kill-server'."
        ) from error
    if done.returncode:
        raise AdbError(f"adb cannot list devices: {_said(done)}.")
    lines = [line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line]
    return {serial: state.strip() for serial, state in lines}


def _advice(state):
    for beginning, advice in _STATES.items():
        if state.startswith(beginning):
            return advice
    return f"is in the state '{state}', expected 'device': let it start Android"


def _said(done):
    """The end of what adb printed."""
    words = " ".join((done.stderr or done.stdout).split())[-300:]
    return words.rstrip(".") or "adb printed nothing"
