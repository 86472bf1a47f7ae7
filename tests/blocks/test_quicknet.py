import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments


def test_residual_by_hand():
    x = keras.Input((1, 1, 2))
    y = tfc.blocks.binary_residual(x, 2, kernel_size=1, name="block")
    model = tfc.compress(keras.Model(x, y), {".*_binary": "binary"})
    model.get_layer("block_binary").inner.kernel.assign([[[[0.3, -0.1], [0.2, 0.5]]]])
    # The signs of the input are 1 and -1: sums of 1 - 1 and of -1 - 1.
    data = np.array([0.5, -3.0], "float32")
    found = model(data[None, None, None]).numpy().ravel()
    norm = np.sqrt(1 + model.get_layer("block_norm").epsilon)
    np.testing.assert_allclose(found, [0.5, -3.0 - 2 / norm], rtol=1e-6)


@pytest.fixture(scope="module")
def network():
    """A small QuickNet after two steps."""
    keras.utils.set_random_seed(0)
    model = tfc.blocks.quicknet((32, 32, 3), 5, filters=(8, 16), blocks=(1, 1))
    model = tfc.compress(model, {".*_binary": "binary"})
    x = models.inputs(model, 8)
    model.compile(
        keras.optimizers.SGD(1e3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    model.fit(x, models.classes(8), batch_size=4, verbose=0)
    return model, x


def test_trains_clipped_and_stays_binary(network):
    model, _ = network
    for treatment in [t for _, t in treatments(model)]:
        latent = treatment.variable.numpy()
        # The learning rate is far too high, so that clipping shows.
        assert np.abs(latent).max() == 1
        assert set(np.unique(treatment.bake())) <= {-1, 1}


def test_saves_strips_and_exports(network, tmp_path):
    model, x = network
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert models.difference(model, loaded, x) == 0
    plain = tfc.strip(model)
    assert models.difference(model, plain, x) <= 1e-6
    tfc.export_tflite(model, tmp_path / "model.tflite", samples=x)
    with tfc.Interpreter(tmp_path / "model.tflite") as interpreter:
        found = interpreter.run(x)
    np.testing.assert_allclose(found, plain(x), atol=1e-4 * np.abs(found).max())


def test_only_the_blocks_are_binary(network):
    report = tfc.report(network[0])
    binary = [w.name for w in report.weights if w.binary_macs]
    assert binary == [
        "section1_block1_binary/kernel",
        "section2_block1_binary/kernel",
    ]
    assert report.binary_macs == 8 * 8 * 9 * 8 * 8 + 4 * 4 * 9 * 16 * 16


def test_blur_between_sections(network):
    model, _ = network
    blur = keras.Model(
        model.get_layer("section2_transition_pool").output,
        model.get_layer("section2_transition_blur").output,
    )
    impulse = np.zeros((1, 8, 8, 8), "float32")
    impulse[:, 2, 3] = 16
    found = blur(impulse).numpy()[0, :, :, 0]
    # Weights 1, 2, 1 centred on odd positions: row 2 is the edge of two outputs.
    expected = np.zeros((4, 4))
    expected[:2, 1] = 2
    np.testing.assert_array_equal(found, expected)
    # Beyond the last row and column there are zeros, as in the paper.
    even = blur(np.ones((1, 8, 8, 8), "float32")).numpy()[0, :, :, 0]
    np.testing.assert_array_equal(even[2:, 2], [1, 0.75])
    assert even[3, 3] == 0.75**2


def test_rules_may_name_the_blur():
    model = tfc.blocks.quicknet((16, 16, 3), 5, filters=(4, 4), blocks=(1, 1))
    names = [path for path, _ in treatments(tfc.compress(model, {".*_blur": "mask"}))]
    assert names == ["section2_transition_blur/kernel"]


def test_published_parameters():
    model = tfc.blocks.quicknet()
    trained = sum(np.prod(v.shape) for v in model.trainable_variables)
    # The figure in the documentation of larq-zoo counts nine blur weights per channel.
    blurs = 9 * (64 + 128 + 256)
    assert trained == 13_234_088 - blurs
    fixed = [v for v in model.non_trainable_variables if "blur" in v.path]
    assert sum(np.prod(v.shape) for v in fixed) == blurs


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"filters": (30,), "blocks": (1,)}, "a multiple of 4"),
        ({"filters": (32, 64), "blocks": (1,)}, "one number of each"),
        ({"filters": (), "blocks": ()}, r"got \(\), expected"),
        ({"filters": (32,), "blocks": (0,)}, r"\(blocks\)\[0\]: got 0"),
        ({"num_classes": 0}, r"\(num_classes\): got 0"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        tfc.blocks.quicknet((32, 32, 3), **arguments)
