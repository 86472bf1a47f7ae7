import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models

# A few steps of small models take less time than compiling them.
pytestmark = pytest.mark.usefixtures("uncompiled")


def test_runs_steps_in_order_and_leaves_the_input_alone():
    model = models.sequential()
    x, y = models.inputs(model, 32), models.classes(32)
    before = model.get_weights()
    recipe = tfc.Recipe(
        [
            {"rewrite": {"rewrite": "fold_batch_norm"}},
            {"compress": {"rules": {".*": {"uniform": {"bits": 4}}}, "skip": ["head"]}},
            {"fit": {"epochs": 2, "batch_size": 16}},
            "strip",
        ]
    )
    result = recipe.run(model, (x, y))
    assert tfc.report(result.model)["conv/kernel"].bits == 4
    assert tfc.report(result.model)["head/kernel"].bits == 32
    assert len(result.history[0]["loss"]) == 2
    for old, new in zip(before, model.get_weights(), strict=True):
        assert (old == new).all()


def test_makes_models_smaller():
    model = models.sequential()
    x, y = models.inputs(model, 32), models.classes(32)
    masks = {n: "mask" for n in ("conv", ".*/bias", ".*/gamma", ".*/beta")}
    recipe = tfc.Recipe(
        [
            {"prune_channels": {"ratio": 0.25}},
            {"factorize": {"rewrite": {"svd": {"rank": 1}}, "where": "head"}},
            {"compress": {"rules": masks}},
            {"fit": {"channel_pruning": {"schedule": {"constant": {"sparsity": 0.3}}}}},
            "shrink",
        ]
    )
    small = recipe.run(model, (x, y)).model
    # 4 filters, 3 of them, 2 of these.
    assert small.get_layer("conv").filters == 2
    assert small.get_layer("head_in").units == 1


def test_corrects_what_stays_on_the_data():
    """Gives the same as calling the functions on the first inputs."""
    model = models.sequential()
    x = models.inputs(model, 32)
    steps = [
        {"prune_weights": {"sparsity": 0.5}},
        {"quantize_weights": {"bits": 4, "rounding": "gptq"}},
    ]
    made = tfc.Recipe(steps).run(model, (x, None)).model
    expected = tfc.quantize_weights(tfc.prune_weights(model, 0.5, x), 4, x, "gptq")
    for one, other in zip(made.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"Step 1 of the recipe \(prune_weights\)"):
        tfc.Recipe(steps).run(model)


def test_learns_from_a_teacher_in_a_file(tmp_path):
    model, teacher = models.small(), models.small()
    teacher.save(tmp_path / "teacher.keras")
    x, y = models.inputs(model, 32), models.classes(32)
    distillation = {"teacher": str(tmp_path / "teacher.keras"), "alpha": 0.1}
    recipe = tfc.Recipe(
        [
            {"compress": {"rules": {".*": "mask"}}},
            {
                "fit": {
                    "distillation": {**distillation, "losses": ["kl"]},
                    "pruning": {"schedule": 0.5},
                    "learning_rate": 0.01,
                    "epochs": 4,
                }
            },
            "strip",
        ]
    )
    result = recipe.run(model, (x, y))
    losses = result.history[0]["kl"]
    assert losses[-1] < losses[0]
    assert np.mean(result.model.layers[0].kernel.numpy() == 0) == 0.5


def test_the_given_model_teaches():
    model = models.small()
    data = models.inputs(model, 64), models.classes(64)
    distillation = {"teacher": "original", "losses": "logits"}
    steps = [
        {"compress": {"rules": {".*": {"uniform": {"bits": 2}}}}},
        {"fit": {"distillation": distillation, "learning_rate": 0.0}},
    ]
    alone = tfc.Recipe(steps[1:]).run(model, data).history[0]
    rounded = tfc.Recipe(steps).run(model, data).history[0]
    # An unchanged model answers like its teacher.
    assert alone["logits"] == [0.0] and rounded["logits"][0] > 0.01
    unknown = {"distillation": {"teacher": "origial"}}
    with pytest.raises(ValueError, match="No teacher at 'origial'"):
        tfc.Recipe([{"fit": unknown}]).run(model, data)


