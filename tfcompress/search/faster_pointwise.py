"""1x1 convolutions as dense layers where that is faster in LiteRT."""

import pathlib
import tempfile

import keras
import numpy as np

from tfcompress.core.kinds import VERBOSE, BuiltModel, OneOf, checked
from tfcompress.export import PRECISIONS, export_tflite
from tfcompress.export.prepare import PROFILES
from tfcompress.measuring.benchmark import benchmark
from tfcompress.quantization.post_training.folded import folded
from tfcompress.rewrites.apply import apply, apply_to_flat
from tfcompress.rewrites.pointwise_as_dense import PointwiseAsDense


@checked
def faster_pointwise(
    model: BuiltModel(),
    precision: OneOf(*PRECISIONS) = "int4",
    verbose: VERBOSE = 1,
    profile: OneOf(*PROFILES) = "builtin",
) -> keras.Model:
    """Returns a plain copy of `model` whose 1x1 convolutions use the faster form.

    Each 1x1 convolution is written to two separate files, one with
    `tfc.rewrites.PointwiseAsDense` and one without, which are timed on one thread of this
    machine; the faster form is kept. Layers of the same shape are timed once. In int4 files
    of builtin operations the dense form took 0.2 to 0.45 times as long (x86 with AVX-512);
    in int8 files it is no faster. Outputs do not change. Batch norm is folded first.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose `call` uses
            Keras only, with or without `tfc.quantize_activations`.
        precision: precision of the files, as in `tfc.export_tflite`.
        verbose: 1 prints both times of each shape.
        profile: operations of the files, as in `tfc.export_tflite`: with `"custom"`, int4
            kernels of convolutions are decoded when the file is loaded.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if a layer has an input of unknown size.

    Example:
        >>> x = keras.Input((14, 14, 64))
        >>> model = keras.Model(x, keras.layers.Conv2D(64, 1, name="c")(x))
        >>> fast = tfc.post_training.faster_pointwise(model, verbose=0)
        >>> type(fast.get_layer("c")).__name__ in ("Dense", "Conv2D")
        True
    """
    flat, rewrite = folded(model), PointwiseAsDense()
    faster, names = {}, set()
    for layer in flat.layers:
        if not rewrite.matches(layer):
            continue
        shape = (tuple(layer.input.shape[1:]), layer.filters, tuple(layer.strides))
        if shape not in faster:
            alone = _alone(layer)
            times = [
                _milliseconds(m, precision, profile)
                for m in (alone, apply(alone, rewrite))
            ]
            faster[shape] = times[1] < times[0]
            if verbose:
                print(
                    f"{layer.name}: {times[0]:.3f} ms as convolution, {times[1]:.3f} ms "
                    "as dense layer"
                )
        if faster[shape]:
            names.add(layer.name)
    return apply_to_flat(flat, _Named(names))


class _Named(PointwiseAsDense):
    """The rewrite, restricted to layers with given names."""

    def __init__(self, names):
        self.names = names

    def matches(self, layer):
        """Whether the layer has one of the names."""
        return layer.name in self.names


def _alone(layer):
    x = keras.Input(layer.input.shape[1:])
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float32"})
    model = keras.Model(x, copy(x))
    copy.set_weights(layer.get_weights())
    return model


def _milliseconds(model, precision, profile):
    samples = np.random.default_rng(0).normal(size=(4, *model.input.shape[1:]))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "layer.tflite"
        export_tflite(model, path, precision, samples, profile, verify=False)
        return benchmark(path, min_seconds=0.2).min_ms
