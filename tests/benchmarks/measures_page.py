"""Pages of results that are lists of `harness.Measure`."""

import itertools

HEADS = {
    "binary_ops": """# Binary operations

Written by `make results` from `binary_ops.json`, which `tests/benchmarks/binary_ops.py
--no-peers` prints: binary 3x3 convolutions, packing included, against XNNPACK, and a
QuickNet of 224 x 224 pixels. Every file has a process of its own; they take turns, on an
otherwise idle host. "Without tiles" is the same file in a process that may not use AMX.
""",
    "codecs": """# Codes

Written by `make results` from `codecs.json`, which `tests/benchmarks/codecs.py` prints:
how fast the adaptive codes decode and how many bytes they take, blocks against `Mixing`.
Speeds are those of one thread of an otherwise idle host.
""",
    "deep_compression": """# Deep Compression

Written by `make results` from `deep_compression.json`, which
`tests/benchmarks/deep_compression.py` prints. Other work ran on the same cores.
The compressed networks learn from the outputs of a larger network for shifted images, which
the dense ones do not: "dense, taught" are dense networks that do.
""",
    "digits": """# The demo

Written by `make results` from `digits.json`, which `tests/benchmarks/digits.py` prints:
what `tfcompress demo` gives, on 360 test images. `make rerun` compares a new run with it.
""",
    "dynamic_table": """# Dynamic networks

Written by `make results` from `dynamic_table.json`, which
`tests/benchmarks/dynamic_table.py` prints; how each row is trained is in
`tests/benchmarks/dynamic_rows`. Accuracies are those on the test set after the last epoch;
thresholds are chosen on images held out of the training. Times are medians of turns of the
files that are compared, on this host, one thread, a sample at a time, by `tfc.Interpreter`
and `tfc.runtime.Cascade`, Python included; other work ran on the same two cores. The
trained ResNets have seen the images that are held out here, so what is chosen by them is
too hopeful. The file of all widths leaves out names and notes that the file of the widest
still has: compared with one without them, the ratios would be larger.
""",
    "latency_table": """# Predicted latency

Written by `make results` from `latency_table.json`, which
`tests/benchmarks/latency_table.py` prints: how far the latency that
`tfc.search.LatencyTable` predicts for whole networks is from the measured one, on an
otherwise idle host with one thread. `unseen` has five families at three widths each;
`others` are networks that are large for the caches, or that XNNPACK does not run entirely.
""",
    "load_time": """# Export, load, round

Written by `make results` from `load_time.json`, which `tests/benchmarks/load_time.py`
prints: how long it takes to export a MobileNetV2 with the check of the file, to export and
load an int8 file of 25 million weights, encoded or not, and to round the weights of a
ResNet-32 by AdaRound, on an otherwise idle host.
""",
    "recipes_table": """# Recipes

Written by `make results` from `recipes_table.json`, which
`tests/benchmarks/recipes_table.py` prints, row by row: what the recipes that `tfcompress
recipes` lists make of a ResNet-20 trained on CIFAR-10. Accuracies are those of the written
file on the test set. Bytes, multiply-accumulates and times are divided by those of the
float32 file of the same network; times are medians of turns of both files on this host, one
thread, a sample at a time, by `tfc.Interpreter`, Python included, while other work ran on
the same two cores. The recipes train for longer than these rows, whose notes say how long.
""",
    "search_table": """# Search

Written by `make results` from `search_table.json`, which
`tests/benchmarks/search_table.py` prints, row by row; what each row does is in
`tests/benchmarks/search_rows`. Candidates are compared on training images, which the
trained ResNet-20 has seen; accuracies are those on the test set. Other work ran on the same
two cores.
""",
    "shrink_table": """# Half the channels

Written by `make results` from `shrink_table.json`, which `tests/benchmarks/shrink_table.py`
prints: untrained networks without half of the channels of each group. Latency is that of
LiteRT, one thread, in turns, on an otherwise idle host. "Whole tiles" are networks cut with
`round_to="auto"`. `kernels` are single layers: how much more a multiplication costs in thin
ones.
""",
    "small_files": """# Small files

Written by `make results` from `small_files.json`, which `tests/benchmarks/small_files.py`
prints: what int8 files of small networks hold next to their constants, as the converter
arranges it and as `tfc.export_tflite` writes it, and how many outputs differ between the
two in each runtime. Weights are random, and no bias is zero. Times are medians of turns in
one process, one thread, while much other work ran on the same two cores.
""",
    "sparse_dense": """# Sparse dense layers

Written by `make results` from `sparse_dense.json`, which `tests/benchmarks/sparse_dense.py`
prints: a fully connected network with blocks of zeros, against the same without, on an
otherwise idle host.
""",
    "transformers": """# Transformers

Written by `make results` from `transformers.json`, which
`tests/benchmarks/transformers.py` prints. Rows of trained networks: two blocks
of attention on MNIST's images, or on the same images as sequences of words, without
compression, with half of all heads and feed-forward widths, with 8-bit integers, and with
weights of 4 bits in blocks of 32. Times are medians of turns on this host, one thread, a
sample at a time, while other work ran.
""",
}


def page(head, results):
    """The page as Markdown.

    Args:
        head: the text above the tables.
        results: the list that the script prints with `--json`.
    """
    sections = itertools.groupby(results, key=lambda result: result["row"])
    return "\n".join([head, *(_section(name, list(rows)) for name, rows in sections)])


def _section(name, results):
    columns = ["measure", "value", "target", "paper", "note"]
    lines = [_line(columns), _line(["---"] * len(columns)), *map(_row, results)]
    return "\n".join([f"## {name}\n", *lines, "", f"- {made(results[0])}", ""])


def made(result):
    """When and where a result was made, in one line."""
    seed, seconds = f"seed {result['seed']}", f"{result['seconds']:.0f} s"
    commit = f"{result['date']} at commit {result['commit']}"
    versions = ", ".join(f"{name} {one}" for name, one in result["versions"].items())
    return ", ".join([seed, seconds, commit, result["machine"], versions])


def _row(result):
    target = result["target"] or ""
    if target:
        target += ": met" if result["met"] else ": missed"
    value = (
        "" if result["value"] is None else f"{_text(result['value'])} {result['unit']}"
    )
    paper = "" if result["paper"] is None else f"{result['paper']:g}"
    cells = result["measure"], value.strip(), target, paper, result["note"] or ""
    return _line(cells)


def _text(number):
    return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"


def _line(cells):
    return f"| {' | '.join(cells)} |"
