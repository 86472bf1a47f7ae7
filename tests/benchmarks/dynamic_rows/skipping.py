"""Networks that choose which parts to run for each sample."""

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
    model, epochs = lab.resnet_20(), 3
    if model is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = lab.cifar10
    at = _least_needed(lab, model, data, count=2)
    gated = lab.tfc.dynamic.SkipNet(model, at, target_macs=0.835, cost_weight=10.0)
    crops = _taught_crops(lab, model, data.train[0])
    _fit(lab, gated, crops, epochs, 1e-3, cifar.distillation_loss)
    accuracy, gates = _answers(lab, gated, data)
    before, macs = lab.accuracy(model, data), gated.macs_used(data.test[0], 500).mean()
    note = (
        f"{epochs} epochs on two crops each of 45,000 images, taught by the network as it "
        "was; gates where held-out images need blocks least; blocks run: "
        f"{_shares(gated, gates)}"
    )
    return [
        Measure("accuracy without gates", before, "%", paper=92.50),
        Measure("accuracy", accuracy, "%", at_least=before - 1, paper=92.75, note=note),
        Measure(
            "MACs, average", 100 * macs, "% of the network", at_most=85, paper=70.3
        ),
        *_by_chance(lab, gated, gates, data),
        *_times(lab, gated, model, macs, data),
    ]


def block_drop(lab):
    """Published for ResNet-32: 92.3 -> 91.2 % with about half of 15 blocks."""
    model, epochs = lab.resnet_20(), 3
    if model is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = lab.cifar10
    images, labels = (array[:20_000] for array in data.train)
    crops = _reflected_crops(images), labels
    steps = lab.steps(epochs, _BATCH_SIZE, crops)
    dropped = lab.tfc.dynamic.BlockDrop(
        model, penalty=0.5, entropy_weight=0.01, curriculum_steps=steps // 3
    )
    loss = lab.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    _fit(lab, dropped, crops, epochs, 2e-3, loss)
    accuracy, gates = _answers(lab, dropped, data)
    macs = dropped.macs_used(data.test[0], 500).mean()
    by_chance = _by_chance(lab, dropped, gates, data)
    note = (
        f"{epochs} epochs on 20,000 images of the policy alone, network frozen; the "
        f"paper: 5,000 and 2,000 together; blocks run: {_shares(dropped, gates)}"
    )
    return [
        Measure("accuracy without gates", lab.accuracy(model, data), "%"),
        Measure(
            "accuracy",
            accuracy,
            "%",
            at_least=by_chance[0].value + 2,
            paper=91.2,
            note=note,
        ),
        *by_chance,
        Measure("MACs, average", 100 * macs, "% of the network"),
        *_times(lab, dropped, model, macs, data),
    ]


def channel_skip(lab):
    """Nothing is published for CIFAR-10."""
    model = lab.resnet_20()
    if model is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = lab.cifar10
    skips = lab.tfc.dynamic.ChannelSkip(
        model, [".*_conv1"], cost_weight=5.0, exploration=0.2
    )
    images, labels = (array[:20_000] for array in data.train)
    crops = _reflected_crops(images), labels
    loss = lab.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # A network that changes is a moving target: the agent is trained before and after it.
    for epochs, rate, is_all in ((1, 5e-3, False), (3, 1e-3, True), (1, 5e-3, False)):
        for layer in skips.masked.layers:
            layer.trainable = is_all or "agent" in layer.name
        _fit(lab, skips, crops, epochs, rate, loss)
    x, generator = data.test[0], np.random.default_rng(lab.seed)
    run = skips.masked.predict(x, batch_size=500, verbose=0)
    network, choices = _with_given_gates(lab, skips.masked), run["choices"]

    def right(drawn):
        inputs = [x, *np.split(drawn, drawn.shape[1], axis=1)]
        return lab.right(network.predict(inputs, batch_size=500, verbose=0), data)

    by_chance = right(generator.permuted(choices.ravel()).reshape(choices.shape))
    groups = ", ".join(f"{mean:.2f}" for mean in choices.mean(axis=0) + 1)
    note = (
        "1 epoch of the agent on 20,000 images, 3 of all, 1 of the agent; groups of 4 per "
        f"block: {groups}; masks, so no file is faster"
    )
    return [
        Measure("accuracy without an agent", lab.accuracy(model, data), "%"),
        Measure(
            "accuracy",
            lab.right(run["outputs"], data),
            "%",
            at_least=by_chance + 2,
            note=note,
        ),
        Measure("accuracy by chance, as many groups", by_chance, "%"),
        Measure(
            "accuracy by chance, each as often",
            right(generator.permuted(choices, axis=0)),
            "%",
        ),
        Measure(
            "MACs, average", 100 * skips.macs_used(x, 500).mean(), "% of the network"
        ),
    ]


