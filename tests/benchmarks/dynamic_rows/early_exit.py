"""Networks that answer early if they are confident."""

import pathlib
import tempfile

import harness
from harness import Measure

_NUM_TIMED = 1000


def branchynet_lenet(lab):
    """Published: 99.20 -> 99.25 %, 5.4 times as fast, 94.3 % leave at the first exit."""
    epochs, data = 12, lab.mnist
    alone = lab.lenet_5()
    lab.fit(alone, epochs, data=data.train)
    lab.restart()
    model = lab.lenet_5()
    pool = next(layer.name for layer in model.layers if "pool" in layer.name)
    exits = lab.tfc.dynamic.EarlyExit(model, at=[pool], heads=_flat_head(lab))
    _fit(lab, exits, epochs, lab.batches(data=data.train), lab.steps(epochs))
    plan = exits.calibrate(data.held_out, accuracy_drop=0.0)
    found = _found(lab, exits, plan, alone, data)
    note = f"{epochs} epochs on 55,000 images; held out: {plan}"
    return [
        Measure("accuracy without exits", found["before"], "%", paper=99.20),
        Measure(
            "accuracy of the cascade",
            found["accuracy"],
            "%",
            at_least=found["before"],
            paper=99.25,
            note=note,
        ),
        Measure("leave at the first exit", found["leave"][0], "%", paper=94.3),
        Measure("MACs, average", 100 * found["macs"], "% of the network alone"),
        Measure("speed-up", 1 / found["time"], "x", at_least=4, paper=5.4),
        *_sizes(found),
    ]


def _flat_head(lab):
    def head(tensor):
        return lab.keras.layers.Dense(10)(lab.keras.layers.Flatten()(tensor))

    return head


def resnet_20(lab):
    """Exits after stages 1 and 2 of the trained network."""
    model, epochs = lab.resnet_20(), (1, 5)
    if model is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data, at = lab.cifar10, _last_of_stages(model)
    heads = [_conv_head(lab, number) for number in range(len(at), 0, -1)]
    kl = lab.tfc.distillation.KL(temperature=1)
    exits = lab.tfc.dynamic.EarlyExit(model, at, heads, "equal", kl, freeze=True)
    # Heads first: gradients from random heads would destroy what the network has learned.
    for count, rate in zip(epochs, (2e-3, 1e-3), strict=True):
        steps = lab.steps(count, 128, data.train)
        _fit(lab, exits, count, lab.crops(data.train), steps, rate)
        exits.unfreeze()
    macs = exits.macs[-1] if lab.is_quick else 0.69 * lab.tfc.report(model).macs
    plan = exits.calibrate(data.held_out, macs=macs)
    found = _found(lab, exits, plan, model, data)
    note = (
        f"{epochs[0]} epoch of the heads and {epochs[1]} of all on 45,000 images; held "
        f"out: {plan}"
    )
    return [
        Measure("accuracy without exits", found["before"], "%"),
        Measure(
            "accuracy of the cascade",
            found["accuracy"],
            "%",
            at_least=found["before"] - 1,
            note=note,
        ),
        Measure("leave at the first exit", found["leave"][0], "%"),
        Measure("leave at the second exit", found["leave"][1], "%"),
        Measure(
            "MACs, average", 100 * found["macs"], "% of the network alone", at_most=70
        ),
        Measure("time over MACs", found["time"] / found["macs"], "x", at_most=1.15),
        *_sizes(found),
    ]


def _last_of_stages(model):
    """The last activation of each resolution except the lowest."""
    images = [layer for layer in model.layers if len(layer.output.shape) == 4]
    last = {x.output.shape[1]: x.name for x in images if "re_lu" in x.name}
    return list(last.values())[:-1]


def _conv_head(lab, num_convolutions):
    """Convolutions of stride 2 up to the channels of the last stage, and a classifier."""
    layers = lab.keras.layers

    def head(x):
        for _ in range(num_convolutions):
            x = layers.Conv2D(2 * x.shape[-1], 3, 2, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        return layers.Dense(10)(layers.GlobalAveragePooling2D()(x))

    return head


def _fit(lab, exits, epochs, batches, steps, rate=1e-3):
    keras = lab.keras
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(rate, steps)
    )
    exits.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(True))
    harness.progress(f"  {exits.name}: {lab.epochs(epochs)} epochs")
    exits.fit(batches, epochs=lab.epochs(epochs), shuffle=False, verbose=0)


def _found(lab, exits, plan, alone, data):
    """Results of the file of stages, compared with the network without exits."""
    tfc = lab.tfc
    samples, images = data.held_out[0][: lab.count(64)], data.test[0]
    with tempfile.TemporaryDirectory() as folder:
        stages, whole, plain = (
            pathlib.Path(folder, f"{name}.tflite")
            for name in ("stages", "whole", "plain")
        )
        tfc.dynamic.export_cascade(exits, plan, stages, samples=samples)
        tfc.export_tflite(exits.network, whole, samples=samples)
        tfc.export_tflite(alone, plain, samples=samples)
        sizes = {path.stem: path.stat().st_size for path in (stages, whole, plain)}
        cascade, interpreter = tfc.runtime.Cascade(stages), tfc.Interpreter(plain)
        answers = cascade.run(images[: lab.count(len(images))])
        times = lab.milliseconds(
            {"cascade": cascade.run, "alone": interpreter.run},
            images[: lab.count(_NUM_TIMED)],
        )
    shares = [float((answers.exits == i).mean()) for i in range(len(exits.macs))]
    macs = sum(share * n for share, n in zip(shares, exits.macs, strict=True))
    return {
        "before": lab.accuracy(alone, data),
        "accuracy": lab.right(answers.outputs, data),
        "leave": [100 * share for share in shares],
        "macs": macs / tfc.report(alone).macs,
        "time": times["cascade"] / times["alone"],
        "alone_ms": times["alone"],
        "sizes": sizes,
    }


def _sizes(found):
    sizes = found["sizes"]
    return [
        Measure(
            "time without exits", found["alone_ms"], "ms", note="float32, one thread"
        ),
        Measure(
            "file over the same network in one graph",
            sizes["stages"] / sizes["whole"],
            "x",
            at_most=1.05,
        ),
        Measure(
            "file over the network without exits", sizes["stages"] / sizes["plain"], "x"
        ),
    ]


ROWS = {"branchynet_lenet": branchynet_lenet, "resnet_20_exits": resnet_20}
