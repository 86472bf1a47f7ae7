"""A budget in, a model and a file out."""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.data import Data, first_rows
from tfcompress.core.kinds import (
    VERBOSE,
    BuiltModel,
    FilePath,
    Function,
    Integer,
    Number,
    OneOf,
    PlugIn,
    checked,
)
from tfcompress.core.nouns import Criterion, SearchEngine
from tfcompress.export import CODECS, PRECISIONS
from tfcompress.measuring.benchmark import benchmark
from tfcompress.pruning.channels.graph import ChannelGraph
from tfcompress.quantization.post_training.folded import plain_flat
from tfcompress.recipes.recipe import num_batches
from tfcompress.search import engines  # noqa: F401
from tfcompress.search.budget import Budget, Limits
from tfcompress.search.fit import Fit
from tfcompress.search.result import SearchResult
from tfcompress.search.space import (
    DIMENSIONS,
    Choices,
    Space,
    check_engine,
    usual_dimensions,
)
from tfcompress.search.steps import Making
from tfcompress.search.study import Study, compiled_like

_MOST_CALIBRATED, _MOST_SCORED = 2048, 4096
# Limit of the samples of a dataset that are held in memory.
_MOST_BYTES = 2**29


@checked
def compress_to(
    model: BuiltModel(),
    budget: Limits(),
    data: Data(or_dataset=True),
    space: Choices() = None,
    engine: PlugIn(SearchEngine) = "knapsack",
    *,
    folder: FilePath("a folder for the files") = None,
    validation_data: Data(or_dataset=True) = None,
    epochs: Integer(0) = 0,
    learning_rate: Number(above=0) = 1e-3,
    precision: OneOf(*PRECISIONS) = None,
    codec: OneOf(*CODECS, None) = "auto",
    criterion: PlugIn(Criterion) = "l2",
    round_to: Integer(1) = 1,
    latency: Function("latency(path) that returns milliseconds") = None,
    verbose: VERBOSE = 1,
) -> SearchResult:
    """Searches for the most accurate model within a budget.

    The `space` lists the choices for each layer. An engine proposes the member of it that
    it predicts to be best, which is then built, written as a `.tflite` file, and measured.
    A file that exceeds the budget is rejected, and the engine is asked again, with the
    measurement taken into account. Nothing is trained unless `epochs` is positive: kernels
    are corrected layer by layer for what was cut, pruned and rounded
    (`tfc.prune_channels(reconstruct=)`, `tfc.prune_weights`, `tfc.quantize_weights`), and
    the statistics of batch norms are updated.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            Keras only.
        budget: `{name: limit}`, one or several of

            - `"size_bytes"`: bytes of the file; up to 1, a fraction of the float32 file;
            - `"macs"`: multiply-accumulates per sample; up to 1, a fraction of the model's;
            - `"latency_ms"`: median milliseconds per sample, see `latency`;
            - `"memory_bytes"`: bytes of activations that are needed at the same time;
            - `"accuracy_drop"`: largest loss relative to the float32 file. If this is the
              only limit, the smallest file is searched for.
        data: `(x, y)`, or a dataset of batches, of which at most the first 6,144 samples
            or half a gibibyte are read; training streams all of it, and requires a known
            number of batches. Up to 2,048 samples are used for calibration, and up to
            4,096 others to evaluate candidates, unless `validation_data` are given.
        space: `{dimension: choices}`, with choices for all layers or `{pattern: choices}`
            with patterns as in `tfc.compress`; to leave a layer unchanged is always a
            choice. The default depends on the budget: channels for MACs, latency and
            memory; bits and sparsity for bytes. The dimensions:

            - `"channels"`: fractions of a group of channels to remove, in [0, 1);
            - `"rank"`: fractions of a kernel's rank to keep, in (0, 1];
            - `"block"`: factorizers that replace a layer, such as
              `"depthwise_separable"`;
            - `"sparsity"`: fractions of a kernel's weights to remove, in [0, 1);
            - `"bits"`: bits per weight, 2 to 8;
            - `"clusters"`: shared values of a kernel, 1 to 255; not together with bits.

            The engine `"ladder"` has dimensions for the whole model instead:
            `"equalization"`, whether to equalize, and `"rounding"`, one of `"nearest"`,
            `"bias_correction"`, `"gptq"` and `"ada_round"`.
        engine: a `tfc.search.engines` object or name.
        folder: folder for candidates and a journal. An interrupted search resumes there.
            None creates a temporary folder.
        validation_data: data to evaluate candidates on. Required with `epochs`.
        epochs: training epochs of the best candidate, which keeps its zeros, the grids of
            its bits, or its shared values; where outputs are classes, the labels have a
            weight of 0.3 in the loss, and the outputs of the given model the rest
            (`tfc.distillation.KL`).
        learning_rate: initial learning rate of the training; decays to zero along a cosine.
        precision: precision of the files. By default, `"int8"` if bits or methods are
            searched, or sparsity without shared values, since codecs benefit from zeros
            only if there are few distinct values. Otherwise `"float32"`.
        codec: codec of the files, as in `tfc.export_tflite`; None for ordinary files.
        criterion: criterion that ranks channels.
        round_to: the number of channels kept in a group is a multiple of this.
        latency: function that measures a file, for instance on a phone; by default
            `tfc.benchmark` on one thread of this host.
        verbose: 0 for no output.

    Returns:
        A `SearchResult`: `best`, `front` and all `candidates`, each with its `recipe`,
        `model` and `path`, its `size_bytes`, `accuracy`, `macs`, `latency_ms`,
        `memory_bytes`, and the `command` that reproduces it (for models with one input
        and one output; `recipe.run` works for all).

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is out of range, the space names no layer, the folder
            holds another study, or no member is within the budget. The message then states
            the smallest reachable cost, and the layer that contributes most to it.

    Source: batch norms of candidates: Li et al., "EagleEye" (2020).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(64, "relu"),
        ...     keras.layers.Dense(4)])
        >>> x = np.random.default_rng(0).normal(size=(256, 8)).astype("float32")
        >>> y = np.argmax(model(x), axis=1)
        >>> result = tfc.compress_to(model, {"macs": 0.5}, (x, y), verbose=0)
        >>> result.dense.macs, result.best.macs
        (768, 384)
    """
    if epochs and validation_data is None:
        raise ValueError(
            f"epochs={epochs} needs validation_data: accuracy on the training data says "
            "little. Pass (x, y) that are not in data."
        )
    calibration, scored = _split(data, validation_data, bool(epochs))
    training = data if epochs and isinstance(data, tf.data.Dataset) else None
    if training is not None:
        num_batches(training, 1)
    flat = compiled_like(plain_flat(model, "search"), model)
    graph = ChannelGraph(plain_flat(model, "search"))
    dimensions = space or usual_dimensions(budget, engine)
    check_engine(dimensions, engine)
    found = Space(graph, dimensions)
    precision = precision or _precision(dimensions)
    making = Making(precision, codec, criterion, round_to, epochs, learning_rate)
    if "latency_ms" not in budget:
        latency = None
    elif latency is None:
        latency = _host_latency
    folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="tfcompress_"))
    study = Study(
        flat,
        found,
        graph,
        calibration,
        scored,
        making,
        folder,
        latency,
        bool(verbose),
        training,
    )
    limits = Budget.of(budget, study.dense.costs)
    return Fit(study, engine, limits).result()


