"""Losses on the outputs of inner layers."""

import keras
import numpy as np
from keras import ops

from tfcompress.core.kinds import Each, Text
from tfcompress.core.nouns import DistillationLoss

LAYERS = Each(Text(), "layer names")


class FeatureLoss(DistillationLoss):
    """A loss on the outputs of inner layers, by default a sum over pairs of them.

    `compare` returns the distance of a pair.
    """

    student_reads = "features"
    teacher_reads = "features"

    def __init__(self, student_layers: LAYERS = None, teacher_layers: LAYERS = None):
        self.student_layers = student_layers and list(student_layers)
        self.teacher_layers = teacher_layers and list(teacher_layers)

    def build(self, student, teacher):
        """Checks that the features form pairs."""
        if len(student) != len(teacher):
            raise ValueError(
                f"{type(self).__name__} compares layers in pairs, but got {len(student)} "
                f"of the student and {len(teacher)} of the teacher: name the same number "
                "of layers in student_layers and teacher_layers."
            )

    def compare(self, student, teacher):
        """The loss `(batch,)` between a layer of the student and one of the teacher."""
        raise NotImplementedError

    def __call__(self, student, teacher, labels=None, step=0):
        """The sum over all pairs."""
        pairs = zip(as_features(student), as_targets(teacher), strict=True)
        return sum(self.compare(*pair) for pair in pairs)


def check_ranks(loss, student, teacher, least=2):
    """Raises unless the shapes of each pair have the same rank, at least `least`."""
    for pair in zip(student, teacher, strict=True):
        ranks = [len(shape) for shape in pair]
        if ranks[0] != ranks[1] or ranks[0] < least:
            kind = "of equal rank" if least == 2 else "of positions and channels"
            raise ValueError(
                f"{type(loss).__name__} compares features {kind}, but got shapes "
                f"{pair[0]} of the student and {pair[1]} of the teacher: name other "
                "layers in student_layers and teacher_layers."
            )


def as_features(features):
    """The features as float32 tensors."""
    return [ops.convert_to_tensor(feature, "float32") for feature in features]


def as_targets(features):
    """The features as float32 tensors without a gradient."""
    return [ops.stop_gradient(feature) for feature in as_features(features)]


def linear_map(channels, units):
    """A layer `(..., channels) -> (..., units)` that computes in float32.

    >>> linear_map(3, 5)(np.zeros((2, 4, 4, 3))).shape
    TensorShape([2, 4, 4, 5])
    """
    layer = keras.layers.Dense(units, dtype="float32")
    layer.build((None, channels))
    return layer


def flat(feature):
    """One vector `(batch, numbers)` for each example.

    >>> flat(np.zeros((2, 4, 4, 3))).shape
    TensorShape([2, 48])
    """
    return ops.reshape(feature, (ops.shape(feature)[0], -1))


def channel_means(feature):
    """The mean `(batch, channels)` over all positions.

    >>> channel_means(np.array([[[1.0, 2.0], [3.0, 6.0]]])).numpy()
    array([[2., 4.]])
    """
    positions = tuple(range(1, len(feature.shape) - 1))
    return ops.mean(feature, axis=positions) if positions else feature


def to_common_resolution(student, teacher):
    """Both features on the coarser of their grids, axis by axis.

    A coarse position is the mean of the finer ones that it covers, weighted by area where
    it covers them partly.

    >>> fine, coarse = np.array([[[1.0], [3.0], [5.0], [7.0]]]), np.zeros((1, 2, 1))
    >>> to_common_resolution(fine, coarse)[0][0, :, 0].numpy()
    array([2., 6.])
    """
    for axis in range(1, len(student.shape) - 1):
        sizes = student.shape[axis], teacher.shape[axis]
        if sizes[0] == sizes[1]:
            continue
        if None in sizes:
            raise ValueError(
                f"Features of shapes {tuple(student.shape)} and {tuple(teacher.shape)} "
                "cannot be brought to the same resolution: give both models inputs of "
                "a fixed size."
            )
        student, teacher = (_pooled(f, axis, min(sizes)) for f in (student, teacher))
    return student, teacher


def _pooled(feature, axis, size):
    if feature.shape[axis] == size:
        return feature
    ratio = feature.shape[axis] / size
    starts, fine = np.arange(size)[:, None] * ratio, np.arange(feature.shape[axis])
    covered = np.minimum(starts + ratio, fine + 1) - np.maximum(starts, fine)
    means = ops.cast(np.maximum(covered, 0) / ratio, feature.dtype)
    return ops.moveaxis(ops.tensordot(means, feature, axes=[[1], [axis]]), 0, axis)


def root(squares):
    """The square root, with gradient zero at zero.

    >>> root(np.array([0.0, 4.0])).numpy()
    array([0., 2.])
    """
    positive = squares > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1)), 0)


def unit(vectors, axis=-1):
    """Vectors of Euclidean length one with the same directions; zero stays zero.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).numpy()
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    length = root(ops.sum(ops.square(vectors), axis, keepdims=True))
    return ops.divide_no_nan(vectors, length)
