"""The gradient that masked weights would have, seen while a model trains."""

import tensorflow as tf

from tfcompress.core.replicas import own_variable

_EPSILON = 1e-8


class DenseGradient:
    """Keeps the gradient of the last training batch in a masked weight.

    Backpropagation computes the gradient of all elements, before the mask lets through
    those that stay; here it is written down on the way. So it is that of the training
    batch itself, and costs no pass of its own. Gradients of several calls of a layer are
    added up, as are those of replicas. What is not finite, because half precision
    overflowed, counts as 0.

    Args:
        shape: of the weight.
        dtype: of the weight.
        is_wanted: boolean variable: whether to write down anything in a batch; None for
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
        """The masked weight, whose gradient is seen when it comes."""
        self._begin()

        @tf.custom_gradient
        def seen(value):
            return tf.identity(value), self._see

        return seen(masked)

    def _begin(self):
        """A forward pass: the next gradient that comes is the first of its batch."""
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
        """Of the last batch, a NumPy array."""
        return self._gradient.numpy()


class DenseMomentum(DenseGradient):
    """Keeps the running mean of gradients in a masked weight.

    `m = β₁ m + (1 - β₁) g`; with `β₂` it is divided by `√v + ε`, where
    `v = β₂ v + (1 - β₂) g²`, as Adam does, with ε = 1e-8. Of several replicas both means
    are the sums of what each has seen, which is exact for `m`.

    Args:
        shape: of the weight.
        dtype: of the weight.
        beta_1: what stays of the mean with each batch.
        beta_2: the same of the mean of squares; None for none.
    """

    def __init__(self, shape, dtype, beta_1, beta_2=None):
        super().__init__(shape, dtype)
        self._betas = [beta_1] if beta_2 is None else [beta_1, beta_2]
        self._means = [own_variable(shape, dtype) for _ in self._betas]

    def _begin(self):
        # The gradient of the last batch is whole only when the next one begins.
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
        """The momentum with that of the last batch, a NumPy array."""
        means = [mean.numpy() for mean in self._means]
        if not self._is_first.numpy():
            means = self._folded(self.gradient(), means)
        return means[0] / (means[1] ** 0.5 + _EPSILON) if means[1:] else means[0]
