"""Files at a twelfth of their bytes, and at budgets drawn at random."""

import harness
import numpy as np
from harness import Measure

_NUM_IMAGES = 6144
_NUM_REQUESTS = 20
_EPOCHS = 2


def twelfth(lab):
    """A trained ResNet-20 with bits and zeros chosen per layer, then trained with them."""
    dense = lab.resnet_20()
    if dense is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    loss = lab.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    dense.compile(loss=loss)
    before = lab.accuracy(dense, lab.cifar10)
    result = lab.tfc.compress_to(
        dense,
        # A file of the small network for quick runs is mostly structure.
        {"size_bytes": 1 / 2 if lab.is_quick else 1 / 12},
        lab.cifar10.train,
        validation_data=lab.cifar10.held_out,
        epochs=lab.epochs(_EPOCHS),
        learning_rate=3e-4,
        verbose=0,
    )
    rows = []
    for candidate in result.candidates[1:]:
        name = f"{candidate.name}, {candidate.epochs} epochs"
        times = result.dense.size_bytes / candidate.size_bytes
        is_best = candidate is result.best
        target = {"at_least": before - 0.5} if is_best else {}
        note = (
            f"{candidate.size_bytes:,} bytes; dense {before:.2f} %" + is_best * "; best"
        )
        accuracy = _accuracy(lab, candidate)
        rows.append(Measure(f"{name}: accuracy", accuracy, "%", note=note, **target))
        target = {"at_least": 12} if is_best else {}
        rows.append(Measure(f"{name}: times smaller", times, "x", **target))
    return rows


def _accuracy(lab, candidate):
    """The accuracy of a file on the test set."""
    x, y = lab.cifar10.test
    with lab.tfc.Interpreter(candidate.path) as interpreter:
        return 100 * float(np.mean(interpreter.run(x).argmax(-1) == y))


def requests(lab):
    """Random budgets for a LeNet-5, each met or reported as out of reach."""
    model = lab.dense("lenet_5")
    loss = lab.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss)
    data = tuple(a[-2048:] for a in lab.mnist.everything)
    generator = np.random.default_rng(lab.seed)
    met = 0
    for number in range(lab.count(_NUM_REQUESTS)):
        budget = _drawn(generator)
        harness.progress(f"  {number}: {budget}")
        result = lab.tfc.compress_to(model, budget, data, verbose=0)
        met += not result.budget.excess(result.best.costs)
    total = lab.count(_NUM_REQUESTS)
    return [Measure(f"budgets met of {total}", met, at_least=total)]


def _drawn(generator):
    """One or two limits that some member of the space meets."""
    sizes = {"size_bytes": generator.uniform(0.03, 0.25)}
    macs = {"macs": generator.uniform(0.15, 0.9)}
    memory = {"memory_bytes": int(generator.uniform(15_000, 60_000))}
    return [sizes, macs, {**sizes, **macs}, memory][generator.integers(4)]


ROWS = {"twelfth": twelfth, "requests": requests}
