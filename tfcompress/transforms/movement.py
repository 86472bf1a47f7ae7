"""Pruning of weights that move towards zero."""

from tfcompress.core.kinds import Number
from tfcompress.transforms.annealing import ramp
from tfcompress.transforms.scored_mask import ScoredMask


class Movement(ScoredMask):
    """Keeps the weights that training moves away from zero; masks the others.

    `y = w m`, where `m` keeps the highest of the trained scores `S`, which start at 0.
    Gradients: `dL/dw = m dL/dy` and, straight through the choice, `dL/dS = w dL/dy`: a
    score rises where the loss would increase the magnitude of the weight. Meant for
    fine-tuning a pretrained model, whose magnitudes tell what mattered for another task.

    At the progress `p` of `tfc.callbacks.Annealing` the sparsity is
    `sparsity (1 - (1 - min(1, 3/2 p))³)`; masks are chosen again at each update of `p`
    (in the paper, for each batch).

    Args:
        sparsity: fraction of this weight that is removed at the end, in [0, 1).

    Attributes:
        scores: variable `S`, of the weight's shape.
        mask: boolean variable `m`; True = keep.

    Raises:
        ValueError: if `sparsity` is out of range.

    Source: Sanh et al., "Movement Pruning: Adaptive Sparsity by Fine-Tuning" (2020),
    section 4.

    Example:
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 4))
        >>> _ = layer.kernel.assign([[1.0], [-3.0], [4.0], [-2.0]])
        >>> model = keras.Sequential([keras.Input((4,)), layer])
        >>> model = tfc.compress(model, {".*": Movement(0.5)})
        >>> movement = model.layers[0].treatments[0].transforms[0]
        >>> _ = movement.scores.assign([[0.2], [0.1], [-0.3], [0.0]])
        >>> annealing = tfc.callbacks.Annealing(end_step=9)
        >>> annealing.set_model(model); annealing.update(step=9)
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([ 1., -3.,  0.,  0.], dtype=float32)
    """

    def __init__(self, sparsity: Number(0, below=1) = 0.9):
        self.sparsity = sparsity

    def sparsity_at(self, progress):
        """Rises quickly at first, then more and more slowly."""
        return self.sparsity * ramp(progress, power=3)
