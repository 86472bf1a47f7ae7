"""Networks that choose for each sample what to run."""

import pathlib
import tempfile

import cifar
import harness
import numpy as np
from harness import Measure

_BATCH_SIZE = 128
_MARGIN = 4
_NUM_TIMED = 500


def skip_net(lab):
    """Published for ResNet-38: 92.50 -> 92.75 % with 29.7 % fewer MACs."""
    model, epochs = lab.resnet_20(), 4
    if model is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = lab.cifar10
    gated = lab.tfc.dynamic.SkipNet(model, target_macs=0.78)
    _fit(lab, gated, data.train, epochs, 5e-4)
    accuracy, gates = _answers(lab, gated, data)
    before, macs = lab.accuracy(model, data), gated.macs_used(data.test[0], 500).mean()
    note = f"{epochs} epochs on 45,000 images; blocks run: {_shares(gated, gates)}"
    return [
        Measure("accuracy without gates", before, "%", paper=92.50),
        Measure(
            "accuracy",
            accuracy,
            "%",
            at_least=before - 1,
            paper=92.75,
            note=note,
        ),
        Measure(
            "MACs, average", 100 * macs, "% of the network", at_most=85, paper=70.3
        ),
        Measure(
            "accuracy of random gates, as often open",
            _random_accuracy(lab, gated, gates.mean(), data),
            "%",
        ),
        *_times(lab, gated, model, macs, data),
    ]


def block_drop(lab):
    """Published for ResNet-32: 92.3 -> 91.2 % with about half of 15 blocks."""
    model, epochs = lab.resnet_20(), 3
    if model is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = lab.cifar10
    train = tuple(array[:20_000] for array in data.train)
    steps = lab.steps(epochs, _BATCH_SIZE, train)
    dropped = lab.tfc.dynamic.BlockDrop(
        model, penalty=5.0, entropy_weight=0.01, curriculum_steps=steps // 3
    )
    _fit(lab, dropped, train, epochs, 2e-3)
    accuracy, gates = _answers(lab, dropped, data)
    macs = dropped.macs_used(data.test[0], 500).mean()
    by_chance = _random_accuracy(lab, dropped, gates.mean(), data)
    note = (
        f"{epochs} epochs on 20,000 images of the policy alone, network frozen; the "
        f"paper: 5,000 and 2,000 together; blocks run: {_shares(dropped, gates)}"
    )
    return [
        Measure("accuracy without gates", lab.accuracy(model, data), "%"),
        Measure(
            "accuracy", accuracy, "%", at_least=by_chance + 2, paper=91.2, note=note
        ),
        Measure("accuracy of blocks dropped by chance, as many", by_chance, "%"),
        Measure("MACs, average", 100 * macs, "% of the network"),
        *_times(lab, dropped, model, macs, data),
    ]


def _fit(lab, model, data, epochs, rate):
    keras = lab.keras
    steps = lab.steps(epochs, _BATCH_SIZE, data)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    harness.progress(f"  {model.name}: {lab.epochs(epochs)} epochs")
    batches = _reflected_crops(lab, data)
    model.fit(batches, epochs=lab.epochs(epochs), shuffle=False, verbose=0)


def _reflected_crops(lab, data):
    """Crops with mirrored margins.

    Gates see the means of channels: with black margins, which test images have not, they
    learn to look for them (77 % right on images as they are, 91 % on crops).
    """
    import tensorflow as tf

    x, y = data
    margins = [(0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)]
    bordered = tf.constant(np.pad(x.astype(np.uint8), margins, "reflect"))
    labels = tf.constant(y)

    def pick(chosen):
        return cifar.crop(bordered, chosen), tf.gather(labels, chosen)

    return cifar.batches(len(x), pick, lab.seed, _BATCH_SIZE)


def _answers(lab, model, data):
    """Percent right of the test set, and which samples ran which block."""
    run = model.gated.predict(data.test[0], batch_size=500, verbose=0)
    return lab.right(run["outputs"], data), run["gates"]


def _shares(model, gates):
    shares = zip(model.blocks, gates.mean(axis=0), strict=True)
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)


def _random_accuracy(lab, model, share, data):
    """Percent right of the same network if chance says which blocks run."""
    keras, x = lab.keras, data.test[0]
    sums = [layer for layer in model.gated.layers if layer.name.endswith("_gated")]
    gates = [layer.input[-1] for layer in sums]
    network = keras.Model([model.gated.input, *gates], model.gated.output["outputs"])
    drawn = np.random.default_rng(lab.seed).random((len(gates), len(x), 1)) < share
    drawn = list(drawn.astype("float32"))
    return lab.right(network.predict([x, *drawn], batch_size=500, verbose=0), data)


def _times(lab, model, alone, macs, data):
    """How long a sample takes in a file, beside that of the network without gates."""
    tfc, samples = lab.tfc, data.held_out[0][: lab.count(256)]
    images, found = data.test[0][: lab.count(_NUM_TIMED)], []
    for precision in ("float32", "int8"):
        with tempfile.TemporaryDirectory() as folder:
            gated, plain = pathlib.Path(folder, "gated"), pathlib.Path(folder, "plain")
            tfc.export_tflite(model.deployed(), gated, precision, samples=samples)
            tfc.export_tflite(alone, plain, precision, samples=samples)
            with tfc.Interpreter(gated) as skips, tfc.Interpreter(plain) as runs_all:
                times = lab.milliseconds(
                    {"gated": skips.run, "alone": runs_all.run}, images
                )
                right = lab.right(skips.run(images), data)
        ratio = times["gated"] / times["alone"]
        found += [
            Measure(
                f"time of a sample, {precision}",
                100 * ratio,
                "% of the network's",
                note=f"{times['alone']:.3f} ms without gates, one thread; the file is "
                f"right for {right:.1f} % of {len(images)} images",
            ),
            Measure(f"time over MACs, {precision}", ratio / macs, "x", at_most=1.15),
        ]
    return found


ROWS = {"skip_net_resnet_20": skip_net, "block_drop_resnet_20": block_drop}
