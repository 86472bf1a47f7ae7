"""Feeds datasets of any length to all that takes them, and prints the peak memory.

usage: python tests/scale/streams.py FOLDER

Prints `{name: [mebibytes after SHORT batches, after LONG]}`. What reads the first samples
only is given endless data.
"""

import json
import pathlib
import resource
import sys

import keras
import tensorflow as tf

import tfcompress as tfc

# Of 1 MiB each; a search reads 96 of them at the same time.
SHORT, LONG = 100, 400
_SHAPE = 64, 64, 1
_BATCH_SIZE = 64


def dataset(num_batches):
    """Batches that are drawn when they are asked for; None for no end."""
    counter = tf.data.Dataset.range(num_batches or tf.int64.max)

    def batch(number):
        seed = tf.stack([number, 0])
        x = tf.random.stateless_normal((_BATCH_SIZE, *_SHAPE), seed)
        return x, tf.cast(tf.math.reduce_mean(x, axis=(1, 2, 3)) > 0, tf.int32)

    drawn = counter.map(batch)
    known = num_batches or tf.data.INFINITE_CARDINALITY
    return drawn.apply(tf.data.experimental.assert_cardinality(known))


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input(_SHAPE),
            keras.layers.Conv2D(8, 4, strides=16, activation="relu", name="a"),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, name="head"),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def lifelong(data):
    callback = tfc.callbacks.LifelongImportance()
    network().fit(data, epochs=1, callbacks=[callback], shuffle=False, verbose=0)


def trained(data):
    steps = [
        {"compress": {"rules": {".*": "mask"}}},
        {"fit": {"pruning": {"schedule": 0.5}}},
    ]
    tfc.Recipe(steps).run(network(), data)


def searched(data):
    some = tuple(part.numpy() for part in next(iter(dataset(1))))
    tfc.compress_to(
        network(),
        {"macs": 0.6},
        data,
        folder=_folder(f"searched_{data.cardinality()}"),
        validation_data=some,
        epochs=1,
        verbose=0,
    )


def compared(data):
    path = _folder("files") / "model.tflite"
    tfc.export_tflite(network(), path, verify=False)
    tfc.compare({"keras": network(), "file": path}, data)


# Those that read all of their data.
WHOLE = {
    "prune": lambda data: tfc.prune(network(), 0.5, criterion="taylor", data=data),
    "prune_channels": lambda data: tfc.prune_channels(
        network(), 0.5, criterion="fisher", data=data
    ),
    "sensitivity": lambda data: tfc.sensitivity(network(), data, measure="fisher"),
    "mixed_precision": lambda data: tfc.mixed_precision(
        network(), data, 4, sensitivity="hessian_trace"
    ),
    "Recipe.run": trained,
    "LifelongImportance": lifelong,
    "compress_to(epochs=1)": searched,
    "compare": compared,
}
# Those that read the first samples.
FIRST = {
    "quantize_activations": lambda data: tfc.quantize_activations(
        network(), samples=data
    ),
    "quantize_weights": lambda data: tfc.quantize_weights(network(), 4, data),
    "prune_weights": lambda data: tfc.prune_weights(network(), 0.5, data),
    "export_tflite": lambda data: tfc.export_tflite(
        network(), _folder("files") / "int8.tflite", "int8", data
    ),
}


def _folder(name):
    folder = pathlib.Path(sys.argv[1]) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    found = {}
    for name, use in WHOLE.items():
        use(dataset(SHORT))
        before = _peak()
        use(dataset(LONG))
        found[name] = [round(before), round(_peak())]
    for use in FIRST.values():
        use(dataset(None))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
