"""Static estimates of the binary kernels on arm64, without such a processor: cycles of
their inner loops by llvm-mca, and instructions executed under emulation.
"""

import re
import subprocess
import sys

import harness

sys.path.append(str(harness.FOLDER.parent / "arm"))
import emulator

# The model of llvm-mca; the kernel for such cores; how many 128-bit vector instructions
# the core issues per cycle; the share of that which inner loops should reach.
CORES = {
    "neoverse-n1": ("neon", 2, 90),
    "cortex-a55": ("neon_in_order", 1, 75),
}
# Instructions that do the work; loads, stores, copies and addresses are overhead.
ARITHMETIC = set(
    "add addp addv and bic bif bit bsl cmeq cmgt cnt eor fadd fcmlt fmla neg sli sub "
    "uadalp".split()
)
# Products of a real value and a 1-bit weight, by the instruction that sums them.
PRODUCTS = {"fadd": 4, "fmla": 4, "uadalp": 16}
# Size, channels, outputs, kernel.
CONVOLUTIONS = {
    "14²x256→256": (14, 256, 256, 3),
    "28²x128→128": (28, 128, 128, 3),
    "56²x64→64": (56, 64, 64, 3),
    "7²x512→512": (7, 512, 512, 3),
    "dense 1024→1024": (1, 1024, 1024, 1),
}
# The instruction set of native/isa.h for each emulated processor.
PROCESSORS = {"cortex-a76": 5, "cortex-a53": 6}
BRANCH = re.compile(r"(?:b\.\w+|cbn?z|tbn?z)\s.*?(?:0x)?([0-9a-f]+) <")


MISSING = f"{emulator.FOLDER} does not exist; a run without --quick downloads 1 GB"


def is_ready(options):
    """Whether everything is available; a quick run downloads nothing."""
    return emulator.ROOT.exists() or not options.quick


def loops(options):
    """The share of the ideal throughput that inner loops reach."""
    if not is_ready(options):
        return harness.left_out(MISSING)
    emulator.prepare()
    emulator.build()
    measures = []
    for model, (kernel, width, target) in CORES.items():
        for name, loop in _inner_loops(kernel).items():
            share = 100 * _num_arithmetic(loop) / width / _cycles(loop, model)
            measures.append(
                harness.Measure(
                    f"{model}: {name}", share, "% of ideal", at_least=target
                )
            )
            if products := sum(PRODUCTS.get(each.split()[0], 0) for each in loop):
                speed = products / _cycles(loop, model)
                measures.append(
                    harness.Measure(
                        f"{model}: {name}, products", speed, "products per cycle"
                    )
                )
        ours, portable = (_cycles_of_bits(each, model) for each in (kernel, "portable"))
        measures.append(
            harness.Measure(f"{model}: bits in portable C", portable / ours, "x cycles")
        )
    return measures


def _cycles_of_bits(kernel, model):
    """Cycles per 128-bit vector, in the loop that handles the most of them at a time."""
    loops = [each for each in _inner_loops(kernel).values() if _num_counts(each)]
    loop = max(loops, key=_num_counts)
    return _cycles(loop, model) / _num_counts(loop)


def _inner_loops(kernel):
    """`{purpose: instructions}` of the innermost loops."""
    file = emulator.FOLDER / f"linux/CMakeFiles/tfcompress.dir/bconv2d/{kernel}.c.o"
    text = emulator.host_tool("llvm-objdump-19", "-d", "--no-show-raw-insn", file)
    found = {}
    for function in re.split(r"^\w+ <", text, flags=re.M)[1:]:
        lines = re.findall(r"^\s*([0-9a-f]+):\s+(.*?)\s*(?://.*)?$", function, re.M)
        starts = [int(start, 16) for start, _ in lines]
        instructions = [instruction for _, instruction in lines]
        for end, instruction in enumerate(instructions):
            target = BRANCH.match(instruction)
            if not target or int(target[1], 16) not in starts[: end + 1]:
                continue
            loop = instructions[starts.index(int(target[1], 16)) : end + 1]
            name = _purpose(function.split(">")[0], loop)
            if name and not any(BRANCH.match(each) for each in loop[:-1]):
                found[name] = max(loop, found.get(name, []), key=len)
    return found


def _purpose(function, loop):
    """The purpose of a loop in a function, None if it is not relevant."""
    names = {each.split()[0] for each in loop if re.search(r"\bv\d+\.", each)}
    if "cnt" in names:
        return f"bits, {_num_counts(loop)} vectors at a time"
    for part, needed, purpose in (
        ("sign_floats", "fcmlt", "signs of floats"),
        ("sign_int8", "cmgt", "signs of int8"),
        ("run_floats", "fmla", "float values"),
        ("run_floats", "fadd", "float values of one pixel"),
        ("run_integers", "uadalp", "int8 values"),
    ):
        if function.startswith(part) and needed in names:
            return purpose
    return None


def _num_counts(loop):
    return sum(each.startswith("cnt") for each in loop)


def _num_arithmetic(loop):
    vectors = [each.split() for each in loop if re.search(r"\bv\d+\.", each)]
    return sum(each[0] in ARITHMETIC for each in vectors)


def _cycles(loop, model, iterations=200):
    """Cycles per iteration."""
    text = "\n".join(re.sub(r"(?:0x)?[0-9a-f]+ <.*>", ".", each) for each in loop)
    options = ("-mtriple=aarch64", f"-mcpu={model}", f"-iterations={iterations}")
    report = emulator.host_tool("llvm-mca-19", *options, content=text)
    return int(re.search(r"Total Cycles:\s+(\d+)", report)[1]) / iterations


def instructions(options):
    """Instructions of whole operations, including packing and outputs."""
    if not is_ready(options):
        return harness.left_out(MISSING)
    emulator.prepare()
    library = emulator.build()
    program, plugin = _compiled(library)
    shapes = list(CONVOLUTIONS.items())[-1:] if options.quick else CONVOLUTIONS.items()
    measures = []
    for cpu, isa in PROCESSORS.items():
        for name, shape in shapes:
            executed = _executed(cpu, program, plugin, shape, isa)
            size, channels, outputs, kernel = shape
            products = size**2 * channels * outputs * kernel**2
            measures += [
                harness.Measure(f"{cpu}: {name}", executed / 1e6, "million"),
                harness.Measure(f"{cpu}: {name}, products each", products / executed),
            ]
    return measures


def _compiled(library):
    folder = emulator.FOLDER
    source = harness.FOLDER.parent / "arm"
    program, plugin = folder / "run_convolution", folder / "count_instructions.so"
    arm = [emulator.ZIG, "cc", "-target", "aarch64-linux-gnu.2.28", "-O2"]
    include = ["-I", emulator.PROJECT / "tfcompress/native"]
    arm += [*include, source / "run_convolution.c", library, "-o", program]
    host = [emulator.ZIG, "cc", "-O2", "-shared", "-fPIC"]
    host += [source / "count_instructions.c", "-o", plugin]
    for command in arm, host:
        subprocess.run(command, env=emulator.environment(), check=True)
    return program, plugin


def _executed(cpu, program, plugin, shape, isa):
    """Instructions of one run: those of two runs minus those of one."""

    def count(runs):
        command = [program, *map(str, (*shape, isa, runs))]
        return int(emulator.run(cpu, *command, options=("-plugin", plugin)))

    return count(2) - count(1)


if __name__ == "__main__":
    harness.main(__doc__, {"loops": loops, "instructions": instructions})
