"""Importance based on the magnitudes of weights and of their inputs."""

import numpy as np

from tfcompress.core.nouns import Criterion


class Wanda(Criterion):
    """`score_ij = |w_ij| ‖x_j‖₂`, ranked among the weights of output `i`.

    Weights compete only within their output: at a sparsity of 0.5, each output loses
    half of its inputs. The same holds for groups that lie within one output, such as
    blocks of inputs; whole filters and channels compete by their mean score. `x_j` are
    the inputs that the weight multiplies, over samples and positions.

    Source: Sun et al., "A simple and effective pruning approach for large language
    models" (2024), section 3.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> _ = model.layers[0].kernel.assign([[1.0, 10.0], [2.0, 20.0]])
        >>> data = [np.array([[3.0, 1.0]], "float32")]
        >>> tfc.prune(model, 0.5, "wanda", data=data).layers[0].kernel.numpy()
        array([[ 1., 10.],
               [ 0.,  0.]], dtype=float32)
    """

    needs = frozenset({"input_norm"})

    def __call__(self, weight, signals):
        """The products, which `score_groups` ranks."""
        return np.abs(weight) * signals["input_norm"]

    def score_groups(self, members, pool):
        """The rank of each group within its output, from above 0 to 1."""
        scores = super().score_groups(members, pool)
        outputs = [np.arange(weight.shape[-1]) for weight, _ in members]
        lowest, highest = pool(outputs, np.min), pool(outputs, np.max)
        num_outputs = outputs[0].size
        size = scores.size // num_outputs
        if len(members) > 1 or size < 2 or (lowest != highest).any():
            return scores
        # By output, then from best to worst; ties go to the earlier one.
        order = np.lexsort((-scores.ravel(), lowest.ravel()))
        ranks = np.empty(scores.size)
        ranks[order] = np.tile(np.arange(size, 0, -1) / size, num_outputs)
        return ranks.reshape(scores.shape)
