"""The groups of channels of a model in readable form."""

import dataclasses

from tfcompress.core.compress import as_plain
from tfcompress.core.graph import as_graph, flatten
from tfcompress.core.kinds import BuiltModel, checked
from tfcompress.core.left_out import reason, warn_of
from tfcompress.core.text import Table, as_text
from tfcompress.core.walk import path_of
from tfcompress.pruning.channels.graph import CLOSED, ChannelGraph, ChannelGroup


@dataclasses.dataclass(frozen=True)
class ChannelGroups:
    """All groups of a model; prints as a table.

    Attributes:
        model: name of the model.
        groups: tuple of `ChannelGroup`.
        unfollowed: `{operation name: reason}` for operations through which channels
            could not be followed.
        seconds: the time taken to follow them.
    """

    model: str
    groups: tuple[ChannelGroup, ...]
    unfollowed: dict
    seconds: float

    def __iter__(self):
        return iter(self.groups)

    def __len__(self):
        return len(self.groups)

    def __getitem__(self, name):
        """The group whose channels a layer produces; the first if there are several."""
        for group in self.groups:
            if path_of(name) in map(path_of, group.layers("output")):
                return group
        raise KeyError(f"No layer {name!r} produces channels in model {self.model!r}.")

    def table(self):
        """A `rich` table."""
        table = Table(title=f"Channels of {self.model}", title_justify="left")
        for heading in ("units", "made by", "read by", "through", "left whole"):
            table.add_column(heading, justify="right" if heading == "units" else "left")
        for group in self.groups:
            table.add_row(
                str(group.size),
                *(_members(group, role) for role in ("output", "input", "channel")),
                path_of(group.whole or ""),
            )
        return table

    def __str__(self):
        reasons = [
            f"Not followed: {path_of(text)}." for text in self.unfollowed.values()
        ]
        return as_text(self.table(), *reasons, width=140)


def _members(group, role):
    """`layer[axis]` of the kernels in a role, with `x n` if a unit has n elements."""
    shown = {}
    for member in group.members:
        if member.role != role:
            continue
        times = f"x{member.per_unit}" if member.per_unit > 1 else ""
        path = path_of(member.layer)
        shown.setdefault(member.layer, f"{path}[{member.axis}]{times}")
    names = list(shown.values())
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")


@checked
def channel_groups(model: BuiltModel()) -> ChannelGroups:
    """Returns the groups of channels of a model that must be cut together.

    Channels are followed from the layer that produces them (`made by`) to those that
    sum over them (`read by`), through additions, concatenations, normalization,
    reshaping, attention and so on. A group is a set of units; one unit is what must be
    cut together, such as channel 3 of all convolutions in a residual stage. Unknown
    operations are run on half of their channels to see whether they treat channels
    alike and independently; if not, the channels are left whole, and the reason is given.
    Layers that contain others are opened, and what is inside is named after them:
    `groups["block/attention/key"]`.

    Args:
        model: a built Sequential or Functional model, or a subclassed one whose `call`
            uses Keras only. Compressed models are stripped first.

    Returns:
        `ChannelGroups`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if the model's calls cannot be traced; names the first such call.

    Source: Fang et al., "DepGraph: Towards Any Structural Pruning" (2023).

    Example:
        >>> x = keras.Input((8, 8, 3))
        >>> y = keras.layers.Conv2D(4, 3, padding="same", name="a")(x)
        >>> z = keras.layers.Conv2D(4, 3, padding="same", name="b")(y)
        >>> y = keras.layers.Conv2D(2, 1, name="c")(keras.layers.Add()([y, z]))
        >>> group = tfc.channel_groups(keras.Model(x, y))["b"]
        >>> group.size, group.layers("output"), group.layers("input")
        (4, ['a', 'b'], ['b', 'c'])
    """
    plain = as_plain(model)
    graph = ChannelGraph(flatten(as_graph(plain, "follow the channels of")))
    closed = graph.closed()
    warn_of(closed, "channel_groups did not look into {layers}", CLOSED)
    inside = {
        name: f"{path_of(name)!r} ({type(layer).__name__}) contains layers, whose channels "
        f"are not followed{reason(layer)}"
        for name, layer in closed.items()
    }
    return ChannelGroups(
        model.name,
        tuple(graph.groups),
        inside | dict(graph.trace.unfollowed),
        graph.seconds,
    )
