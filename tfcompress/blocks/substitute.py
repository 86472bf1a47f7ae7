"""Replaces convolutions by lean blocks."""

import contextlib
import dataclasses

import keras
import rich.console

from tfcompress.blocks.stand_ins import STAND_INS, Divided, Unfit
from tfcompress.core.cloning import clone_layer, rebuild
from tfcompress.core.errors import shown
from tfcompress.core.graph import Graph, editable, rewire
from tfcompress.core.keras_internals import symbolic_calls
from tfcompress.core.kinds import VERBOSE, Anything, BuiltModel, checked, is_function
from tfcompress.core.plugin import did_you_mean
from tfcompress.core.recording import main_argument
from tfcompress.core.rules import Pattern, Rule
from tfcompress.core.text import Table
from tfcompress.core.walk import weight_refs


@checked
def substitute(
    model: BuiltModel(),
    block: Anything("the name of a block or a function (x, layer) -> y"),
    where: Pattern() = ".*",
    verbose: VERBOSE = 1,
) -> keras.Model:
    """Returns a copy of `model` with lean blocks in place of k·k convolutions.

    A block has the strides, padding, dilation, output shape, bias, activation and kernel
    regularizers of its convolution, and new, trainable weights; all other weights are
    copied. The result is meant for training from scratch or for distillation. Parameters,
    for `I` input and `O` output channels, without batch norm and biases, compared with
    `k·k·I·O`:

    | block | what it is | parameters |
    | --- | --- | --- |
    | `"depthwise_separable"` | depthwise k·k, 1x1 | `k·k·I + I·O` |
    | `"inverted_residual"` | 1x1 to `2·I`, depthwise k·k, 1x1 | `2·(I·I + k·k·I + I·O)` |
    | `"fire"` | 1x1 to `s = O/8`, 1x1 parallel to k·k | `I·s + s·O/2 + k·k·s·O/2` |
    | `"shuffle"` | 1x1, shuffle, depthwise k·k, 1x1 | `(I·I + I·O)/g + k·k·I` |
    | `"ghost"` | k·k to `O/2`, then depthwise 3x3 | `k·k·I·O/2 + 9·O/2` |

    Inside a block, batch norm and an activation follow the convolutions as in its paper
    (none in ghost, which is linear like the paper's equations 2 and 3). `g` is the largest
    of 4, 3, 2 that divides `I` and `O`. The shortcuts of the inverted residual and the
    shuffle unit are omitted, since the network has its own or none; and the expansion is 2,
    since 6 would have more parameters than most 3x3 convolutions.

    A batch norm that is the only reader of a convolution becomes the block's last one: it
    keeps its scale and shift, so that the block's outputs have the mean and spread that the
    following layers expect, and its moving statistics are reset. In fire and ghost, whose
    outputs come from two convolutions, each gets its part of it.

    These are not replaced: convolutions that read the image (with no other kernel before
    them), 1x1 and grouped ones, those for which the block would have as many parameters or
    more, and those whose shape it cannot have. The printed table gives the reasons.

    Args:
        model: a Sequential or Functional model, or a subclassed one whose graph can be
            followed; nested models are expanded, and their layers keep their own names.
        block: a name from the table above, or a function `(x, layer) -> y` that applies
            the layers of a custom block to a tensor and returns a replacement for the
            output of the convolution `layer` before its activation.
        where: which convolutions: a regular expression for whole layer names, a layer
            class, or a function `layer -> bool`.
        verbose: 1 prints the table, 0 nothing.

    Returns:
        A functional `keras.Model`. A convolution that is called several times becomes a
        block that is called several times.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if the model is not built or its graph cannot be followed, the block is
            unknown or its output shape differs from the convolution's, or nothing can be
            substituted.

    Source: Howard et al., "MobileNets" (2017), section 3; for the others see
    `inverted_residual`, `fire`, `shuffle_unit` and `ghost`.

    Example:
        >>> model = keras.Sequential([
        ...     keras.Input((16, 16, 3)),
        ...     keras.layers.Conv2D(32, 3, name="stem"),
        ...     keras.layers.Conv2D(64, 3, activation="relu", name="conv"),
        ... ])
        >>> lean = substitute(model, "depthwise_separable", verbose=0)
        >>> [layer.name for layer in lean.layers[2:5]]
        ['conv_depthwise', 'conv_depthwise_norm', 'conv_depthwise_activation']
        >>> model.count_params(), lean.count_params()
        (19392, 3424)
    """
    stand_in = _stand_in(block)
    flat = editable(model, "substitute blocks in")
    choices = _choices(flat, stand_in, where)
    if not any(choice.substitute for choice in choices):
        raise ValueError(_nothing_to_do(choices, block, where))
    lean = _with_blocks(flat, choices)
    if verbose:
        rich.console.Console().print(_table(model, lean, block, choices))
    return lean