def test_deep_compression_as_the_function_does(tmp_path):
    model = models.small()
    data = models.inputs(model, 64), models.classes(64)
    arguments = {"sparsity": 0.5, "num_clusters": 3, "epochs": [2, 1]}
    step = {"path": "m.tflite", "teacher": "original", **arguments}
    keras.utils.set_random_seed(0)
    result = tfc.Recipe([{"deep_compression": step}]).run(model, data, tmp_path)
    keras.utils.set_random_seed(0)
    path = tmp_path / "n.tflite"
    made = tfc.recipes.deep_compression(model, data, path, teacher=model, **arguments)
    for one, other in zip(result.model.weights, made.model.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert result.exports[0].path == tmp_path / "m.tflite"
    assert result.exports[0].size_bytes == made.export.size_bytes
    assert [len(history["loss"]) for history in result.history] == [2, 1]


def test_deep_compression_by_the_loss_of_the_given_model():
    model = models.small()
    model.compile("sgd", "mean_absolute_error")
    x = models.inputs(model, 64)
    steps = [
        {"prune_channels": {"ratio": 0.5}},
        {
            "deep_compression": {
                "sparsity": 0.0,
                "epochs": [1, 0],
                "learning_rate": [0, 0],
            }
        },
    ]
    # Whatever the network is, its mean absolute error is 100 and a bit.
    result = tfc.Recipe(steps).run(model, (x, np.full((64, 5), 100.0)))
    assert result.history[0]["loss"][0] == pytest.approx(100, abs=5)


def test_says_if_a_file_is_too_big_for_a_chip(tmp_path):
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(100)])
    export = {"export": {"path": "m.tflite"}}
    check = {"fit_check": {"chips": ["stm32l432kc", "rp2040"]}}
    with pytest.warns(UserWarning, match=r"did not reach its goal[\s\S]*TOO BIG"):
        tfc.Recipe([export, check]).run(model, folder=tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enough = {"fit_check": {"chips": ["rp2040"]}}
        tfc.Recipe([export, enough]).run(model, folder=tmp_path)
    with pytest.raises(ValueError, match=r"\(fit_check\): .*put it after an export"):
        tfc.Recipe([check]).run(model)


def test_a_description_is_kept(tmp_path):
    tfc.Recipe(["strip"], "one line").to_yaml(tmp_path / "recipe.yaml")
    assert tfc.Recipe.from_yaml(tmp_path / "recipe.yaml").description == "one line"
    with pytest.raises(ValueError, match="description.*expected a string"):
        tfc.Recipe(["strip"], 5)


def test_callbacks_by_name_from_yaml(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        """
steps:
  - compress: {rules: {".*": [mask, {uniform: {bits: 8}}]}}
  - fit:
      epochs: 9
      batch_size: 16
      learning_rate: 0.0
      callbacks:
        - pruning: {schedule: 0.5}
        - BitAnnealing:
            schedule: {piecewise: {boundaries: [2, 4], values: [8, 4, 2]}}
        - EarlyStopping: {monitor: loss, min_delta: 99.0, patience: 3}
        - TerminateOnNaN
  - strip
"""
    )
    model = models.small()
    recipe = tfc.Recipe.from_yaml(tmp_path / "recipe.yaml")
    result = recipe.run(model, (models.inputs(model, 32), models.classes(32)))
    (history,) = result.history
    # Losses never fall by 99, and two steps make an epoch.
    assert len(history["loss"]) == 4
    assert history["bits"] == [8, 4, 2, 2]
    assert history["sparsity"] == [0.5] * 4
    assert np.mean(result.model.layers[0].kernel.numpy() == 0) >= 0.5
    recipe.to_yaml(tmp_path / "again.yaml")
    assert tfc.Recipe.from_yaml(tmp_path / "again.yaml").steps == recipe.steps


@pytest.mark.parametrize(
    "arguments",
    [
        {"pruning": {"schedule": 0.5}},
        {"callbacks": [{"pruning": {"schedule": 0.5}}]},
        {"callbacks": ({"Pruning": {"schedule": {"constant": {"sparsity": 0.5}}}},)},
    ],
    ids=["key", "snake_case", "class"],
)
def test_pruning_by_key_or_in_the_list(arguments):
    steps = [{"compress": {"rules": {".*": "mask"}}}, {"fit": arguments}, "strip"]
    model = models.small()
    data = models.inputs(model, 8), models.classes(8)
    small = tfc.Recipe(steps).run(model, data).model
    assert np.mean(small.layers[0].kernel.numpy() == 0) == 0.5


def test_channels_by_key_and_in_the_list_together():
    # Two callbacks that count the same steps; the larger sparsity comes last.
    channels = [{"schedule": sparsity} for sparsity in (0.25, 0.5)]
    fit = {
        "channel_pruning": channels[0],
        "callbacks": [{"ChannelPruning": channels[1]}],
    }
    masks = {".*": "mask", ".*/bias": "mask"}
    steps = [{"compress": {"rules": masks}}, {"fit": fit}, "shrink"]
    model = models.small()
    data = models.inputs(model, 8), models.classes(8)
    small = tfc.Recipe(steps).run(model, data).model
    assert small.get_layer("hidden").units == 3


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ("pruning", "expected a list"),
        ({"pruning": {"schedule": 0.5}}, "expected a list"),
        (["prunning"], "Unknown callback 'prunning'.*Did you mean 'pruning'"),
        ([{"EarlyStoping": {}}], "Did you mean 'EarlyStopping'"),
        ([{"pruning": 0.5}], "Callback 'pruning': expected arguments by name"),
        ([{"pruning": {}, "EarlyStopping": {}}], "one name"),
        ([3], "Callback 3: expected a name"),
        ([{"pruning": {"schedul": 0.5}}], "Callback 'pruning'.*'schedul'"),
        (["bit_annealing"], "Callback 'bit_annealing'.*'schedule'"),
        ([{"pruning": {"schedule": "constnt"}}], "Did you mean 'constant'"),
        (["Model"], "Unknown callback 'Model'"),
    ],
)
def test_bad_callbacks(callbacks, message):
    model = models.small()
    data = models.inputs(model, 8), models.classes(8)
    with pytest.raises(ValueError, match=rf"Step 1 .*\(fit\): .*{message}"):
        tfc.Recipe([{"fit": {"callbacks": callbacks}}]).run(model, data)


