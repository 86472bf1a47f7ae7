"""Cases of `tests/native/test_binary_ops.py` in a form that needs no TensorFlow."""

import ctypes
import functools

import numpy as np
import pytest

TESTS = "tests/native/test_binary_ops.py"


class Recorder:
    """A pytest plugin that keeps each case that the tests run with the reference."""

    def __init__(self):
        self.cases = []

    def pytest_collection_modifyitems(self, items):
        module = items[0].module
        module.run = functools.partial(self._run, module.run, module.REFERENCE)

    def _run(self, run, reference, name, params, isa, x, output, pool=None):
        y = run(name, params, isa, x, output, pool)
        if isa == reference:
            arrays = {
                getattr(type(params), field).offset: _array(params, field)
                for field in ("filter", "multiplier", "bias", "threshold")
                if getattr(params, field)
            }
            case = {"name": name, "params": bytes(params), "arrays": arrays}
            self.cases.append(case | {"x": np.array(x), "y": y})
        return y


def record():
    """`{name, params, arrays: {offset of its pointer: array}, x, y}` of each case.

    Raises:
        RuntimeError: if a test fails.
    """
    recorder = Recorder()
    if pytest.main(["-q", "--no-header", TESTS], plugins=[recorder]):
        raise RuntimeError(f"{TESTS} fails on this machine; repair that first.")
    return recorder.cases


def _array(params, field):
    """A copy of the weights that a pointer in the parameters leads to."""
    size = params.num_outputs
    if field == "filter":
        places = ("kernel_height", "kernel_width", "groups")
        size *= params.planes * -(-params.channels // 32)
        size *= int(np.prod([getattr(params, place, 1) for place in places]))
    content = ctypes.string_at(getattr(params, field), 4 * size)
    return np.frombuffer(content, "i4").copy()