def _stand_in(block):
    if is_function(block):
        return lambda x, layer, norm: norm(block(x, layer))
    if isinstance(block, str) and block in STAND_INS:
        return STAND_INS[block]
    raise ValueError(
        f"Unknown block {shown(block)}: expected one of {', '.join(STAND_INS)}, or a "
        f"function (x, layer) -> y.{did_you_mean(str(block), STAND_INS)}"
    )


@dataclasses.dataclass
class _Choice:
    """Whether and how a layer with a kernel is replaced.

    Attributes:
        layer: the layer.
        kernel: the shape of its kernel.
        matched: whether `where` matches it.
        norm: the batch norm that becomes part of the block, or None.
        substitute: a model of the block, or None if the layer stays.
        reason: why it stays, or None.
    """

    layer: keras.Layer
    kernel: tuple
    matched: bool
    norm: keras.Layer | None = None
    substitute: keras.Model | None = None
    reason: str | None = None

    @property
    def parameters(self):
        """Number of weights of the layer and its batch norm."""
        return sum(a.count_params() for a in (self.layer, self.norm) if a)


def _choices(flat, stand_in, where):
    kernels = {}
    for ref in weight_refs(flat):
        if ref.is_kernel:
            kernels.setdefault(ref.owners[1].name, []).append(ref)
    graph = Graph(flat)
    calls = {name: [] for name in kernels}
    for node in graph.nodes:
        if node.operation.name in calls:
            calls[node.operation.name].append(node)
    behind_kernels = _behind(
        graph, [node for nodes in calls.values() for node in nodes]
    )
    rule = Rule(where)
    choices = []
    for name, nodes in calls.items():
        choice = _Choice(
            layer=nodes[0].operation,
            kernel=tuple(kernels[name][0].variable.shape),
            matched=any([rule.matches(ref) for ref in kernels[name]]),
        )
        reads_input = not any(id(node) in behind_kernels for node in nodes)
        choice.reason = _why_not(choice, nodes, reads_input)
        if choice.reason is None:
            choice.norm = _norm_behind(graph, nodes)
            _decide(choice, stand_in, nodes[0].inputs[0])
        choices.append(choice)
    return choices


def _behind(graph, nodes):
    """Ids of the nodes that depend on the outputs of `nodes`."""
    found, stack = set(), list(nodes)
    while stack:
        new = [n for n in graph.consumers(stack.pop()) if id(n) not in found]
        found.update(map(id, new))
        stack += new
    return found


def _why_not(choice, nodes, reads_input):
    layer = choice.layer
    if type(layer) is not keras.layers.Conv2D:
        return f"{type(layer).__name__} is not Conv2D"
    if max(layer.kernel_size) == 1:
        return "1x1 is already lean"
    if layer.groups > 1:
        return f"{layer.groups} groups are already lean"
    if layer.data_format != "channels_last":
        return "channels come first; blocks expect them last"
    if reads_input:
        return "reads the input, which has few channels to save on"
    if len({tuple(node.inputs[0].shape) for node in nodes}) > 1:
        return "is called on different shapes"
    return None if choice.matched else "where does not match it"


def _norm_behind(graph, nodes):
    """The batch norm over channels that is the only reader of a layer called once."""
    following = graph.only_consumer(nodes[0]) if len(nodes) == 1 else None
    if following is None:
        return None
    norm = following.operation
    is_usable = (
        type(norm) is keras.layers.BatchNormalization
        and norm.axis in (-1, 3)
        and len(symbolic_calls(norm)) == 1
    )
    return norm if is_usable else None


def _decide(choice, stand_in, x):
    """Sets the substitute, or the reason why there is none."""
    try:
        substitute = _build(choice, stand_in, x)
    except Unfit as unfit:
        choice.reason = str(unfit)
        return
    if substitute.count_params() >= choice.parameters:
        choice.reason = f"the block would have {substitute.count_params():,} parameters"
        return
    choice.substitute = substitute


