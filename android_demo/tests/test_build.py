"""What the build refuses, and the facts it reads from files for this."""

import build_native
import elf
import pytest


def test_built_files(arm64, x86_64):
    for machine, processor in ((arm64, "aarch64"), (x86_64, "x86_64")):
        for name in ("runner", "run_cascade", "libtfcompress.so"):
            facts = elf.read(machine.built / name)
            assert facts.processor == processor
            assert facts.page_sizes == {16384}
            assert set(facts.needed) <= {"libc.so", "libm.so", "libdl.so"}
            assert facts.undefined["calloc"] == "LIBC"
    delegate = elf.read(arm64.built / "libtfcompress.so")
    assert "tflite_plugin_create_delegate" in delegate.defined
    jni = elf.read(x86_64.built / "libtfcompress_jni.so")
    names = {name.rsplit("_", 1)[1] for name in jni.defined}
    assert names == {
        *("createTfcompress", "createXnnpack", "numOperations", "numDelegated"),
        "destroy",
    }


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ("x86_64", "is for aarch64"),
        # TFLite's library of 2.16.1 was built only for pages of 4 KB.
        ("aarch64", r"has pages \(bytes\) of 4096"),
    ],
)
def test_files_that_devices_refuse(arm64, processor, message):
    with pytest.raises(RuntimeError, match=message):
        build_native.check(arm64.library, processor)


def test_unknown_libraries_and_names(arm64, monkeypatch):
    names = dict(build_native.NAMES)
    runner = arm64.built / "runner"
    monkeypatch.setattr(build_native, "NAMES", names | {"c": "strlen"})
    with pytest.raises(RuntimeError, match="uses .*, alarm, "):
        build_native.check(runner, "aarch64")
    everything = {"c": " ".join(names.values())}
    monkeypatch.setattr(build_native, "NAMES", everything)
    with pytest.raises(RuntimeError, match=r"needs libdl.so"):
        build_native.check(runner, "aarch64")


def test_facts_of_a_library(arm64):
    facts = elf.read(arm64.library)
    assert facts.name == "libtensorflowlite_jni.so"
    assert facts.needed == ("libm.so", "libdl.so", "liblog.so", "libc.so")
    assert facts.undefined["memcpy"] == "LIBC"
    assert "TfLiteXNNPackDelegateCreate" in facts.defined


def test_no_elf_file(tmp_path):
    (tmp_path / "text").write_text("no library at all, but long enough to be one")
    with pytest.raises(ValueError, match="is no program or library for"):
        elf.read(tmp_path / "text")
