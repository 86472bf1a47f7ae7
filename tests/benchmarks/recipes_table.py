"""What each recipe of the package makes of a ResNet-20 for CIFAR-10.

Figures are those of the file that the recipe writes; times are medians of turns of that
file and the float32 file of the model, a sample at a time on one thread, by
`tfc.Interpreter`. Trainings are shorter than the recipes say, see the notes.
"""

import functools
import pathlib
import tempfile

import cifar
import dynamic_lab
import harness
from harness import Measure

import tfcompress as tfc

_EPOCHS = 1
_NUM_TIMED = 200
# What recipes promise: at most this part of the float32 model's.
_PROMISES = {
    "distil_into_half": {"bytes": 0.5},
    "half_the_file": {"bytes": 0.5},
    "quarter_the_file": {"bytes": 0.25},
    "twice_as_fast": {"MACs": 0.5, "time": 0.5},
    "use_them_all": {"MACs": 0.5},
}


def recipe_row(name, options):
    """Accuracy, bytes, multiply-accumulates and time after one recipe."""
    lab = dynamic_lab.Lab(options)
    model = lab.resnet_20()
    if model is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = lab.cifar10
    steps, epochs = _shortened(tfc.Recipe.named(name).steps)
    trained = f"epochs: {epochs}"
    with tempfile.TemporaryDirectory() as folder:
        dense = pathlib.Path(folder, "dense.tflite")
        tfc.export_tflite(model, dense, samples=data.held_out[0][: lab.count(256)])
        harness.progress(f"  {trained}")
        result = tfc.Recipe(steps).run(model, lab.crops(data.everything), folder)
        path = result.exports[-1].path
        right, times = _run(lab, {"dense": dense, name: path}, data)
        sizes = [file.stat().st_size for file in (path, dense)]
        on_chip = _on_chip(name, path)
    macs = [tfc.report(network).macs for network in (result.model, model)]
    note = f"{trained}; dense {right['dense']:.2f} %"
    return [
        Measure("accuracy", right[name], "%", note=note),
        _share(name, "bytes", *sizes),
        _share(name, "MACs", *macs),
        _share(name, "time", times[name], times["dense"], " ms"),
        *on_chip,
    ]


def _share(name, measure, value, dense, unit=""):
    """A figure over that of the float32 file, with the promise if there is one."""
    return Measure(
        f"{measure} over float32",
        value / dense,
        at_most=_PROMISES.get(name, {}).get(measure),
        note=f"{_text(value)}{unit}, float32 {_text(dense)}{unit}",
    )


def _text(value):
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _on_chip(name, path):
    """For the recipe that is meant for it: the flash that would do for everything."""
    if name != "microcontroller_256kb":
        return []
    fit = tfc.fit_check(path)
    size = (fit.flash_bytes + fit.arena.size_bytes) / 1024
    note = f"arena {fit.arena.size_bytes / 1024:.1f} KiB"
    measure = "file, interpreter and arena"
    return [Measure(measure, size, "KiB", at_most=256, note=note)]


def _shortened(steps):
    """Steps with trainings of one epoch each, and how many epochs that is."""
    shorter, total = [], 0
    for step, arguments in steps:
        if step in ("fit", "deep_compression"):
            epochs = _EPOCHS if step == "fit" else [_EPOCHS, _EPOCHS]
            arguments = {**arguments, "epochs": epochs}
            total += _EPOCHS if step == "fit" else 2 * _EPOCHS
        shorter.append({step: arguments})
    return shorter, total


def _run(lab, paths, data):
    """`{name: percent of right answers}` and `{name: median milliseconds}` of files."""
    images = data.test[0]
    interpreters = {name: tfc.Interpreter(path) for name, path in paths.items()}
    runs = {name: interpreter.run for name, interpreter in interpreters.items()}
    right = {name: lab.right(run(images), data) for name, run in runs.items()}
    times = lab.milliseconds(runs, images[: lab.count(_NUM_TIMED)])
    for interpreter in interpreters.values():
        interpreter.close()
    return right, times


if __name__ == "__main__":
    rows = {name: functools.partial(recipe_row, name) for name in tfc.Recipe.names()}
    harness.main(__doc__, rows, cifar.add_options, quick=["half_the_file"])
