"""Prune, retrain, share values, retrain, encode: Deep Compression in one call."""

import dataclasses

import keras

from tfcompress.callbacks import Pruning
from tfcompress.core.compress import compress, strip
from tfcompress.core.data import Data
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.kinds import (
    VERBOSE,
    BuiltModel,
    Each,
    FilePath,
    Integer,
    Keras,
    Number,
    OneOf,
    PlugIn,
    checked,
)
from tfcompress.core.nouns import Scope
from tfcompress.core.rules import Rules
from tfcompress.core.walk import own_variables
from tfcompress.distillation.losses.temperature import TEMPERATURE
from tfcompress.distillation.teachers import Teacher
from tfcompress.export import CODECS, PRECISIONS, export_tflite
from tfcompress.export.verify import ExportResult
from tfcompress.pruning.prune import SPARSITY
from tfcompress.recipes.lessons import Lessons
from tfcompress.recipes.objective import LOSS
from tfcompress.recipes.storage import Storage, storage
from tfcompress.schedules import Polynomial
from tfcompress.transforms import Codebook, Mask

# The fraction of the first training in which sparsity rises, and the number of updates.
_PRUNING_FRACTION = 0.5
_NUM_UPDATES = 100


_CLUSTERS = Integer(1, 65535) | Rules(Integer(1, 65535), "numbers", "{'dense.*': 31}")


@dataclasses.dataclass(frozen=True)
class DeepCompression:
    """The result of `deep_compression`; prints as the paper's table.

    Attributes:
        model: the plain Keras model with few shared values.
        pruned: the plain Keras model after the first retraining.
        export: the `ExportResult` of the file; None without a path.
        storage: a `Storage`: weights kept, bits and rates of each layer.
        history: `{"prune": ..., "share": ...}`, with `{metric: values}` of each training.
    """

    model: keras.Model
    pruned: keras.Model
    export: ExportResult | None
    storage: Storage
    history: dict

    def __str__(self):
        return "\n".join(
            filter(None, [str(self.storage), self.export and str(self.export)])
        )


