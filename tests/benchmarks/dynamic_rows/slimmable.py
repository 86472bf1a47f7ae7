"""Networks with several widths in one."""

import pathlib
import tempfile

import harness
import numpy as np
from harness import Measure

_WIDTHS = [0.25, 0.5, 0.75, 1.0]


def lenet_5(lab):
    """Four widths of a LeNet-5, and each trained alone for as long."""
    epochs, data = 10, lab.mnist
    slimmable = lab.tfc.dynamic.Slimmable(lab.lenet_5(), _WIDTHS, criterion=None)
    start = {width: slimmable.at(width) for width in _WIDTHS}

    def train(model):
        lab.fit(model, epochs)

    note = f"{epochs} epochs from scratch"
    return _beside_single_ones(lab, slimmable, start, train, data, note)


def resnet_8(lab):
    """Four widths of the trained ResNet-8, and each cut from it and fine-tuned as long."""
    model, epochs = lab.resnet_8(), 3
    if model is None:
        return harness.left_out("the trained ResNet-8 is not there: pass --data-dir")
    data = lab.cifar10
    slimmable = lab.tfc.dynamic.Slimmable(model, _WIDTHS)
    start = {width: slimmable.at(width) for width in _WIDTHS}

    def train(network):
        keras = lab.keras
        steps = lab.steps(epochs, 128, data.everything)
        rate = keras.optimizers.schedules.CosineDecay(1e-3, steps)
        network.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        harness.progress(f"  {network.name}: {lab.epochs(epochs)} epochs")
        batches = lab.crops(data.everything)
        network.fit(batches, epochs=lab.epochs(epochs), shuffle=False, verbose=0)

    note = f"{epochs} epochs of the trained network, channels by their norm"
    return _beside_single_ones(lab, slimmable, start, train, data, note)


def _beside_single_ones(lab, slimmable, start, train, data, note):
    train(slimmable)
    found = []
    for width, single in start.items():
        train(single)
        alone = lab.accuracy(single, data)
        found.append(
            Measure(
                f"accuracy at width {width:g}",
                lab.accuracy(slimmable.at(width), data),
                "%",
                at_least=alone - 0.5,
                note=f"alone {alone:.2f} %; {note}",
            )
        )
    return [*found, *_files(lab, slimmable, data)]


def _files(lab, slimmable, data):
    """All widths in one int8 file, compared with the widest alone."""
    samples = data.held_out[0][: lab.count(256)]
    few = data.test[0][: lab.count(1000)]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path, widest = (pathlib.Path(folder, f"{n}.tflite") for n in ("all", "widest"))
        lab.tfc.dynamic.export_widths(slimmable, path, "int8", samples)
        lab.tfc.export_tflite(slimmable.at(1.0), widest, "int8", samples)
        ratio = path.stat().st_size / widest.stat().st_size
        found.append(
            Measure("int8 file over that of the widest", ratio, "x", at_most=1.15)
        )
        runs = {}
        for width in slimmable.widths:
            runs[width] = lab.tfc.Interpreter(path, signature=f"width_{width:g}").run
            found.append(
                Measure(
                    f"accuracy of the file at width {width:g}",
                    lab.right(runs[width](few), data),
                    "%",
                    note=f"int8, {len(few)} images",
                )
            )
        times = lab.milliseconds(runs, few[: lab.count(300)])
    return found + [
        Measure(f"time at width {width:g}", time, "ms", note="int8, one thread")
        for width, time in times.items()
    ]


def universal(lab):
    """Ten widths of a LeNet-5 with batch norm, four of which are trained per step."""
    epochs, data = 10, lab.mnist
    widths = [round(w, 1) for w in np.linspace(0.1, 1.0, 10)]
    slimmable = lab.tfc.dynamic.Slimmable(
        _with_batch_norm(lab), widths, batch_norm="shared", per_step="sandwich"
    )
    lab.fit(slimmable, epochs)
    batches = np.split(data.everything[0][: lab.count(5000)], lab.count(10))
    found = [lab.accuracy(slimmable.at(w, batches), data) for w in widths]
    drops = [max(found[: i + 1]) - value for i, value in enumerate(found)]
    return [
        *(
            Measure(f"accuracy at width {width:g}", accuracy, "%")
            for width, accuracy in zip(widths, found, strict=True)
        ),
        Measure(
            "largest loss by more channels",
            max(drops),
            "points",
            at_most=0.3,
            note=f"{epochs} epochs from scratch",
        ),
    ]


def _with_batch_norm(lab):
    layers = lab.keras.layers
    x = inputs = lab.keras.Input((28, 28, 1))
    for filters in (20, 50):
        x = layers.Conv2D(filters, 5, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(500, use_bias=False)(layers.Flatten()(x))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return lab.keras.Model(inputs, layers.Dense(10)(x), name="lenet_5_bn")


ROWS = {
    "slimmable_lenet_5": lenet_5,
    "slimmable_resnet_8": resnet_8,
    "universally_slimmable": universal,
}
