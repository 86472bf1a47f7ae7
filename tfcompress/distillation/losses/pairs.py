"""How the examples of a batch relate to each other."""

from keras import ops

from tfcompress.distillation.losses.feature_loss import flat, root

# Squared distances below this fraction of the squared lengths are rounding errors.
_TOLERANCE = 1e-6


def gram(feature):
    """Inner products `(batch, batch)` of all pairs of examples.

    >>> gram(np.array([[1.0, 2.0], [3.0, 4.0]])).numpy()
    array([[ 5., 11.],
           [11., 25.]])
    """
    vectors = flat(feature)
    return ops.matmul(vectors, ops.transpose(vectors))


def centered_gram(feature):
    """The same for the examples with their mean subtracted.

    Distances and angles stay the same, with less rounding error.
    """
    return gram(feature - ops.mean(feature, axis=0, keepdims=True))


def distances(products):
    """Euclidean distances `(batch, batch)` of examples with these inner products.

    Between equal examples, the distance and its gradient are zero.

    >>> distances(gram(np.array([[0.0, 0.0], [3.0, 4.0]]))).numpy()
    array([[0., 5.],
           [5., 0.]])
    """
    lengths = ops.diagonal(products)
    lengths = lengths[:, None] + lengths[None, :]
    squares = lengths - 2 * products
    return root(ops.where(squares > _TOLERANCE * lengths, squares, 0))


def huber(difference):
    """x² / 2 where |x| ≤ 1, and |x| - 1/2 elsewhere.

    >>> huber(np.array([0.5, -3.0])).numpy()
    array([0.125, 2.5  ])
    """
    size = ops.abs(difference)
    return ops.where(size <= 1, ops.square(size) / 2, size - 0.5)


def batch_size(products):
    """The number of examples as a float, for means over them."""
    return ops.cast(ops.shape(products)[0], products.dtype)
