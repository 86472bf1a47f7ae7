"""What is known about channels while a model is traced from its inputs to its outputs.

Every position along an axis of a tensor or weight has an id. Operations tie ids:
channels that are added must be cut together. Ids that are tied, directly or through
others, form a *unit*; a unit is the smallest thing that can be cut.
"""

import dataclasses
import inspect
import math

import numpy as np
import scipy.sparse


@dataclasses.dataclass(frozen=True)
class Axis:
    """The channels along one axis of a tensor.

    Attributes:
        ids: `(size,)` integers.
        constant: `(size,)` floats: the value of the whole channel if it does not depend
            on the model's input, NaN where it does or is unknown.
    """

    ids: np.ndarray
    constant: np.ndarray

    def map(self, function):
        """Applies the same rearrangement to ids and constants."""
        return Axis(function(self.ids), function(self.constant))

    def unknown(self):
        """The same channels with unknown values."""
        return Axis(self.ids, np.full(self.ids.shape, np.nan))


class Tensor:
    """One tensor of the model.

    Attributes:
        shape: its shape with the batch size; unknown sizes are None.
        axes: `{axis: Axis}` of the axes that may be cut, each independent of the
            others, so that what stays is always a block.
        reason: why the other axes cannot be cut.
    """

    def __init__(self, shape, axes=None, reason="not an axis of channels"):
        self.shape = tuple(shape)
        self.axes = dict(axes or {})
        self.reason = reason

    @property
    def rank(self):
        """Number of axes, including the batch."""
        return len(self.shape)


@dataclasses.dataclass(frozen=True)
class Slot:
    """An axis of a weight whose elements belong to channels.

    Attributes:
        layer: name of the layer in the flat model.
        variable: the Keras variable.
        axis: axis of the variable.
        ids: `(size,)`.
        role: `"output"` of a kernel: these elements produce the channel; `"input"`:
            they read it; `"channel"`: both, such as a batch norm's scale.
    """

    layer: str
    variable: object
    axis: int
    ids: np.ndarray
    role: str


@dataclasses.dataclass(frozen=True)
class Use:
    """A place where channels are summed over, so that a missing one makes a difference.

    Attributes:
        ids: ids of the channels.
        constant: their values.
        variable, axis: the weight that multiplies them, None if there is none.
        bias: the bias to which a constant input can be added, or None.
        is_linear: whether the result is linear in the channels; a mean or variance over
            them changes even if a missing one is zero.
    """

    ids: np.ndarray
    constant: np.ndarray
    variable: object = None
    axis: int | None = None
    bias: object = None
    is_linear: bool = True


class Trace:
    """Everything that was found while tracing.

    Args:
        with_constants: whether to determine which channels are constant.

    Attributes:
        slots: `{(id of the variable, axis): Slot}`.
        uses: list of `Use`.
        resizes: list of `(layer name, path in its configuration, ids)`: the number of
            ids that stay is the new value.
        positions: `{id of a kernel: ids along other axes to which it is applied}`.
        calls: `{Node.key: function(count, operation, *args, **kwargs)}` for operations
            that must be called differently once channels are gone.
        unfollowed: `{operation name: reason}`.
    """

    def __init__(self, with_constants=False):
        self.with_constants = with_constants
        self.slots = {}
        self.uses = []
        self.resizes = []
        self.positions = {}
        self.calls = {}
        self.unfollowed = {}
        self._size = 0
        self._ties = []
        self._fixed = []
        self._owned = {}

    def fresh(self, size):
        """An axis of new channels."""
        ids = np.arange(self._size, self._size + size)
        self._size += size
        return Axis(ids, np.full(size, np.nan))

    def owned(self, layer, name, size):
        """New channels that are the same in every call of a layer."""
        key = id(layer), name
        if key not in self._owned:
            self._owned[key] = self.fresh(size)
        return self._owned[key]

    def tie(self, ids, others):
        """Ties ids pairwise: they are cut together."""
        self._ties.append((np.ravel(ids), np.ravel(others)))

    def fix(self, ids, reason):
        """Marks ids that must stay."""
        self._fixed.append((ids, reason))

    def axis(self, tensor, axis):
        """The channels along an axis; new fixed ones if it has none."""
        axis %= tensor.rank
        if axis not in tensor.axes:
            tensor.axes[axis] = self.fresh(tensor.shape[axis] or 1)
            self.fix(tensor.axes[axis].ids, tensor.reason)
        return tensor.axes[axis]

    def fix_others(self, tensor, followed, reason):
        """Marks that nothing may be cut on axes that are not `followed`."""
        for axis, channels in tensor.axes.items():
            if axis not in [a % tensor.rank for a in followed]:
                self.fix(channels.ids, reason)

    def slot(self, layer, variable, axis, ids, role):
        """Records which channels the elements along an axis of a weight belong to."""
        key = id(variable), axis
        if key in self.slots:
            self.tie(self.slots[key].ids, ids)
        else:
            self.slots[key] = Slot(layer, variable, axis, ids, role)

    def units(self):
        """The unit of each id, `(number of ids,)`, and the number of units."""
        pairs = [np.concatenate(side) for side in zip(*self._ties, strict=True)]
        a, b = pairs or (np.zeros(0, int), np.zeros(0, int))
        edges = scipy.sparse.coo_array((np.ones(a.size), (a, b)), (self._size,) * 2)
        count, units = scipy.sparse.csgraph.connected_components(edges, directed=False)
        return units, count

    def reasons(self, units):
        """`{unit: why it stays}`, with the last reason found."""
        reasons = {}
        for ids, reason in self._fixed:
            reasons |= dict.fromkeys(units[ids].tolist(), reason)
        return reasons


