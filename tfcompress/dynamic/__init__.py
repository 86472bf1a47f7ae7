"""Networks that adapt their cost to the sample, the battery and the device."""

from tfcompress.dynamic import exit_rules
from tfcompress.dynamic.early_exit import EarlyExit
from tfcompress.dynamic.export_cascade import export_cascade
from tfcompress.dynamic.export_widths import export_widths
from tfcompress.dynamic.policy import OperatingPoint, Policy
from tfcompress.dynamic.skipping import BlockDrop, ChannelSkip, SkipNet
from tfcompress.dynamic.slimmable import Slimmable
from tfcompress.dynamic.thresholds import ExitPlan

__all__ = [
    "BlockDrop",
    "ChannelSkip",
    "EarlyExit",
    "ExitPlan",
    "OperatingPoint",
    "Policy",
    "SkipNet",
    "Slimmable",
    "exit_rules",
    "export_cascade",
    "export_widths",
]
