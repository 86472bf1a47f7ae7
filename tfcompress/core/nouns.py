"""The nouns that plug-ins implement. Everything else is Keras."""

import bisect
import math

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.plugin import Plugin

# How many values say where the others are, and how far beside their roots.
_SAMPLE = 2**17
_MARGIN = 4
# A step that no training reaches.
_NEVER = 2**62


class WeightTransform(Plugin):
    """A function from a weight to a weight of the same shape, with its own state.

    Transforms compose: a layer's list is applied first to last, on every call of the
    layer, and gradients flow back through it.

    Attributes:
        shares_values: whether weights of different output channels get equal values. A
            later transform then sees a layout without channels, so that what was
            shared stays shared.
        max_level: how many steps from zero its values reach on a symmetric grid with one
            step for each output channel; infinite if they lie on another grid, None if
            on none. Integer files hold up to 127 steps.
        replaces_weight: whether the values do not depend on the weight any more once
            `refresh` has seen it. That weight is then neither trained nor saved.
        waits: whether it is so coarse that what comes before it in the list should have
            come to rest first, such as masks that a callback changes. Callbacks then
            let the weight pass it by until it begins.
        draws_each: whether, called while training on a stack of weights `(count, *shape)`,
            it draws other numbers for each.
        is_finished: whether what it gives is what it was asked for, not a stage on the
            way there that a callback leads on from.
    """

    shares_values = False
    max_level = None
    replaces_weight = False
    waits = False
    draws_each = False
    is_finished = True

    def build(self, layer, weight, layout):
        """Creates the state.

        Args:
            layer: the `CompressedLayer` or `CompressedModel` that owns the state; use
                its `add_weight`.
            weight: the Keras variable that will be transformed.
            layout: its `tfc.core.Layout`.
        """

    def latent(self, weight):
        """What the variable must hold for a weight (NumPy array) to be in effect.

        Asked for when compression starts, by transforms that are not the identity then.
        """
        return weight

    def refresh(self, weight):
        """Recomputes what depends on the weight's values (NumPy array).

        Called when compression starts and whenever an earlier transform of the list
        changed, not on every step.
        """

    def reset(self):
        """Forgets what `refresh` chose, so that the next one starts anew."""

    def settle(self, weight):
        """The weight without changes that had no effect on what stands for it.

        Called before another choice is made by the weight (NumPy array), for transforms
        that wait.
        """
        return weight

    def __call__(self, weight, training=False):
        """The transformed weight, a tensor of the same shape and dtype."""
        raise NotImplementedError

    def moments(self, weight):
        """`(mean, variance)` of what a call draws while training, tensors like the weight.

        Only for transforms whose draws are normal, each weight for itself. Where layers
        are linear in the weight, their outputs are drawn then, each for itself.
        """
        raise NotImplementedError

    def penalty(self):
        """A scalar added to the loss, or None."""
        return None

    def bake(self, weight):
        """The final value of a weight (NumPy array) once training is over."""
        return np.asarray(self(weight, training=False))


class ActivationQuantizer(Plugin):
    """A function of activations whose gradient is another function's.

    It has no state, and needs no batch to know its levels.
    """

    def forward(self, values):
        """The quantized activations, by `keras.ops`, which any model can hold."""
        raise NotImplementedError

    def slope(self, values):
        """What stands for the derivative of `forward`."""
        raise NotImplementedError

    def __call__(self, values):
        """The quantized activations."""

        @tf.custom_gradient
        def quantize(values):
            return self.forward(values), lambda upstream: upstream * self.slope(values)

        return quantize(values)


class Signals(dict):
    """What is known of one weight beside its value: `{name: array}`.

    Attributes:
        ref: the `WeightRef`; None where a criterion is called by hand.
        step: iterations of the optimizer that trains the weight.
    """

    def __init__(self, values=(), ref=None, step=0):
        super().__init__(values)
        self.ref = ref
        self.step = step

    @property
    def path(self):
        """Name of the weight, empty where a criterion is called by hand."""
        return "" if self.ref is None else self.ref.path


class Signal(Plugin):
    """A statistic of a weight, mostly over batches of data.

    All signals that observe something of batches are gathered in one pass
    (`tfcompress.core.collect`): what `update` gives for a batch is added up in float64,
    and `result` makes the statistic of the sums. So nothing is held but sums. Signals
    that observe nothing have a `measure` of their own instead.

    Attributes:
        observes: what `update` looks at, of `"gradient"`, `"calls"` (inputs and outputs
            of the layer), `"norm"` (the batch normalization behind it),
            `"output_gradient"` (of those outputs) and `"curvature"`.
    """

    # Criteria may be called like the signal that they read.
    package = "tfcompress.signals"
    observes = frozenset()

    def update(self, seen):
        """What a batch adds: a tensor, or a tuple of tensors.

        Args:
            seen: a `tfcompress.core.collect.Seen`.
        """
        raise NotImplementedError

    def result(self, totals, ref):
        """The statistic, an array that broadcasts to the canonical form of the weight.

        Args:
            totals: the sums of what `update` gave, arrays in float64.
            ref: the `WeightRef`, whose `layout` has the axes.
        """
        raise NotImplementedError

    def measure(self, source):
        """The statistic of each weight, for signals that observe nothing of batches.

        Args:
            source: a `tfcompress.core.collect.Source`: the model, its weights, data.

        Returns:
            A list of arrays as of `result`.
        """
        raise NotImplementedError


