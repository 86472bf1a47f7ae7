"""The members that agents may choose: groups of channels, and how few may stay."""

import numpy as np

from tfcompress.core.nouns import top


def channel_groups(study, called):
    """The groups whose channels may be removed, in the order of the model.

    Args:
        study: a `Study` whose space has only channels.
        called: name of the engine, for errors.

    Raises:
        ValueError: if the space has other dimensions.
    """
    study.space.check_only_channels(called)
    found = {}
    for group in study.proxy.groups:
        # If groups share a name, the first represents the others.
        if group.name in _names(study):
            found.setdefault(group.name, group)
    return list(found.values())


def least_kept(study, group, ratio=1.0):
    """How many channels stay at a ratio, which is limited to the largest of the space."""
    return study.proxy.num_kept(group, min(ratio, max(_names(study)[group.name])))


def ratio_of(study, group, kept):
    """The ratio at which `kept` channels stay, limited to the largest of the space."""
    return min(1 - kept / group.size, max(_names(study)[group.name]))


def channels_gone(study, group, scores, wanted):
    """The positions of the channels to remove from a group.

    Args:
        study: a `Study`.
        group: the `ChannelGroup`.
        scores: scores of its channels; the highest stay.
        wanted: how many should stay, if the space allows it.
    """
    count = least_kept(study, group, 1 - wanted / group.size)
    return np.flatnonzero(~top(scores, count)).tolist()


def _names(study):
    return study.space.choices["channels"]
