"""Matches the teacher's Lipschitz constants."""

import itertools

import numpy as np
from keras import ops

from tfcompress.core.kinds import Integer, Number
from tfcompress.distillation.losses.feature_loss import (
    LAYERS,
    FeatureLoss,
    as_features,
    as_targets,
    flat,
    unit,
)
from tfcompress.distillation.losses.pairs import gram


class London(FeatureLoss):
    """Difference of the spectral norms of the maps between consecutive layers.

        L = 1/2 Σ_k β^(k-K) ((‖M_k^t‖ - ‖M_k^s‖) / ‖M_k^t‖)²
        M_k = (F_kᵀ F_{k+1})ᵀ (F_kᵀ F_{k+1}),  k = 1 … K

    with the features of layer `k` flattened to `(batch, d_k)`: the transmitting matrix
    `M_k` stands for the weights between the layers, and its largest eigenvalue for their
    Lipschitz constant. Power iteration finds it as the largest eigenvalue of the product
    of the Gram matrices of `F_k` and `F_{k+1}`, which is `(batch, batch)` however large
    `d` is. The gradient of the norm is exact, with the vector held constant.

    The loss is one number per batch, assigned to each example. The norms grow with the
    batch and the number of features, so a thinner student compensates with larger
    activations. The authors' code differs: it takes a matrix `(channels, channels)` for
    each example over its positions, after an adapter, and absolute differences.

    Args:
        student_layers: names of at least two layers, in execution order, or None to
            choose them by resolution.
        teacher_layers: names of as many layers of the teacher.
        beta: β, at least 1: the ratio of each module's weight to that of the previous
            one. With 2, the weights are those of the authors' code, 1/2 for the last.
        iterations: steps of the power iteration, 1 to 1000.

    Raises:
        ValueError: if the layers do not form pairs, there are fewer than two, or an
            argument is out of range.

    Source: Shang et al., "Lipschitz Continuity Guided Knowledge Distillation" (2021),
    section 3.

    Example:
        >>> first, last = np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]])
        >>> London()([first, last], [first, 2 * last]).numpy()
        array([0.28125, 0.28125], dtype=float32)
    """

    def __init__(
        self,
        student_layers: LAYERS = None,
        teacher_layers: LAYERS = None,
        beta: Number(1) = 2.0,
        iterations: Integer(1, 1000) = 20,
    ):
        super().__init__(student_layers, teacher_layers)
        self.beta = beta
        self.iterations = iterations

    def build(self, student, teacher):
        """Checks that there are at least two layers."""
        super().build(student, teacher)
        if len(student) < 2:
            raise ValueError(
                "London needs at least two layers, but got "
                f"{len(student)}: name two or more in student_layers and in "
                "teacher_layers."
            )

    def __call__(self, student, teacher, labels=None, step=0):
        """The loss of the batch, repeated for each example."""
        found, wanted = (
            transmitting_norms([flat(feature) for feature in features], self.iterations)
            for features in (as_features(student), as_targets(teacher))
        )
        gaps = ops.divide_no_nan(wanted - found, wanted)
        weights = self.beta ** np.arange(2.0 - len(student), 1.0)
        loss = ops.sum(ops.cast(weights, "float32") * ops.square(gaps)) / 2
        return ops.broadcast_to(loss, ops.shape(student[0])[:1])


def transmitting_norms(features, iterations):
    """Spectral norms of the transmitting matrices of consecutive features.

        ‖AᵀA‖ = ‖A u‖², A = F_kᵀ F_{k+1}, u the first right singular vector of A

    The product `G_k G_{k+1}` of the Gram matrices has the eigenvalues of `AᵀA` except for
    zeros, and its eigenvector `v` gives `u = F_{k+1}ᵀ v`, up to its length.

    Args:
        features: list of `(batch, d_k)`.
        iterations: steps of the power iteration.

    Returns:
        A tensor `(layers - 1,)`. Its gradient, with `u` held constant, is exact, since
        `‖A u‖` depends on `u` only to second order.

    >>> first, second = np.diag([1.0, 2.0]), np.diag([2.0, 3.0])
    >>> transmitting_norms([first, second], iterations=20).numpy()
    array([36.])
    """
    grams = ops.stop_gradient(ops.stack([gram(feature) for feature in features]))
    vectors = _top_vectors(ops.matmul(grams[:-1], grams[1:]), iterations)
    norms = []
    for k, (first, second) in enumerate(itertools.pairwise(features)):
        direction = ops.stop_gradient(unit(ops.matmul(vectors[k], second)))
        image = ops.matmul(ops.matmul(second, direction), first)
        norms.append(ops.sum(ops.square(image)))
    return ops.stack(norms)


def _top_vectors(matrices, iterations):
    """Vectors `(count, size)` that the matrices stretch most."""
    # Scaled, since squares of these products may exceed float32.
    largest = ops.max(ops.abs(matrices), axis=(1, 2), keepdims=True)
    matrices = ops.divide_no_nan(matrices, largest)
    # Close to the mean of positive features, but not orthogonal to features without a mean.
    # Not random, since the same seed gives other numbers when compiled by XLA.
    count = ops.arange(ops.shape(matrices)[1], dtype=matrices.dtype)
    vectors = 1 + ops.sin(count)[None, :, None]
    for _ in range(iterations):
        vectors = unit(ops.matmul(matrices, vectors), axis=1)
    return vectors[..., 0]
