"""Calls every public function with wrong arguments and judges the response.

Each parameter gets the values that its kind considers wrong and a fixed set (numbers
out of range, other types, arrays of other ranks, data in place of inputs, models that
are not built), with valid values for all other parameters. A response is

- refused: our own TypeError or ValueError (FileNotFoundError for paths) that says what
  was passed and what is expected;
- accepted: the value is one that the parameter accepts, or is still being used after
  some seconds;
- unclear: anything else.

    python tests/benchmarks/bad_arguments.py [--json] [--only PATH]

The exit code is 1 if there is an unclear response.
"""

import argparse
import contextlib
import inspect
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import tfcompress as tfc
from tests.test_argument_kinds import EXEMPT, callables, parameters
from tfcompress.core.errors import shown
from tfcompress.core.kinds import Kind

_SECONDS = 10
_KERAS_2 = """
import tf_keras
tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(2)]).save("keras2.h5")
"""
# How a message states what is expected.
_EXPECTATIONS = ("expected", "it takes", "create it first")
_PRODUCT = str(pathlib.Path(tfc.__file__).parent)


class TooLong(BaseException):
    """The call is still running: it has accepted the value."""


def model(name="small"):
    made = keras.Sequential(
        [
            keras.Input((8,), name="vector"),
            keras.layers.Dense(6, activation="relu", name="hidden"),
            keras.layers.Dense(5, name="head"),
        ],
        name=name,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile("sgd", loss)
    return made


def image_model():
    return keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.Conv2D(8, 3, padding="same", name="first"),
            keras.layers.Conv2D(8, 3, padding="same", name="second"),
            keras.layers.Conv2D(8, 1, name="pointwise"),
        ],
        name="image",
    )


