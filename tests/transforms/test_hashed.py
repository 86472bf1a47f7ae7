import io
import zipfile

import h5py
import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.core.compressed import treatments
from tfcompress.transforms import Hashed, Mask, Uniform
from tfcompress.transforms.hashed import hash_integers


def random_kernel(shape=(30, 8), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def assignment(transform):
    """Matrix `(weights, buckets)` of the signs, by xxHash32's definition."""
    size = transform._indices.size
    matrix = np.zeros((size, len(transform.buckets.numpy())))
    for i in range(size):
        bucket = xxhash32(i, transform.seed) % matrix.shape[1]
        is_negative = xxhash32(i, transform.seed ^ 0xFFFFFFFF) % 2
        matrix[i, bucket] = -1 if is_negative else 1
    return matrix


def xxhash32(number, seed):
    """The hash of four bytes in Python's unbounded integers."""
    two, three, four, five = 2246822519, 3266489917, 668265263, 374761393
    mask = 2**32 - 1
    h = (seed + five + 4 + number * three) & mask
    h = ((h << 17 | h >> 15) & mask) * four & mask
    h = (h ^ h >> 15) * two & mask
    h = (h ^ h >> 13) * three & mask
    return h ^ h >> 16


def test_hash_is_xxhash32():
    # Values of the reference implementation.
    assert hash_integers(np.array([0], np.uint32), 0)[0] == 0x08D6D969
    numbers = np.random.default_rng(0).integers(0, 2**32, 50, dtype=np.uint32)
    for seed in (0, 7, 2**32 - 1):
        expected = [xxhash32(int(n), seed) for n in numbers]
        np.testing.assert_array_equal(hash_integers(numbers, seed), expected)


def test_hash_spreads_evenly():
    hashed = hash_integers(np.arange(100_000, dtype=np.uint32), 1)
    counts = np.bincount(hashed % 100, minlength=100)
    # Chi-squared of 99 degrees of freedom: mean 99, deviation 14.
    assert np.square(counts - 1000).sum() / 1000 < 99 + 4 * 14


@pytest.mark.parametrize("compression", [1 / 8, 0.5, 1.0])
def test_closed_form(compression):
    kernel = random_kernel()
    transform = Hashed(compression, seed=5)
    treatment = models.dense_treatment(kernel, transform)
    (transform,) = treatment.transforms
    assert transform.buckets.shape == (round(compression * 240),)
    matrix = assignment(transform)
    buckets = transform.buckets.numpy()
    expected = (matrix @ buckets).reshape(kernel.shape)
    np.testing.assert_allclose(treatment(), expected, rtol=1e-6)

    fit = np.linalg.lstsq(matrix, kernel.ravel(), rcond=None)[0]
    scale = np.sqrt(np.square(kernel).mean() / np.square(matrix @ fit).mean())
    np.testing.assert_allclose(buckets, fit * scale, atol=1e-5)

    upstream = random_kernel(seed=1)
    latent, slope = models.gradients(treatment, upstream, transform.buckets)
    assert latent is None
    np.testing.assert_allclose(slope, upstream.ravel() @ matrix, atol=1e-5)


def test_what_was_hashed_is_reproduced_and_seeds_differ():
    once = models.dense_treatment(random_kernel(), Hashed(seed=3)).bake()
    again = models.dense_treatment(once, Hashed(seed=3)).bake()
    np.testing.assert_allclose(again, once, rtol=1e-5)
    assert (
        np.abs(models.dense_treatment(once, Hashed(seed=4)).bake() - once).max() > 0.1
    )


def stored_numbers(path):
    """The number of weights in a `.keras` file, without the optimizer's."""
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    sizes = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and "optimizer" not in name:
            sizes.append(item.size)

    with h5py.File(content) as file:
        file.visititems(visit)
    return sum(sizes)


def hashed_model():
    model = keras.Sequential(
        [
            keras.Input((6, 16)),
            keras.layers.LSTM(8, use_bias=False),
            keras.layers.Dense(32, use_bias=False),
            keras.layers.Dense(5),
        ]
    )
    return tfc.compress(model, {".*": Hashed(1 / 8, seed=2)})


def test_files_hold_the_buckets_only(tmp_path):
    model = models.compile(hashed_model())
    x = models.inputs(model, 16)
    model.fit(x, models.classes(16), verbose=0)
    model.save(tmp_path / "model.keras")
    buckets = (16 * 32 + 8 * 32 + 8 * 32 + 32 * 5) / 8
    assert stored_numbers(tmp_path / "model.keras") == buckets + 5
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert models.difference(model, restored, x) == 0
    histories = [
        m.fit(x, models.classes(16), verbose=0).history["loss"]
        for m in (model, restored)
    ]
    np.testing.assert_allclose(*histories, rtol=1e-5)

    model.save_weights(tmp_path / "m.weights.h5")
    other = hashed_model()
    other.load_weights(tmp_path / "m.weights.h5")
    assert models.difference(model, other, x) == 0


def test_the_latent_weight_has_no_optimizer_state():
    model = models.compile(hashed_model())
    latent = [t.variable for _, t in treatments(model)]
    before = [v.numpy() for v in latent]
    x = models.inputs(model, 16)
    model.fit(x, models.classes(16), verbose=0)
    for variable, value in zip(latent, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    sizes = {tuple(v.shape) for v in model.optimizer.variables}
    assert not sizes & {tuple(v.shape) for v in latent}


def test_stripped_weights_train_again():
    plain = tfc.strip(hashed_model())
    assert len(plain.trainable_variables) == 5
    assert plain.layers[1].kernel.trainable


def test_masks_and_grids_go_behind_it():
    treatment = models.dense_treatment(random_kernel(), Hashed(), Mask(), Uniform(8))
    mask = np.random.default_rng(0).random((30, 8)) < 0.5
    treatment.transforms[1].mask.assign(mask)
    value = treatment.bake()
    assert (value[~mask] == 0).all()
    assert len(np.unique(np.abs(value))) <= 31


@pytest.mark.parametrize("compression", [0, -0.5, 1.5])
def test_compression_out_of_range(compression):
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        Hashed(compression)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=r"from 0 to 4294967295"):
        Hashed(seed=seed)
