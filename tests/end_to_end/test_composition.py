"""Any two transforms trained in one fit do as well as one after the other.

A network for each pair, all side by side in one model, so that a few trainings tell.
"""

import itertools

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.callbacks import Pruning, Staging
from tfcompress.core.compressed import treatments
from tfcompress.core.nouns import WeightTransform

L = keras.layers
EPOCHS, BATCH_SIZE, RATE = 24, 256, 0.5
# In the order in which one puts them in a list: what replaces weights, what removes some,
# what shares values, what rounds, the coarsest last.
FIRST = ("hashed", "mask", "codebook")
# What is learned has trainings of its own kinds.
NAMES = sorted(
    (n for n, cls in WeightTransform.registered.items() if cls not in models.LEARNED),
    key=lambda name: (
        (*FIRST, name).index(name),
        WeightTransform.get(name).waits,
        name,
    ),
)
PAIRS = list(map(list, itertools.combinations(NAMES, 2)))


@pytest.fixture(scope="module")
def digits():
    parts = tfc.datasets.load("digits")
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return x.reshape(len(x), -1), y


def copies(layers):
    """Dense layers with the weights of others, side by side: `(batch, count, 10)`."""
    x = keras.Input((64,))
    made = [L.Dense(10, name=f"n{number}") for number in range(len(layers))]
    model = keras.Model(x, keras.ops.stack([layer(x) for layer in made], axis=1))
    for layer, source in zip(made, layers, strict=True):
        layer.set_weights(source.get_weights())
    return model


def layers(model):
    """The layers side by side in a plain model."""
    return [layer for layer in model.layers if isinstance(layer, L.Dense)]


def fit(model, digits, epochs, callbacks=(), num_cycles=1):
    """The rate falls to zero once in each cycle."""
    x, y = digits
    count = model.output.shape[1]
    steps = epochs * -(-len(x) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecayRestarts(
        RATE, steps // num_cycles, t_mul=1.0
    )
    crossentropy = keras.losses.sparse_categorical_crossentropy
    # The sum: each layer learns as if it were alone.
    model.compile(
        keras.optimizers.SGD(rate),
        lambda y, p: count * crossentropy(y, p, from_logits=True),
    )
    targets = np.repeat(y[:, None], count, axis=1)
    model.fit(x, targets, BATCH_SIZE, epochs, verbose=0, callbacks=list(callbacks))
    model.compiled = False


def percent_wrong(model, digits):
    x, y = digits
    outputs = model(x).numpy()
    return 100 * np.mean(outputs.argmax(axis=2) != y[:, None], axis=0)


def compressed(model, lists):
    return tfc.compress(model, {f"n{i}": chosen for i, chosen in enumerate(lists)})


def pruning(lists, begin_step, end_step):
    """Brings masks to 80 %; `lists` has None for those to be left alone."""
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.8, begin_step=begin_step, end_step=end_step
    )
    return Pruning({f"n{i}": schedule for i, chosen in enumerate(lists) if chosen})


@pytest.fixture(scope="module")
def errors(digits):
    """Errors in percent, in one fit and in phases."""
    keras.utils.set_random_seed(0)
    new = L.Dense(10)
    new.build((None, 64))
    dense = copies([new])
    # Long epochs: to begin one takes longer than its steps.
    fit(dense, [np.concatenate([part] * 25) for part in digits], 8)
    (source,) = layers(dense)
    steps = EPOCHS * -(-len(digits[0]) // BATCH_SIZE)
    half, third = steps // 2, steps // 3
    begins = [pair if pair[0] == "mask" else None for pair in PAIRS]
    ends = [pair if pair[1] == "mask" else None for pair in PAIRS]

    whole = compressed(copies([source] * len(PAIRS)), PAIRS)
    fit(
        whole,
        digits,
        EPOCHS,
        [
            Staging(half),
            pruning(begins, 0, third),
            pruning(ends, half, half + third),
        ],
        num_cycles=2,
    )
    assert not any(treatment.is_waiting for _, treatment in treatments(whole))

    # The first phase is the same for all pairs that begin alike.
    first = compressed(copies([source] * len(NAMES)), [[name] for name in NAMES])
    masks = [name if name == "mask" else None for name in NAMES]
    fit(first, digits, EPOCHS // 2, [pruning(masks, 0, third)])
    after = dict(zip(NAMES, layers(tfc.strip(first)), strict=True))
    phased = compressed(copies([after[pair[0]] for pair in PAIRS]), PAIRS)
    fit(phased, digits, EPOCHS // 2, [pruning(ends, 0, third)])
    return percent_wrong(whole, digits), percent_wrong(phased, digits)


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=["+".join(p) for p in PAIRS])
def test_a_pair_in_one_fit_is_no_worse_than_in_phases(errors, number):
    whole, phased = (of_kind[number] for of_kind in errors)
    print(f"{'+'.join(PAIRS[number])}: {whole:.2f} {phased:.2f}")
    assert whole <= phased + 1.0
