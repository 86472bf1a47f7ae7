"""Half the channels of whole networks, from Keras to a file that runs."""

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import zoo


def mobile_net():
    return keras.applications.MobileNetV2(
        (64, 64, 3), 0.5, weights=None, classes=5, classifier_activation=None
    )


@pytest.mark.parametrize("build", [zoo.small_vit, zoo.lstm, zoo.unet, mobile_net])
def test_half_the_channels(build, tmp_path):
    model = build()
    groups = tfc.channel_groups(model)
    assert not groups.unfollowed
    assert groups.seconds < 5
    x = samples(model)
    # Untrained statistics would let the signal die out.
    small = tfc.prune_channels(model, ratio=0.5, data=[x])
    assert small.count_params() < 0.5 * model.count_params()
    same = tfc.prune_channels(model, ratio=0)
    np.testing.assert_array_equal(same(x), model(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Tracing a graph takes longer than the step.
    small.compile("sgd", loss, run_eagerly=True)
    targets = np.zeros((len(x), *model.output_shape[1:-1]))
    assert np.isfinite(small.train_on_batch(x, targets))
    small.save(tmp_path / "small.keras")
    restored = keras.models.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(restored(x), small(x))
    # Rounding grows from layer to layer where none is trained, in 50 of them too far.
    result = tfc.export_tflite(
        small,
        tmp_path / "small.tflite",
        "int8",
        samples=x,
        verify=build is not mobile_net,
    )
    with tfc.Interpreter(tmp_path / "small.tflite") as interpreter:
        assert np.isfinite(interpreter.run(x[:1])).all()
    assert result.size_bytes < 2 * small.count_params() + 300_000


def samples(model):
    generator = np.random.default_rng(0)
    tensor, shape = model.inputs[0], (16, *model.input_shape[1:])
    if keras.backend.is_float_dtype(tensor.dtype):
        return generator.uniform(-1, 1, shape).astype("float32")
    return generator.integers(0, model.layers[1].input_dim, shape).astype("int32")
