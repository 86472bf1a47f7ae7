"""Language models as one file with signatures for prompts and for single tokens."""

import dataclasses
import pathlib
import tempfile

import keras
import numpy as np

from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import (
    BuiltModel,
    Each,
    FilePath,
    Flag,
    Integer,
    OneOf,
    checked,
)
from tfcompress.export.convert import export_tflite
from tfcompress.export.precisions import PRECISIONS, precision_of
from tfcompress.export.verify import ExportResult, compared
from tfcompress.runtime.interpreter import Interpreter
from tfcompress.tflite.merge import merge
from tfcompress.tflite.read import read, write
from tfcompress.tflite.slim import slim

_METHOD = "call_with_cache"
_FLOATS = [name for name in PRECISIONS if not precision_of(name).is_integer]
# Tokens that are decoded one by one when a file is checked.
_NUM_CHECKED = 4


@checked
def export_generation(
    model: BuiltModel(),
    path: FilePath("the .tflite file to write"),
    cache_length: Integer(2),
    prefill_lengths: Each(Integer(1), "numbers of tokens", least=1) = (64,),
    precision: OneOf(*_FLOATS) = "dynamic",
    cache_shape: Each(Integer(1), "four numbers") = None,
    verify: Flag() = True,
) -> ExportResult:
    """Writes a language model that decodes with a cache of keys and values.

    The file has the signatures that LiteRT's pipeline for language models runs: for each
    length T, `prefill_T` reads T tokens of a prompt, and `decode` reads one token and
    returns the logits of the next. All sizes are fixed.

    | name | shape | in |
    | --- | --- | --- |
    | `tokens` | `(1, T)`, int32 | inputs |
    | `input_pos` | `(T,)`, int32: their positions, consecutive | inputs |
    | `kv_cache_k_0`, `kv_cache_v_0`, ... | `(1, cache_length, heads, head size)` | both |
    | `logits` | `(1, 1, vocabulary)` | outputs of `decode` |

    The cache starts with zeros; what a call returns is passed to the next one. The last
    token of a prompt goes to `decode`. Weights are stored once for all signatures.

    Args:
        model: a language model with KerasHub's `call_with_cache(tokens, cache, position)`,
            which returns `(logits, hidden states, cache)` for a cache of the shape `(1,
            layers, 2, cache_length, heads, head size)`: keys at 0 of the third axis and
            values at 1.
        path: path of the file.
        cache_length: the largest number of tokens of a prompt and its answer together.
        prefill_lengths: numbers of tokens that prompts are cut into.
        precision: `"float32"`, `"float16"`, `"dynamic"` or `"dynamic_int4"`, as in
            `tfc.export_tflite`.
        cache_shape: `(layers, 2, heads, head size)`; None to find it from the attributes
            of a KerasHub backbone.
        verify: whether to compare the file with the model: the logits of several tokens
            after a prompt of each length.

    Returns:
        An `ExportResult`.

    Raises:
        TypeError: if the model has no `call_with_cache`.
        ValueError: if prompts do not fit into the cache, or its shape is unknown.
        VerificationError: if the logits differ by more than the precision explains; no
            file is written.

    Source: the signatures are those of Google's "LiteRT Torch Generative API".

    Example:
        >>> class Language(keras.Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embed = keras.layers.Embedding(9, 4)
        ...         self.head = keras.layers.Dense(9)
        ...     def call_with_cache(self, tokens, cache, position):
        ...         x = self.embed(tokens)  # Attention would update the cache.
        ...         return self.head(x), x, cache
        ...     def call(self, tokens):
        ...         return self.head(self.embed(tokens))
        >>> model = Language()
        >>> _ = model(np.zeros((1, 3), "int32"))
        >>> result = tfc.export.export_generation(model, tmp_path / "m.tflite",
        ...     cache_length=16, prefill_lengths=(4,), cache_shape=(1, 2, 1, 4))
        >>> interpreter = tfc.Interpreter(result.path, signature="decode")
        >>> interpreter.output_details["logits"]["shape"].tolist()
        [1, 1, 9]
    """
    path = check_writable(path)
    _check(model, cache_length, prefill_lengths)
    cache_shape = _cache_shape(model, cache_shape)
    prompts = sorted({*prefill_lengths})
    steps = {
        f"prefill_{n}": _step(model, n, cache_length, cache_shape, has_logits=False)
        for n in prompts
    }
    steps["decode"] = _step(model, 1, cache_length, cache_shape, has_logits=True)
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, step in steps.items():
            file = pathlib.Path(folder, f"{name}.tflite")
            result = export_tflite(step, file, precision, verify=False)
            files[name] = read(file.read_bytes())
    file = merge(files)
    slim(file)
    content = write(file)
    result = dataclasses.replace(result, path=path, size_bytes=len(content))
    if verify:
        result = _verified(result, model, content, prompts, cache_length, cache_shape)
    write_atomically(path, content)
    return result


