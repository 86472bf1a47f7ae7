"""A sparse network that was found, with everything needed to evaluate it."""

import dataclasses

import keras

from tfcompress.core.kinds import Integer, Number, OneOf, checked
from tfcompress.pruning.tickets.controls import CONTROLS
from tfcompress.pruning.tickets.setup import Setup


@dataclasses.dataclass(frozen=True)
class Ticket:
    """A sparse network that was found by `find_ticket`.

    Attributes:
        model: the trained sparse model, with masks; `tfc.strip` makes it plain.
        masks: `{path: booleans}`; True = keep.
        weights: `{path: array}` of all variables, the initial values of the last
            training before masks.
        initial: the same for the model that was passed.
        log: list with a dictionary for each training: `round`, `sparsity` (of weights
            with masks), `kept` (weights), `steps`, `early_stop_step` (at the end of the
            epoch with the lowest `val_loss`; None without one), `metrics` (of the last
            epoch), `seconds`, and `score`, the result of `evaluate`.
        setup: how it was found.
        scored: the values of the weights when they were first pruned.
    """

    model: keras.Model
    masks: dict
    weights: dict
    initial: dict
    log: list
    setup: Setup = dataclasses.field(repr=False)
    scored: dict = dataclasses.field(repr=False)

    def start(self):
        """A new model in the state at the start of the last training, with masks."""
        return self.setup.model(self.weights, self.masks)

    @checked
    def control(
        self,
        kind: OneOf(*CONTROLS),
        seed: Integer(0) = 0,
        length: Number(above=0) = None,
    ):
        """The same network with one thing changed: a `Control`.

        | kind | what is changed | is trained |
        | --- | --- | --- |
        | "dense" | nothing is masked | yes |
        | "reinitialize" | all weights are reinitialized (Scratch-E of Liu et al.) | yes |
        | "reinitialize_equal_macs" | the same (Scratch-B) | for longer |
        | "random_masks" | as many weights stay, anywhere | yes |
        | "layerwise_shuffle" | as many stay in each layer, anywhere in it | yes |
        | "invert" | as many stay in each layer, those that scored lowest | yes |
        | "shuffle_values" | the remaining weights of a layer are permuted | yes |
        | "signed_constant" | a weight is the layer's ± std, with its initial sign | yes |
        | "edge_popup" | as many stay in each layer, chosen by trained scores | only these |
        | "supermask" | weights have their initial values | no |
        | "signed_supermask" | the same, with signed constants | no |
        | "shared_value" | all that stay have the same value; six values are tried | no |

        Training starts from `weights`, with the random state of the last round.
        "invert" scores the weights with their values when they were first pruned.

        Args:
            kind: what is changed.
            seed: integer seed of what is drawn.
            length: for how many times its usual epochs `train` is asked to train; it
                then needs a parameter `length`. For "reinitialize_equal_macs", by
                default the multiply-accumulate operations of the dense network divided
                by those that are left, but at most 2; pass a length for more.

        Raises:
            ValueError: if there is no such control, `train` has no parameter `length`,
                or an untrained control cannot be scored because `evaluate` is missing.

        Source: Frankle et al., "Pruning Neural Networks at Initialization: Why Are We
        Missing the Mark?" (2021), section 5; Liu et al., "Rethinking the Value of Network
        Pruning" (2019), section 3; Zhou et al., "Deconstructing Lottery Tickets" (2019),
        sections 4 and 5; Ramanujan et al., "What's Hidden in a Randomly Weighted Neural
        Network?" (2020); Gaier and Ha, "Weight Agnostic Neural Networks" (2019).
        """
        return CONTROLS[kind](self, kind, seed, length)
