"""Functions from a weight to a weight of the same shape."""

from tfcompress.core.nouns import WeightTransform
from tfcompress.core.plugin import register
from tfcompress.transforms.bfloat16 import BFloat16
from tfcompress.transforms.binary import Binary
from tfcompress.transforms.codebook import Codebook
from tfcompress.transforms.half import Half
from tfcompress.transforms.hashed import Hashed
from tfcompress.transforms.learned_step import LearnedStep
from tfcompress.transforms.mask import Mask
from tfcompress.transforms.penalty import Penalty
from tfcompress.transforms.power_of_two import PowerOfTwo
from tfcompress.transforms.ternary import Ternary
from tfcompress.transforms.trained_ternary import TrainedTernary
from tfcompress.transforms.uniform import Uniform

get = WeightTransform.get
register(
    WeightTransform,
    BFloat16,
    Binary,
    Codebook,
    Half,
    Hashed,
    LearnedStep,
    Mask,
    Penalty,
    PowerOfTwo,
    Ternary,
    TrainedTernary,
    Uniform,
)

__all__ = [
    "BFloat16",
    "Binary",
    "Codebook",
    "Half",
    "Hashed",
    "LearnedStep",
    "Mask",
    "Penalty",
    "PowerOfTwo",
    "Ternary",
    "TrainedTernary",
    "Uniform",
    "WeightTransform",
    "get",
]
