"""Small transformers made of composite layers: trained, cut in half, and quantized."""

import pathlib
import sys
import tempfile

import harness
import numpy as np
from harness import Measure

sys.path.append(str(harness.FOLDER.parent.parent))

_EPOCHS, _CUT_EPOCHS = 6, 3
_WIDTH, _DEPTH, _HEADS = 64, 2, 4
_PATCH, _NUM_BITS = 4, 8
_HALF = {".*query": 0.5, ".*wide": 0.5}
_NUM_SAMPLES, _NUM_TIMED, _ROUNDS = 512, 200, 9


def vision(lab):
    """A transformer on patches of MNIST's images."""
    bits = {".*": 4, "patches": 8}
    return _through_everything(lab, _vision(lab.keras), lab.mnist, bits)


def tokens(lab):
    """A classifier of sequences of words: each patch of an image is one of 256 words."""
    data = type(lab.mnist)(_as_words(lab.mnist.everything), _as_words(lab.mnist.test))
    return _through_everything(lab, _language(lab.keras), data, {".*": 4})


def _vision(keras):
    layers = keras.layers
    x = keras.Input((28, 28, 1), name="image")
    y = layers.Conv2D(_WIDTH, 7, strides=7, name="patches")(x)
    y = layers.Reshape((16, _WIDTH), name="places")(y)
    return _classifier(keras, x, y)


def _language(keras):
    length = (28 // _PATCH) ** 2
    x = keras.Input((length,), dtype="int32", name="words")
    return _classifier(
        keras, x, keras.layers.Embedding(2**_NUM_BITS, _WIDTH, name="table")(x)
    )


def _classifier(keras, x, y):
    from tests.composites import Encoder

    layers = keras.layers
    y = layers.EinsumDense(
        "btc,cd->btd", (y.shape[1], _WIDTH), bias_axes="td", name="positions"
    )(y)
    for number in range(_DEPTH):
        y = Encoder(_HEADS, 2 * _WIDTH, name=f"block_{number}")(y)
    y = layers.GlobalAveragePooling1D(name="pool")(y)
    return keras.Model(x, layers.Dense(10, name="head")(y))


def _as_words(part):
    """Images as words: signs of random projections of each patch."""
    images, labels = part
    side = 28 // _PATCH
    patches = images.reshape(-1, side, _PATCH, side, _PATCH).transpose(0, 1, 3, 2, 4)
    patches = patches.reshape(len(images), side * side, _PATCH**2)
    planes = np.random.default_rng(0).normal(size=(_PATCH**2, _NUM_BITS))
    bits = (patches - 0.3) @ planes > 0
    return (bits @ 2 ** np.arange(_NUM_BITS)).astype(np.int32), labels


def _through_everything(lab, model, data, bits):
    tfc = lab.tfc
    samples = data.train[0][: lab.count(_NUM_SAMPLES)]
    lab.restart()
    _fit(lab, model, data, _EPOCHS, 2e-3)
    dense = lab.accuracy(model, data)
    small = tfc.prune_channels(model, ratio=_HALF, reconstruct=samples)
    cut = lab.accuracy(small, data)
    distiller = tfc.distillation.Distiller(small, model, "kl", alpha=0.5)
    _fit(lab, distiller, data, _CUT_EPOCHS, 1e-3)
    four_bits = tfc.quantize_weights(model, bits, samples, "gptq", block_size=32)
    files = {
        "float32": (model, "float32"),
        "half": (small, "float32"),
        "int8": (model, "int8"),
        "int4 weights": (four_bits, "dynamic_int4"),
    }
    limits = {"half": dense - 1, "int8": dense - 0.5, "int4 weights": dense - 1}
    rows = [
        Measure(
            "weights of half the heads and widths",
            small.count_params() / model.count_params(),
            "of all",
        ),
        Measure("accuracy, half, not trained", cut, "%"),
    ]
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for name, (made, precision) in files.items():
            path = pathlib.Path(folder, f"{name}.tflite")
            tfc.export_tflite(
                made, path, precision, samples=samples, verify=not lab.is_quick
            )
            runs[name] = tfc.Interpreter(path).run
            answers = runs[name](data.test[0][: lab.count(len(data.test[0]))])
            accuracy = lab.right(answers, data)
            limit = {"at_least": limits[name]} if name in limits else {}
            note = f"{lab.epochs(_EPOCHS)} epochs" if name == "float32" else None
            rows += [
                Measure(f"accuracy, {name}", accuracy, "%", note=note, **limit),
                Measure(f"bytes, {name}", path.stat().st_size),
            ]
        times = lab.milliseconds(runs, data.test[0][: lab.count(_NUM_TIMED)])
    rows += [Measure(f"time, {name}", time, "ms") for name, time in times.items()]
    return rows


def _fit(lab, model, data, epochs, rate):
    keras = lab.keras
    steps = lab.steps(epochs, 128, data.train)
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(rate, steps)
    )
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(True))
    harness.progress(f"  {model.name}: {lab.epochs(epochs)} epochs")
    model.fit(*data.train, 128, lab.epochs(epochs), verbose=0)


def movement(lab):
    """The step time of movement pruning, relative to plain training."""
    tfc, keras = lab.tfc, lab.keras
    plain = _vision(keras)
    learned = tfc.compress(plain, {".*": tfc.transforms.Movement(0.5)})
    data = [array[: lab.count(2560)] for array in lab.mnist.train]
    batches = lab.batches(lab.count(128), data)

    def steps_of(model, *callbacks):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss)
        return lambda: model.fit(
            batches, shuffle=False, verbose=0, callbacks=list(callbacks)
        )

    variants = {
        "plain": steps_of(plain),
        "movement": steps_of(learned, tfc.callbacks.Annealing(end_step=1000)),
    }
    times = harness.interleaved(variants, 1 if lab.is_quick else _ROUNDS)
    ratio = harness.ratio(times["movement"], times["plain"])
    return [Measure("step time of movement pruning, of plain", ratio, "x", at_most=1.1)]


ROWS = {"vision": vision, "tokens": tokens, "movement": movement}