def _check(model, cache_length, prefill_lengths):
    if not callable(getattr(model, _METHOD, None)):
        raise TypeError(
            f"Model {model.name!r} ({type(model).__name__}) has no {_METHOD}(tokens, "
            "cache, position): expected a language model such as KerasHub's CausalLM, or "
            "one with this method. Write other models with tfc.export_tflite."
        )
    for length in prefill_lengths:
        if length >= cache_length:
            raise ValueError(
                f"prefill_lengths has {length}, and the cache holds {cache_length} "
                "tokens: expected room for at least one more. Increase cache_length."
            )


def _cache_shape(model, given):
    """`(layers, 2, heads, head size)`."""
    shape = _of_backbone(model) if given is None else tuple(given)
    if shape is None:
        raise ValueError(
            f"The shape of the cache of {model.name!r} is unknown: pass cache_shape="
            "(layers, 2, heads, head size)."
        )
    if len(shape) != 4 or shape[1] != 2:
        raise ValueError(
            f"cache_shape={shape}: expected (layers, 2, heads, head size), in which 2 "
            "stands for keys and values."
        )
    return shape


def _of_backbone(model):
    """The shape by the attributes of KerasHub's backbones, None without them."""

    def first(*names):
        found = (
            getattr(getattr(model, "backbone", None), name, None) for name in names
        )
        return next((value for value in found if value is not None), None)

    layers, heads = first("num_layers"), first("num_key_value_heads", "num_heads")
    width, queries = first("hidden_dim"), first("num_query_heads", "num_heads")
    size = first("head_dim") or (width and queries and width // queries)
    return (layers, 2, heads, size) if layers and heads and size else None


class _Step(keras.layers.Layer):
    """One call of a language model, with the cache in separate tensors for each layer."""

    def __init__(self, model, has_logits):
        super().__init__(name="step")
        self.model, self.has_logits = model, has_logits

    def call(self, tokens, position, caches):
        ops = keras.ops
        pairs = [
            ops.stack(pair, axis=1)
            for pair in zip(caches[::2], caches[1::2], strict=True)
        ]
        logits, _, cache = self.model.call_with_cache(
            tokens, ops.stack(pairs, axis=1), position[0]
        )
        caches = [
            cache[:, number, kind] for number in range(len(pairs)) for kind in range(2)
        ]
        return [logits, *caches] if self.has_logits else caches


def _cache_names(layers):
    return [f"kv_cache_{kind}_{number}" for number in range(layers) for kind in "kv"]


def _step(model, length, cache_length, cache_shape, has_logits):
    """A functional model of one signature."""
    layers, _, *heads = cache_shape
    tokens = keras.Input(batch_shape=(1, length), dtype="int32", name="tokens")
    position = keras.Input(batch_shape=(length,), dtype="int32", name="input_pos")
    caches = {
        name: keras.Input(batch_shape=(1, cache_length, *heads), name=name)
        for name in _cache_names(layers)
    }
    made = _Step(model, has_logits)(tokens, position, list(caches.values()))
    inputs = {"tokens": tokens, "input_pos": position, **caches}
    names = ["logits"] * has_logits + list(caches)
    return keras.Model(inputs, dict(zip(names, made, strict=True)))


def _verified(result, model, content, prompts, cache_length, cache_shape):
    """The result with the errors of the logits after prompts of all lengths."""
    layers, _, *heads = cache_shape
    shape = 1, layers, 2, cache_length, *heads
    expected, actual = [], []
    for length in prompts:
        count = min(length + _NUM_CHECKED, cache_length)
        tokens = _tokens(model, shape, count)
        expected += _of_model(model, tokens, length, shape)
        actual += _of_file(content, tokens, length, shape)
    logits = {"logits": np.concatenate(expected)}, {"logits": np.concatenate(actual)}
    return compared(result, *logits)


def _tokens(model, shape, count):
    """Tokens at random, `(1, count)`."""
    cache = np.zeros(shape, np.float32)
    logits, _, _ = model.call_with_cache(np.zeros((1, 1), np.int32), cache, 0)
    generator = np.random.default_rng(0)
    return generator.integers(0, logits.shape[-1], (1, count), dtype=np.int32)


def _of_model(model, tokens, length, shape):
    """The logits after each token that follows the first `length`."""
    logits, _, _ = model.call_with_cache(tokens, np.zeros(shape, np.float32), 0)
    return list(keras.ops.convert_to_numpy(logits)[:, length:])


def _of_file(content, tokens, length, shape):
    _, layers, _, *sizes = shape
    caches = dict.fromkeys(_cache_names(layers), np.zeros((1, *sizes), np.float32))
    with Interpreter(content, signature=f"prefill_{length}") as prefill:
        caches = prefill.run(
            {
                "tokens": tokens[:, :length],
                "input_pos": np.arange(length, dtype=np.int32),
                **caches,
            }
        )
    found = []
    with Interpreter(content, signature="decode") as decode:
        for place in range(length, tokens.shape[1]):
            position = np.array([place], np.int32)
            one = {"tokens": tokens[:, place : place + 1], "input_pos": position}
            caches = decode.run({**one, **caches})
            found.append(caches.pop("logits")[0])
    return found