class Criterion(Plugin):
    """How much each element of a weight matters: higher = keep.

    Weights are seen in canonical form, outputs on the last axis, so that a criterion
    need not know what kind of layer has them.

    Attributes:
        needs: names of the signals that must be gathered over data first.
        rounds: in how many steps of equal ratio weights go, each scored anew among what
            the steps before have left.
    """

    needs = frozenset()
    rounds = 1

    def __call__(self, weight, signals):
        """Scores that broadcast to the shape of the weight.

        Args:
            weight: NumPy array, the weight as it is in effect, `(..., inputs, outputs)`.
            signals: a `Signals`, with an array for each name in `needs` that
                broadcasts to the weight.
        """
        raise NotImplementedError

    def reduce(self, scores, axes):
        """The score of a group from those of its elements, along `axes`.

        Groups are those of a `Pattern`, or all weights that make one unit of coupled
        channels.
        """
        return np.mean(scores, axis=axes)

    def score_groups(self, members, pool):
        """Scores of groups, as they are compared within and between weights.

        By default those of the elements, reduced. Methods that compare a group with
        others of its weight, by rank or share, do so here.

        Args:
            members: list of `(weight, signals)`, as in `__call__`; one weight, or those
                that make the same coupled channels.
            pool: `(list of scores, one array for each member; reduce) -> scores of the
                groups`.
        """
        return pool([self(*member) for member in members], self.reduce)

    @property
    def repairs(self):
        """Whether it changes what stays."""
        return type(self).adjust is not Criterion.adjust

    def adjust(self, weight, keep, signals):
        """The weight once the elements that go are gone, for methods that repair it.

        Args:
            weight: as in `__call__`.
            keep: booleans of the weight's shape, True = keep.
            signals: as in `__call__`.
        """
        return weight


class Regularizer(Plugin, keras.regularizers.Regularizer):
    """A penalty on a weight; Keras takes it wherever it takes a regularizer."""

    # Some are called as criteria are.
    package = "tfcompress.regularizers"

    def __call__(self, weight):
        """The penalty, a scalar tensor, of a weight in the layout of its layer."""
        raise NotImplementedError

    def proximal(self, weight, step):
        """`argmin_v ½‖v - weight‖² + step penalty(v)`, a tensor like the weight.

        What a step of gradient descent only comes near to is exactly zero here.

        Args:
            weight: tensor.
            step: scalar tensor, the learning rate.
        """
        raise NotImplementedError

    def of_layout(self, layout):
        """The same for weights of a `tfc.core.Layout`, whatever layer has them."""
        return self


class Pattern(Plugin):
    """Which elements of a weight live or die together.

    Works on the canonical form of a weight: outputs on the last axis.
    """

    def pool(self, scores, reduce=np.mean):
        """Scores of the groups, an array with one element per group.

        Args:
            scores: of the elements.
            reduce: `(scores, axes) -> scores` of groups, `Criterion.reduce`.
        """
        raise NotImplementedError

    def spread(self, group_mask, shape):
        """The mask of canonical `shape` that a mask of groups stands for."""
        raise NotImplementedError

    def select(self, group_scores, num_kept):
        """Mask of the groups that stay: the `num_kept` highest scores."""
        return top(group_scores, num_kept)

    def quota(self, shape):
        """How many groups must stay where: `(labels, count)`, or None if any may go.

        Args:
            shape: canonical shape of the weight.

        Returns:
            Whole numbers of that shape, the run that each element is in, and how many
            groups of each run stay at least.
        """
        return None


