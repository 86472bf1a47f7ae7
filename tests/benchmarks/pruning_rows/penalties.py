"""Penalties: L1 and variants, group lasso, slimming, decay, learning-compression."""

import math

import cifar
import harness
import numpy as np

_EPOCHS = 40
_SPARSITY = 0.95
_NOTE = f"{_EPOCHS} epochs in all"
# Growing regularization: epochs of decay, then epochs of fine-tuning.
_FADING, _FINE_TUNING = 8, 12
# Random crops of each image that a distilled model learns from.
_NUM_CROPS = 3
_SHORTCUT = ("conv1", "layer._._conv2")


def penalties(lab):
    """Single weights: 95 % of a LeNet-300-100, with gradual magnitude for comparison."""
    regularizers = lab.tfc.regularizers
    rows = []
    for _ in lab.seeds(1):
        rows += [
            _gradual(lab, "gradual magnitude, 95%", None),
            _gradual(lab, "L1 1e-5 and gradual magnitude", regularizers.L1(1e-5)),
            _gradual(
                lab,
                "smoothed L1/2 1e-5 and gradual magnitude",
                regularizers.SmoothedL12(1e-5),
            ),
            _at_once(lab, "L1 1e-4, then cut", regularizers.L1(1e-4)),
            _at_once(
                lab, "smoothed L1/2 3e-5, then cut", regularizers.SmoothedL12(3e-5)
            ),
            _selective(lab),
        ]
    return rows


def _masked(lab, penalty):
    transforms = ["mask"]
    if penalty is not None:
        transforms.append(lab.tfc.transforms.Penalty(penalty))
    return lab.tfc.compress(lab.lenet_300_100(), {".*": transforms})