class Right:
    """Valid arguments, by the path of a function and the name of a parameter."""

    def __init__(self, folder):
        generator = np.random.default_rng(0)
        x = generator.normal(size=(16, 8)).astype("float32")
        y = generator.integers(0, 5, 16)
        file = tfc.export_tflite(model(), folder / "right.tflite").path
        model().save(folder / "right.keras")
        model().export(folder / "saved", verbose=0)
        tfc.distillation.precompute(model(), x, folder / "soft", verbose=0)
        if tfc.interop.tfmot.is_installed():
            subprocess.run([sys.executable, "-c", _KERAS_2], cwd=folder, check=True)
        recipe = {"steps": [{"compress": {"rules": {".*": "mask"}}}, "strip"]}
        (folder / "right.yaml").write_text(json.dumps(recipe))
        content, new = file.read_bytes(), str(folder / "new.tflite")
        batches, steps = [(x, y)], recipe["steps"]
        image = keras.Input((8, 8, 12))
        two = [model("first"), model("second")]
        self._by_path = {
            "Interpreter": {"model": content},
            "Recipe": {"steps": steps},
            "Recipe.from_yaml": {"path": folder / "right.yaml"},
            "Recipe.run": {"self": tfc.Recipe(steps), "data": (x, y)},
            "Recipe.to_yaml": {"self": tfc.Recipe(steps), "path": folder / "new.yaml"},
            "benchmark": {"model": content, "runs": 1, "warm_up": 0, "min_seconds": 0},
            "blocks.quicknet": {
                "input_shape": (32, 32, 3), "num_classes": 2, "filters": [8],
                "blocks": [1],
            },
            "blocks.substitute": {
                "model": image_model(), "block": "depthwise_separable", "verbose": 0,
            },
            "blocks.shuffle_unit": {"filters": 12},
            "callbacks.Staging": {"begin_step": 3},
            "callbacks.TensorBoardLogger": {"log_dir": folder / "logs"},
            "compare": {"models": {"small": model()}, "latency": False},
            "compress": {"rules": {".*": "mask"}},
            "datasets.load": {"name": "digits"},
            "decode_tflite": {"content": content},
            "distillation.Ensemble": {"teachers": two},
            "distillation.MutualLearning": {"students": two},
            "distillation.SavedModelTeacher": {"path": folder / "saved"},
            "distillation.SoftLabels": {"path": folder / "soft"},
            "distillation.TFLiteTeacher": {"path": file},
            "distillation.born_again": {"build": model, "generations": 1},
            "distillation.chain": {"students": [model()]},
            "distillation.precompute": {
                "dataset": x, "path": folder / "more", "verbose": 0,
            },
            "export_tflite": {"path": new, "samples": x},
            "factorize": {"verbose": 0},
            "interop.tfmot.convert": {"path_or_model": folder / "keras2.h5"},
            "layers.CompressedLayer": {
                "layer": keras.layers.Dense(2), "transforms": {0: []},
            },
            "load_model": {"path": folder / "right.keras"},
            "CompressedModel": {"transforms": {}},
            "layers.QuantizedActivation": {"quantizer": "sign"},
            "mixed_precision": {"average_bits": 4},
            "post_training.faster_pointwise": {"model": image_model(), "verbose": 0},
            "prune_channels": {"model": image_model(), "ratio": 0.25},
            "quantize_ladder": {
                "path": new, "evaluate": lambda path: 1.0, "verbose": 0,
            },
            "quantize_weights": {"samples": x},
            "recipes.deep_compression": {
                "data": (x, y), "epochs": (1, 1), "sparsity": 0.5, "num_clusters": 3,
            },
            "rewrites.apply": {"rewrite": "split_separable"},
            "rewrites.recalibrate_batch_norm": {"data": batches},
            "schedules.Piecewise": {"boundaries": [5], "values": [0.0, 0.5]},
            "schedules.Iterative": {
                "final_sparsity": 0.5, "rounds": 2, "steps_per_round": 3,
            },
        }  # fmt: skip
        self._by_name = {
            "begin_step": 2,
            "end_step": 20,
            "expand": 8,
            "filters": 24,
            "final_sparsity": 0.5,
            "groups": 3,
            "model": model(),
            "samples": x,
            "schedule": 0.5,
            "sparsity": 0.5,
            "squeeze": 4,
            "student": model(),
            "teacher": model("teacher"),
            "train": lambda model: None,
            "x": image,
        }
        # What a name does not tell: a block's input, a callback's batches.
        self.odd = [
            None, "x", -1, 0, 1e9, float("nan"), float("inf"), [], {}, object(),
            keras.Sequential([keras.layers.Dense(2)], name="unbuilt"),
            np.ones(3), np.ones((2, 2, 2)), (x, y), "none/such.file", True,
        ]  # fmt: skip

    def arguments(self, path, thing):
        """The arguments that a call needs, and those that make it cheap."""
        given = self._by_path.get(path, {})
        needed = [
            name
            for name, parameter in parameters(thing).items()
            if parameter.default is parameter.empty and name not in given
        ]
        return given | {name: self._by_name[name] for name in needed}


def answers(path, thing, right):
    """`(parameter, value, verdict, message)` of each wrong call of a function."""
    arguments = right.arguments(path, thing)
    verdict, message = ask(thing, arguments)
    if verdict != "accepted":
        yield "(all right)", arguments, "unclear", message
        return
    for name, parameter in parameters(thing).items():
        kind = parameter.annotation
        ill = kind.wrong() if isinstance(kind, Kind) else []
        for value in [*ill, *right.odd]:
            if value is None and parameter.default is None:
                continue
            verdict, message = ask(thing, {**arguments, name: value}, value)
            if verdict == "accepted" and type(value) is object:
                verdict, message = "unclear", "Nothing refused it."
            yield name, value, verdict, message
    verdict, message = ask(thing, {**arguments, "flavour": 1}, "flavour")
    takes_any = any(
        p.kind is p.VAR_KEYWORD for p in inspect.signature(thing).parameters.values()
    )
    if parameters(thing) and not takes_any:
        yield "flavour", 1, verdict, message


