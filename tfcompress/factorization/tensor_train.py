"""Splits a kernel into a train of small tensors, each connected to the next."""

import math

import keras
import numpy as np
import tensorly
import tensorly.decomposition

from tfcompress.core.kinds import Integer, PlugIn
from tfcompress.core.nouns import Rank
from tfcompress.factorization.factorizer import (
    CONVOLUTIONS,
    Factorizer,
    along,
    axis_names,
    kernel_of,
    pointwise,
)


class TensorTrain(Factorizer):
    """Splits a kernel into a tensor train and runs its cores as layers.

    Convolutions: `W[h, w, i, o] ≈ Σ A[i, r] B[h, r, s] C[w, s, t] D[t, o]`, executed as
    1x1, k x 1, 1 x k and 1x1 convolutions, where those along an axis have its strides,
    dilation and padding. Names: `<name>_in`, `<name>_height`, `<name>_width`, `<name>`.
    `MACs = inputs r positions_in + height r s positions_1 + (width s t
    + t outputs) positions`.

    Dense: inputs and outputs are split into `num_modes` factors each,
    `inputs = i_1 ⋯ i_d` and `outputs = j_1 ⋯ j_d`, as even as possible, and
    `W[i_1 ⋯ i_d, j_1 ⋯ j_d] ≈ Σ G_1[i_1, j_1, r_1] G_2[i_2, j_2, r_1, r_2] ⋯
    G_d[r_{d-1}, i_d, j_d]`. It runs as Reshape, one EinsumDense per core, Reshape, and the
    activation if there is one. Names: `<name>_modes`, `<name>_core1`, …, `<name>` for the
    last core, `<name>_flat`, `<name>_activation`. Core `k` takes
    `MACs = r_{k-1} r_k i_k ⋯ i_d j_1 ⋯ j_k`: there are far fewer weights, but fewer MACs
    only for low ranks.

    The cores come from successive truncated SVDs; the squared error is at most the sum of
    what each of them truncates.

    Args:
        rank: a `Rank`; integers, one per connection; or a fraction of the full ranks of
            the unfoldings.
        num_modes: number of factors of the inputs and of the outputs of a dense layer, at
            least 2.

    Raises:
        ValueError: if an argument is out of range or the kernel has NaN.

    Source: Oseledets, "Tensor-Train Decomposition" (2011), algorithm 1; Novikov et al.,
    "Tensorizing Neural Networks" (2015), section 4; Garipov et al., "Ultimate
    Tensorization" (2016).

    Example:
        >>> model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(36)])
        >>> small = tfc.rewrites.apply(model, TensorTrain(2))
        >>> [tuple(w.shape) for w in small.weights]  # 8x8 inputs, 6x6 outputs
        [(8, 6, 2), (2, 8, 6), (6, 6)]
    """

    kinds = (keras.layers.Dense, *CONVOLUTIONS)

    def __init__(self, rank: PlugIn(Rank) = 0.25, num_modes: Integer(2) = 2):
        self.rank = rank
        self.num_modes = num_modes

    def reason(self, layer):
        """Refuses 1x1 kernels, and dense layers on more than vectors."""
        if isinstance(layer, keras.layers.Dense):
            is_vector = len(layer.input.shape) == 2
            return None if is_vector else "dense on inputs with more than one axis"
        if math.prod(layer.kernel_size) == 1:
            return "1x1 kernel: use svd"
        return None

    def tensor(self, layer):
        """`(inputs, height, width, outputs)`, or `(i_1 j_1, …, i_d j_d)`."""
        kernel = kernel_of(layer)
        if kernel.ndim > 2:
            return np.moveaxis(kernel, -2, 0)
        inputs, outputs = self._modes(layer)
        sizes = [i * j for i, j in zip(inputs, outputs, strict=True)]
        pairs = _pairs(len(inputs))
        return kernel.reshape(*inputs, *outputs).transpose(pairs).reshape(sizes)

    def kernel(self, tensor, layer):
        """`(height, width, inputs, outputs)`, or `(inputs, outputs)`."""
        if len(layer.kernel.shape) > 2:
            return np.moveaxis(tensor, 0, -2)
        modes = np.array(self._modes(layer))
        split = tensor.reshape(modes.T.ravel())
        return split.transpose(np.argsort(_pairs(len(modes[0])))).reshape(
            layer.kernel.shape
        )

    def matrices(self, tensor):
        """The unfoldings with the first `k` axes as rows."""
        rows = np.cumprod(tensor.shape)[:-1]
        return [tensor.reshape(count, -1) for count in rows]

    def feasible(self, ranks, shape):
        """Ranks limited to what a core and its other connection can represent."""
        ranks = [1, *ranks, 1]
        for k in range(1, len(shape)):
            ranks[k] = min(ranks[k], ranks[k - 1] * shape[k - 1])
        for k in range(len(shape) - 1, 0, -1):
            ranks[k] = min(ranks[k], ranks[k + 1] * shape[k])
        return tuple(ranks[1:-1])

    def decompose(self, tensor, ranks):
        """Cores `(n_1, r_1)`, `(n_k, r_{k-1}, r_k)` and `(r_{d-1}, n_d)`."""
        with tensorly.backend_context("numpy", local_threadsafe=True):
            cores = tensorly.decomposition.tensor_train(tensor, [1, *ranks, 1])
        first, *middle, last = cores
        return [first[0], *(core.swapaxes(0, 1) for core in middle), last[..., 0]]

    def compose(self, factors, shape):
        """The cores contracted over their connections."""
        product, *middle, last = factors
        for core in middle:
            product = np.tensordot(product, core, axes=(-1, 1))
        return (product @ last).reshape(shape)

    def chain(self, ranks, layer):
        """Convolutions, or einsums between two reshapes."""
        if isinstance(layer, keras.layers.Dense):
            return self._dense_chain(ranks, layer)
        first, *others = ranks
        axes = zip(axis_names(layer), others, strict=True)
        return [
            pointwise(layer, "in", first),
            *(along(layer, i, name, rank) for i, (name, rank) in enumerate(axes)),
            pointwise(layer),
        ]

    def _modes(self, layer):
        inputs, outputs = (even_factors(n, self.num_modes) for n in layer.kernel.shape)
        return inputs, outputs[::-1]

    def _dense_chain(self, ranks, layer):
        inputs, outputs = self._modes(layer)
        chain = [
            _named(keras.layers.Reshape, layer, "modes", target_shape=inputs),
            *(_core(layer, k, inputs, outputs, ranks) for k in range(len(inputs))),
            _named(keras.layers.Reshape, layer, "flat", target_shape=(layer.units,)),
        ]
        is_linear = layer.activation is keras.activations.linear
        if is_linear and layer.activity_regularizer is None:
            return chain
        activation = _named(
            keras.layers.Activation,
            layer,
            "activation",
            activation=layer.activation,
            activity_regularizer=layer.activity_regularizer,
        )
        return [*chain, activation]


