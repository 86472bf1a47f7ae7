"""usage: python android_demo/tools/build_native.py [--output FOLDER] [--abi ABI …]

Builds tfcompress's delegate, the JNI library and the programs for Android without the
NDK: with Zig's Clang (pip install ziglang==0.17.1), CMake and Ninja, from the
CMakeLists.txt that the NDK also uses. Writes libtfcompress.so, libtfcompress_jni.so, runner
and run_cascade to FOLDER/ABI.

The build fails for files that a device would refuse: they are linked against names that
Android 5 (API 21) has in its C libraries (libc.map.txt, libm.map.txt and libdl.map.txt of
bionic), need no other library, and have pages of 16 KB.
"""

import argparse
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = PROJECT / "android_demo/tools"
sys.path.insert(0, str(TOOLS))

import elf  # noqa: E402

ABIS = {"arm64-v8a": "aarch64", "x86_64": "x86_64"}
FILES = {
    "tfcompress": "core/libtfcompress.so",
    "tfcompress_jni": "libtfcompress_jni.so",
    "runner": "runner",
    "run_cascade": "run_cascade",
}
PAGE = 16384  # bytes; devices with Android 15 may have pages as large as this
NAMES = {
    "c": """__errno __libc_init _exit alarm calloc clock_gettime dprintf fclose fgets fopen
        fputc fputs fread free fseek ftell fwrite malloc memcmp memcpy memmove memset
        posix_memalign pthread_atfork pthread_cond_broadcast pthread_cond_destroy
        pthread_cond_init pthread_cond_signal pthread_cond_wait pthread_create
        pthread_detach pthread_exit pthread_join pthread_mutex_destroy
        pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock realloc sched_yield
        sscanf strcmp strcspn strerror strlen strncmp strspn strtod vsnprintf write""",
    "m": "cbrt exp log pow",
    "dl": "dlerror dlopen dlsym",
}


def build(abi, output, zig=None, targets=tuple(FILES)):
    """Builds and checks files for an ABI; returns their paths in `output/abi`.

    Args:
        abi: `"arm64-v8a"` or `"x86_64"`.
        output: a folder.
        zig: the folder of the package ziglang; None for that of this Python.
        targets: names in `FILES`.

    Raises:
        RuntimeError: if something is missing, does not link or would not load.
    """
    zig = pathlib.Path(zig or _installed_zig()).resolve()
    output = pathlib.Path(output).resolve()
    work = output / "cmake" / abi
    environment = _environment(output)
    _write_stubs(work / "stubs", zig, ABIS[abi], environment)
    configure = [
        *("cmake", "-S", PROJECT / "android_demo/native", "-B", work, "-G", "Ninja"),
        f"-DCMAKE_TOOLCHAIN_FILE={TOOLS}/android.cmake",
        *("-DCMAKE_BUILD_TYPE=Release", f"-DTFC_PROCESSOR={ABIS[abi]}"),
        *(f"-DTFC_ZIG={zig}", f"-DTFC_STUBS={work}/stubs"),
    ]
    if "tfcompress_jni" in targets:
        configure.append(f"-DJNI_INCLUDES={';'.join(_jni_includes())}")
    _run(configure, environment)
    _run(["cmake", "--build", work, "--target", *targets], environment)
    (output / abi).mkdir(exist_ok=True)
    built = []
    for target in targets:
        check(work / FILES[target], ABIS[abi])
        built.append(pathlib.Path(shutil.copy2(work / FILES[target], output / abi)))
    return built


def check(path, processor):
    """Raises if a device with this processor would refuse the file."""
    found = elf.read(path)
    known = {name for names in NAMES.values() for name in names.split()}
    libraries = {f"lib{name}.so" for name in NAMES}
    complaints = {
        "is for": {found.processor} - {processor},
        "has pages (bytes) of": found.page_sizes - {PAGE},
        "needs": set(found.needed) - libraries,
        "uses": found.undefined.keys() - known,
    }
    for what, which in complaints.items():
        if which:
            raise RuntimeError(f"{path} {what} {', '.join(map(str, sorted(which)))}.")


