"""usage: python android_demo/tools/bundle_models.py [FOLDER]

Trains small networks on the digits of scikit-learn and writes them as the app bundles them:
float32, int8, encoded and binary, with test digits, labels, what Python's LiteRT answers,
and the manifest. About two minutes. FOLDER is android_demo/app/src/main/assets/models if it
is left out.
"""

import hashlib
import json
import pathlib
import sys

import keras
import numpy as np

import tfcompress as tfc
from tfcompress.cli import demo

PROJECT = pathlib.Path(__file__).resolve().parents[2]
ASSETS = PROJECT / "android_demo/app/src/main/assets/models"
EXAMPLES = 200
EPOCHS = 30


def main(folder):
    """Writes all files of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    train, (x, y) = tfc.datasets.load("digits", None)
    x, y = x[:EXAMPLES].astype("<f4"), y[:EXAMPLES].astype("<i4")
    np.savez_compressed(folder / "digits.npz", x=x, y=y)
    manifest = {"format": "tfcompress-models", "version": 1, "models": []}
    for name, path in _export(folder, train, x).items():
        outputs = folder / f"{path.stem}_outputs.npz"
        with tfc.Interpreter(path) as interpreter:
            np.savez_compressed(outputs, outputs=interpreter.run(x).astype("<f4"))
            (inputs,) = interpreter.input_details.values()
            (output,) = interpreter.output_details.values()
        manifest["models"].append(
            {
                "name": name,
                **_described(path),
                "inputs": [_spec(inputs)],
                "outputs": [_spec(output)],
                "labels": [str(digit) for digit in range(10)],
                "data": _described(folder / "digits.npz"),
                "reference": _described(outputs),
            }
        )
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _export(folder, train, samples):
    """`{name: path}` of the models, trained one from another."""
    dense = demo.network(train[0].shape[1:], 10)
    demo.fit(dense, train, EPOCHS)
    transforms = [
        tfc.transforms.Mask(),
        tfc.transforms.Codebook(16),
        tfc.transforms.Uniform(bits=8),
    ]
    shared = tfc.quantize_activations(tfc.compress(dense, {".*": transforms}))
    steps = EPOCHS * -(-len(train[0]) // demo.BATCH_SIZE)
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.8, begin_step=0, end_step=steps // 2, frequency=steps // 50
    )
    pruning = tfc.callbacks.Pruning(schedule, scope="global")
    demo.fit(shared, train, EPOCHS, callbacks=[pruning])
    binary = tfc.compress(_binary_network(), {".*_binary": "binary"})
    demo.fit(binary, train, 2 * EPOCHS)
    models = {
        "digits float32": (dense, {}),
        "digits int8": (shared, {"precision": "int8"}),
        "digits encoded": (shared, {"precision": "int8", "codec": "auto"}),
        "digits binary": (binary, {}),
    }
    paths = {}
    for name, (model, options) in models.items():
        paths[name] = folder / f"{name.replace(' ', '_')}.tflite"
        tfc.export_tflite(model, paths[name], samples=samples, **options)
    return paths


def _binary_network():
    layers = keras.layers
    x = inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(32, 3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    for i, filters in enumerate((64, 64)):
        x = tfc.layers.QuantizedActivation("sign")(x)
        x = layers.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"conv{i}_binary"
        )(x)
        x = layers.MaxPooling2D()(x)
        x = layers.BatchNormalization()(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def _described(path):
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"file": path.name, "sha256": digest, "size_bytes": len(content)}


def _spec(detail):
    scale, zero_point = detail["quantization"]
    return {
        "name": detail["name"],
        "shape": [int(size) for size in detail["shape"]],
        "type": np.dtype(detail["dtype"]).name,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ASSETS)
