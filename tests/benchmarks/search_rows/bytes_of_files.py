"""Files at a twelfth of their bytes, and at budgets drawn at random."""

import harness
import numpy as np
from harness import Measure

_NUM_IMAGES = 6144
_NUM_REQUESTS = 20


def twelfth(lab):
    """A trained ResNet-20 with bits and zeros for each layer, and not trained again."""
    dense = lab.resnet_20()
    if dense is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = tuple(a[-_NUM_IMAGES:] for a in lab.cifar10.everything)
    result = lab.tfc.compress_to(dense, {"size_bytes": 1 / 12}, data, verbose=0)
    x, y = lab.cifar10.test
    with lab.tfc.Interpreter(result.best.path) as interpreter:
        accuracy = 100 * float(np.mean(interpreter.run(x).argmax(-1) == y))
    before = lab.accuracy(dense, lab.cifar10)
    times = result.dense.size_bytes / result.best.size_bytes
    return [
        Measure(
            "accuracy of the file",
            accuracy,
            "%",
            at_least=before - 0.5,
            note=f"dense {before:.2f} %; not trained",
        ),
        Measure("times smaller than the float32 file", times, "x", at_least=12),
        Measure("bytes", result.best.size_bytes, note=f"{result.dense.size_bytes:,}"),
    ]


def requests(lab):
    """Budgets drawn at random for a LeNet-5, each met or said to be out of reach."""
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
    """One or two limits that some member of the space is within."""
    sizes = {"size_bytes": generator.uniform(0.03, 0.25)}
    macs = {"macs": generator.uniform(0.15, 0.9)}
    memory = {"memory_bytes": int(generator.uniform(15_000, 60_000))}
    return [sizes, macs, {**sizes, **macs}, memory][generator.integers(4)]


ROWS = {"twelfth": twelfth, "requests": requests}
