"""What users write, as a type checker sees it; nothing here runs."""

import pathlib

import keras
import numpy as np

import tfcompress as tfc
from tfcompress.criteria import Criterion, Taylor


def one_step_after_the_other(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    mask = tfc.transforms.Mask()
    compressed: tfc.CompressedModel = tfc.compress(
        model, {".*": [mask, "ternary", {"uniform": {"bits": 8}}]}, skip=["head"]
    )
    schedule = tfc.schedules.Polynomial(final_sparsity=0.8, begin_step=0, end_step=100)
    pruning = tfc.callbacks.Pruning(schedule, tfc.criteria.Magnitude, scope="global")
    compressed.fit(x, y, callbacks=[pruning])
    plain: keras.Model = tfc.strip(tfc.quantize_activations(compressed, samples=x))
    result = tfc.export_tflite(plain, pathlib.Path("a.tflite"), "int8", samples=x)
    size: int = result.size_bytes
    with tfc.Interpreter(result.path, num_threads=2) as interpreter:
        interpreter.run(x[:1])
    return size * tfc.benchmark(result.path).median_ms


def smaller_models(
    model: keras.Model, x: np.ndarray, y: np.ndarray
) -> list[keras.Model]:
    taylor: Criterion = Taylor()
    return [
        tfc.prune(model, 0.5, "magnitude", pattern=tfc.patterns.NOfM(2, 4)),
        tfc.prune(model, {"conv.*": 0.5, "head": 0.9}, taylor, data=[(x, y)]),
        tfc.prune_channels(model, target_macs=0.5, criterion={"minus_cost": {}}),
        tfc.prune_weights(model, 0.5, x, bits={"dense.*": 4}),
        tfc.quantize_weights(model, bits=4, samples=x, rounding="gptq"),
        tfc.factorize(model, tfc.rewrites.SVD(8), where=keras.layers.Dense),
        tfc.shrink(tfc.gate_channels(model)),
        tfc.load_model("model.keras"),
    ]


def searches(model: keras.Model, x: np.ndarray, y: np.ndarray) -> str:
    found = tfc.compress_to(model, {"size_bytes": 30_000}, (x, y), engine="knapsack")
    bits = tfc.mixed_precision(model, x, average_bits=4)
    ladder = tfc.quantize_ladder(
        model, "m.tflite", x, lambda path: 0.5, precision="int4"
    )
    return f"{found.best} {bits} {ladder} {tfc.sensitivity(model, x)}"


def descriptions(model: keras.Model) -> None:
    print(tfc.report(model), tfc.channel_groups(model), tfc.__version__)
    print(tfc.compare({"dense": model, "int8": "int8.tflite"}, latency=False))
    tfc.Recipe.from_yaml("recipe.yaml").run(model).model.summary()


class Largest(Criterion):
    """A plug-in of a user."""

    def __call__(
        self, weight: np.ndarray, signals: dict[str, np.ndarray]
    ) -> np.ndarray:
        return abs(weight)
