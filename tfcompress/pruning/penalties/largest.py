"""The largest weights of several kernels."""

import numpy as np


def largest(values, layouts, sparsity, pattern, scope):
    """Masks of the weights that best approximate `values` if the others are zero.

    Args:
        values: list of arrays, in the layouts of their layers.
        layouts: their `Layout`s.
        sparsity: fraction of all of them to remove, in [0, 1).
        pattern: a `Pattern`: which weights are removed together.
        scope: a `Scope`: how the sparsity is distributed.

    >>> from tfcompress.core.layout import Layout
    >>> small, large = np.array([[1.0, -2.0]]), np.array([[-4.0, 3.0]])
    >>> layout, pattern = Layout((1, 2), (1,)), tfc.patterns.get("weight")
    >>> largest([small, large], [layout] * 2, 0.25, pattern, tfc.scopes.get("global"))
    [array([[False,  True]]), array([[ True,  True]])]
    """
    values = [
        layout.to_canonical(value)
        for layout, value in zip(layouts, values, strict=True)
    ]
    scores = [pattern.pool(np.square(value)) for value in values]
    shapes = [value.shape for value in values]
    counts = scope(scores, shapes, sparsity)
    return [
        layout.from_canonical(pattern.spread(pattern.select(score, count), shape))
        for layout, score, count, shape in zip(
            layouts, scores, counts, shapes, strict=True
        )
    ]