def _build(choice, stand_in, x):
    """A model of the block, followed by batch norm and activation."""
    layer = choice.layer
    with _dtype_policy_of(layer):
        inputs = keras.Input(x.shape[1:], dtype=x.dtype)
        if layer.activation is keras.activations.linear:
            y = stand_in(inputs, layer, Divided(choice.norm))
        else:
            y = stand_in(inputs, layer, Divided(None))
            name = f"{layer.name}_activation"
            y = keras.layers.Activation(layer.activation, name=name)(y)
            y = Divided(choice.norm)(y)
    expected = layer.compute_output_shape(x.shape)
    if tuple(y.shape) != tuple(expected):
        raise ValueError(
            f"The block for {layer.name!r} returns the shape {tuple(y.shape)}; the "
            f"convolution's is {tuple(expected)}. Pass the layer's strides, padding, "
            "dilation_rate and filters on."
        )
    return keras.Model(inputs, y)


@contextlib.contextmanager
def _dtype_policy_of(layer):
    """A context in which new layers get the data types of `layer`."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(layer.dtype_policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def _with_blocks(flat, choices):
    chosen = {c.layer.name: c for c in choices if c.substitute}
    norms = {c.norm.name for c in chosen.values() if c.norm}
    taken = {op.name for op in flat.operations} - norms - set(chosen)
    for choice in chosen.values():
        _make_names_unique(choice.substitute, taken)

    def replace(layer):
        # The substitute is called in `call`; here the old layer only keeps its place.
        return layer if layer.name in chosen else clone_layer(layer)

    def call(key, operation, /, *args, **kwargs):
        if operation.name in norms:
            return main_argument(operation, args, kwargs)
        if operation.name in chosen:
            # Calling `call` with symbolic tensors adds the block's layers to the graph.
            return chosen[operation.name].substitute.call(*args, **kwargs)
        return operation(*args, **kwargs)

    # Rebuilt, so that the layers forget the graphs of the substitutes.
    return rebuild(rewire(flat, call, replace))


def _make_names_unique(substitute, taken):
    for layer in substitute.layers:
        name, number = layer.name, 1
        while layer.name in taken:
            number += 1
            layer.name = f"{name}_{number}"
        taken.add(layer.name)


def _nothing_to_do(choices, block, where):
    matched = [c for c in choices if c.matched]
    message = f"where={where!r} matches no convolution that {block!r} can replace."
    if matched:
        reasons = [f"{c.layer.name}: {c.reason}" for c in matched[:10]]
        return f"{message} {'; '.join(reasons)}{'; …' if len(matched) > 10 else '.'}"
    names = [c.layer.name for c in choices if c.reason == "where does not match it"]
    hint = did_you_mean(where, names) if isinstance(where, str) else ""
    listed = f"{', '.join(names[:20])}{', …' if len(names) > 20 else '.'}"
    known = f"Expected one of the convolutions {listed}"
    return f"{message} {known if names else 'The model has none.'}{hint}"


def _table(model, lean, block, choices):
    title = f"{getattr(block, '__name__', block)} in {model.name}"
    caption = "Parameters include those of the batch norm."
    table = Table(title=title, caption=caption, title_justify="left")
    table.add_column("layer", overflow="fold", min_width=20)
    for name in ("kernel", "parameters", "now"):
        table.add_column(name, justify="right")
    table.add_column("or why it stays", overflow="fold")
    staying = {}
    for choice in choices:
        if not choice.substitute:
            staying.setdefault(choice.reason, []).append(choice)
            continue
        now = choice.substitute.count_params()
        table.add_row(*_cells([choice]), f"{now:,}", "")
    for reason, group in staying.items():
        table.add_row(*_cells(group), "", reason, style="dim")
    table.add_section()
    total, now = model.count_params(), lean.count_params()
    table.add_row(
        "whole model", "", f"{total:,}", f"{now:,}", f"{now / total:.1%} of it"
    )
    return table


def _cells(choices):
    """Names, kernel and parameters of layers that share a row."""
    names = [choice.layer.name for choice in choices]
    others = f" and {len(names) - 3} others" if len(names) > 3 else ""
    kernels = {"x".join(map(str, choice.kernel)) for choice in choices}
    parameters = sum(choice.parameters for choice in choices)
    return (
        ", ".join(names[:3]) + others,
        kernels.pop() if len(kernels) == 1 else "",
        f"{parameters:,}",
    )
