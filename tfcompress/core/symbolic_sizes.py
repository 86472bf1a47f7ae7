"""Sizes of tensors while a call is traced into a graph.

`keras.ops.shape` returns None for it, which no other operation accepts. Within
`known_batch_size`, it returns a `BatchSize` instead, and the operations that take sizes
compute with a vector of zeros in its place, one for each sample.
"""

import contextlib
import functools
import math
import threading

import keras

from tfcompress.core.keras_internals import dense_products

ops = keras.ops
_patching = threading.RLock()


class BatchSize:
    """The unknown batch size, or a multiple of it, which only reshaping accepts."""

    def __init__(self, zeros=None):
        self.zeros = zeros

    def _multiple(self, other):
        return BatchSize() if isinstance(other, (int, BatchSize)) else NotImplemented

    __mul__ = __rmul__ = __floordiv__ = _multiple


@contextlib.contextmanager
def known_batch_size(model_input):
    """Within it, `keras.ops` accepts the batch size of symbolic tensors.

    Args:
        model_input: an input of the model, None if there is none to take it from.

    >>> x = keras.Input((3,))
    >>> with known_batch_size(x):
    ...     y = keras.ops.broadcast_to(np.ones((1, 2)), (keras.ops.shape(x)[0], 2))
    >>> y.shape, keras.Model(x, y)(np.zeros((5, 3))).shape
    ((None, 2), TensorShape([5, 2]))
    """
    if model_input is None or model_input.shape[0] is not None:
        yield
        return
    with _patching:
        functions = {name: getattr(ops, name) for name in (*_REPLACED, "shape")}
        replaced = {
            name: functools.wraps(functions[name])(
                functools.partial(function, functions[name])
            )
            for name, function in _REPLACED.items()
        }
        replaced["shape"] = functools.partial(
            _shape, functions["shape"], BatchSize(model_input)
        )
        vars(ops).update(replaced)
        try:
            yield
        finally:
            vars(ops).update(functions)


def _shape(shape, size, x):
    sizes = tuple(shape(x))
    if keras.backend.is_keras_tensor(x) and sizes and sizes[0] is None:
        return size, *sizes[1:]
    return sizes


def _sizes(shape):
    """A shape as a tuple, and the positions of the batch size in it."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    return sizes, [i for i, size in enumerate(sizes) if isinstance(size, BatchSize)]


def _zeros_of(shape, dtype):
    """Zeros of a shape that contains the batch size once."""
    sizes, places = _sizes(shape)
    (place,) = places
    model_input = sizes[place].zeros
    if model_input is None:
        raise ValueError("A multiple of the unknown batch size is no known size.")
    first = model_input[(slice(None), *[0] * (len(model_input.shape) - 1))]
    zeros = ops.zeros_like(first, dtype=dtype)
    zeros = ops.reshape(zeros, [-1 if i == place else 1 for i in range(len(sizes))])
    rest = [1 if i == place else size for i, size in enumerate(sizes)]
    if all(size == 1 for size in rest):
        return zeros
    return ops.add(zeros, ops.zeros(rest, dtype=zeros.dtype))


def _broadcast_to(broadcast_to, x, shape):
    if not _sizes(shape)[1]:
        return broadcast_to(x, shape)
    dtype = keras.backend.standardize_dtype(x.dtype)
    if dtype == "bool":
        return ops.logical_or(x, ops.cast(_zeros_of(shape, "int32"), "bool"))
    return ops.add(x, _zeros_of(shape, dtype))


def _zeros(zeros, shape, dtype=None):
    if not _sizes(shape)[1]:
        return zeros(shape, dtype=dtype)
    return _zeros_of(shape, dtype or keras.config.floatx())


def _ones(ones, shape, dtype=None):
    if not _sizes(shape)[1]:
        return ones(shape, dtype=dtype)
    return ops.ones_like(_zeros_of(shape, dtype or keras.config.floatx()))


def _reshape(reshape, x, newshape):
    sizes, places = _sizes(newshape)
    # Shapes of tensors, unlike `keras.ops.shape`, say None.
    places += [i for i, size in enumerate(sizes) if size is None][:1]
    of_sample = tuple(x.shape[1:]) if hasattr(x, "shape") else (None,)
    if places and -1 in sizes and None not in of_sample:
        known = [s for i, s in enumerate(sizes) if s != -1 and i not in places]
        rest = math.prod(of_sample) // max(math.prod(known), 1)
        sizes = tuple(rest if size == -1 else size for size in sizes)
    return reshape(x, tuple(-1 if i in places else s for i, s in enumerate(sizes)))


def _repeat(repeat, x, repeats, axis=None):
    if not isinstance(repeats, BatchSize):
        return repeat(x, repeats, axis=axis)
    shape = list(x.shape)
    if axis is None or shape[axis] != 1:
        raise ValueError("Only one sample can be repeated for an unknown batch size.")
    shape[axis] = repeats
    return _broadcast_to(ops.broadcast_to, x, shape)


def _tile(tile, x, repeats):
    sizes, places = _sizes(repeats)
    if not places:
        return tile(x, repeats)
    (place,) = places
    tiled = tile(x, [1 if i == place else size for i, size in enumerate(sizes)])
    return _repeat(ops.repeat, tiled, sizes[place], axis=place)


def _convert_to_tensor(convert_to_tensor, x, dtype=None, **kwargs):
    if not keras.backend.is_keras_tensor(x):
        return convert_to_tensor(x, dtype=dtype, **kwargs)
    return x if dtype is None else ops.cast(x, dtype)


@contextlib.contextmanager
def exact_specs():
    """Within it, symbolic tensors are what real ones would be.

    `EinsumDense` passes on sizes that it has in common with its input; Keras takes those
    that `output_shape` leaves open for unknown. Products are dense (`dense_products`).

    >>> x = keras.Input((4, 6))
    >>> dense = keras.layers.EinsumDense("btd,de->bte", output_shape=(None, 3))
    >>> dense(x).shape
    (None, None, 3)
    >>> with exact_specs():
    ...     dense(x).shape
    (None, 4, 3)
    """
    kind = keras.layers.EinsumDense
    compute = kind.compute_output_shape

    def compute_output_shape(self, input_shape):
        sizes = compute(self, input_shape)
        operands, result = self.equation.replace(" ", "").split("->")
        read = operands.split(",")[0]
        if "." in read:
            return sizes
        given = dict(zip(read, input_shape, strict=True))
        return tuple(
            given.get(letter) if size is None else size
            for letter, size in zip(result, sizes, strict=True)
        )

    with _patching, dense_products():
        kind.compute_output_shape = compute_output_shape
        try:
            yield
        finally:
            kind.compute_output_shape = compute


_REPLACED = {
    "broadcast_to": _broadcast_to,
    "zeros": _zeros,
    "ones": _ones,
    "reshape": _reshape,
    "repeat": _repeat,
    "tile": _tile,
    "convert_to_tensor": _convert_to_tensor,
}
