import json

import numpy as np
import pytest

from tfcompress.runtime import Interpreter, SparseCosts
from tfcompress.tflite.sparsity import one_layer

COSTS = SparseCosts("x", {2**8: 0.5, 2**10: 1.5}, {4: 2.0, 1: 1.0}, output=4.0)


@pytest.mark.parametrize(
    ("outputs", "inputs", "stored", "expected"),
    [
        # Dense: 16 x 32 weights of 1.0 ns, halfway between 0.5 and 1.5: 512 ns.
        (16, 32, 198, True),  # 2 x 198 + 4 x 16 = 460 ns <= 0.9 x 512 = 460.8 ns
        (16, 32, 199, False),
        # Beyond the table, its last value: 2048 x 1.5 = 3072 ns.
        (16, 128, 1350, True),  # 2764 <= 2764.8
        (16, 128, 1351, False),
        # Below it, its first: 64 x 0.5 = 32 ns; outputs alone take 32.
        (8, 8, 0, False),
    ],
)
def test_what_pays_off(outputs, inputs, stored, expected):
    assert COSTS.pays_off(outputs, inputs, 4, stored) == expected


def test_measured_costs_are_plausible_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    SparseCosts.of_host.__func__.cache_clear()
    costs = SparseCosts.of_host()
    (path,) = (tmp_path / "tfcompress").iterdir()
    assert path.name.startswith("sparse_")
    assert SparseCosts.load(path) == costs
    assert all(
        0 < each < 100 for each in (*costs.dense.values(), *costs.blocks.values())
    )
    assert costs.output >= 0
    SparseCosts.of_host.__func__.cache_clear()
    assert SparseCosts.of_host() == costs
    SparseCosts.of_host.__func__.cache_clear()


@pytest.mark.parametrize("content", ["", "[]", '{"dense": {}}'])
def test_what_is_no_table(content, tmp_path):
    path = tmp_path / "costs.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is not a table of costs: expected"):
        SparseCosts.load(path)
    COSTS.save(path)
    assert SparseCosts.load(path) == COSTS
    path.write_text(json.dumps({**json.loads(path.read_text()), "blocks": {"4": 1}}))
    with pytest.raises(ValueError, match="is not a table of costs"):
        SparseCosts.load(path)


@pytest.mark.parametrize("block", [None, 4, 1])
def test_the_layers_that_are_measured_compute_what_they_should(block):
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(6, 8)) * np.repeat([[1, 0], [0, 1]] * 3, 4, axis=1)
    x = generator.normal(size=(1, 8)).astype("float32")
    with Interpreter(one_layer(kernel.astype("float32"), block)) as interpreter:
        np.testing.assert_allclose(interpreter.run(x), x @ kernel.T, atol=1e-6)
