"""usage: python android_demo/tools/shim.py OUTPUT FILE … [--compiler "gcc"]

Writes libc.so, libm.so, libdl.so and liblog.so, with which a glibc process can load files
built for Android's bionic: TFLite's libtensorflowlite_jni.so, the delegate, the runner. For
tests, with LD_LIBRARY_PATH=OUTPUT, that a file links, loads and computes the right values.
They tell nothing about Android itself or its speed.

Each symbol that the FILEs need from bionic jumps to glibc's function with this name;
functions that bionic names or implements differently are in shim_libc.c.

On 64 bits, structures of both C libraries that programs hold have the same size, or
glibc's only needs zeros: a mutex has 40 bytes (glibc on arm64: 48, the last of which a
plain mutex does not use), a condition 48, a readers-writer lock 56, a once 4.
"""

import argparse
import pathlib
import re
import shlex
import subprocess
import sys

TOOLS = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(TOOLS))

import elf  # noqa: E402

SOURCES = {
    "libc.so": ["shim_libc.c"],
    "libm.so": [],
    "libdl.so": [],
    "liblog.so": ["shim_log.c"],
}
JUMPS = {
    "x86_64": "jmp *slot_{0}(%rip)",
    "aarch64": "adrp x16, slot_{0}; ldr x16, [x16, :lo12:slot_{0}]; br x16",
}
FILL = """
void *dlopen(const char *, int), *dlsym(void *, const char *);
int dprintf(int, const char *, ...);
static void fill(void **slot, const char *name) {
  static const char *const libraries[] = {"libm.so.6", "libc.so.6"};
  for (int i = 0; i < 2 && !*slot; i++) *slot = dlsym(dlopen(libraries[i], 2), name);
  if (!*slot) dprintf(2, "shim: glibc has no %s; add it to shim_libc.c\\n", name);
}
"""


def make(output, files, compiler=("cc",)):
    """Writes the libraries.

    Args:
        output: a folder.
        files: paths of the files to load, all for the same processor.
        compiler: the words of a command that compiles for this processor and glibc.

    Raises:
        ValueError: if Android cannot load a file, or it is for another processor.
        RuntimeError: if they do not compile.
    """
    output = pathlib.Path(output).resolve()
    output.mkdir(parents=True, exist_ok=True)
    facts = [elf.read(path) for path in files]
    processors = {fact.processor for fact in facts}
    if len(processors) != 1:
        raise ValueError(f"expected files for one processor, got {sorted(processors)}.")
    wanted = {}
    for fact in facts:
        wanted.update(fact.undefined)
    wanted = {n: v for n, v in wanted.items() if v and v.startswith("LIBC")}
    own = set(re.findall(r"\bbionic_(\w+)", (TOOLS / "shim_libc.c").read_text()))
    forwarded = sorted(wanted.keys() - own)
    versions = sorted({"LIBC", *wanted.values()})

    # A version needs at least one symbol.
    _write(output / "versions.c", "int bionic_has_{0};\n", versions)
    _write(output / "versions", "{0} {{ global: bionic_has_{0}; }};\n", versions)
    named = '__asm__(".symver bionic_{0}, {0}@{1}");\n'
    _write(output / "own.h", named, sorted(wanted.keys() & own), wanted)
    _write(output / "slots.c", "void *slot_{0} __attribute__((visibility(\"hidden\")));\n",
           forwarded)  # fmt: skip
    with (output / "slots.c").open("a") as file:
        calls = "".join(f'  fill(&slot_{name}, "{name}");\n' for name in forwarded)
        start = "__attribute__((constructor)) static void fill_all(void)"
        file.write(f"{FILL}{start} {{\n{calls}}}\n")
    jump = "\n".join(
        [
            ".globl jump_{0}",
            ".type jump_{0}, %function",
            "jump_{0}: " + JUMPS[processors.pop()],
            ".symver jump_{0}, {0}@{1}\n",
        ]
    )
    _write(output / "jumps.s", jump, forwarded, wanted)
    with (output / "jumps.s").open("a") as file:
        file.write('.section .note.GNU-stack,"",%progbits\n')

    made = [output / "slots.c", output / "jumps.s"]
    for library, sources in SOURCES.items():
        command = [
            *(*compiler, "-O2", "-fPIC", "-shared", "-fno-builtin"),
            *(f"-Wl,-soname,{library}", f"-Wl,--version-script={output}/versions"),
            *("-o", output / library, output / "versions.c"),
            *(TOOLS / source for source in sources),
        ]
        if library == "libc.so":
            command += ["-include", output / "own.h", *made]
        _run(command)


def _write(path, template, names, versions=None):
    versions = versions or {}
    path.write_text("".join(template.format(n, versions.get(n)) for n in names))


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr}")


def main():
    """The command line."""
    summary, details = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        usage=summary.removeprefix("usage: "),
        description=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", metavar="OUTPUT")
    parser.add_argument("files", metavar="FILE", nargs="+")
    parser.add_argument("--compiler", default="cc", help="compiler for this processor")
    given = parser.parse_args()
    try:
        make(given.output, given.files, shlex.split(given.compiler))
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"shim: error: {error}")


if __name__ == "__main__":
    main()
