"""Quantization keeps the results of pruning and sharing, and so does a list of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress import transforms
from tfcompress.core.nouns import WeightTransform
from tfcompress.transforms import (
    BFloat16,
    Binary,
    Codebook,
    Half,
    LearnedStep,
    Mask,
    PowerOfTwo,
    Ternary,
    TrainedTernary,
    Uniform,
)

QUANTIZERS = [
    BFloat16(),
    Binary(),
    Binary("mean", stochastic=True),
    Half(),
    LearnedStep(4),
    LearnedStep(4, per_channel=True),
    PowerOfTwo(4),
    PowerOfTwo(3, per_channel=True),
    Ternary(),
    Ternary(per_channel=True),
    TrainedTernary(),
    TrainedTernary(per_channel=True),
    Uniform(1),
    Uniform(4, symmetric=False),
    Uniform(4, per_channel=False),
    Uniform(4, block_size=3),
]
EACH = pytest.mark.parametrize("quantizer", QUANTIZERS, ids=repr)


# Mask and Codebook are the earlier steps, Hashed replaces everything, the others learn
# what to remove.
OTHERS = {Mask, Codebook, transforms.Hashed, *models.LEARNED}


def test_every_quantizer_is_here():
    kinds = {type(quantizer) for quantizer in QUANTIZERS}
    assert kinds == set(WeightTransform.registered.values()) - OTHERS


def pruned(size, seed):
    kernel = np.random.default_rng(seed).normal(size=(size, size))
    return kernel * (np.abs(kernel) > 0.7)


@EACH
def test_zeros_and_shared_values_stay_while_training(quantizer):
    lists = {
        "fresh": [quantizer],
        "pruned": [Mask(), quantizer],
        "clustered": [Codebook(6), quantizer],
        "both": [Mask(), Codebook(6, per_channel=True), quantizer],
    }
    layers = [keras.layers.Dense(8, name=name) for name in lists]
    model = keras.Sequential([keras.Input((8,)), *layers])
    for seed, layer in enumerate(layers[1:]):
        layer.kernel.assign(pruned(8, seed))
    # A model that was clustered before and is only quantized now.
    first = {"clustered": Codebook(6), "both": Codebook(6, per_channel=True)}
    before = tfc.strip(tfc.compress(model, first))
    model = tfc.compress(before, lists)
    x = models.inputs(model, 16)
    models.compile(model, run_eagerly=True)
    for _ in range(2):
        model.train_on_batch(x, models.classes(16))
    after = tfc.strip(model)
    for name in lists:
        kernels = [m.get_layer(name).kernel.numpy() for m in (before, after)]
        old, new = kernels
        assert (new != old).any()
        assert new.any()
        if name != "fresh":
            assert (new[old == 0] == 0).all()
        columns = zip(old.T, new.T, strict=True)
        groups = {"clustered": [kernels], "both": columns}.get(name, ())
        for old_part, new_part in groups:
            for value in np.unique(old_part):
                assert len(np.unique(new_part[old_part == value])) == 1


@EACH
def test_a_pruned_shared_weight_has_a_gradient(quantizer):
    treatment = models.dense_treatment(pruned(8, 0), Mask(), Codebook(6), quantizer)
    codebook = treatment.transforms[1].values
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(treatment(training=True) ** 2)
    assert np.abs(tape.gradient(loss, codebook.value)).max() > 0
