import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models

L = keras.layers
ALL = [
    "float32", "converter", "ranges", "equalization", "bias_correction", "gptq",
    "ada_round",
]  # fmt: skip


def network():
    model = keras.Sequential([keras.Input((8,)), L.Dense(8), L.ReLU(), L.Dense(5)])
    return model, models.inputs(model, 64)


def test_it_ends_at_the_first_rung_that_is_good_enough(tmp_path, capsys):
    model, x = network()
    path = tmp_path / "m.tflite"
    labels = model(x).numpy().argmax(axis=1)
    ladder = tfc.quantize_ladder(model, path, x, (x, labels), max_drop=0.1)
    assert [rung.name for rung in ladder.rungs] == ALL[:2]
    assert ladder.met
    assert ladder["float32"].score == 1.0
    assert ladder.best is ladder["converter"]
    assert ladder.best.size_bytes == path.stat().st_size
    assert "converter: " in capsys.readouterr().out
    assert "met" in str(ladder)


def test_if_nothing_is_good_enough_the_best_is_kept(tmp_path):
    model, x = network()
    scores = dict(zip(ALL, [0.9, 0.5, 0.6, 0.4, 0.8, 0.7, 0.3], strict=True))
    given, files = iter(scores.values()), []

    def evaluate(path):
        files.append(path.read_bytes())
        return next(given)

    path = tmp_path / "m.tflite"
    ladder = tfc.quantize_ladder(
        model, path, x, evaluate, max_drop=0.05, precision="int4", verbose=0
    )
    assert {rung.name: rung.score for rung in ladder.rungs} == scores
    assert ladder["gptq"].drop == pytest.approx(0.2)
    assert not ladder.met
    assert ladder.best.name == "bias_correction"
    assert path.read_bytes() == files[4]
    assert "not met" in str(ladder)
    with tfc.Interpreter(path) as interpreter:
        np.testing.assert_allclose(interpreter.run(x), ladder.model(x), atol=0.05)


def test_bad_arguments(tmp_path):
    model, x = network()
    for arguments, message in (
        ({"precision": "float16"}, "expected 'int8' or 'int4'"),
        ({"max_drop": -1}, "at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            tfc.quantize_ladder(model, tmp_path / "m.tflite", x, len, **arguments)
