"""Penalties that make weights or whole groups of them small.

They are Keras regularizers: pass them to layers as `kernel_regularizer=`, add them to
an existing model with `tfc.transforms.Penalty`, or let `tfc.callbacks.ProximalStep`
minimize them down to exact zeros.
"""

from tfcompress.core.nouns import Regularizer
from tfcompress.core.plugin import register
from tfcompress.pruning.penalties.group_lasso import GroupLasso
from tfcompress.pruning.penalties.l1 import L1
from tfcompress.pruning.penalties.smoothed_l12 import SmoothedL12

get = Regularizer.get
register(Regularizer, GroupLasso, L1, SmoothedL12)

__all__ = ["L1", "GroupLasso", "Regularizer", "SmoothedL12", "get"]
