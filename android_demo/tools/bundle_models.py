"""usage: python android_demo/tools/bundle_models.py [--demo FOLDER] [FOLDER]

Writes the models that are bundled with the app, by default to app/src/main/assets/models:
networks that read handwritten digits (those of scikit-learn, 8 x 8 pixels), in float32,
int8, with encoded weights and binary, with test images, labels and the answers of Python's
LiteRT. Trains for about a minute.

--demo adds the files of `tfcompress demo --output FOLDER`.
"""

import argparse
import hashlib
import json
import pathlib
import shutil

import keras
import numpy as np

import tfcompress as tfc
from tfcompress.cli import demo

ASSETS = pathlib.Path(__file__).resolve().parents[1] / "app/src/main/assets/models"
EPOCHS = 30


def write_models(folder):
    """`{name in the app: file}` of four trained networks."""
    keras.utils.set_random_seed(0)
    train, _ = tfc.datasets.load("digits")
    samples = train[0][:256]
    dense = demo.network(train[0].shape[1:], 10)
    demo.fit(dense, train, EPOCHS)
    files = {
        name: folder / f"digits_{name}.tflite"
        for name in ("float32", "int8", "encoded", "binary")
    }
    tfc.export_tflite(dense, files["float32"])
    tfc.export_tflite(dense, files["int8"], "int8", samples=samples)
    tfc.recipes.deep_compression(
        dense, train, files["encoded"], epochs=(EPOCHS, EPOCHS // 2), teacher=dense
    )
    binary = tfc.compress(_residual(train[0].shape[1:]), {".*_binary": "binary"})
    demo.fit(binary, train, EPOCHS)
    tfc.export_tflite(binary, files["binary"])
    return {f"digits {name}": path for name, path in files.items()}


def _residual(shape):
    """A network whose convolutions, except the first, can be binary."""
    layers, x = keras.layers, keras.Input(shape, name="image")
    y = layers.Conv2D(32, 3, padding="same", use_bias=False)(x)
    y = layers.BatchNormalization()(y)
    for number, (filters, strides) in enumerate([(32, 1), (64, 2), (64, 1)]):
        y = tfc.blocks.binary_residual(
            y, filters, strides=strides, name=f"block{number}"
        )
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(x, layers.Dense(10, activation="softmax")(y), name="binary")


def write_manifest(folder, files):
    """Writes what the app reads: each file with its data, answers and hashes."""
    _, (x, y) = tfc.datasets.load("digits")
    np.savez(folder / "digits.npz", x=x.astype("float32"), y=y.astype("int32"))
    models = [_describe(folder, name, path, x) for name, path in files.items()]
    content = {"format": "tfcompress-models", "version": 1, "models": models}
    (folder / "manifest.json").write_text(json.dumps(content, indent=1) + "\n")


def _describe(folder, name, path, x):
    with tfc.Interpreter(path) as interpreter:
        answers = interpreter.run(x)
        inputs = interpreter.input_details.values()
        outputs = interpreter.output_details.values()
        shapes = [[_tensor(d) for d in details] for details in (inputs, outputs)]
    reference = folder / f"{path.stem}_answers.npz"
    np.savez(reference, outputs=np.asarray(answers, "float32"))
    return {
        "name": name,
        **_file(path),
        **dict(zip(("inputs", "outputs"), shapes, strict=True)),
        "data": _file(folder / "digits.npz"),
        "reference": _file(reference),
        "labels": [str(digit) for digit in range(10)],
    }


def _tensor(detail):
    scale, zero_point = detail["quantization"]
    return {
        "name": detail["name"],
        "shape": [1, *map(int, detail["shape"][1:])],
        "type": np.dtype(detail["dtype"]).name,
        "scale": float(scale),
        "zero_point": int(zero_point),
    }


def _file(path):
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"file": path.name, "sha256": digest, "size_bytes": len(content)}


def main():
    """The command line."""
    summary, details = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        usage=summary.removeprefix("usage: "),
        description=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ASSETS)
    parser.add_argument("--demo", type=pathlib.Path, help="folder of tfcompress demo")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    files = write_models(given.folder)
    for path in sorted(given.demo.glob("*.tflite")) if given.demo else ():
        files[f"demo {path.stem}"] = shutil.copy2(
            path, given.folder / f"demo_{path.name}"
        )
    write_manifest(given.folder, files)


if __name__ == "__main__":
    main()
