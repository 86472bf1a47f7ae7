"""Emulated arm64: prepares it, compiles the native core for it, runs programs on it."""

import os
import pathlib
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "build/arm64"
ROOT = FOLDER / "root"
ZIG = FOLDER / "host/ziglang/zig"
# Part numbers and features as Linux shows them: LiteRT reads them to pick its kernels,
# and crashes on those of x86.
CPUS = {
    "cortex-a53": ("0xd03", "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"),
    "cortex-a76": (
        "0xd0b",
        "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid "
        "asimdrdm lrcpc dcpop asimddp ssbs",
    ),
}


def prepare():
    """Downloads what is needed, once."""
    script = PROJECT / "tests/arm/prepare.sh"
    subprocess.run([script, FOLDER], env=environment(PYTHON=sys.executable), check=True)


def build(toolchain="linux"):
    """The path of the native core, compiled for arm64."""
    source, target = PROJECT / "tfcompress/native", FOLDER / toolchain
    configure = [
        *("cmake", "-S", source, "-B", target, "-G", "Ninja"),
        *("-DCMAKE_BUILD_TYPE=Release", f"-DTFC_ARM_FOLDER={FOLDER}"),
        f"-DCMAKE_TOOLCHAIN_FILE={PROJECT}/tests/arm/{toolchain}.cmake",
    ]
    for command in configure, ["cmake", "--build", target]:
        done = subprocess.run(
            command,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode or "warning:" in done.stdout:
            raise RuntimeError(f"{toolchain}: {done.stdout}")
    return target / "libtfcompress.so"


def host_tool(name, *arguments, content=None):
    """What a program in the prepared folder prints that runs on this machine."""
    libraries = ROOT / "usr/lib" / f"{os.uname().machine}-linux-gnu"
    done = subprocess.run(
        [ROOT / "usr/bin" / name, *arguments],
        env=environment(LD_LIBRARY_PATH=str(libraries)),
        input=content,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def run(cpu, *command, options=()):
    """What a program prints on an emulated processor."""
    part, features = CPUS[cpu]
    info = f"Features : {features}\nCPU implementer : 0x41\nCPU architecture: 8\n"
    info += f"CPU variant : 0x0\nCPU part : {part}\nCPU revision : 4\n"
    file = ROOT / "proc/cpuinfo"
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"processor : {i}\n{info}\n" for i in range(2)))
    options = ("-L", ROOT, "-cpu", cpu, "-E", f"PYTHONPATH={ROOT}/site", *options)
    try:
        return host_tool("qemu-aarch64", *options, *command)
    finally:
        # Programs on other processors would take its features for theirs.
        file.unlink()


def environment(**more):
    """Variables of programs in the prepared folder."""
    tools = str(pathlib.Path(sys.executable).parent)
    return (
        os.environ
        | {
            # CMake and Ninja of this Python's environment.
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "ZIG_GLOBAL_CACHE_DIR": str(FOLDER / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(FOLDER / "zig"),
        }
        | more
    )
