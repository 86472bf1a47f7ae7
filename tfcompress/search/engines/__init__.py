"""Engines that search a space."""

from tfcompress.core.nouns import SearchEngine
from tfcompress.core.plugin import register
from tfcompress.search.engines.amc import AMC
from tfcompress.search.engines.apq import APQ
from tfcompress.search.engines.filter_agent import FilterAgent
from tfcompress.search.engines.knapsack import Knapsack
from tfcompress.search.engines.ladder import Ladder
from tfcompress.search.engines.optuna import Optuna
from tfcompress.search.engines.tas import TAS
from tfcompress.search.engines.uniform import Uniform

get = SearchEngine.get
register(SearchEngine, AMC, APQ, FilterAgent, Knapsack, Ladder, Optuna, TAS, Uniform)

__all__ = [
    "AMC",
    "APQ",
    "TAS",
    "FilterAgent",
    "Knapsack",
    "Ladder",
    "Optuna",
    "SearchEngine",
    "Uniform",
    "get",
]
