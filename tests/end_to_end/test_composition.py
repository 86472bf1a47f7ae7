"""Any two transforms trained in one fit do as well as one after the other.

A network for each pair, all side by side in one model, so that a few trainings tell.
"""

import itertools

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.callbacks import Pruning, Staging
from tfcompress.core.compressed import treatments
from tfcompress.core.nouns import WeightTransform

L = keras.layers
EPOCHS, BATCH_SIZE = 16, 128
# What comes first in a list of two: what replaces weights, what removes some, what
# shares values; the others round.
ORDER = ("hashed", "mask", "codebook")
PAIRS = [
    sorted(pair, key=lambda name: (*ORDER, name).index(name))
    for pair in itertools.combinations(sorted(WeightTransform.registered), 2)
]


@pytest.fixture(scope="module")
def digits():
    parts = tfc.datasets.load("digits")
    x, y = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return x.reshape(len(x), -1), y


def networks(count):
    """So many networks side by side; outputs `(batch, count, 10)`."""
    x = keras.Input((64,))
    outputs = []
    for number in range(count):
        hidden = L.Dense(32, activation="relu", name=f"n{number}_hidden")(x)
        outputs.append(L.Dense(10, name=f"n{number}_head")(hidden))
    return keras.Model(x, keras.ops.stack(outputs, axis=1))


def fit(model, digits, epochs, callbacks=()):
    x, y = digits
    count = model.output.shape[1]
    crossentropy = keras.losses.sparse_categorical_crossentropy
    # The sum over networks: each learns as if it were alone.
    model.compile(
        keras.optimizers.Adam(2e-3),
        lambda y, p: count * crossentropy(y, p, from_logits=True),
    )
    targets = np.repeat(y[:, None], count, axis=1)
    model.fit(x, targets, BATCH_SIZE, epochs, verbose=0, callbacks=list(callbacks))
    model.compiled = False


def percent_wrong(model, digits):
    x, y = digits
    outputs = model.predict(x, 512, verbose=0)
    return 100 * np.mean(outputs.argmax(axis=2) != y[:, None], axis=0)


def compressed(model, lists):
    rules = {f"n{i}_.*": chosen for i, chosen in enumerate(lists) if chosen}
    return tfc.compress(model, rules)


def pruning(lists, begin_step, end_step):
    """Brings the masks of those lists that end or begin with one to 80 %."""
    schedule = tfc.schedules.Polynomial(
        final_sparsity=0.8, begin_step=begin_step, end_step=end_step
    )
    rules = {f"n{i}_.*": schedule for i, chosen in enumerate(lists) if chosen}
    return Pruning(rules)


@pytest.fixture(scope="module")
def errors(digits):
    """Errors in percent, in one fit and in phases."""
    keras.utils.set_random_seed(0)
    dense = networks(1)
    fit(dense, digits, 60)
    copies = networks(len(PAIRS))
    for number in range(len(PAIRS)):
        for part in ("hidden", "head"):
            source = dense.get_layer(f"n0_{part}").get_weights()
            copies.get_layer(f"n{number}_{part}").set_weights(source)
    steps = EPOCHS * -(-len(digits[0]) // BATCH_SIZE)
    half, third = steps // 2, steps // 3
    begins = [pair[0] == "mask" and pair for pair in PAIRS]
    ends = [pair[1] == "mask" and pair for pair in PAIRS]

    whole = compressed(copies, PAIRS)
    # Masks that come first know themselves when the others may begin.
    staging = Staging(half)
    fit(
        whole,
        digits,
        EPOCHS,
        [
            staging,
            pruning(begins, 0, third),
            pruning(ends, half, half + third),
        ],
    )
    phased = compressed(copies, [pair[:1] for pair in PAIRS])
    fit(phased, digits, EPOCHS // 2, [pruning(begins, 0, third)])
    phased = compressed(tfc.strip(phased), PAIRS)
    fit(phased, digits, EPOCHS // 2, [pruning(ends, 0, third)])
    for model in (whole, phased):
        assert not any(t.is_waiting for _, t in treatments(model))
    return percent_wrong(whole, digits), percent_wrong(phased, digits)


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=["+".join(p) for p in PAIRS])
def test_a_pair_in_one_fit_is_no_worse_than_in_phases(errors, number):
    whole, phased = (of_kind[number] for of_kind in errors)
    print(f"{'+'.join(PAIRS[number])}: {whole:.2f} {phased:.2f}")
    assert whole <= phased + 1.0
