"""A sparse network that was found, with all that says what it is worth."""

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
        weights: `{path: array}` of all variables, what the last training began with before
            masks.
        initial: the same of the model that was given.
        log: list with a dictionary for each training: `round`, `sparsity` (of what has
            masks), `kept` (weights), `steps`, `early_stop_step` (at the end of the epoch
            with the lowest `val_loss`; None without one), `metrics` (of the last epoch),
            `seconds`, and `score`, what `evaluate` said.
        setup: how it was found.
        scored: what the weights were when they were first pruned.
    """

    model: keras.Model
    masks: dict
    weights: dict
    initial: dict
    log: list
    setup: Setup = dataclasses.field(repr=False)
    scored: dict = dataclasses.field(repr=False)

    def start(self):
        """A new model as the last training began with it, untrained and with masks."""
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
        | "reinitialize" | all weights are drawn anew (Scratch-E of Liu et al.) | yes |
        | "reinitialize_equal_macs" | the same (Scratch-B) | for longer |
        | "random_masks" | as many weights stay, anywhere | yes |
        | "layerwise_shuffle" | as many stay in each layer, anywhere in it | yes |
        | "invert" | as many stay in each layer, those that scored lowest | yes |
        | "shuffle_values" | the weights of a layer that stay change places | yes |
        | "signed_constant" | a weight is the layer's ± std, with its initial sign | yes |
        | "edge_popup" | as many stay in each layer, chosen by trained scores | these only |
        | "supermask" | weights are what they were in the beginning | no |
        | "signed_supermask" | the same, of signed constants | no |
        | "shared_value" | all that stay are one number, six of them | no |

        What is trained begins with `weights`, with the random state of the last round.
        "invert" scores the weights as they were when they were first pruned.

        Args:
            kind: what is changed.
            seed: of what is drawn.
            length: how many times its usual epochs `train` is asked to train; it needs a
                parameter `length` then. For "reinitialize_equal_macs" by default the
                multiply-accumulates of the dense network over those that are left, but at
                most 2; give a length for more.

        Raises:
            ValueError: if there is no such control, `train` has no parameter `length`, or
                a control that is not trained is not scored for lack of `evaluate`.

        Source: Frankle et al., "Pruning Neural Networks at Initialization: Why Are We
        Missing the Mark?" (2021), section 5; Liu et al., "Rethinking the Value of Network
        Pruning" (2019), section 3; Zhou et al., "Deconstructing Lottery Tickets" (2019),
        sections 4 and 5; Ramanujan et al., "What's Hidden in a Randomly Weighted Neural
        Network?" (2020); Gaier and Ha, "Weight Agnostic Neural Networks" (2019).
        """
        return CONTROLS[kind](self, kind, seed, length)
