"""How fast LiteRT's dense and sparse kernels for dense layers are on a processor."""

import dataclasses
import functools
import json
import math
import pathlib
import time

import numpy as np

from tfcompress.core.files import write_atomically
from tfcompress.core.kinds import FilePath, checked
from tfcompress.runtime.host import here, measured_once
from tfcompress.runtime.interpreter import loaded
from tfcompress.tflite.sparsity import BLOCKS, one_layer

# Square layers: from ones that fit into any cache to ones that fit into few.
_SIDES = (128, 256, 512, 1024, 2048)
# The side of the layers with zeros, and the fractions of blocks that they keep.
_SPARSE_SIDE, _KEPT = 512, (0.01, 0.1)
# The best of several short measurements that are spread over time, since other work on
# the machine comes and goes.
_ROUNDS, _SECONDS, _RUNS = 7, 0.002, 3
# A sparse layer has to be this much faster to be worth it.
_LEAST_GAIN = 0.9


@dataclasses.dataclass(frozen=True)
class SparseCosts:
    """Nanoseconds that a dense layer takes in LiteRT, with and without its zeros.

        dense(n) = n d(n),    sparse = c_b blocks + o outputs

    for `n` weights, one row of inputs and one thread. More threads speed up only dense
    kernels. `export_tflite(sparse="auto")` uses those of this machine, which `of_host`
    measures once; for another machine, measure them there, `save` them, and pass
    `sparse=SparseCosts.load(path)`.

    Attributes:
        processor: name of the processor.
        dense: `{number of weights n: nanoseconds per weight d(n)}`; in between, linear in
            `log n`. Weights that do not fit into a cache take longer.
        blocks: `{weights of a block: nanoseconds per stored block c_b}`.
        output: nanoseconds per output, o.

    Example:
        >>> costs = tfc.runtime.SparseCosts(
        ...     "some processor", {2**16: 0.05, 2**20: 0.1}, {4: 1.0, 1: 1.0}, 2.0)
        >>> costs.pays_off(outputs=256, inputs=256, block=4, stored=1638)  # 90 % zeros.
        True
        >>> costs.pays_off(outputs=256, inputs=256, block=4, stored=3277)  # 80 % zeros.
        False
    """

    processor: str
    dense: dict
    blocks: dict
    output: float

    def pays_off(self, outputs, inputs, block, stored):
        """Whether a layer takes at most 0.9 of the time if it is stored sparse.

        Args:
            outputs: number of outputs.
            inputs: number of inputs.
            block: weights of a block, 4 or 1.
            stored: number of stored blocks.
        """
        weights = outputs * inputs
        sizes = sorted(self.dense)
        each = np.interp(
            math.log2(weights), np.log2(sizes), [self.dense[size] for size in sizes]
        )
        sparse = self.blocks[block] * stored + self.output * outputs
        return bool(sparse <= _LEAST_GAIN * each * weights)

    @classmethod
    @functools.cache
    def of_host(cls):
        """Those of this machine, from the user's cache folder or measured, in a second.

        If that folder cannot be written, each process measures anew.
        """
        return measured_once(
            "sparse", lambda: dataclasses.asdict(cls.measured()), cls._read
        )

    @classmethod
    def measured(cls):
        """Those of this machine, measured now. Nothing else should run meanwhile."""
        generator = np.random.default_rng(0)
        dense = {
            side * side: _nanoseconds(generator.normal(size=(side, side))) / side**2
            for side in _SIDES
        }
        blocks, outputs = {}, []
        for block in BLOCKS:
            few, many = (_sparse_time(generator, block, kept) for kept in _KEPT)
            count = _SPARSE_SIDE**2 / block
            blocks[block] = (many - few) / (count * (_KEPT[1] - _KEPT[0]))
            outputs.append(few - blocks[block] * count * _KEPT[0])
        output = max(min(outputs), 0.0) / _SPARSE_SIDE
        return cls(here()["processor"], dense, blocks, output)

    @checked
    def save(self, path: FilePath("the table to write")):
        """Writes them as JSON."""
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    @checked
    def load(cls, path: FilePath("a table")):
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not such a table.
        """
        text = pathlib.Path(path).read_text()
        try:
            return cls._read(json.loads(text))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(path)!r} is not a table of costs: expected the JSON that "
                "SparseCosts.save writes. Delete it to measure again."
            ) from error

    @classmethod
    def _read(cls, found):
        """The costs in what JSON holds of them, with keys as text."""
        dense, blocks = (
            {int(key): float(value) for key, value in dict(found[name]).items()}
            for name in ("dense", "blocks")
        )
        if not dense or set(blocks) != set(BLOCKS):
            raise ValueError(
                "Expected costs of dense layers, and of blocks of 4 and 1."
            )
        return cls(str(found["processor"]), dense, blocks, float(found["output"]))


def _sparse_time(generator, block, kept):
    shape = _SPARSE_SIDE, _SPARSE_SIDE // block
    stays = generator.random(shape) < kept
    kernel = generator.normal(size=(_SPARSE_SIDE, _SPARSE_SIDE))
    return _nanoseconds(kernel * np.repeat(stays, block, axis=1), block)


def _nanoseconds(kernel, block=None):
    """How long one row of inputs takes."""
    content = one_layer(kernel.astype(np.float32), block)
    return fastest_ns(loaded(content, 1, "A layer to measure"))


def fastest_ns(interpreter):
    """Nanoseconds of a loaded file with one input, at best."""
    (detail,) = interpreter.get_input_details()
    interpreter.set_tensor(detail["index"], np.ones(detail["shape"], detail["dtype"]))
    return min(_once(interpreter.invoke) for _ in range(_ROUNDS))


def _once(run):
    count, start = 0, time.perf_counter_ns()
    while count < _RUNS or time.perf_counter_ns() < start + 1e9 * _SECONDS:
        run()
        count += 1
    return (time.perf_counter_ns() - start) / count