class Call:
    """One call of an operation, as a rule sees it.

    Attributes:
        trace: the `Trace`.
        node: the `Node`.
        layer: the operation, or the inner layer of a compressed one.
        name: name of the operation.
        inputs: the `Tensor` of each of the node's `data`: masks say nothing about channels.
        shapes: shapes of the outputs.
    """

    def __init__(self, trace, node, inputs):
        self.trace = trace
        self.node = node
        self.layer = node.layer
        self.name = node.operation.name
        self.inputs = inputs
        self.shapes = [tuple(tensor.shape) for tensor in node.outputs]

    def arguments(self):
        """`{parameter of the layer's call: Tensor or plain value}`."""
        tensors = {id(k): t for k, t in zip(self.node.data, self.inputs, strict=True)}
        bound = inspect.signature(self.layer.call).bind(
            *self.node.arguments.args, **self.node.arguments.kwargs
        )
        return {k: tensors.get(id(v), v) for k, v in bound.arguments.items()}

    def outputs(self, axes, reason=None):
        """Output tensors, all with the same axes."""
        reason = {} if reason is None else {"reason": reason}
        return [Tensor(shape, axes, **reason) for shape in self.shapes]

    def leave_whole(self, reason):
        """Outputs of an operation that cannot be followed; its inputs are left whole."""
        reason = f"{self.name} ({type(self.layer).__name__}) {reason}"
        self.trace.unfollowed.setdefault(self.name, reason)
        for tensor in self.inputs:
            self.trace.fix_others(tensor, (), reason)
        return self.outputs({}, reason)

    def produce(self, size, weights, name="outputs"):
        """Channels that the layer itself produces.

        Args:
            size: the number of channels.
            weights: `[(variable, axis)]` that produce them; a kernel first.
            name: distinguishes several kinds in one layer.
        """
        axis = self.trace.owned(self.layer, name, size)
        for variable, position in weights:
            self.along(variable, position, axis.ids, "output")
        return axis

    def along(self, variable, axis, ids, role="channel"):
        """Records that the elements along an axis of a weight belong to channels."""
        if variable is not None:
            self.trace.slot(self.name, variable, axis, ids, role)

    def consume(self, channels, variable, axis, **kwargs):
        """Records that the layer sums over channels, with the weights along an axis."""
        self.along(variable, axis, channels.ids, "input")
        self.trace.uses.append(
            Use(channels.ids, channels.constant, variable, axis, **kwargs)
        )

    def apply_along(self, kernel, channels):
        """Records that a kernel is applied to each channel, which saves no weights."""
        self.trace.positions.setdefault(id(kernel), [c.ids for c in channels])

    def resize(self, path, ids):
        """Records that a number in the layer's configuration is a number of channels."""
        path = (path,) if isinstance(path, str) else path
        self.trace.resizes.append((self.name, path, ids))

    def made_constant(self, kernel, axis, bias=None, activation=None):
        """The value of each output that no input reaches, NaN for the others."""
        size = kernel.shape[axis]
        if not self.trace.with_constants:
            return np.full(size, np.nan)
        others = tuple(a for a in range(len(kernel.shape)) if a != axis)
        reached = np.any(kernel.numpy() != 0, axis=others)
        value = np.zeros(size, "float32") if bias is None else bias.numpy()
        value = value if activation is None else np.asarray(activation(value))
        return np.where(reached, np.nan, value)


def joined(parts):
    """Several axes joined into one."""
    return Axis(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.constant for part in parts]),
    )


def split_evenly(trace, channels, shape):
    """Channels that are arranged as a block, in which only one axis may be cut.

    That is the longest one (the first of equal ones, which are heads where features of
    heads are the last); along the others they are tied.

    Returns:
        The axis and the channels along it; `(None, None)` for a block of one.
    """
    ids = np.reshape(channels.ids, shape)
    varying = [a for a in range(ids.ndim) if np.any(np.diff(ids, axis=a))]
    if not varying:
        return None, None
    axis = max(varying, key=lambda a: ids.shape[a])

    def rows(values):
        block = np.reshape(values, shape)
        return np.moveaxis(block, axis, 0).reshape(block.shape[axis], -1)

    ids, constant = rows(channels.ids), rows(channels.constant)
    trace.tie(ids, np.repeat(ids[:, :1], ids.shape[1], axis=1))
    same = (constant == constant[:, :1]).all(axis=1)
    return axis, Axis(ids[:, 0], np.where(same, constant[:, 0], np.nan))


def known_size(shape):
    """Number of elements, unknown sizes counted as 1."""
    return math.prod(size or 1 for size in shape)
