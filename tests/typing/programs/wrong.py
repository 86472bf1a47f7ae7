"""Mistakes that a type checker has to find: mypy complains of each that it does not."""

import keras

import tfcompress as tfc


def mistakes(model: keras.Model) -> None:
    tfc.transforms.Uniform(bits="8")  # type: ignore[arg-type]
    tfc.transforms.Uniform(bit=8)  # type: ignore[call-arg]
    tfc.transforms.Unifrom(bits=8)  # type: ignore[attr-defined]
    tfc.compress(model)  # type: ignore[call-arg]
    tfc.prune(model, "0.5")  # type: ignore[arg-type]
    tfc.prune(model, 0.5, criterion=5)  # type: ignore[arg-type]
    tfc.prune(model, 0.5, scope=tfc.criteria.L1())  # type: ignore[arg-type]
    tfc.export_tflite(model, "m.tflite", "int9")  # type: ignore[arg-type]
    tfc.export_tflite(model, 5)  # type: ignore[arg-type]
    tfc.decode_tflite("m.tflite")  # type: ignore[arg-type]
    print(tfc.benchmark(model).median_s)  # type: ignore[attr-defined]