def _installed_zig():
    found = importlib.util.find_spec("ziglang")
    if not found:
        raise RuntimeError(
            f"{sys.executable} has no ziglang: install it with "
            "'pip install ziglang==0.17.1'."
        )
    return pathlib.Path(found.origin).parent


def _environment(output):
    tools = str(pathlib.Path(sys.executable).parent)
    caches = ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")
    # CMake and Ninja from this Python's environment.
    return {
        **{cache: str(output / "cmake/zig") for cache in caches},
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
    }


def _jni_includes():
    javac = shutil.which("javac")
    homes = [
        os.environ.get("JAVA_HOME"),
        javac and pathlib.Path(javac).resolve().parents[1],
    ]
    for home in filter(None, homes):
        folder = pathlib.Path(home) / "include"
        for header in folder.glob("*/jni_md.h"):
            return str(folder), str(header.parent)
    raise RuntimeError(
        "jni.h was not found: install a JDK (Debian: apt install openjdk-17-jdk-headless) "
        "or set JAVA_HOME."
    )


def _write_stubs(folder, zig, processor, environment):
    """Writes libraries that contain only names, the start of programs, and a linker."""
    done, names = folder / "done", str(NAMES)
    if done.exists() and done.read_text() == names:
        return
    folder.mkdir(parents=True, exist_ok=True)
    linker = folder / "ld.lld"
    linker.write_text(f'#!/bin/sh\nexec "{zig}/zig" ld.lld "$@"\n')
    linker.chmod(0o755)
    clang = [zig / "zig", "clang", f"--target={processor}-linux-android21"]
    versions = folder / "versions"
    versions.write_text("LIBC { global: *; };\n")
    for library, names in NAMES.items():
        source = "".join(f"void {name}(void) {{}}\n" for name in names.split())
        command = [
            *(*clang, "-x", "c", "-", "-shared", "-nostdlib", "-fno-builtin", "-w"),
            *(f"--ld-path={linker}", f"-Wl,--version-script={versions}"),
            *(f"-Wl,-soname,lib{library}.so", "-o", folder / f"lib{library}.so"),
        ]
        _run(command, environment, source)
    start = ["-O2", "-fPIC", "-c", TOOLS / "start.c", "-o", folder / "start.o"]
    _run([*clang, *start], environment)
    # Which instructions the processor has: in the NDK, this is in Clang's own library.
    runtime = [
        *(
            zig / "zig",
            "build-lib",
            zig / "lib/compiler_rt.zig",
            "-fPIC",
            "-ffunction-sections",
        ),
        *("-target", f"{processor}-linux-musl", "-O", "ReleaseSmall"),
        f"-femit-bin={folder}/libcompiler_rt.a",
    ]
    _run(runtime, environment)
    done.write_text(names)


def _run(command, environment, text=None):
    try:
        done = subprocess.run(
            command,
            env=environment,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except FileNotFoundError as error:
        raise RuntimeError(
            f"No program {error.filename}: install it with 'pip install cmake ninja'."
        ) from error
    if done.returncode or "warning:" in done.stdout:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}")


def main():
    """The command line."""
    summary, details = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        usage=summary.removeprefix("usage: "),
        description=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", default=PROJECT / "build/android")
    parser.add_argument("--abi", nargs="+", choices=ABIS, default=list(ABIS))
    parser.add_argument("--zig", help="folder of the package ziglang")
    given = parser.parse_args()
    try:
        for abi in given.abi:
            for path in build(abi, given.output, given.zig):
                print(f"{path}: {path.stat().st_size:,} bytes")
    except RuntimeError as error:
        sys.exit(f"build_native: error: {error}")


if __name__ == "__main__":
    main()
