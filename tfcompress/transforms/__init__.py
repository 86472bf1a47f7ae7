"""Functions from a weight to a weight of the same shape."""

from tfcompress.core.nouns import WeightTransform
from tfcompress.core.plugin import Registry
from tfcompress.transforms.codebook import Codebook
from tfcompress.transforms.mask import Mask
from tfcompress.transforms.uniform import Uniform

get = Registry(WeightTransform, Codebook, Mask, Uniform)

__all__ = ["Codebook", "Mask", "Uniform", "WeightTransform", "get"]
