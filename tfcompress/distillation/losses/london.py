"""Lipschitz constants like the teacher's."""

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
    """How much the spectral norms of what lies between consecutive layers differ.

        L = 1/2 Σ_k β^(k-K) ((‖M_k^t‖ - ‖M_k^s‖) / ‖M_k^t‖)²
        M_k = (F_kᵀ F_{k+1})ᵀ (F_kᵀ F_{k+1}),  k = 1 … K

    with the features of layer `k` flattened to `(batch, d_k)`: the transmitting matrix
    `M_k` stands for the weights between the layers, and its largest eigenvalue for their
    Lipschitz constant. It is found as that of the product of the Gram matrices of
    `F_k` and `F_{k+1}`, which is `(batch, batch)` however large `d` is, by power
    iteration. Gradient: the exact one of the norm, with the vector held constant.

    It is one number for the batch, given to each example. The norms grow with the batch
    and the numbers of features, so that a thinner student makes up for these by larger
    activations. The authors' code differs: it takes a matrix `(channels, channels)` of
    each example over its positions, after an adapter, and absolute differences.

    Args:
        student_layers: names of at least two layers, in the order they run, or None to
            choose them by resolution.
        teacher_layers: as many names of layers of the teacher.
        beta: β, at least 1: how much more each module weighs than the one before it.
            With 2 the weights are those of the authors' code, 1/2 for the last.
        iterations: steps of the power iteration, 1 to 1000.

    Raises:
        ValueError: if the layers do not come in pairs, are less than two, or an argument
            is out of range.

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
        """Checks that something lies between the layers."""
        super().build(student, teacher)
        if len(student) < 2:
            raise ValueError(
                "London compares what lies between two layers, but got "
                f"{len(student)}: name two or more in student_layers and in "
                "teacher_layers."
            )

    def __call__(self, student, teacher, labels=None, step=0):
        """The loss of the batch, for each example."""
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

    `G_k G_{k+1}` of the Gram matrices has the eigenvalues of `AᵀA` but for zeros, and
    an eigenvector `v` of that product gives `u = F_{k+1}ᵀ v`, up to its length.

    Args:
        features: list of `(batch, d_k)`.
        iterations: steps of the power iteration.

    Returns:
        A tensor `(layers - 1,)`. Its gradient, `u` held constant, is the exact one, since
        `‖A u‖` changes with `u` in the second order only.

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
    # Scaled, since squares of these products may not fit a float32.
    largest = ops.max(ops.abs(matrices), axis=(1, 2), keepdims=True)
    matrices = ops.divide_no_nan(matrices, largest)
    # Near the mean of positive features, yet not orthogonal to those without a mean. It
    # is not random, since compiled by XLA one seed gives other numbers.
    count = ops.arange(ops.shape(matrices)[1], dtype=matrices.dtype)
    vectors = 1 + ops.sin(count)[None, :, None]
    for _ in range(iterations):
        vectors = unit(ops.matmul(matrices, vectors), axis=1)
    return vectors[..., 0]
