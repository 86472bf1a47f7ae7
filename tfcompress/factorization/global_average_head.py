"""Replaces a wide dense head by global average pooling and a narrow head."""

import keras
import numpy as np

from tfcompress.factorization.factorizer import Factorizer, kernel_of, like

_POOLING = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
    5: keras.layers.GlobalAveragePooling3D,
}


class GlobalAverageHead(Factorizer):
    """Replaces Flatten, Dense by GlobalAveragePooling, Dense.

    `y = Σ_p x_p W_p ≈ mean_p(x_p) Σ_p W_p` over the `P` positions of a map. Of all kernels
    that are the same at every position, `Σ_p W_p / P` is the best least squares
    approximation; it is exact if the `W_p` are equal or the map is constant. A head that
    depends on positions needs fine-tuning afterwards. Names: `<name>_pool`, `<name>`, where
    `<name>` is that of the dense layer.

    `MACs = channels outputs` instead of `P channels outputs`.

    Raises:
        ValueError: if the kernel has NaN.

    Source: Lin et al., "Network In Network" (2014), section 3.2.

    Example:
        >>> x = keras.Input((7, 7, 16))
        >>> y = keras.layers.Dense(10)(keras.layers.Flatten()(x))
        >>> small = tfc.rewrites.apply(keras.Model(x, y), GlobalAverageHead())
        >>> [type(layer).__name__ for layer in small.layers[1:]]
        ['GlobalAveragePooling2D', 'Dense']
    """

    length = 2
    kinds = (keras.layers.Dense,)

    def reason(self, flatten, dense):
        """Refuses all but a Flatten of a map of known size, channels last."""
        if type(flatten) is not keras.layers.Flatten:
            return f"after {type(flatten).__name__}, not Flatten"
        if flatten.data_format == "channels_first":
            return "the Flatten before it has its channels first"
        shape = flatten.input.shape
        if len(shape) not in _POOLING or None in shape[1:]:
            return f"the Flatten before it gets {shape}, not a map of known size"
        return None

    def tensor(self, flatten, dense):
        """`(positions, channels, outputs)`."""
        kernel = kernel_of(dense)
        return kernel.reshape(-1, flatten.input.shape[-1], kernel.shape[-1])

    def kernel(self, tensor, flatten, dense):
        """`(positions channels, outputs)`."""
        return tensor.reshape(dense.kernel.shape)

    def matrices(self, tensor):
        """No matrices, since there is no rank to choose."""
        return []

    def decompose(self, tensor, ranks):
        """`Σ_p W_p`."""
        return [tensor.sum(axis=0)]

    def compose(self, factors, shape):
        """`Σ_p W_p / P` at every position."""
        return np.broadcast_to(factors[0] / shape[0], shape)

    def chain(self, ranks, flatten, dense):
        """Global average pooling and a dense layer."""
        pooling = _POOLING[len(flatten.input.shape)](
            data_format="channels_last",
            name=f"{dense.name}_pool",
            dtype=dense.dtype_policy,
        )
        return [pooling, like(dense)]
