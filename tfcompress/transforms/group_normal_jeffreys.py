"""Noise on whole groups of weights, as large as possible."""

from tfcompress.core.kinds import Integer, Number
from tfcompress.transforms.sparse_variational_dropout import SparseVariationalDropout


class GroupNormalJeffreys(SparseVariationalDropout):
    """Learns how much noise each channel tolerates, and cuts those that are only noise.

    For the `scale` of the gates of `tfc.gate_channels`: the factor `z` of a channel is
    normal with mean `s` and variance `α s²`, drawn for each example, under the prior
    `p(z) ~ 1 / |z|`. The formulas are those of `SparseVariationalDropout`, with a
    channel in place of a weight. Add `GaussianWeights` to the kernels to obtain the
    full group normal-Jeffreys posterior, whose variance tells how many bits each layer
    needs (`tfc.transforms.posterior_bits`).

    In a trained network, first divide each kernel by its standard deviation `d` and
    multiply the gate before it by `d`, so that a step of the optimizer is small for
    kernels, which then fit their prior, and large for gates.

    Args:
        num_samples: number of training samples.
        threshold: `log α`, in [-8, 8], above which a channel is cut. The paper reads it
            off the histogram of each layer, which has a gap; it can be set after
            training: `transform.threshold = ...`, then `tfc.shrink`.
        kl_weight: weight of the divergence, at least 0; 1 for the bound on the likelihood.
        initial_log_variance: initial `log σ²`; for a gate of scale `s` and noise that
            matters early, `2 log s - 4`.
        seed: integer seed for the draws; random by default.

    Attributes:
        log_variance: variable of the weight's shape.

    Raises:
        ValueError: if an argument is out of range.

    Source: Louizos et al., "Bayesian Compression for Deep Learning" (2017), section 4.1.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"),
        ...     keras.layers.Dense(2)])
        >>> model = tfc.gate_channels(model)
        >>> model = tfc.compress(model, {"gate_.*/scale": GroupNormalJeffreys(100)})
        >>> noise = model.get_layer("gate_a").treatments[0].transforms[0]
        >>> _ = noise.log_variance.assign([4.0, -9.0, 4.0])
        >>> tfc.shrink(model).layers[1].units
        1
    """

    def __init__(
        self,
        num_samples: Integer(1),
        threshold: Number(-8, 8) = 3.0,
        kl_weight: Number(0) = 1.0,
        initial_log_variance: Number() = -9.0,
        seed: Integer(0) = None,
    ):
        super().__init__(num_samples, threshold, kl_weight, initial_log_variance, seed)