def test_anchors_that_repeat_one_another(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for i in range(1, 9):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]")
    (tmp_path / "recipe.yaml").write_text("\n".join([*lines, "steps: *a8"]))
    with pytest.raises(ValueError, match=r"recipe\.yaml.*anchors.*more than 10000"):
        tfc.Recipe.from_yaml(tmp_path / "recipe.yaml")
    (tmp_path / "recipe.yaml").write_text("steps: &a [strip, *a]")
    with pytest.raises(ValueError, match="anchors"):
        tfc.Recipe.from_yaml(tmp_path / "recipe.yaml")
    (tmp_path / "recipe.yaml").write_text(
        'a: &a {rules: {".*": mask}}\nsteps: [compress: *a, strip, compress: *a]'
    )
    assert len(tfc.Recipe.from_yaml(tmp_path / "recipe.yaml").steps) == 3


def test_yaml_round_trip(tmp_path):
    recipe = tfc.Recipe([{"compress": {"rules": {".*": "mask"}}}, "strip"])
    recipe.to_yaml(tmp_path / "recipe.yaml")
    assert tfc.Recipe.from_yaml(tmp_path / "recipe.yaml").steps == recipe.steps


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "list of steps"),
        ("strip", "list of steps"),
        (["stirp"], "Unknown step 'stirp'.*Did you mean 'strip'"),
        ([{"fit": 3}], "arguments by name"),
        ([{"fit": {}, "strip": {}}], "one name"),
    ],
)
def test_bad_steps(steps, message):
    with pytest.raises(ValueError, match=message):
        tfc.Recipe(steps)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("fit", r"Step 1 of the recipe \(fit\): training needs data"),
        ({"fit": {"epoch": 3}}, r"Step 1 .*epoch"),
        ({"compress": {"rules": {"nothing": "mask"}}}, "Step 1 .*matches no weight"),
    ],
)
def test_the_failing_step_is_named(step, message):
    with pytest.raises(ValueError, match=message):
        tfc.Recipe([step]).run(models.sequential())


