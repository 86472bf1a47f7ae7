"""Small dense blocks of the weight matrix."""

import numpy as np

from tfcompress.core.kinds import Integer
from tfcompress.core.nouns import Pattern


class Block(Pattern):
    """Blocks of `inputs x outputs` weights of the kernel, viewed as a matrix.

    A canonical kernel `(..., inputs, outputs)` is flattened to `(fan_in, outputs)`.
    If the block size does not divide an axis, the blocks at the end are smaller; a
    block's score is the mean of the elements that it actually has.

    Args:
        inputs: rows of a block, consecutive inputs of one neuron.
        outputs: columns of a block.

    Raises:
        ValueError: if a size is not a positive integer.

    Source: Narang et al., "Block-Sparse Recurrent Neural Networks" (2017).

    Example:
        >>> Block(2, 1).pool(np.array([[1.0], [3.0], [5.0]]))
        array([[2.],
               [5.]])
    """

    def __init__(self, inputs: Integer(1) = 4, outputs: Integer(1) = 1):
        self.inputs = inputs
        self.outputs = outputs

    def pool(self, scores, reduce=np.mean):
        """The score of each block, `(ceil(fan_in / inputs), ceil(outputs / outputs))`."""
        matrix = scores.reshape(-1, scores.shape[-1])
        return np.block(
            [
                [self._pool(part, reduce) for part in _parts(row, self.outputs, axis=1)]
                for row in _parts(matrix, self.inputs, axis=0)
            ]
        )

    def _pool(self, matrix, reduce):
        """The same for blocks of equal size, which may be smaller."""
        rows = min(self.inputs, matrix.shape[0])
        columns = min(self.outputs, matrix.shape[1])
        blocks = matrix.reshape(
            matrix.shape[0] // rows, rows, matrix.shape[1] // columns, columns
        )
        return reduce(blocks, (1, 3))

    def spread(self, group_mask, shape):
        """Repeats each block's mask bit over the block."""
        mask = group_mask.repeat(self.inputs, axis=0).repeat(self.outputs, axis=1)
        fan_in = int(np.prod(shape[:-1]))
        return mask[:fan_in, : shape[-1]].reshape(shape)


def _parts(matrix, size, axis):
    """The part of an axis that blocks divide, and the rest, if any."""
    end = matrix.shape[axis] // size * size
    return [part for part in np.split(matrix, [end], axis) if part.size]
