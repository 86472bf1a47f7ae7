"""Quantizing keeps what pruning and sharing made, and a list keeps all of it."""

import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress import transforms
from tfcompress.core.compressed import treatments
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


def test_every_quantizer_is_here():
    # Mask and Codebook are what was there; Hashed replaces whatever it finds.
    kinds = {type(quantizer) for quantizer in QUANTIZERS}
    assert kinds == set(transforms.get) - {Mask, Codebook, transforms.Hashed}


def trained(model):
    x = models.inputs(model, 16)
    models.compile(model).fit(x, models.classes(16), epochs=2, verbose=0)
    return tfc.strip(model)


def pruned():
    model = models.sequential()
    for name in ("conv", "head"):
        kernel = model.get_layer(name).kernel
        kernel.assign(kernel * (np.abs(kernel) > np.median(np.abs(kernel))))
    return model


@EACH
def test_zeros_of_a_pruned_model_stay_while_training(quantizer):
    model = pruned()
    plain = trained(tfc.compress(model, {"conv|head": [Mask(), quantizer]}))
    for name in ("conv", "head"):
        was_zero = model.get_layer(name).kernel.numpy() == 0
        value = plain.get_layer(name).kernel.numpy()
        assert (value[was_zero] == 0).all()
        assert value.any()


@EACH
def test_shared_values_of_a_clustered_model_stay_shared(quantizer):
    rule = {"conv|head": [Codebook(6), quantizer]}
    model = tfc.compress(tfc.strip(tfc.compress(pruned(), rule)), rule)
    codes = {
        name: treatment.transforms[0].assignments.numpy()
        for name, treatment in treatments(model)
    }
    plain = trained(model)
    for name, code in codes.items():
        value = plain.get_layer(name.split("/")[0]).kernel.numpy()
        for k in np.unique(code):
            assert len(np.unique(value[code == k])) == 1


@EACH
def test_a_pruned_shared_weight_has_a_gradient(quantizer):
    _, treatment = treatments(
        tfc.compress(pruned(), {"conv": [Mask(), Codebook(6), quantizer]})
    )[0]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(treatment(training=True) ** 2)
    codebook = treatment.transforms[1].values
    assert np.abs(tape.gradient(loss, codebook.value)).max() > 0
