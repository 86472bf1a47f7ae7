"""The page of docs/results/zoo.json: on how many models each step works."""

_HEAD = """# Models as other people write them

Written by `tests/benchmarks/results.py` from `zoo.json`, which `tests/benchmarks/zoo.py`
prints: models in the style of the Keras code examples and KerasHub backbones of small
configurations, all untrained, through everything that the product does. The models of
`keras.applications`, which the script takes too, are not in this run.
"""
_TAIL = """
`said`: refused, or nothing could be done, in words of the product; `wrong`: the outputs
are too far off. Nothing crashes, nothing is silent, and no error comes from elsewhere. Each
case has its reason in the file. The largest groups:

- channels and factorize: layers made of others were not opened then (those of KerasHub),
  3x3 kernels have no pointwise form, and a quarter of the rank of a head with 2 or 3
  classes is no component at all;
- 4 bits: kernels of recurrent, transposed and separable layers are not rounded;
- files: operations that LiteRT lacks (FFT, MaxPool3D, Cumprod, hashing), random layers,
  strings, sizes that are open; in integer files outputs of untrained networks that hardly
  move;
- ranges: the wrong one rounds an age to 8 bits before it is put into an age group, as its
  int8 file would.
"""


def page(results):
    """The page as Markdown.

    Args:
        results: the list that `zoo.py --json` prints.
    """
    steps = dict.fromkeys(r["measure"] for r in results if r["measure"] != "build")
    num_models = len({result["row"] for result in results})
    lines = [f"| step | works, of {num_models} | else |", "| --- | --- | --- |"]
    for step in steps:
        of_step = [result for result in results if result["measure"] == step]
        failed = [result["note"] for result in of_step if not result["value"]]
        said = sum(note.startswith("said") for note in failed)
        rest = {"said": said, "wrong": len(failed) - said}
        other = ", ".join(f"{count} {name}" for name, count in rest.items() if count)
        lines.append(f"| {step} | {len(of_step) - len(failed)} | {other} |")
    machine, seed = results[0]["machine"], results[0]["seed"]
    about = f"\nSeed {seed}, {results[0]['date']}, {machine}.\n"
    return _HEAD + "\n" + "\n".join(lines) + "\n" + about + _TAIL
