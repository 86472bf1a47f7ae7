"""Links the native core for Android, without an NDK: what a phone would refuse fails.

The names are those in bionic's `libc.map.txt` and `libm.map.txt` that Android 5 (API 21)
has already. It proves no more than that: the file runs nowhere.
"""

import re
import subprocess

import emulator

PAGE = 16384  # bytes; devices with Android 15 may have pages as large as this
NAMES = {
    "c": """calloc fclose fgets fopen free malloc memcmp memcpy memmove memset
        posix_memalign pthread_atfork pthread_cond_broadcast pthread_cond_destroy
        pthread_cond_init pthread_cond_signal pthread_cond_wait pthread_create
        pthread_detach pthread_exit pthread_join pthread_mutex_destroy
        pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock realloc sched_yield
        sscanf strcmp strlen""",
    "m": "cbrt log pow",
}


def check():
    """Builds it.

    Raises:
        RuntimeError: if it does not link, needs another library, or has other pages.
    """
    _write_stubs(emulator.FOLDER / "stubs")
    library = emulator.build("android")
    text = emulator.host_tool(
        "llvm-readelf-19", "--dynamic-table", "--program-headers", "--wide", library
    )
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", text))
    pages = {int(size, 16) for size in re.findall(r"LOAD .* (0x\w+)$", text, re.M)}
    if needed - {"libc.so", "libm.so"} or pages != {PAGE}:
        raise RuntimeError(f"{library} needs {needed} and has pages of {pages} bytes.")


def _write_stubs(folder):
    folder.mkdir(exist_ok=True)
    linker = folder / "ld.lld"
    linker.write_text(f'#!/bin/sh\nexec "{emulator.ZIG}" ld.lld "$@"\n')
    linker.chmod(0o755)
    for library, names in NAMES.items():
        source = "".join(f"void {name}(void) {{}}\n" for name in names.split())
        command = [
            *(
                emulator.ZIG,
                "clang",
                "--target=aarch64-linux-android21",
                "-x",
                "c",
                "-",
            ),
            *("-shared", "-nostdlib", "-fno-builtin", "-w", f"--ld-path={linker}"),
            *(f"-Wl,-soname,lib{library}.so", "-o", folder / f"lib{library}.so"),
        ]
        subprocess.run(command, input=source, text=True, check=True)
