"""The gradients of masked weights, captured while a model trains."""

import tensorflow as tf

from tfcompress.core.replicas import own_variable

_EPSILON = 1e-8


class DenseGradient:
    """Stores the gradient of the last training batch with respect to a masked weight.

    Backpropagation computes the gradient of all elements before the mask passes on
    those that stay; here it is stored on the way. So it is that of the training batch
    itself, and needs no additional pass. Gradients of several calls of a layer, and
    those of replicas, are summed. Non-finite values, from overflow in half precision,
    count as 0.

    Args:
        shape: shape of the weight.
        dtype: dtype of the weight.
        is_wanted: boolean variable: whether to store the gradient of a batch; None for
            always.

    >>> seen = DenseGradient((2,), "float32")
    >>> with tf.GradientTape() as tape:
    ...     weight = tf.constant([1.0, 2.0])
    ...     tape.watch(weight)
    ...     loss = tf.reduce_sum(seen(weight * [1.0, 0.0]) ** 2 + 3 * weight)
    >>> tape.gradient(loss, weight).numpy(), seen.gradient()
    (array([5., 3.], dtype=float32), array([2., 0.], dtype=float32))
    """

    def __init__(self, shape, dtype, is_wanted=None):
        self._is_wanted = is_wanted
        self._gradient = own_variable(shape, dtype)
        self._is_first = own_variable((), "bool")

    def __call__(self, masked):
        """The masked weight, whose gradient is stored when it arrives."""
        self._begin()

        @tf.custom_gradient
        def seen(value):
            return tf.identity(value), self._see

        return seen(masked)

    def _begin(self):
        """Marks a forward pass: the next gradient is the first of its batch."""
        self._is_first.assign(True)

    def _see(self, upstream):
        if self._is_wanted is None:
            self._keep(upstream)
        else:
            tf.cond(self._is_wanted, lambda: self._keep(upstream), lambda: False)
        return upstream

    def _keep(self, upstream):
        nothing = tf.zeros_like(upstream)
        finite = tf.where(tf.math.is_finite(upstream), upstream, nothing)
        before = tf.where(self._is_first, nothing, self._gradient)
        self._gradient.assign(before + finite)
        self._is_first.assign(False)
        return True

    def gradient(self):
        """The gradient of the last batch, a NumPy array."""
        return self._gradient.numpy()


class DenseMomentum(DenseGradient):
    """Stores the running mean of gradients with respect to a masked weight.

    `m = β₁ m + (1 - β₁) g`; with `β₂` it is divided by `√v + ε`, where
    `v = β₂ v + (1 - β₂) g²`, as in Adam, with ε = 1e-8. With several replicas, both
    means are the sums over the replicas, which is exact for `m`.

    Args:
        shape: shape of the weight.
        dtype: dtype of the weight.
        beta_1: decay rate of the mean per batch, in [0, 1).
        beta_2: the same for the mean of squares; None for none.
    """

    def __init__(self, shape, dtype, beta_1, beta_2=None):
        super().__init__(shape, dtype)
        self._betas = [beta_1] if beta_2 is None else [beta_1, beta_2]
        self._means = [own_variable(shape, dtype) for _ in self._betas]

    def _begin(self):
        # The gradient of the last batch is complete only when the next one begins.
        tf.cond(self._is_first, lambda: False, self._fold)
        super()._begin()

    def _fold(self):
        folded = self._folded(tf.convert_to_tensor(self._gradient), self._means)
        for mean, new in zip(self._means, folded, strict=True):
            mean.assign(new)
        return True

    def _folded(self, gradient, means):
        powers = [gradient, gradient**2]
        return [
            beta * mean + (1 - beta) * power
            for beta, mean, power in zip(self._betas, means, powers, strict=False)
        ]

    def momentum(self):
        """The momentum including the last batch, a NumPy array."""
        means = [mean.numpy() for mean in self._means]
        if not self._is_first.numpy():
            means = self._folded(self.gradient(), means)
        return means[0] / (means[1] ** 0.5 + _EPSILON) if means[1:] else means[0]