def test_a_wrong_argument_is_found_before_anything_runs(tmp_path):
    path = tmp_path / "small.yaml"
    for steps, message in (
        ("[shrink, compress: {rules: [mask]}]", r"Step 2 .* got \['mask'\], expected"),
        ("[compress: {rule: {'.*': mask}}]", "Did you mean 'rules'"),
        ("[fit: {learning_rate: 1e-3}]", "got '1e-3', expected a number.*YAML"),
        ("[export: {path: a.tflite, precision: int5}]", "Did you mean 'int8'"),
        ("[fit_check: {chips: [rp2400]}]", "Did you mean 'rp2040'"),
        ("[deep_compression: {teacher: origial}]", "No teacher at 'origial'"),
    ):
        path.write_text(f"steps: {steps}")
        with pytest.raises(ValueError, match=f"small.yaml: .*{message}"):
            tfc.Recipe.from_yaml(path)


def test_training_without_targets():
    model = models.small()
    with pytest.raises(ValueError, match=r"Step 1 .*\(fit\): .* has x and no y"):
        tfc.Recipe(["fit"]).run(model, (models.inputs(model), None))


STEPS = [
    {"prune_channels": {"ratio": 0.25, "reconstruct": True}},
    {"prune_weights": {"sparsity": 0.5, "solver": "sparse_gpt"}},
    {"quantize_weights": {"bits": 4}},
]


def test_a_dataset_and_labels_in_a_list_count_as_arrays_do():
    model = models.sequential()
    x, y = models.inputs(model, 96), models.classes(96)
    recipe = tfc.Recipe([*STEPS, {"fit": {"epochs": 1, "learning_rate": 0.0}}])
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(64)
    made = [
        recipe.run(model, data).model for data in ((x, y), dataset, (x, y.tolist()))
    ]
    for other in made[1:]:
        for weight, same in zip(made[0].weights, other.weights, strict=True):
            np.testing.assert_allclose(weight, same, atol=1e-5)


def test_reconstruct_fits_what_reads_cut_channels():
    model = models.sequential()
    x = models.inputs(model, 256)
    cut = [
        tfc.Recipe([{"prune_channels": {"ratio": 0.25, "reconstruct": fitted}}])
        .run(model, (x, models.classes(256)))
        .model
        for fitted in (False, True)
    ]
    without, fitted = (np.mean((model(x) - small(x)) ** 2) for small in cut)
    assert fitted < 0.8 * without
    with pytest.raises(ValueError, match="reconstruct needs data"):
        tfc.Recipe(STEPS[:1]).run(model)


def test_the_learning_rate_falls_to_zero():
    model = models.small()
    data = models.inputs(model, 96), models.classes(96)
    recipe = tfc.Recipe([{"fit": {"epochs": 2, "batch_size": 32, "decay": "cosine"}}])
    rate = recipe.run(model, data).model.optimizer.learning_rate
    # Three batches in each of two epochs.
    assert float(rate) == pytest.approx(0, abs=1e-9)
    endless = tf.data.Dataset.from_tensors(data).repeat()
    with pytest.raises(ValueError, match="needs a dataset of known length"):
        recipe.run(model, endless)
