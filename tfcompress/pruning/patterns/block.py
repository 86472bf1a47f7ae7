"""Small dense blocks of the weight matrix."""

import numpy as np

from tfcompress.core.nouns import Pattern


class Block(Pattern):
    """Blocks of `inputs x outputs` of the kernel seen as a matrix.

    A canonical kernel `(..., inputs, outputs)` is flattened to `(fan_in, outputs)`.
    Where the block does not divide an axis, the blocks at the end are smaller; a block
    scores the mean of the elements it really has.

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

    def __init__(self, inputs=4, outputs=1):
        for name, size in (("inputs", inputs), ("outputs", outputs)):
            if not isinstance(size, int) or size < 1:
                raise ValueError(
                    f"Block({name}={size!r}): expected a positive integer."
                )
        self.inputs = inputs
        self.outputs = outputs

    def pool(self, scores):
        """Mean score of each block, `(ceil(fan_in / inputs), ceil(outputs / outputs))`."""
        matrix = scores.reshape(-1, scores.shape[-1])
        sums = self._block_sums(matrix)
        return sums / self._block_sums(np.ones_like(matrix))

    def _block_sums(self, matrix):
        rows = np.add.reduceat(
            matrix, np.arange(0, matrix.shape[0], self.inputs), axis=0
        )
        return np.add.reduceat(
            rows, np.arange(0, matrix.shape[1], self.outputs), axis=1
        )

    def spread(self, group_mask, shape):
        """Repeats each block's bit over the block."""
        mask = group_mask.repeat(self.inputs, axis=0).repeat(self.outputs, axis=1)
        fan_in = int(np.prod(shape[:-1]))
        return mask[:fan_in, : shape[-1]].reshape(shape)