@checked
def deep_compression(
    model: BuiltModel(),
    data: Data(or_dataset=True),
    path: FilePath("the .tflite file to write") = None,
    *,
    sparsity: SPARSITY = 0.9,
    scope: PlugIn(Scope) = "global",
    num_clusters: _CLUSTERS = None,
    epochs: Each(
        Integer(0),
        "two integers, for the training while pruning and for the one while sharing",
        count=2,
    ) = (20, 10),
    learning_rate: Each(
        Number(0),
        "two numbers, for the training while pruning and for the one while sharing",
        count=2,
    ) = (1e-3, 1e-4),
    optimizer: Keras(keras.optimizers.get, "a Keras optimizer or its name") = "adam",
    batch_size: Integer(1) = 128,
    loss: LOSS = None,
    teacher: PlugIn(Teacher) = None,
    temperature: TEMPERATURE = 4.0,
    validation_data: Data(or_dataset=True) = None,
    precision: OneOf(*PRECISIONS) = "float32",
    codec: OneOf(*CODECS, None) = "auto",
    verbose: VERBOSE = 0,
) -> DeepCompression:
    """Makes a model many times smaller: prune, retrain, share values, retrain, encode.

    1. Sparsity rises along a cubic curve (`tfc.schedules.Polynomial`) during the first
       half of the first training; the smallest weights are removed.
    2. The remaining weights are clustered, and those of a cluster share one value, which
       is adjusted by the second training.
    3. The file is written.

    In both trainings, the learning rate decays to zero along a cosine. With a teacher (the
    dense model itself is a good one), `loss` has a weight of one tenth, and nine tenths are
    for `tfc.distillation.KL`, or for `tfc.distillation.Logits` on outputs that are values.

    Args:
        model: a built Keras model, which is not changed.
        data: `(x, y)`, or a `tf.data.Dataset` of batches of them, of known length; with
            several outputs, `y` is a list or a dictionary.
        path: path of the `.tflite` file to write; None for no file.
        sparsity: fraction of all kernels to remove, in [0, 1); or
            `{pattern: fraction}` with the patterns of `tfc.compress`.
        scope: how a single fraction is distributed among kernels, a `tfc.scopes` object or
            name.
        num_clusters: number of shared values of each kernel in addition to zero; or
            `{pattern: number}`, which may name biases too. None: 255 in kernels with
            more than two axes and 31 in others, which fit in 8 and 5 bits.
        epochs: epochs of the two trainings; 0 skips one.
        learning_rate: initial learning rate of each training.
        optimizer: Keras name or object.
        batch_size: batch size for arrays.
        loss: as in `model.compile`. By default, the loss that the model is compiled with
            (and its metrics); otherwise, for each output, cross entropy of class labels,
            one-hot labels or zeros and ones, or the mean squared error, depending on
            the data.
        teacher: a model whose outputs are learned in addition to the labels; anything
            that `tfc.distillation.Distiller` accepts.
        temperature: temperature of the teacher's and the model's outputs, positive.
        validation_data: like `data`, evaluated after each epoch.
        precision: precision of the file, as in `tfc.export_tflite`.
        codec: codec of the file, as in `tfc.export_tflite`; None for a plain file.
        verbose: as in `model.fit`.

    Returns:
        A `DeepCompression`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is out of range, a pattern matches nothing, or the
            length of the dataset is not known.

    Source: Han et al., "Deep Compression: Compressing Deep Neural Networks with
    Pruning, Trained Quantization and Huffman Coding" (2016); gradual pruning: Zhu and
    Gupta (2017); teacher: Hinton et al., "Distilling the Knowledge in a Neural Network"
    (2015).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> x, y = np.ones((32, 8), "float32"), np.zeros(32, int)
        >>> result = tfc.recipes.deep_compression(
        ...     model, (x, y), sparsity=0.75, num_clusters=3, epochs=(1, 1))
        >>> result.storage.weights[0].kept
        8
    """
    lessons = Lessons(
        model, data, validation_data, batch_size, loss, teacher, temperature
    )

    def train(compressed, stage, callbacks=()):
        return lessons.fit(
            compressed,
            epochs[stage],
            learning_rate[stage],
            optimizer,
            callbacks,
            verbose,
        )

    masked = compress(model, _masks(sparsity))
    num_steps = epochs[0] * lessons.steps_per_epoch
    pruning = train(masked, 0, [_pruning(sparsity, scope, num_steps)])
    pruned = strip(masked)
    shared = compress(pruned, _codebooks(model, num_clusters))
    sharing = train(shared, 1)
    small = strip(shared)
    # A codec stores zeros in fewer bytes than TFLite's own sparse format.
    sparse = "never" if codec else "auto"
    export = path and export_tflite(
        small, path, precision, lessons.samples, sparse=sparse, codec=codec
    )
    return DeepCompression(
        model=small,
        pruned=pruned,
        export=export,
        storage=storage(small),
        history={"prune": pruning, "share": sharing},
    )


def _masks(sparsity):
    """Rules that mask the weights to be pruned."""
    patterns = sparsity if isinstance(sparsity, dict) else [".*"]
    return dict.fromkeys(patterns, "mask")


def _pruning(sparsity, scope, num_steps):
    """The callback that brings a masked model to its sparsity by half of the training."""
    end_step = max(1, int(num_steps * _PRUNING_FRACTION))

    def schedule(final_sparsity):
        return Polynomial(
            final_sparsity=final_sparsity,
            begin_step=0,
            end_step=end_step,
            frequency=max(1, end_step // _NUM_UPDATES),
        )

    if not isinstance(sparsity, dict):
        return Pruning(schedule(sparsity), scope=scope)
    # Each kernel has the sparsity of its rule, so there is nothing to distribute.
    rules = {pattern: schedule(fraction) for pattern, fraction in sparsity.items()}
    return Pruning(rules, scope="local")


def _codebooks(model, num_clusters):
    """Rules that share values; zeros stay, also in kernels that share none."""
    if num_clusters is None:
        num_clusters = {".*": 31}
        if any(map(_has_convolution_kernel, all_layers(model))):
            num_clusters[_has_convolution_kernel] = 255
    if not isinstance(num_clusters, dict):
        num_clusters = {".*": num_clusters}
    shared = {
        pattern: [Mask(), Codebook(number)] for pattern, number in num_clusters.items()
    }
    return {".*": Mask()} | shared


def _has_convolution_kernel(layer):
    return any(len(v.shape) > 2 for v in own_variables(layer))
