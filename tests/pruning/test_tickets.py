"""Tickets: what each round removes, what weights are rewound to, what controls change."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tfcompress.criteria import Criterion
from tfcompress.pruning import tickets
from tfcompress.pruning.tickets.controls import CONTROLS
from tfcompress.pruning.tickets.folder import Folder
from tfcompress.pruning.tickets.state import masks_of, restore, snapshot

L = keras.layers
KERNELS = ["a/kernel", "b/kernel", "head/kernel"]
COUNTS = {path: number for path, number in zip(KERNELS, (160, 320, 80), strict=True)}
STEPS = 4


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(128, 8)).astype("float32")
    return x, (x @ generator.normal(size=(8, 4))).argmax(1)


def network():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(20, "relu", name="a"),
            L.BatchNormalization(name="norm"),
            L.Dense(16, "relu", name="b"),
            L.Dropout(0.1),
            L.Dense(5, name="head"),
        ],
        name="network",
    )


def trainer(data, rate=0.01, fail_in=None, is_eager=True):
    """A train function that records its calls, and may fail in one of them.

    This few steps are done before they are compiled into a graph.
    """
    x, y = data
    calls = []

    def train(model, callbacks, first_step=0, length=1):
        calls.append((first_step, length))
        if len(calls) == fail_in:
            raise KeyboardInterrupt
        model.compile(
            keras.optimizers.Adam(rate),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            run_eagerly=is_eager,
        )
        model.fit(
            x,
            y,
            batch_size=32,
            epochs=round(length),
            validation_data=(x, y),
            validation_batch_size=128,
            callbacks=callbacks,
            verbose=0,
        )

    train.calls = calls
    return train


def evaluator(data):
    x, y = data

    def evaluate(model):
        outputs = model(x, training=False)
        return 100 * float(np.mean(np.argmax(outputs, 1) != y))

    return evaluate


def find(data, sparsity=0.36, rounds=2, train=None, **arguments):
    train = train or trainer(data)
    arguments = {"rates": {"head": 0.5}} | arguments
    return tickets.find_ticket(network(), train, sparsity, rounds, **arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def ticket(data, folder):
    """Two rounds of 20 %, and their initial values."""
    return find(data, evaluate=evaluator(data), folder=folder)


def counts(masks):
    return {path: int(np.count_nonzero(mask)) for path, mask in masks.items()}


def test_a_fifth_of_what_is_left_goes_and_half_of_that_at_the_output(ticket):
    # 160 and 320 by 0.8 each round, 80 by 0.9: 0.8² = 0.64, 0.9² = 0.81.
    assert [entry["kept"] for entry in ticket.log] == [
        560,
        128 + 256 + 72,
        102 + 205 + 65,
    ]
    assert counts(ticket.masks) == dict(zip(KERNELS, (102, 205, 65), strict=True))
    assert counts(masks_of(ticket.model)) == counts(ticket.masks)
    assert ticket.log[2]["sparsity"] == pytest.approx(1 - 372 / 560)
    assert set(COUNTS) == set(ticket.masks)


def test_the_smallest_of_the_trained_weights_went_first(ticket, folder):
    first = np.load(folder / "round_01.npz")
    for path in KERNELS:
        trained, kept = np.abs(ticket.scored[path]), first[f"masks:{path}"]
        assert trained[~kept].max() <= trained[kept].min()
        # Removed weights do not return.
        assert not np.any(ticket.masks[path] & ~kept)


def test_weights_go_back_to_the_bit(ticket):
    model = network()
    for path, layer in (("a/kernel", model.layers[0]), ("norm/gamma", model.layers[1])):
        variable = layer.kernel if "kernel" in path else layer.gamma
        np.testing.assert_array_equal(ticket.weights[path], variable)
        np.testing.assert_array_equal(ticket.initial[path], variable)
    start = tfc.strip(ticket.start())
    expected = np.where(ticket.masks["a/kernel"], model.layers[0].kernel, 0)
    np.testing.assert_array_equal(start.layers[0].kernel, expected)
    np.testing.assert_array_equal(start.layers[1].moving_mean, np.zeros(20))


def test_the_log_says_how_the_training_went(ticket):
    for number, entry in enumerate(ticket.log):
        assert entry["round"] == number
        assert entry["steps"] == entry["early_stop_step"] == STEPS
        error = 100 * (1 - entry["metrics"]["val_accuracy"])
        assert entry["score"] == pytest.approx(error, abs=1e-3)
    json.dumps(ticket.log)


def test_weights_go_back_to_a_step(data):
    train = trainer(data)
    ticket = find(data, train=train, rewind=3, rounds=1)
    keras.utils.set_random_seed(0)
    model, kept = tfc.compress(network(), {".*": "mask"}), []
    keras.utils.set_random_seed(0)
    at_step = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: kept.append(snapshot(model))
    )
    trainer(data)(model, [at_step])
    for path, value in kept[2].items():
        np.testing.assert_array_equal(ticket.weights[path], value)
    assert train.calls == [(0, 1), (3, 1)]
    with pytest.raises(ValueError, match=r"rewind\): got 9, .*first training.* has 4"):
        find(data, rewind=9)


def test_learning_rate_rewinding_and_fine_tuning_keep_the_weights(data):
    train, fine_tune = trainer(data), trainer(data, rate=0.0001)
    tuned = find(data, rounds=1, train=train, rewind="none", fine_tune=fine_tune)
    assert (len(train.calls), len(fine_tune.calls)) == (1, 1)
    renewed = find(data, rounds=1, rewind="learning_rate")
    for path, mask in tuned.masks.items():
        # They start from the same values, and one of them hardly changes.
        assert np.array_equal(tuned.weights[path], tuned.scored[path] * mask)
        assert np.array_equal(tuned.weights[path], renewed.weights[path])
        ends = snapshot(tuned.model)[path], snapshot(renewed.model)[path]
        moved = [np.abs(end - tuned.weights[path]).max() for end in ends]
        assert 0 < 10 * moved[0] < moved[1]


class Late(Criterion):
    """Later outputs matter less; scores are negative, below those of zeros."""

    def __call__(self, weight, signals):
        return -1.0 - np.arange(weight.shape[-1])


def test_before_training_in_rounds(data):
    train = trainer(data)
    ticket = find(
        data, 0.75, train=train, when="before_training", criterion=Late(), rates=None
    )
    assert len(train.calls) == len(ticket.log) == 1
    # The first quarter of each row.
    expected = np.zeros((8, 20), bool)
    expected[:, :5] = True
    np.testing.assert_array_equal(ticket.masks["a/kernel"], expected)


@pytest.mark.parametrize("criterion", ["snip", "synflow"])
def test_before_training_by_what_the_loss_or_the_flow_says(data, criterion):
    model, train = network(), trainer(data)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,
    )
    criterion = {"synflow": {"rounds": 3}} if criterion == "synflow" else criterion
    arguments = {"criterion": criterion, "scope": "global", "data": [data]}
    ticket = tickets.find_ticket(
        model, train, 0.75, when="before_training", **arguments
    )
    assert ticket.log[0]["kept"] == 140
    pruned = tfc.prune(model, 0.75, **arguments)
    for path, mask in ticket.masks.items():
        kernel = pruned.get_layer(path.partition("/")[0]).kernel
        np.testing.assert_array_equal(kernel.numpy() != 0, mask)


def test_gradually(data):
    schedule = tfc.schedules.Polynomial(final_sparsity=0.5, begin_step=1, end_step=3)
    ticket = find(data, schedule, rounds=1)
    assert counts(ticket.masks) == dict(zip(KERNELS, (80, 160, 60), strict=True))
    assert ticket.log[0]["steps"] == STEPS


def test_whole_channels(data):
    ticket = find(data, 0.5, rounds=1, pattern="filter", rates={"head": 0})
    assert ticket.masks["head/kernel"].all()
    assert ticket.masks["a/kernel"].all(axis=0).sum() == 10
    shuffled = ticket.control("layerwise_shuffle", seed=3)
    columns = masks_of(shuffled.model)["a/kernel"]
    assert columns.all(axis=0).sum() == (columns.any(axis=0)).sum() == 10
    assert not np.array_equal(columns, ticket.masks["a/kernel"])


def assert_same(whole, found):
    for name in ("masks", "weights", "initial", "scored"):
        expected, actual = getattr(whole, name), getattr(found, name)
        assert expected.keys() == actual.keys()
        for path, array in expected.items():
            np.testing.assert_array_equal(array, actual[path], err_msg=path)
    for path, array in snapshot(whole.model).items():
        np.testing.assert_array_equal(array, snapshot(found.model)[path])
    for one, two in zip(whole.log, found.log, strict=True):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}


def test_goes_on_after_a_kill_to_the_same_bits(data, ticket, folder, tmp_path):
    files = ["arguments.json", "initial.keras", "log.json"]
    files += [f"round_0{number}.npz" for number in range(3)]
    assert sorted(path.name for path in folder.iterdir()) == files
    cut_off = tmp_path / "run"
    shutil.copytree(folder, cut_off)
    # As left by a writer that was killed.
    (cut_off / "round_02.npz").rename(cut_off / ".round_02.0123.npz")
    train = trainer(data)
    for _ in range(2):
        found = find(data, train=train, evaluate=evaluator(data), folder=cut_off)
        assert train.calls == [(0, 1)]
        assert_same(ticket, found)
    assert json.loads((cut_off / "log.json").read_text()) == found.log


def test_goes_on_with_the_weights_it_had(data, tmp_path):
    folder, rest = tmp_path / "run", {"rewind": "learning_rate", "rounds": 1}
    with pytest.raises(KeyboardInterrupt):
        find(data, train=trainer(data, fail_in=2), folder=folder, **rest)
    train = trainer(data)
    assert_same(find(data, **rest), find(data, train=train, folder=folder, **rest))
    assert len(train.calls) == 1


def test_a_folder_of_another_run_is_refused(data, tmp_path):
    arguments = {"sparsity": 0.5, "scope": tfc.scopes.Global(), "initial": "ab"}
    folder = Folder(tmp_path / "run", arguments, network())
    folder.save(0, {"values": {"a/kernel": np.ones(2)}}, [{"round": 0}])
    assert folder.logs() == [{"round": 0}]
    assert folder.load(0)["values"]["a/kernel"].tolist() == [1, 1]
    for change, message in (
        ({"sparsity": 0.9}, r"run with sparsity=0\.5, but this one has sparsity=0\.9"),
        ({"scope": tfc.scopes.Local()}, "scope=.*Global.*scope=.*Local"),
        ({"initial": "cd"}, r"initial='ab'.*Seed before you build.*load_weights"),
    ):
        with pytest.raises(ValueError, match=message):
            Folder(tmp_path / "run", arguments | change, network())
    other = Folder(tmp_path / "other", arguments | {"sparsity": 0.9}, network())
    shutil.copy(tmp_path / "run/round_00.npz", tmp_path / "other")
    with pytest.raises(ValueError, match="belongs to another run"):
        other.logs()
    file = tmp_path / "run/round_00.npz"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="damaged.*Delete it and those of later"):
        folder.logs()
    with pytest.raises(ValueError, match="is a file, expected a folder"):
        Folder(file, arguments, network())


KINDS = [
    "dense",
    "reinitialize",
    "random_masks",
    "layerwise_shuffle",
    "invert",
    "shuffle_values",
    "signed_constant",
]


@pytest.fixture(scope="module")
def controls(ticket):
    """The initial state of each control: `{kind: (values, masks)}`."""
    found = {}
    generator = np.random.default_rng(0)
    for kind in KINDS:
        found[kind] = CONTROLS[kind].args[0](ticket, generator)
    return found


def test_controls_change_only_what_they_should(ticket, controls):
    keep_masks = {"reinitialize", "shuffle_values", "signed_constant"}
    keep_values = {"dense", "random_masks", "layerwise_shuffle", "invert"}
    per_layer = keep_masks | {"layerwise_shuffle", "invert"}
    for kind, (values, masks) in controls.items():
        same_masks = all(np.array_equal(masks[p], ticket.masks[p]) for p in masks)
        same_values = all(np.array_equal(values[p], ticket.weights[p]) for p in masks)
        assert same_masks == (kind in keep_masks), kind
        assert same_values == (kind in keep_values), kind
        assert (counts(masks) == counts(ticket.masks)) == (kind in per_layer), kind
        assert values["b/bias"].tolist() == [0] * 16
    assert sum(counts(controls["random_masks"][1]).values()) == ticket.log[-1]["kept"]
    assert sum(counts(controls["dense"][1]).values()) == 560


def test_values_of_controls(ticket, controls):
    path = "b/kernel"
    mask, initial = ticket.masks[path], ticket.initial[path]
    constant = controls["signed_constant"][0][path]
    np.testing.assert_allclose(constant, np.sign(initial) * np.std(initial))
    shuffled = controls["shuffle_values"][0][path]
    np.testing.assert_array_equal(np.sort(shuffled[mask]), np.sort(initial[mask]))
    drawn = controls["reinitialize"][0][path]
    assert not np.any(drawn == initial)
    # Glorot uniform.
    limit = np.sqrt(6 / 36)
    assert 0.9 * limit < np.abs(drawn).max() <= limit
    scored, inverted = np.abs(ticket.scored[path]), controls["invert"][1][path]
    assert scored[inverted].max() <= scored[~inverted].min()


def test_a_control_is_trained_like_the_ticket(data, ticket):
    control = ticket.control("reinitialize", seed=1)
    assert control.kind == "reinitialize"
    assert control.log["steps"] == STEPS
    assert control.log["score"] == evaluator(data)(control.model)
    assert counts(masks_of(control.model)) == counts(ticket.masks)
    again = ticket.control("reinitialize", seed=1)
    for path, array in snapshot(control.model).items():
        np.testing.assert_array_equal(array, snapshot(again.model)[path])


def test_a_network_found_within_the_initial_one(ticket):
    control = ticket.control("edge_popup")
    found = tfc.strip(control.model)
    for path, mask in ticket.masks.items():
        kernel = found.get_layer(path.partition("/")[0]).kernel.numpy()
        assert np.count_nonzero(kernel) == np.count_nonzero(mask)
        # Scaled, otherwise unchanged.
        scale = np.sqrt(mask.size / np.count_nonzero(mask))
        initial = scale * ticket.initial[path]
        np.testing.assert_allclose(kernel[kernel != 0], initial[kernel != 0], rtol=1e-5)
    assert not np.any(found.get_layer("b").bias)
    assert control.log["steps"] == STEPS


def with_training(ticket, **changes):
    training = dataclasses.replace(ticket.setup.training, **changes)
    setup = dataclasses.replace(ticket.setup, training=training)
    return dataclasses.replace(ticket, setup=setup)


def test_equal_macs_train_for_longer(data, ticket):
    control = ticket.control("reinitialize_equal_macs")
    # 560 / 372 = 1.5 times as long, which makes two epochs.
    assert ticket.setup.training.train.calls[-1] == (0, pytest.approx(560 / 372))
    assert control.log["steps"] == 2 * STEPS
    fixed = with_training(ticket, train=lambda model, callbacks: None)
    with pytest.raises(ValueError, match="parameter `length`"):
        fixed.control("reinitialize", length=2)


def test_controls_without_training(data, ticket):
    for kind in ("supermask", "signed_supermask"):
        control = ticket.control(kind)
        assert control.log["score"] == evaluator(data)(control.model)
    shared = ticket.control("shared_value")
    assert list(shared.log["scores"]) == [-2, -1, -0.5, 0.5, 1, 2]
    x = data[0][:4]
    mask = ticket.masks
    total = 0
    for value in shared.log["scores"]:
        hidden = np.maximum(x @ (value * mask["a/kernel"]), 0) / np.sqrt(1.001)
        hidden = np.maximum(hidden @ (value * mask["b/kernel"]), 0)
        logits = hidden @ (value * mask["head/kernel"])
        odds = np.exp(logits - logits.max(1, keepdims=True))
        total = total + odds / odds.sum(1, keepdims=True)
    assert {model.name for model in shared.models.values()} == {"network"}
    found = np.exp(shared.model(x, training=False))
    np.testing.assert_allclose(found, total / 6, rtol=1e-3, atol=1e-5)


def test_controls_that_are_not_trained_need_a_score(ticket):
    ticket = with_training(ticket, evaluate=None)
    with pytest.raises(ValueError, match=r"find_ticket\(evaluate=...\)"):
        ticket.control("supermask")
    with pytest.raises(ValueError, match=r"control\(kind\): got 'invrt'.*'invert'"):
        ticket.control("invrt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rewind": "none"}, r"fine_tune\): got None, expected a function with"),
        ({"when": "before_training", "rewind": 5}, r"rewind\): got 5, expected 'init'"),
        ({"sparsity": "cosin"}, "Did you mean 'cosine'"),
        (
            {"sparsity": tfc.schedules.Constant(0.5)},
            r"rounds\): got 2, expected 1 with a schedule",
        ),
        ({"rates": {"haed": 0.5}}, "Did you mean 'head'"),
        ({"train": lambda model, callbacks: None}, "did not run the callbacks"),
    ],
)
def test_bad_arguments(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        find(data, **arguments)


def test_a_function_that_trains_something_else_or_prunes_itself(data):
    def elsewhere(model, callbacks):
        trainer(data)(network(), callbacks)

    def pruning(model, callbacks):
        trainer(data)(model, [*callbacks, tfc.callbacks.Pruning(0.5)])

    with pytest.raises(ValueError, match="left all weights unchanged"):
        find(data, train=elsewhere)
    with pytest.raises(ValueError, match=r"changed the masks of \['a/kernel'"):
        find(data, train=pruning)


def test_what_does_not_fit(ticket):
    model = tfc.compress(network(), {".*": "mask"})
    with pytest.raises(
        ValueError, match=r"masks do not fit.*a/kernel has .*None in them"
    ):
        restore(model, ticket.weights, {})
    wrong = ticket.weights | {"b/bias": np.zeros(3)}
    with pytest.raises(
        ValueError, match=r"weights do not fit.*\(3,\) in them and \(16,\)"
    ):
        restore(model, wrong, ticket.masks)


def test_reinitialize_draws_by_each_layers_own_initializers():
    layers = [
        keras.Input((6, 4)),
        L.Normalization(mean=2.0, variance=4.0),
        L.LSTM(5, return_sequences=True, name="lstm"),
        L.Dense(3, kernel_initializer=keras.initializers.RandomUniform(5, 6, seed=7)),
        L.BatchNormalization(),
        L.Dense(2, kernel_initializer="ones", bias_initializer="ones"),
    ]
    model = keras.Sequential(layers)
    before = [w.numpy().copy() for w in model.weights]
    for weight in model.weights:
        weight.assign(weight + 1)
    kept = [w.numpy().copy() for w in model.weights]
    fresh = tickets.reinitialize(model, seed=1)
    same = tickets.reinitialize(model, seed=1)
    for weight, other in zip(fresh.weights, same.weights, strict=True):
        np.testing.assert_array_equal(weight, other)
    for weight, value in zip(model.weights, kept, strict=True):
        np.testing.assert_array_equal(weight, value)
    kernel = fresh.layers[2].kernel.numpy()
    assert kernel.min() >= 5 and kernel.max() <= 6
    assert not np.any(kernel == before[3])
    lstm = fresh.get_layer("lstm").cell
    assert lstm.bias.numpy().tolist() == [0] * 5 + [1] * 5 + [0] * 10
    square = lstm.recurrent_kernel.numpy() @ lstm.recurrent_kernel.numpy().T
    np.testing.assert_allclose(square, np.eye(5), atol=1e-5)
    for weight in (*fresh.layers[3].weights, *fresh.layers[4].weights):
        assert set(np.unique(weight)) <= {0, 1}