def _pairs(count):
    """The order that puts axes `(i_1, …, i_d, j_1, …, j_d)` in pairs."""
    return [axis + half for axis in range(count) for half in (0, count)]


def _named(cls, layer, role, **arguments):
    name = f"{layer.name}_{role}"
    return cls(name=name, dtype=layer.dtype_policy, **arguments)


def _core(layer, k, inputs, outputs, ranks):
    equation, shape = _core_equation(k, inputs, outputs, ranks)
    arguments = {
        "kernel_regularizer": layer.kernel_regularizer,
        "trainable": layer.trainable,
        "dtype": layer.dtype_policy,
    }
    if k < len(inputs) - 1:
        name = f"{layer.name}_core{k + 1}"
        return keras.layers.EinsumDense(equation, shape, name=name, **arguments)
    return keras.layers.EinsumDense(
        equation,
        shape,
        bias_axes=_OUTPUT_LABELS[: len(outputs)] if layer.use_bias else None,
        bias_regularizer=layer.bias_regularizer,
        bias_constraint=layer.bias_constraint,
        name=layer.name,
        **arguments,
    )


_INPUT_LABELS = "abcdefghijkl"
_OUTPUT_LABELS = "mnopqrstuvwx"


def _core_equation(k, inputs, outputs, ranks):
    """The einsum of core `k`, and the shape of its result.

    The axes of the state are the remaining inputs, then the outputs made so far, then the
    connection. The batch is Z, the connections are X and Y.
    """
    is_first, is_last = k == 0, k == len(inputs) - 1
    waiting, made = _INPUT_LABELS[k + 1 : len(inputs)], _OUTPUT_LABELS[:k]
    source, target = _INPUT_LABELS[k], _OUTPUT_LABELS[k]
    before, after = "" if is_first else "X", "" if is_last else "Y"
    core = f"X{source}{target}" if is_last else f"{source}{target}{before}{after}"
    state, result = (
        f"{source}{waiting}{made}{before}",
        f"{waiting}{made}{target}{after}",
    )
    shape = (*inputs[k + 1 :], *outputs[: k + 1], *ranks[k : k + 1])
    return f"Z{state},{core}->Z{result}", shape


def even_factors(number, count):
    """`count` ascending factors of a number, as even as its prime factors allow.

    >>> even_factors(64, 2), even_factors(10, 3), even_factors(360, 3)
    ((8, 8), (1, 2, 5), (6, 6, 10))
    """
    factors = [1] * count
    for prime in sorted(_primes(number), reverse=True):
        factors[factors.index(min(factors))] *= prime
    return tuple(sorted(factors))


def _primes(number):
    primes, divisor = [], 2
    while divisor * divisor <= number:
        if number % divisor:
            divisor += 1
            continue
        primes.append(divisor)
        number //= divisor
    return primes + [number] * (number > 1)
