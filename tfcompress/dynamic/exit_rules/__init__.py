"""Measures of how confident a network with early exits is in its answer."""

from tfcompress.core.nouns import ExitRule
from tfcompress.core.plugin import register
from tfcompress.dynamic.exit_rules.confidence import Confidence
from tfcompress.dynamic.exit_rules.entropy import Entropy
from tfcompress.dynamic.exit_rules.patience import Patience

get = ExitRule.get
register(ExitRule, Confidence, Entropy, Patience)

__all__ = ["Confidence", "Entropy", "ExitRule", "Patience", "get"]