def ask(thing, arguments, value=None):
    """A verdict and the message of the error."""
    signal.alarm(_SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            thing(**arguments)
    except TooLong:
        return "accepted", ""
    except Exception as error:
        signal.alarm(0)
        if TooLong.__name__ in str(error):
            return "accepted", ""
        is_clear = is_ours(error) and says(str(error), value)
        return "refused" if is_clear else "unclear", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return "accepted", ""


def is_ours(error):
    """Whether we raised it ourselves, in a form that users recognize."""
    place = traceback.extract_tb(error.__traceback__)[-1].filename
    kinds = (TypeError, ValueError, FileNotFoundError)
    return isinstance(error, kinds) and place.startswith(_PRODUCT)


def says(message, value):
    """Whether a message contains the value, in one of its forms, and what is expected."""
    told = " ".join(message.split())
    if not any(word in told.lower() for word in _EXPECTATIONS):
        return False
    return any(form in told for form in ["got 2 of", *(f[:60] for f in forms(value))])


def forms(value):
    """How a message may show a value: as a whole, or the part of it that is wrong."""
    parts = [value]
    if isinstance(value, (list, tuple, np.ndarray)):
        parts += list(value)
    if isinstance(value, dict):
        parts += [*value, *value.values()]
    for part in parts:
        yield from (shown(part), repr(part), str(part))
        if isinstance(part, np.ndarray):
            yield from (str(part.shape), str(part.shape[1:]))
            yield str(part.tolist())
        if isinstance(part, keras.Model):
            yield part.name
        if isinstance(part, (list, tuple, dict)):
            yield from forms(part) if part is not value else ()


def _stop(*_):
    raise TooLong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", help="the path of one function, such as compress")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, _stop)
    keras.utils.disable_interactive_logging()
    start, rows, unclear = time.time(), [], []
    with tempfile.TemporaryDirectory() as folder:
        right = Right(pathlib.Path(folder))
        left_out = dict(EXEMPT)
        if not tfc.interop.tfmot.is_installed():
            left_out["interop.tfmot.convert"] = "tf_keras is not installed"
        for path, thing in callables().items():
            if options.only not in (None, path) or path in left_out:
                continue
            begun = time.time()
            # What one call writes must not affect another.
            with tempfile.TemporaryDirectory() as own, contextlib.chdir(own):
                found = list(answers(path, thing, right))
            row = {"function": path, "seconds": round(time.time() - begun, 1)}
            for verdict in ("refused", "accepted", "unclear"):
                row[verdict] = sum(one[2] == verdict for one in found)
            rows.append(row)
            unclear += [
                {
                    "function": path,
                    "parameter": name,
                    "value": shown(value),
                    "message": message,
                }
                for name, value, verdict, message in found
                if verdict == "unclear"
            ]
    show(rows, unclear, left_out, time.time() - start, options.json)
    sys.exit(bool(unclear))


def show(rows, unclear, left_out, seconds, as_json):
    if as_json:
        print(json.dumps({"functions": rows, "unclear": unclear, "left_out": left_out}))
        return
    print(f"{'function':40s} refused accepted unclear seconds")
    for row in rows:
        print(
            f"{row['function']:40s} {row['refused']:7d} {row['accepted']:8d} "
            f"{row['unclear']:7d} {row['seconds']:7.1f}"
        )
    for path, reason in left_out.items():
        print(f"{path:40s} left out: {reason}")
    for one in unclear:
        print(
            f"\n{one['function']}({one['parameter']}={one['value']})\n"
            f"  {' '.join(one['message'].split())[:300]}"
        )
    calls = sum(row[v] for row in rows for v in ("refused", "accepted", "unclear"))
    print(f"\n{calls} calls in {seconds:.0f} s: {len(unclear)} unclear answers.")


if __name__ == "__main__":
    main()
