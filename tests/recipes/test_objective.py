"""The objective of training and scores in recipes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.distillation import KL, Logits, Taught
from tfcompress.recipes.objective import objective

# A few steps of small models take less time than compiling them.
pytestmark = pytest.mark.usefixtures("uncompiled")

L = keras.layers
X = np.array([[1.0], [-1.0], [2.0], [0.5]], "float32")


def one_layer(units, activation=None, kernel=None, loss=None, **compiled):
    model = keras.Sequential([keras.Input((1,)), L.Dense(units, activation, name="d")])
    model.get_layer("d").kernel.assign(kernel or [[1.0] * units])
    if loss:
        model.compile("sgd", loss, **compiled)
    return model


def evaluated(model, y, loss=None):
    """Loss and metrics before any training."""
    aim = objective(model, X, np.array(y), loss)
    aim.compile(model, "sgd")
    return model.evaluate(X, aim.ordered(np.array(y)), verbose=0, return_dict=True)


def cross_entropy(*probabilities):
    return pytest.approx(-np.mean(np.log(probabilities)), rel=1e-4)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


# Yes with these probabilities; the second and the last answer are wrong.
YES = sigmoid(X.ravel())
WANTED = [1, 1, 1, 0]
OF_WANTED = (YES[0], YES[1], YES[2], 1 - YES[3])


@pytest.mark.parametrize("targets", [WANTED, [[y] for y in WANTED]])
@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_two_classes_of_one_output(targets, activation):
    found = evaluated(one_layer(1, activation), targets)
    assert found["accuracy"] == 0.5
    assert found["loss"] == cross_entropy(*OF_WANTED)


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize(
    "targets", [WANTED, [float(y) for y in WANTED], np.eye(2)[WANTED]]
)
def test_classes_by_labels_and_one_hot(targets, activation):
    found = evaluated(one_layer(2, activation, [[0.0, 1.0]]), targets)
    assert found["accuracy"] == 0.5
    assert found["loss"] == cross_entropy(*OF_WANTED)


def test_several_labels_at_once():
    # Both answers are that of x; of eight, the second row has two wrong, the last one.
    found = evaluated(one_layer(2, "sigmoid"), [[1, 1], [1, 1], [1, 1], [1, 0]])
    assert found["accuracy"] == pytest.approx(5 / 8)


def test_values():
    # Each is off by one half.
    found = evaluated(one_layer(1), X + 0.5)
    assert found == {"loss": 0.25}


def test_a_segmentation():
    model = keras.Sequential(
        [keras.Input((2, 2, 1)), L.Conv2D(2, 1, activation="softmax", name="c")]
    )
    model.get_layer("c").kernel.assign([[[[0.0, 1.0]]]])
    x = np.array([1.0, -1, 2, 0.5], "float32").reshape(1, 2, 2, 1)
    y = np.reshape(WANTED, (1, 2, 2))
    aim = objective(model, x, y)
    aim.compile(model, "sgd")
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert found["accuracy"] == 0.5
    assert found["loss"] == cross_entropy(*OF_WANTED)


def test_the_model_s_own_loss_and_metrics_come_first():
    metric = keras.metrics.MeanAbsoluteError(name="off")
    model = one_layer(1, loss="mean_absolute_error", metrics=[metric])
    assert evaluated(model, X + 0.5) == {"loss": 0.5, "off": 0.5}
    # Not inferred from its values, which are one-hot by chance.
    several = one_layer(2, "sigmoid", loss="binary_crossentropy")
    assert evaluated(several, np.eye(2)[WANTED])["accuracy"] == 0.5
    # A loss that is passed takes precedence over both.
    plain = one_layer(1, loss="mean_absolute_error")
    assert evaluated(plain, X + 0.5, "mse") == {"loss": 0.25}


def test_soft_losses():
    def of(model, y):
        return objective(model, X, np.array(y)).soft_losses(2.0)

    assert isinstance(of(one_layer(1, "sigmoid"), WANTED), KL)
    assert isinstance(of(one_layer(2), WANTED), KL)
    assert isinstance(of(one_layer(2, "sigmoid"), [[1, 1]] * 4), KL)
    assert isinstance(of(one_layer(2), [[1, 1]] * 4), Logits)
    assert isinstance(of(one_layer(1), X + 0.5), Logits)


def two_outputs():
    x = keras.Input((8,))
    y = L.Dense(6, activation="relu", name="hidden")(x)
    heads = [L.Dense(1, name="value")(y), L.Dense(3, name="kind")(y)]
    return keras.Model(x, heads)


def data_of_two(model):
    x = models.inputs(model, 64)
    return x, {"kind": models.classes(64, 3), "value": x[:, :1]}


def test_several_outputs_of_a_recipe(tmp_path):
    model = two_outputs()
    x, y = data_of_two(model)
    recipe = tfc.Recipe(
        [
            {"prune_channels": {"ratio": 0.5}},
            {"compress": {"rules": {".*": "mask"}}},
            {"fit": {"epochs": 2, "pruning": {"schedule": 0.5}}},
            "strip",
            {"export": {"path": "m.tflite"}},
        ]
    )
    for targets in (y, [y["value"], y["kind"]]):
        result = recipe.run(model, (x, targets), tmp_path, validation_data=(x, targets))
        (history,) = result.history
        assert {"kind_accuracy", "val_kind_accuracy", "value_loss"} <= set(history)
        assert result.model.get_layer("hidden").units == 3


@pytest.mark.parametrize("has_loss", [True, False])
def test_several_outputs_of_deep_compression(has_loss):
    model = two_outputs()
    x, y = data_of_two(model)
    if has_loss:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", {"value": "mse", "kind": loss})
    result = tfc.recipes.deep_compression(
        model,
        (x, y),
        sparsity=0.5,
        epochs=(2, 1),
        teacher=model,
        validation_data=(x, y),
    )
    history = result.history["prune"]
    assert {"kind_kl", "value_logits", "val_kind_accuracy"} <= set(history)
    assert np.isfinite(history["loss"]).all()
    assert tfc.report(result.model).sparsity == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("one_hot", [True, False])
@pytest.mark.parametrize("has_teacher", [True, False])
def test_deep_compression_of_a_classifier_of_any_kind(one_hot, has_teacher):
    model = one_layer(3 if one_hot else 1, "softmax" if one_hot else "sigmoid")
    x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    y = (x > 0).astype(int) if not one_hot else np.eye(3)[(x.ravel() > 0) * 1]
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(64).batch(8)
    result = tfc.recipes.deep_compression(
        model,
        (x, y) if has_teacher else data,
        sparsity=0.0,
        epochs=(4, 0),
        learning_rate=(0.5, 0.1),
        batch_size=8,
        teacher=model if has_teacher else None,
    )
    assert result.history["prune"]["accuracy"][-1] > (0.4 if has_teacher else 0.9)


def test_labels_next_to_soft_labels():
    taught = Taught(np.array(WANTED), np.zeros((4, 2)))
    aim = objective(one_layer(2), X, taught)
    assert aim.ordered(taught).logits is taught.logits
    assert isinstance(aim.arguments["loss"], keras.losses.SparseCategoricalCrossentropy)
    unlabelled = objective(one_layer(2), X, Taught(None, taught.logits))
    assert unlabelled.arguments == {"loss": None}
    assert isinstance(unlabelled.soft_losses(1.0), KL)
