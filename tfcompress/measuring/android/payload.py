"""Files for a device in addition to models: runner, delegate, TFLite's library."""

import dataclasses
import pathlib
import zipfile

LIBRARY = "libtensorflowlite_jni.so"
_MACHINES = {62: "x86_64", 183: "arm64-v8a", 40: "armeabi-v7a", 3: "x86"}
_GET_LIBRARY = (
    "Download TFLite's archive for Android from Maven Central "
    "(org.tensorflow:tensorflow-lite:2.16.1, an .aar) and pass it: --library "
    "tensorflow-lite-2.16.1.aar."
)


@dataclasses.dataclass(frozen=True)
class Payload:
    """Files on this machine."""

    runner: pathlib.Path
    delegate: pathlib.Path
    library: pathlib.Path


def find_payload(abi, native, library, folder):
    """The files for a device.

    Args:
        abi: ABI of the device.
        native: folder written by `build_native`.
        library: TFLite's library for that ABI, or an archive (`.aar`) with it; None if it
            is in `native`.
        folder: folder for unpacked files.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if a file is for another device.
    """
    runner, delegate = (
        _built(pathlib.Path(native) / abi / name, abi)
        for name in ("runner", "libtfcompress.so")
    )
    if library is None:
        path = runner.with_name(LIBRARY)
        if not path.is_file():
            raise FileNotFoundError(f"TFLite's library is needed. {_GET_LIBRARY}")
    else:
        path = pathlib.Path(library)
        if not path.is_file():
            raise FileNotFoundError(f"No file '{path}'. {_GET_LIBRARY}")
    if zipfile.is_zipfile(path):
        path = _unpacked(path, abi, pathlib.Path(folder))
    _check_machine(path, abi)
    return Payload(runner, delegate, path)


def _built(path, abi):
    if not path.is_file():
        raise FileNotFoundError(
            f"No file '{path}' for this device ({abi}). Build it: python "
            "android_demo/tools/build_native.py --output FOLDER (pip install "
            "ziglang==0.17.1), or with the NDK as in android_demo/native/README.md, "
            "and pass --native FOLDER."
        )
    _check_machine(path, abi)
    return path


def _unpacked(archive, abi, folder):
    name = f"jni/{abi}/{LIBRARY}"
    with zipfile.ZipFile(archive) as opened:
        if name not in opened.namelist():
            held = sorted(n for n in opened.namelist() if n.startswith("jni/"))
            raise ValueError(
                f"{archive} has no {name}, which this device needs; it has "
                f"{', '.join(held) or 'no libraries'}. {_GET_LIBRARY}"
            )
        path = folder / LIBRARY
        path.write_bytes(opened.read(name))
    return path


def _check_machine(path, abi):
    with open(path, "rb") as file:
        head = file.read(20)
    found = _MACHINES.get(int.from_bytes(head[18:20], "little"), "something else")
    if head[:4] != b"\x7fELF":
        found = "no device (it is not an ELF file)"
    if found != abi:
        raise ValueError(
            f"{path} is for {found}, but this device needs {abi}. Pass a file built for "
            "it."
        )
