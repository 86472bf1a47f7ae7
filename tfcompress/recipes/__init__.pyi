# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras


from tfcompress.recipes.storage import Storage
import tfcompress
import tfcompress.recipes
import tfcompress.scopes

def deep_compression(model: keras.Model, data: Any, path: str | os.PathLike[str] | None = None, *, sparsity: float | Mapping[Any, float] = 0.9, scope: tfcompress.scopes.Scope | type[tfcompress.scopes.Scope] | str | Mapping[str, Any] = 'global', num_clusters: int | Mapping[Any, int] | None = None, epochs: Sequence[int] = ..., learning_rate: Sequence[float] = ..., optimizer: Any = 'adam', batch_size: int = 128, loss: Any = None, teacher: Any = None, temperature: float | keras.src.optimizers.schedules.learning_rate_schedule.LearningRateSchedule = 4.0, validation_data: Any = None, precision: Literal['float32', 'float16', 'dynamic', 'dynamic_int4', 'int8', 'int16x8', 'int4'] = 'float32', codec: Literal['auto', 'lut', 'huffman', 'prune', 'rans', None] = 'auto', verbose: Literal[0, 1, 2, 'auto'] = 0) -> tfcompress.recipes.DeepCompression: ...
from tfcompress.recipes.deep_compression import DeepCompression as DeepCompression
from tfcompress import Recipe as Recipe
from tfcompress.recipes.recipe import RecipeResult as RecipeResult
def storage(model: keras.Model, convolution_index_bits: int = 8, dense_index_bits: int = 5) -> Storage: ...