class Schedule(Plugin):
    """A number that depends on the optimizer step."""

    def __call__(self, step):
        """The value at `step`."""
        raise NotImplementedError

    def due(self, previous_step, step):
        """Whether something must happen in the steps `(previous_step, step]`."""
        raise NotImplementedError

    def last_due(self, step):
        """The last step up to `step` at which something happens; -1 if there is none."""
        steps = range(-1, step + 1)
        return steps[
            bisect.bisect_left(steps, True, key=lambda s: not self.due(s, step))
        ]

    def is_over(self, step):
        """Whether nothing happens any more after `step`."""
        return not self.due(step, _NEVER)

    @property
    def last_step(self):
        """The last step at which something happens, None if there is no last one."""
        if not self.is_over(_NEVER // 2):
            return None
        steps = range(_NEVER // 2)
        return bisect.bisect_left(steps, True, hi=len(steps), key=self.is_over)

    @property
    def final_value(self):
        """The value that it comes to in the end."""
        return self(_NEVER)


class Scope(Plugin):
    """How a sparsity for the whole model is shared out between its weights.

    Attributes:
        reads_scores: whether that hangs on the scores, not only on how many there are.
    """

    reads_scores = True

    def __call__(self, group_scores, shapes, sparsity):
        """How many groups of each weight stay.

        Args:
            group_scores: list of arrays, the scores of each weight's groups.
            shapes: list of the weights' canonical shapes.
            sparsity: fraction of all weights to remove, in [0, 1).

        Returns:
            A list of integers, the number of groups kept in each weight.
        """
        raise NotImplementedError


class Solver(Plugin):
    """Prunes the kernel of a layer by what the layer is fed, without training.

    Kernels are matrices `(groups, inputs, outputs)`, one group but for depthwise and
    grouped convolutions, in float64.

    Attributes:
        needs_inputs: whether it looks at what the layer is fed.
    """

    # One is called as a criterion is.
    package = "tfcompress.solvers"
    needs_inputs = False

    def scores(self, weight, pattern, inputs=None):
        """The score of each group of the pattern, higher = keep.

        Args:
            weight: the kernel.
            pattern: a `tfc.solvers.MatrixPattern`.
            inputs: a `tfc.post_training.Inputs` with second moments.
        """
        raise NotImplementedError

    def __call__(self, weight, num_kept, pattern, inputs=None):
        """The pruned kernel, zero where nothing stays.

        Args:
            weight: as in `scores`.
            num_kept: groups that stay.
            pattern: as in `scores`.
            inputs: as in `scores`.
        """
        raise NotImplementedError


class LayerRewrite(Plugin):
    """Replaces a chain of layers by others that compute the same or nearly the same.

    Attributes:
        length: how many consecutive layers it looks at.
    """

    length = 1

    def matches(self, *layers):
        """Whether this rewrite applies to the layers."""
        raise NotImplementedError

    def __call__(self, *layers):
        """The list of layers that stand for them, built, with their weights set."""
        raise NotImplementedError


class Rank(Plugin):
    """Chooses the ranks of a factorisation, one or several.

    A factorisation shows one matrix for each rank that it needs: the truncated SVD of
    that matrix is what the rank cuts. An SVD has one, a Tucker-2 decomposition two,
    the unfoldings of the kernel along its inputs and its outputs.

    Wherever a rank is taken, an integer stands for `Fixed`, a float for `Fraction`,
    and a name or `{name: arguments}` for the other plug-ins.
    """

    def __call__(self, matrices, limits=None, macs_ratio=None):
        """The ranks, a tuple of integers from 1 to their limits.

        Args:
            matrices: list of arrays `(rows, columns)`, one for each rank; or
                `(count, rows, columns)`, matrices that share a rank.
            limits: the full ranks, at which nothing is lost; without them
                `min(rows, columns)`.
            macs_ratio: `ranks -> MACs of the new layers / MACs of the old one`.
        """
        raise NotImplementedError

    def objection(self, least_ratio):
        """Why a layer stays whose ranks of 1 need `least_ratio` of its MACs, or None."""


class Range(Plugin):
    """Where to clip activations before they are rounded.

    The narrower the range, the finer its steps, and the more is clipped.
    """

    def __call__(self, counts, edges, bits=8):
        """`(min, max)`, with `min <= 0 <= max`.

        Args:
            counts: array `(bins,)`, how many values fell into each bin.
            edges: array `(bins + 1,)`, ascending and evenly spaced; the first and the
                last are the smallest and the largest value.
            bits: of the rounded activations.
        """
        raise NotImplementedError


class Rounding(Plugin):
    """Chooses the integers that stand for the weights of a layer.

    Attributes:
        needs_inputs: whether it looks at what the layer is fed.
    """

    needs_inputs = False

    def __call__(self, weight, scale, level, inputs=None):
        """Whole numbers from `-level` to `level`, in an array like `weight`.

        Args:
            weight: array `(groups, inputs, outputs)`.
            scale: array `(groups, 1, outputs)`, the step of each output channel.
            level: `2^(bits - 1) - 1`.
            inputs: a `tfc.post_training.Inputs` with second moments.
        """
        raise NotImplementedError


class Codec(Plugin):
    """A way to write symbols as bytes.

    Symbols are integers from 0 to 255. A stream holds all that its decoder needs but
    the number of symbols.
    """

    def encode(self, symbols):
        """The symbols (`uint8` array of any shape, row by row) as bytes."""
        raise NotImplementedError

    def decode(self, stream, count):
        """The `count` symbols of a stream, a `uint8` array.

        Raises:
            ValueError: if the stream is damaged or does not hold so many.
        """
        raise NotImplementedError

    def decode_reference(self, stream, count):
        """The same in NumPy, to read and to check the native decoder by."""
        raise NotImplementedError


class ExitRule(Plugin):
    """Says how sure a network with early exits is of its answer at each of them.

    A sample leaves at the first exit whose score is at least the exit's threshold.
    """

    # One is called as a range of activations is.
    package = "tfcompress.exit_rules"

    def __call__(self, probabilities):
        """Scores `(exits, samples)`, higher = surer.

        Args:
            probabilities: array `(exits, samples, classes)`, from the first exit to the
                one that is asked.
        """
        raise NotImplementedError


class SearchEngine(Plugin):
    """Looks for the member of a space that does least harm within limits."""

    # One is called as a transform is.
    package = "tfcompress.search_engines"

    def propose(self, study, limits):
        """The member to make next.

        Called again with tighter limits if its file turns out above the budget, so what was
        learned should be kept.

        Args:
            study: a `tfc.search.Study`.
            limits: `{"macs": most, "kernel_bytes": most}`, or one of them, as
                `study.proxy` counts both.

        Returns:
            A member `{dimension: {name: choice}}` of `study.space` within the limits; None
            if there is none.
        """
        raise NotImplementedError


class DistillationLoss(Plugin):
    """How far a student is from its teacher, one number for each prediction.

    Attributes:
        student_reads: what `__call__` gets of the student, "outputs" (its logits) or
            "features" (the outputs of some layers).
        teacher_reads: the same of the teacher.
        student_layers: names of the layers whose outputs it gets; None to choose them
            by resolution.
        teacher_layers: the same of the teacher.
        last_layer_only: whether it gets the last hidden layer only, not one of each
            resolution, where no layers are named.
        adapters: layers that are trained with the student and then thrown away.
        reads_constant: whether a number added to all logits makes a difference. Such a
            loss cannot learn from probabilities.
    """

    student_reads = "outputs"
    teacher_reads = "outputs"
    reads_constant = False
    student_layers = None
    teacher_layers = None
    last_layer_only = False
    adapters = ()

    def build(self, student, teacher):
        """Creates the adapters.

        Args:
            student: shapes of what `__call__` gets, None for the batch; a list for
                features.
            teacher: the same of the teacher.
        """

    def __call__(self, student, teacher, labels=None, step=0):
        """The loss of each prediction.

        Args:
            student: logits `(batch, ..., classes)`, or a list of features.
            teacher: the same of the teacher; no gradient flows into it.
            labels: what `fit` was given for this output, or None.
            step: optimizer iterations so far, for schedules.

        Returns:
            A tensor `(batch,)`, or `(batch, ...)` for logits of several positions.
        """
        raise NotImplementedError


def top(scores, count):
    """Mask of exactly `count` highest scores; of equal scores the earlier ones.

    >>> top(np.array([3.0, 1.0, 3.0, 3.0]), 2)
    array([ True, False,  True, False])
    """
    flat = np.ravel(scores)
    if count <= 0:
        return np.zeros(scores.shape, bool)
    if count >= flat.size:
        return np.ones(scores.shape, bool)
    threshold = nth_highest([flat], count)
    mask = flat > threshold
    ties = np.flatnonzero(flat == threshold)
    mask[ties[: count - np.count_nonzero(mask)]] = True
    return mask.reshape(scores.shape)


def nth_highest(arrays, count):
    """The `count`-th highest value of some arrays together, without copying them.

    >>> nth_highest([np.array([5.0, 1.0]), np.array([3.0, 4.0])], 2).item()
    4.0
    """
    flat = [np.ravel(array) for array in arrays]
    total = sum(values.size for values in flat)
    # A sample says about where it is; only what is near is sorted.
    sample = np.sort(
        np.concatenate([values[:: total // _SAMPLE + 1] for values in flat])
    )
    place, margin = (1 - count / total) * sample.size, _MARGIN * sample.size**0.5
    low = sample[max(0, math.floor(place - margin))]
    high = sample[min(sample.size - 1, math.ceil(place + margin))]
    above = sum(np.count_nonzero(values > high) for values in flat)
    near = [values[(values >= low) & (values <= high)] for values in flat]
    if not above < count <= above + sum(values.size for values in near):
        near, above = flat, 0
    near = np.concatenate(near)
    place = near.size - (count - above)
    near.partition(place)
    return near[place]
