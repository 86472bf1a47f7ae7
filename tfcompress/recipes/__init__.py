"""Recipes, and published pipelines as single calls."""

from tfcompress.recipes.deep_compression import DeepCompression, deep_compression
from tfcompress.recipes.recipe import Recipe, RecipeResult
from tfcompress.recipes.storage import storage

__all__ = [
    "DeepCompression",
    "Recipe",
    "RecipeResult",
    "deep_compression",
    "storage",
]