def _fit(lab, model, data, epochs, rate, loss):
    keras = lab.keras
    schedule = keras.optimizers.schedules.CosineDecay(
        rate, lab.steps(epochs, _BATCH_SIZE, data)
    )
    model.compile(keras.optimizers.Adam(schedule), loss)
    harness.progress(f"  {model.name}: {lab.epochs(epochs)} epochs")
    batches = lab.batches(_BATCH_SIZE, data).map(_as_floats)
    model.fit(batches, epochs=lab.epochs(epochs), shuffle=False, verbose=0)


def _as_floats(x, y):
    import tensorflow as tf

    return tf.cast(x, tf.float32), y


def _taught_crops(lab, teacher, images):
    """Two crops of each image and the teacher's logits for them."""
    crops = np.concatenate([_reflected_crops(images) for _ in range(2)])
    return crops, cifar.predict(teacher, crops)


def _reflected_crops(images):
    """A crop of each image, with mirrored margins.

    Gates see the means of channels: with black margins, which test images do not have,
    they learn to rely on them (77 % correct on original images, 91 % on crops).
    """
    import tensorflow as tf

    margins = [(0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)]
    bordered = tf.constant(np.pad(images.astype(np.uint8), margins, "reflect"))
    return np.concatenate(
        [
            cifar.crop(bordered, np.arange(i, min(i + 500, len(images))))
            for i in range(0, len(images), 500)
        ]
    ).astype(np.uint8)


def _least_needed(lab, model, data, count):
    """The blocks whose removal, one at a time, keeps the most held-out images correct."""
    x, y = (array[: lab.count(1000)] for array in data.held_out)
    gated = lab.tfc.dynamic.SkipNet(model)
    network, right = _with_given_gates(lab, gated.gated), {}
    for left_out in gated.blocks:
        gates = [
            np.full((len(x), 1), name != left_out, "float32") for name in gated.blocks
        ]
        outputs = network.predict([x, *gates], batch_size=500, verbose=0)
        right[left_out] = np.mean(outputs.argmax(-1) == y)
    return sorted(right, key=right.get)[-count:]


def _with_given_gates(lab, model):
    """The network with its gates, or choices, as inputs."""
    ends = [x for x in model.layers if x.name.endswith(("_gated", "_mask"))]
    given = [layer.input[-1] for layer in ends]
    return lab.keras.Model([model.input, *given], model.output["outputs"])


def _answers(lab, model, data):
    """Percentage correct on the test set, and which samples ran which block."""
    run = model.gated.predict(data.test[0], batch_size=500, verbose=0)
    return lab.right(run["outputs"], data), run["gates"]


def _shares(model, gates):
    shares = zip(model.blocks, gates.mean(axis=0), strict=True)
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)


def _by_chance(lab, model, gates, data):
    """The same network with blocks chosen at random."""
    x, generator = data.test[0], np.random.default_rng(lab.seed)
    network, blocks = _with_given_gates(lab, model.gated), gates.shape[1]

    def right(shares):
        drawn = [(generator.random((len(x), 1)) < p).astype("float32") for p in shares]
        return lab.right(network.predict([x, *drawn], batch_size=500, verbose=0), data)

    return [
        Measure(
            "accuracy by chance, as many blocks", right([gates.mean()] * blocks), "%"
        ),
        Measure("accuracy by chance, each as often", right(gates.mean(axis=0)), "%"),
    ]


def _times(lab, model, alone, macs, data):
    """Time per sample of a file, compared with the network without gates."""
    tfc, samples = lab.tfc, data.held_out[0][: lab.count(256)]
    images, found = data.test[0][: lab.count(_NUM_TIMED)], []
    for precision in ("float32", "int8"):
        with tempfile.TemporaryDirectory() as folder:
            gated, plain = pathlib.Path(folder, "gated"), pathlib.Path(folder, "plain")
            # Rounding opens other gates near their threshold, which shows in the accuracy.
            verify = precision == "float32"
            deployed = model.deployed()
            tfc.export_tflite(deployed, gated, precision, samples, verify=verify)
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


ROWS = {
    "skip_net_resnet_20": skip_net,
    "block_drop_resnet_20": block_drop,
    "channel_skip_resnet_20": channel_skip,
}
