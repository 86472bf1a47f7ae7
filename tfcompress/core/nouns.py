"""The nouns that plug-ins implement. Everything else is Keras."""

import bisect
import math

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.plugin import Plugin

# Size of the sample that locates a rank, and the margin around it in roots of that.
_SAMPLE = 2**17
_MARGIN = 4
# A step that training never reaches.
_NEVER = 2**62


class WeightTransform(Plugin):
    """A function from a weight to a weight of the same shape, with its own state.

    Transforms compose: a weight's list is applied from first to last, on every call of
    the layer, and gradients flow back through it.

    Attributes:
        shares_values: whether weights of different output channels get equal values. A
            later transform then sees a layout without channels, so that shared values
            stay shared.
        max_level: how many steps away from zero its values reach, on a symmetric grid
            with one step size per output channel; infinite if they lie on another grid,
            None if on none. Integer files hold up to 127 steps.
        replaces_weight: whether the values no longer depend on the weight once
            `refresh` has seen it. That weight is then neither trained nor saved.
        waits: whether it is so coarse that earlier transforms in the list should settle
            first, such as masks that a callback changes. Callbacks then let the weight
            bypass it until it begins.
        draws_each: whether, when called in training on a stack of weights
            `(count, *shape)`, it draws different numbers for each of them.
        is_finished: whether its values are final, not an intermediate stage that a
            callback still has to complete.

    Example:
        >>> class Halved(tfc.transforms.WeightTransform):
        ...     def __call__(self, weight, training=False):
        ...         return weight / 2
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[3.0], [1.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> model = tfc.compress(model, {".*": Halved()})
        >>> tfc.strip(model).layers[0].kernel.numpy().ravel()
        array([1.5, 0.5], dtype=float32)
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
        """The value of the variable for which a weight (NumPy array) is in effect.

        Used when compression starts, for transforms that are not the identity then.
        """
        return weight

    def refresh(self, weight):
        """Recomputes the state that depends on the weight's values (NumPy array).

        Called when compression starts and whenever an earlier transform in the list has
        changed, not on every step.
        """

    def reset(self):
        """Discards what `refresh` chose, so that the next call starts afresh."""

    def settle(self, weight):
        """The weight without the changes that had no effect on its transformed value.

        Called on transforms that wait, before a new choice is based on the weight
        (NumPy array).
        """
        return weight

    def __call__(self, weight, training=False):
        """The transformed weight, a tensor of the same shape and dtype."""
        raise NotImplementedError

    def moments(self, weight):
        """`(mean, variance)` of what a call draws in training, tensors like the weight.

        Only for transforms that draw each weight independently from a normal
        distribution. In layers that are linear in the weight, outputs are then drawn
        independently instead.
        """
        raise NotImplementedError

    def penalty(self):
        """A scalar added to the loss, or None."""
        return None

    def bake(self, weight):
        """The final value of a weight (NumPy array) once training is over."""
        return np.asarray(self(weight, training=False))


class ActivationQuantizer(Plugin):
    """A function of activations with the gradient of another function.

    It has no state and needs no data to determine its levels.
    """

    def forward(self, values):
        """The quantized activations, by `keras.ops`, so that any model can contain them."""
        raise NotImplementedError

    def slope(self, values):
        """The surrogate for the derivative of `forward`."""
        raise NotImplementedError

    def __call__(self, values):
        """The quantized activations."""

        @tf.custom_gradient
        def quantize(values):
            return self.forward(values), lambda upstream: upstream * self.slope(values)

        return quantize(values)


class Signals(dict):
    """What is known about one weight besides its value: `{name: array}`.

    Attributes:
        ref: the `WeightRef`; None if a criterion is called directly.
        step: the iteration of the optimizer that trains the weight.
    """

    def __init__(self, values=(), ref=None, step=0):
        super().__init__(values)
        self.ref = ref
        self.step = step

    @property
    def path(self):
        """Name of the weight, empty if a criterion is called directly."""
        return "" if self.ref is None else self.ref.path


class Signal(Plugin):
    """A statistic of a weight, usually over batches of data.

    All signals that observe batches are collected in one pass
    (`tfcompress.core.collect`): what `update` returns for each batch is summed in
    float64, and `result` computes the statistic from the sums. So only sums are kept.
    Signals that observe nothing implement `measure` instead.

    Attributes:
        observes: what `update` reads, among `"gradient"`, `"calls"` (inputs and outputs
            of the layer), `"norm"` (the batch normalization after it),
            `"output_gradient"` (of those outputs) and `"curvature"`.
    """

    # A criterion may have the same name as the signal that it reads.
    package = "tfcompress.signals"
    observes = frozenset()

    def update(self, seen):
        """The contribution of a batch: a tensor, or a tuple of tensors.

        Args:
            seen: a `tfcompress.core.collect.Seen`.
        """
        raise NotImplementedError

    def result(self, totals, ref):
        """The statistic, an array that broadcasts to the canonical form of the weight.

        Args:
            totals: the sums of what `update` returned, float64 arrays.
            ref: the `WeightRef`, whose `layout` describes the axes.
        """
        raise NotImplementedError

    def measure(self, source):
        """The statistic of each weight, for signals that do not observe batches.

        Args:
            source: a `tfcompress.core.collect.Source`: the model, its weights, data.

        Returns:
            A list of arrays as returned by `result`.
        """
        raise NotImplementedError


class Criterion(Plugin):
    """How much each element of a weight matters: higher = keep.

    Weights are passed in canonical form, outputs on the last axis, so that a criterion
    need not know what kind of layer they belong to.

    Attributes:
        needs: names of the signals that must be collected over data first.
        rounds: the number of steps, each with the same ratio, in which weights are
            removed; each step scores again what the previous ones left.

    Example:
        >>> class Positive(tfc.criteria.Criterion):
        ...     def __call__(self, weight, signals):
        ...         return weight
        >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[3.0], [-4.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> pruned = tfc.prune(model, 0.5, criterion=Positive)
        >>> pruned.layers[0].kernel.numpy().ravel()
        array([3., 0.], dtype=float32)
    """

    needs = frozenset()
    rounds = 1

    def __call__(self, weight, signals):
        """Scores that broadcast to the shape of the weight.

        Args:
            weight: NumPy array, the effective weight, `(..., inputs, outputs)`.
            signals: a `Signals`, with an array for each name in `needs` that broadcasts
                to the weight.
        """
        raise NotImplementedError

    def reduce(self, scores, axes):
        """The score of a group from the scores of its elements, along `axes`.

        Groups are those of a `Pattern`, or all weights that form one unit of coupled
        channels.
        """
        return np.mean(scores, axis=axes)

    def score_groups(self, members, pool):
        """Scores of groups, which are compared within and between weights.

        By default the reduced scores of the elements. Methods that compare a group with
        others of its weight, by rank or share, do so here.

        Args:
            members: list of `(weight, signals)`, as in `__call__`; one weight, or those
                that form the same coupled channels.
            pool: `(list of scores, reduce) -> scores of the groups`, with one array of
                scores per member.
        """
        return pool([self(*member) for member in members], self.reduce)

    @property
    def repairs(self):
        """Whether it changes the weights that stay."""
        return type(self).adjust is not Criterion.adjust

    def adjust(self, weight, keep, signals):
        """The weight after elements were removed, for methods that repair it.

        Args:
            weight: as in `__call__`.
            keep: booleans of the weight's shape, True = keep.
            signals: as in `__call__`.
        """
        return weight


class Regularizer(Plugin, keras.regularizers.Regularizer):
    """A penalty on a weight; Keras accepts it wherever it accepts a regularizer."""

    # Some have the same name as a criterion.
    package = "tfcompress.regularizers"

    def __call__(self, weight):
        """The penalty, a scalar tensor, of a weight in the layout of its layer."""
        raise NotImplementedError

    def proximal(self, weight, step):
        """`argmin_v ½‖v - weight‖² + step penalty(v)`, a tensor like the weight.

        Values that gradient descent only brings close to zero become exactly zero here.

        Args:
            weight: tensor.
            step: scalar tensor, the learning rate.
        """
        raise NotImplementedError

    def of_layout(self, layout):
        """The same regularizer for weights of a `tfc.core.Layout`, whatever their layer."""
        return self


class Pattern(Plugin):
    """Which elements of a weight are kept or removed together.

    Works on the canonical form of a weight: outputs on the last axis.

    Example:
        >>> class Rows(tfc.patterns.Pattern):
        ...     def pool(self, scores, reduce=np.mean):
        ...         return reduce(scores, -1)
        ...
        ...     def spread(self, group_mask, shape):
        ...         return np.broadcast_to(group_mask[..., None], shape)
        >>> layer = keras.layers.Dense(2, use_bias=False); layer.build((None, 2))
        >>> _ = layer.kernel.assign([[3.0, -4.0], [1.0, 5.0]])
        >>> model = keras.Sequential([keras.Input((2,)), layer])
        >>> tfc.prune(model, 0.5, pattern=Rows).layers[0].kernel.numpy()
        array([[ 3., -4.],
               [ 0.,  0.]], dtype=float32)
    """

    def pool(self, scores, reduce=np.mean):
        """Scores of the groups, an array with one element per group.

        Args:
            scores: scores of the elements.
            reduce: `(scores, axes) -> scores` of groups, see `Criterion.reduce`.
        """
        raise NotImplementedError

    def spread(self, group_mask, shape):
        """The mask of canonical `shape` that corresponds to a mask of groups."""
        raise NotImplementedError

    def select(self, group_scores, num_kept):
        """Mask of the groups that stay: those with the `num_kept` highest scores."""
        return top(group_scores, num_kept)

    def quota(self, shape):
        """How many groups must stay where: `(labels, count)`, or None if any may go.

        Args:
            shape: canonical shape of the weight.

        Returns:
            Integers of that shape, the run that each element belongs to, and the
            minimum number of groups that stay in each run.
        """
        return None


class Schedule(Plugin):
    """A number that depends on the optimizer step.

    Example:
        >>> class Late(tfc.schedules.Schedule):
        ...     def __call__(self, step):
        ...         return 0.5 if step >= 10 else 0.0
        ...
        ...     def due(self, previous_step, step):
        ...         return previous_step < 10 <= step
        >>> schedule = Late()
        >>> schedule(9), schedule(10), schedule.due(9, 10), schedule.last_step
        (0.0, 0.5, True, 10)
    """

    def __call__(self, step):
        """The value at `step`."""
        raise NotImplementedError

    def due(self, previous_step, step):
        """Whether something is due in the steps `(previous_step, step]`."""
        raise NotImplementedError

    def last_due(self, step):
        """The last step up to `step` at which something is due; -1 if there is none."""
        steps = range(-1, step + 1)
        return steps[
            bisect.bisect_left(steps, True, key=lambda s: not self.due(s, step))
        ]

    def is_over(self, step):
        """Whether nothing is due after `step`."""
        return not self.due(step, _NEVER)

    @property
    def last_step(self):
        """The last step at which something is due, None if there is no last one."""
        if not self.is_over(_NEVER // 2):
            return None
        steps = range(_NEVER // 2)
        return bisect.bisect_left(steps, True, hi=len(steps), key=self.is_over)

    @property
    def final_value(self):
        """The value that it reaches in the end."""
        return self(_NEVER)


class Scope(Plugin):
    """How a sparsity for the whole model is distributed among its weights.

    Attributes:
        reads_scores: whether it depends on the scores, not only on their number.
    """

    reads_scores = True

    def __call__(self, group_scores, shapes, sparsity):
        """Returns how many groups of each weight stay.

        Args:
            group_scores: list of arrays, the scores of each weight's groups.
            shapes: list of the weights' canonical shapes.
            sparsity: fraction of all weights to remove, in [0, 1).

        Returns:
            A list of integers, the number of groups kept in each weight.
        """
        raise NotImplementedError


class Solver(Plugin):
    """Prunes the kernel of a layer based on the layer's inputs, without training.

    Kernels are float64 matrices `(groups, inputs, outputs)`, with one group except in
    depthwise and grouped convolutions.

    Attributes:
        needs_inputs: whether it reads the inputs of the layer.
    """

    # One has the same name as a criterion.
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
            num_kept: the number of groups that stay.
            pattern: as in `scores`.
            inputs: as in `scores`.
        """
        raise NotImplementedError


class LayerRewrite(Plugin):
    """Replaces a chain of layers with others that compute the same or nearly the same.

    Attributes:
        length: the number of consecutive layers that it replaces.
    """

    length = 1

    def matches(self, *layers):
        """Whether this rewrite applies to the layers."""
        raise NotImplementedError

    def __call__(self, *layers):
        """The list of layers that replace them, built, with their weights set."""
        raise NotImplementedError


class Rank(Plugin):
    """Chooses the ranks of a factorization, one or several.

    A factorization provides one matrix for each rank that it needs: the rank truncates
    the SVD of that matrix. An SVD has one, a Tucker-2 decomposition two, the unfoldings
    of the kernel along its inputs and its outputs.

    Wherever a rank is expected, an integer stands for `Fixed`, a float for `Fraction`,
    and a name or `{name: arguments}` for the other plug-ins.
    """

    def __call__(self, matrices, limits=None, macs_ratio=None):
        """The ranks, a tuple of integers from 1 to their limits.

        Args:
            matrices: list of arrays `(rows, columns)`, one for each rank; or
                `(count, rows, columns)`, matrices that share a rank.
            limits: the full ranks, at which nothing is lost; `min(rows, columns)` by
                default.
            macs_ratio: `ranks -> MACs of the new layers / MACs of the old one`.
        """
        raise NotImplementedError

    def objection(self, least_ratio):
        """Why a layer is kept whose ranks of 1 need `least_ratio` of its MACs, or None."""


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
            bits: bit width of the rounded activations.
        """
        raise NotImplementedError


class Rounding(Plugin):
    """Chooses the integers that stand for the weights of a layer.

    Attributes:
        needs_inputs: whether it reads the inputs of the layer.
    """

    needs_inputs = False

    def __call__(self, weight, scale, level, inputs=None):
        """Integers from `-level` to `level`, in an array like `weight`.

        Args:
            weight: array `(groups, inputs, outputs)`.
            scale: array `(groups, 1, outputs)`, the step of each output channel, or
                `(groups, inputs, outputs)`, that of each weight.
            level: `2^(bits - 1) - 1`.
            inputs: a `tfc.post_training.Inputs` with second moments.
        """
        raise NotImplementedError


class Codec(Plugin):
    """A way to write symbols as bytes.

    Symbols are integers from 0 to 255. A stream contains everything that its decoder
    needs except the number of symbols.
    """

    def encode(self, symbols):
        """The symbols (`uint8` array of any shape, row by row) as bytes."""
        raise NotImplementedError

    def decode(self, stream, count):
        """The `count` symbols of a stream, a `uint8` array.

        Raises:
            ValueError: if the stream is damaged or contains fewer symbols.
        """
        raise NotImplementedError

    def decode_reference(self, stream, count):
        """The same in NumPy, as documentation and to check the native decoder."""
        raise NotImplementedError


class ExitRule(Plugin):
    """Determines how confident a network with early exits is at each of them.

    A sample leaves at the first exit whose score is at least the exit's threshold.
    """

    # One has the same name as a range of activations.
    package = "tfcompress.exit_rules"

    def __call__(self, probabilities):
        """Scores `(exits, samples)`, higher = more confident.

        Args:
            probabilities: array `(exits, samples, classes)`, from the first exit to the
                current one.
        """
        raise NotImplementedError


class SearchEngine(Plugin):
    """Searches a space for the member that does the least harm within limits."""

    # One has the same name as a transform.
    package = "tfcompress.search_engines"
    # Whether it chooses how the whole model is quantized, not what becomes of layers.
    chooses_methods = False

    def propose(self, study, limits):
        """The member to build next.

        Called again with tighter limits if its file exceeds the budget, so keep what
        was learned.

        Args:
            study: a `tfc.search.Study`.
            limits: `{"macs": most, "kernel_bytes": most}`, or one of them, counted as
                in `study.proxy`.

        Returns:
            A member `{dimension: {name: choice}}` of `study.space` within the limits; None
            if there is none.
        """
        raise NotImplementedError


class DistillationLoss(Plugin):
    """How far a student is from its teacher, one number for each prediction.

    Attributes:
        student_reads: what `__call__` gets from the student, "outputs" (its logits) or
            "features" (the outputs of some layers).
        teacher_reads: the same for the teacher.
        student_layers: names of the layers whose outputs it gets; None to choose them
            by resolution.
        teacher_layers: the same for the teacher.
        last_layer_only: whether it gets only the last hidden layer, not one per
            resolution, if no layers are named.
        parts: names of layers inside each of these layers whose outputs it gets instead,
            one after another; then layers that have them are chosen if none is named.
        adapters: layers that are trained with the student and discarded afterwards.
        reads_constant: whether a constant added to all logits makes a difference. Such
            a loss cannot learn from probabilities.
    """

    student_reads = "outputs"
    teacher_reads = "outputs"
    reads_constant = False
    student_layers = None
    teacher_layers = None
    last_layer_only = False
    parts = ()
    adapters = ()

    def build(self, student, teacher):
        """Creates the adapters.

        Args:
            student: shapes of what `__call__` gets, with None for the batch; a list for
                features.
            teacher: the same for the teacher.
        """

    def __call__(self, student, teacher, labels=None, step=0):
        """The loss of each prediction.

        Args:
            student: logits `(batch, ..., classes)`, or a list of features.
            teacher: the same for the teacher; no gradient flows into it.
            labels: the targets passed to `fit` for this output, or None.
            step: the number of optimizer iterations so far, for schedules.

        Returns:
            A tensor `(batch,)`, or `(batch, ...)` for logits of several positions.
        """
        raise NotImplementedError


def top(scores, count):
    """Mask of exactly the `count` highest scores; ties go to the earlier ones.

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
    # A sample tells roughly where it is; only values near it are sorted.
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