def _precision(dimensions):
    is_integer = not {"bits", "sparsity"}.isdisjoint(dimensions)
    is_integer = is_integer or any(DIMENSIONS[name].is_method for name in dimensions)
    return "int8" if is_integer and "clusters" not in dimensions else "float32"


def _host_latency(path):
    return benchmark(path).median_ms


def _split(data, validation_data, is_trained):
    """`(x, y)` for calibration (arrays: also for training), and `(x, y)` for scoring."""
    x, y = _first(data, _MOST_CALIBRATED + _MOST_SCORED)
    if y is None:
        raise ValueError(
            "compress_to(data): got no targets, expected (x, y): targets are needed to "
            "evaluate candidates."
        )
    if validation_data is not None:
        scored = _rows(_first(validation_data, _MOST_SCORED), slice(_MOST_SCORED))
        return (x, y) if is_trained else _rows((x, y), slice(_MOST_CALIBRATED)), scored
    count = len(keras.tree.flatten(x)[0])
    if count < 2:
        raise ValueError("compress_to(data): got one sample, expected several hundred.")
    border = min(_MOST_CALIBRATED, count // 2)
    scored = _rows((x, y), slice(border, border + _MOST_SCORED))
    return _rows((x, y), slice(border)), scored


def _first(data, count):
    """`(x, y)` as arrays; of a dataset, at most `count` samples."""
    if isinstance(data, tf.data.Dataset):
        return first_rows(data, count, _MOST_BYTES)
    return tuple(
        part if part is None else keras.tree.map_structure(np.asarray, part)
        for part in data
    )


def _rows(data, chosen):
    return keras.tree.map_structure(lambda part: part[chosen], data)
