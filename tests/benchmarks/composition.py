"""Several transforms trained in one fit, compared with phases: MNIST test error."""

import functools
import math

import harness
import numpy as np

_BATCH_SIZE = 128
_WIDTHS = (784, 300, 100, 10)
_LEARNING_RATE = 1e-3
_EPOCHS_DENSE = 5
# In phases: masks for the first epochs, then everything.
_EPOCHS, _EPOCHS_FIRST = 8, 5
_SPARSITY, _PRUNING_STEPS = 0.9, 2000
_MOST_POINTS_LOST = 0.3

MASK, CODEBOOK = "mask", "codebook"
UNIFORM_8, UNIFORM_4 = {"uniform": {"bits": 8}}, {"uniform": {"bits": 4}}
ALONE = [[MASK], [CODEBOOK]]
PAIRS = [
    [MASK, second]
    for second in (
        CODEBOOK,
        UNIFORM_8,
        UNIFORM_4,
        {"learned_step": {"bits": 4}},
        {"power_of_two": {"bits": 4}},
        "trained_ternary",
        "ternary",
        {"binary": {"scale": "mean"}},
        "half",
        "b_float16",
    )
] + [["hashed", MASK], [CODEBOOK, UNIFORM_8]]
TRIPLES = [
    [MASK, CODEBOOK, third]
    for third in (UNIFORM_8, UNIFORM_4, {"learned_step": {"bits": 8}}, "half")
] + [[MASK, UNIFORM_8, CODEBOOK], ["hashed", MASK, CODEBOOK]]


def name_of(transforms):
    """The transforms as readable text.

    >>> name_of([MASK, UNIFORM_8])
    'mask + uniform(8)'
    """
    parts = []
    for transform in transforms:
        if isinstance(transform, str):
            parts.append(transform)
            continue
        ((name, arguments),) = transform.items()
        parts.append(f"{name}({', '.join(map(str, arguments.values()))})")
    return " + ".join(parts)


class Digits:
    """The images as rows of pixels, a dense network trained on them, and the training.

    Args:
        options: options of the command line.
    """

    def __init__(self, options):
        import keras

        import tfcompress as tfc

        self.keras, self.tfc, self.options = keras, tfc, options
        self.train, self.test = (
            (images.reshape(len(images), -1), labels)
            for images, labels in harness.load_data("mnist", options)
        )
        keras.utils.set_random_seed(options.seed)
        self.dense = keras.Sequential(
            [
                keras.Input(_WIDTHS[:1]),
                *(keras.layers.Dense(w, activation="relu") for w in _WIDTHS[1:-1]),
                keras.layers.Dense(_WIDTHS[-1]),
            ]
        )
        self.fit(self.dense, _EPOCHS_DENSE)

    def fit(self, model, epochs, callbacks=()):
        """Adam at a constant rate."""
        loss = self.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(self.keras.optimizers.Adam(_LEARNING_RATE), loss)
        epochs = 1 if self.options.quick else epochs
        model.fit(
            *self.train, _BATCH_SIZE, epochs, verbose=0, callbacks=list(callbacks)
        )
        # A copy of a compiled model would be compiled too.
        model.compiled = False

    def compressed(self, model, transforms):
        """The model with transforms on its kernels."""
        return self.tfc.compress(model, {".*": list(transforms)})

    def pruning(self):
        """The callbacks that prune the masks to their sparsity."""
        steps = math.ceil(len(self.train[0]) / _BATCH_SIZE)
        end = min(_PRUNING_STEPS, max(1, steps * _EPOCHS_FIRST // 2))
        schedule = self.tfc.schedules.Polynomial(
            final_sparsity=_SPARSITY, begin_step=0, end_step=end
        )
        return [self.tfc.callbacks.Pruning(schedule, scope="global")]

    def error(self, model):
        """Test error of the stripped model in percent."""
        outputs = self.tfc.strip(model).predict(self.test[0], 1000, verbose=0)
        return 100 * float(np.mean(outputs.argmax(axis=1) != self.test[1]))


def measure(combinations, options):
    """Errors of each combination, trained in one fit and in phases."""
    digits = Digits(options)
    measures = [harness.Measure("dense: error", digits.error(digits.dense), "%")]
    for transforms in harness.some(combinations, options):
        name = name_of(transforms)
        whole = one_fit(digits, transforms)
        measures.append(harness.Measure(f"{name}: error in one fit", whole, "%"))
        if len(transforms) > 1:
            parts = in_phases(digits, transforms)
            measures += [
                harness.Measure(f"{name}: error in phases", parts, "%"),
                harness.Measure(
                    f"{name}: one fit over phases",
                    round(whole - parts, 4),
                    "points",
                    at_most=_MOST_POINTS_LOST,
                ),
            ]
        harness.progress(
            ", ".join(f"{m.value:.2f}" for m in measures[-3:]) + f" {name}"
        )
    return measures


def one_fit(digits, transforms):
    """Error after one training with all transforms."""
    digits.keras.utils.set_random_seed(digits.options.seed)
    model = digits.compressed(digits.dense, transforms)
    digits.fit(model, _EPOCHS, digits.pruning() if MASK in transforms else ())
    return digits.error(model)


def in_phases(digits, transforms):
    """Error after training the transforms up to the mask, then all of them."""
    digits.keras.utils.set_random_seed(digits.options.seed)
    has_mask = MASK in transforms
    num_first = transforms.index(MASK) + 1 if has_mask else 1
    model = digits.compressed(digits.dense, transforms[:num_first])
    digits.fit(model, _EPOCHS_FIRST, digits.pruning() if has_mask else ())
    if num_first == len(transforms):
        digits.fit(model, _EPOCHS - _EPOCHS_FIRST)
        return digits.error(model)
    model = digits.compressed(digits.tfc.strip(model), transforms)
    digits.fit(model, _EPOCHS - _EPOCHS_FIRST)
    return digits.error(model)


ROWS = {
    "alone": functools.partial(measure, ALONE),
    "pairs": functools.partial(measure, PAIRS),
    "triples": functools.partial(measure, TRIPLES),
}

if __name__ == "__main__":
    harness.main(__doc__, ROWS, quick=["pairs"])