def _gradual(lab, method, penalty):
    """Cubic schedule over two thirds."""
    tfc = lab.tfc
    lab.restart()
    model = _masked(lab, penalty)
    schedule = tfc.schedules.Polynomial(
        final_sparsity=_SPARSITY,
        begin_step=0,
        end_step=max(1, lab.steps(_EPOCHS) * 2 // 3),
        frequency=50,
    )
    pruning = tfc.callbacks.Pruning(schedule, scope="global")
    lab.fit(model, _EPOCHS, callbacks=[pruning])
    return lab.row(method, model, note=_NOTE)


def _at_once(lab, method, penalty):
    """The penalty alone shrinks the weights that are cut after two thirds."""
    lab.restart()
    model = _masked(lab, penalty)
    lab.fit(model, _EPOCHS, callbacks=[_one_cut(lab)])
    return lab.row(method, model, note=_NOTE)


def _one_cut(lab):
    tfc = lab.tfc
    step = lab.steps(_EPOCHS) * 2 // 3
    return tfc.callbacks.Pruning(tfc.schedules.OneShot(_SPARSITY, step), scope="global")


def _selective(lab):
    """Selective weight decay, cut at the end, without masks."""
    lab.restart()
    model = lab.lenet_300_100()
    decay = lab.tfc.callbacks.SelectiveWeightDecay(_SPARSITY, weight_decay=0.5)
    lab.fit(model, _EPOCHS, callbacks=[decay])
    return lab.row("selective weight decay, 95%", model, note=_NOTE)


def group_lasso(lab):
    """Neurons and pixels are removed as groups, by proximal steps; then 95 % as above."""
    tfc = lab.tfc
    lasso = tfc.regularizers.GroupLasso
    rules = {".*": [lasso(1e-3, "channels"), lasso(1e-3, "filters")]}
    rows = []
    for _ in lab.seeds(1):
        lab.restart()
        model = _masked(lab, None)
        lab.fit(
            model,
            _EPOCHS,
            callbacks=[tfc.callbacks.ProximalStep(rules), _one_cut(lab)],
        )
        rows.append(lab.row("group lasso, then cut, 95%", model, note=_NOTE))
    return rows


def slimming(lab):
    """L1 on the scales of batch norms, neurons cut, fine-tuned."""
    tfc = lab.tfc
    rows = []
    for _ in lab.seeds(1):
        lab.restart()
        dense = _with_batch_norm(lab)
        penalty = tfc.transforms.Penalty(tfc.regularizers.L1(1e-3))
        model = tfc.compress(dense, {".*/gamma": penalty})
        lab.fit(model, _EPOCHS // 2)
        small = tfc.prune_channels(
            model,
            target_parameters=1 - _SPARSITY,
            criterion="batch_norm_gamma",
            scope="global",
        )
        lab.fit(small, _EPOCHS - _EPOCHS // 2)
        rows.append(
            lab.row("slimming, 95% of the weights", small, of=dense, note=_NOTE)
        )
    return rows


def _with_batch_norm(lab):
    """LeNet-300-100 with batch norm after each hidden layer."""
    layers = lab.keras.layers
    x = y = lab.keras.Input((28, 28, 1))
    y = layers.Flatten()(y)
    for number, units in enumerate((300, 100), start=1):
        y = layers.Dense(units, use_bias=False, name=f"fc{number}")(y)
        y = layers.ReLU()(layers.BatchNormalization()(y))
    return lab.keras.Model(
        x, layers.Dense(10, name="logits")(y), name="with_batch_norm"
    )


def learning_compression(lab):
    """From a trained network: 5 % and 1 % of the weights kept."""
    rows = []
    for kept, paper in ((0.05, 2.18), (0.01, 3.2)):
        lab.restart()
        model = lab.lenet_300_100()
        lab.fit(model, _EPOCHS // 4)
        compression = lab.tfc.callbacks.LearningCompression({".*": 1 - kept})
        lab.fit(model, _EPOCHS - _EPOCHS // 4, _sgd(lab), [compression])
        note = f"{_EPOCHS} epochs in all, of 800 in the paper"
        method = f"learning-compression, {kept:.0%} kept"
        rows.append(lab.row(method, model, paper=paper, note=note))
    return rows


def _sgd(lab, rate=0.05):
    """A function of the number of steps."""
    optimizers = lab.keras.optimizers

    def make(steps):
        falling = optimizers.schedules.CosineDecay(rate, steps, alpha=0.02)
        return optimizers.SGD(falling, momentum=0.9, nesterov=True)

    return make


def structured_sparsity(lab):
    """Filters of the convolutions of a trained LeNet-5, by proximal steps.

    SGD, since Adam scales gradients to steps that a penalty of any usual strength does
    not stop. Zero filters of the first convolution remove the channels of the second.
    """
    tfc = lab.tfc
    lasso, epochs = tfc.regularizers.GroupLasso, 15
    rows = []
    for strength in (0.05, 0.07):
        model = lab.dense("lenet_5")
        lab.restart()
        rules = {"conv1": lasso(0.02), "conv2": lasso(strength)}
        step = tfc.callbacks.ProximalStep(rules)
        lab.fit(model, epochs, _sgd(lab, 0.02), [step])
        small = tfc.shrink(model)
        lab.fit(small, epochs // 3)
        rows.append(
            lab.row(
                f"structured sparsity learning, {strength:g}",
                small,
                of=lab.lenet_5(),
                paper=1.0,
                note=f"{epochs} + {epochs // 3} epochs; 3-12-800-500 in the paper",
            )
        )
    return rows


def growing_regularization(lab):
    """Half the MACs of the ResNet-20: units decay, are cut, the rest is fine-tuned."""
    tfc = lab.tfc
    dense = lab.resnet_20()
    if dense is None:
        return harness.left_out("the trained ResNet-20 is not there: pass --model")
    data = lab.cifar10
    lab.restart()
    images = np.rint(data.everything[0]).astype(np.uint8)
    crops = 1 if lab.is_quick else _NUM_CROPS
    harness.progress("  the large model looks at the crops")
    batches = cifar.teach(dense, images, crops, lab.seed)
    model = lab.keras.models.clone_model(dense)
    model.set_weights(dense.get_weights())
    steps = math.ceil(len(images) / cifar.BATCH_SIZE) * lab.epochs(_FADING)
    # It reaches its ceiling after half of the steps.
    growing = tfc.callbacks.GrowingRegularization(
        target_macs=0.5,
        growth=4.0 * 10 / max(steps // 2, 10),
        frequency=10,
        ceiling=4.0,
        ignore=_SHORTCUT,
    )
    _distil(lab, model, batches, images, _FADING, 0.01, [growing])
    before = lab.error(model, data=data)
    small = tfc.shrink(model)
    _distil(lab, small, batches, images, _FINE_TUNING, 0.03)
    macs = tfc.report(small).macs / tfc.report(dense).macs
    allowed = round(lab.error(dense, data=data) + 0.7, 2)
    return [
        lab.row(
            "growing regularisation",
            small,
            of=dense,
            data=data,
            at_most=allowed,
            note=f"{macs:.1%} of the MACs, {_FADING} + {_FINE_TUNING} epochs, "
            f"{before:.2f} % when cut",
        )
    ]


def _distil(lab, model, batches, images, epochs, learning_rate, callbacks=()):
    """SGD with cosine decay, on the logits of the large model instead of labels."""
    keras = lab.keras
    steps = math.ceil(len(images) / cifar.BATCH_SIZE)
    epochs = lab.epochs(epochs)
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps)
    optimizer = keras.optimizers.SGD(
        rate, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    model.compile(optimizer, cifar.distillation_loss)
    report = keras.callbacks.LambdaCallback(
        on_epoch_end=cifar.Reporter(model.name, epochs)
    )
    model.fit(
        batches.repeat(),
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[*callbacks, report],
        verbose=0,
    )


ROWS = {
    "penalties": penalties,
    "group_lasso": group_lasso,
    "slimming": slimming,
    "learning_compression": learning_compression,
    "structured_sparsity": structured_sparsity,
    "growing_regularization": growing_regularization,
}
