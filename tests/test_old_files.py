"""Old files still load, compute the same and continue training.

Each folder in `files/` was written by one state of the code: `.keras` files, what the
models in them computed and how they trained on (`.npz`), and the configuration of every
plug-in (`plugins.json`). A new folder is written whenever the contents of files may
change, with the code that should be remembered:

    git worktree add /tmp/then COMMIT && cd /tmp/then
    PYTHONPATH=. python .../tests/test_old_files.py .../tests/files/NAME

followed by the names of models if only these are new.
"""

import json
import pathlib
import shutil
import sys
import zipfile

import keras
import numpy as np
import pytest

import tfcompress as tfc
from tests import models

FILES = pathlib.Path(__file__).parent / "files"
# Old folders may contain models that are no longer made here; all of them must load.
STACKS = {
    "bfloat16": ["b_float16"],
    "binary": [{"binary": {"scale": "mean"}}],
    "binary_stochastic": [{"binary": {"stochastic": True, "seed": 3}}],
    "half": ["half"],
    "hashed": [{"hashed": {"compression": 0.25, "seed": 7}}],
    "hashed_mask": ["hashed", "mask"],
    "learned_step": [{"learned_step": {"bits": 4}}],
    "mask_codebook_learned_step": [
        "mask",
        {"codebook": {"num_clusters": 3, "per_channel": True}},
        {"learned_step": {"bits": 4, "per_channel": True}},
    ],
    "mask_codebook_uniform": ["mask", {"codebook": {"num_clusters": 4}}, "uniform"],
    "power_of_two": [{"power_of_two": {"bits": 3, "per_channel": True}}],
    "ternary": [{"ternary": {"per_channel": True}}],
    "trained_ternary": ["trained_ternary"],
    "uniform": [{"uniform": {"bits": 4, "symmetric": False}}],
    "uniform_blocks": [{"uniform": {"bits": 4, "block_size": 3}}],
}
# Their files contain the state of Adam, and the results of two more epochs.
TRAINED_ON = {
    "distiller",
    "hashed",
    "learned_step",
    "mask_codebook_uniform",
    "ranges_learned",
    "subclassed",
}


def quantized(ranges, build=models.sequential, **arguments):
    uniform = tfc.compress(build(), {".*": "uniform"})
    return tfc.quantize_activations(uniform, ranges=ranges, **arguments)


def quantized_activations():
    """A layer with each activation quantizer."""
    quantizers = ["sign", "approx_sign", "swish_sign", "ternary_sign"]
    quantizers += [{"power_of_two": {"max_value": 2.0}}, "half", "b_float16"]
    model = keras.Sequential([keras.Input((8,))])
    for quantizer in quantizers:
        model.add(keras.layers.Dense(6))
        model.add(keras.layers.BatchNormalization())
        model.add(tfc.layers.QuantizedActivation(quantizer))
    model.add(keras.layers.Dense(5))
    return tfc.compress(model, {"dense(_[1-4])?": "binary"})


def distiller():
    """With a temperature that changes, features through an adapter, and its teacher."""
    teacher = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(9, activation="relu", name="wide"),
            keras.layers.Dense(5),
        ]
    )
    falling = keras.optimizers.schedules.PolynomialDecay(8.0, 100, 2.0)
    losses = [
        tfc.distillation.KL(falling),
        tfc.distillation.Hints(["hidden"], ["wide"]),
    ]
    student = tfc.compress(models.small(), {".*": "mask"})
    return tfc.distillation.Distiller(student, teacher, losses, alpha=0.3)


def learned():
    """A layer for each learned mask, noise and gate."""
    transforms = [
        "continuous_sparsification",
        "edge_popup",
        {"gaussian_weights": {"num_samples": 16}},
        "hard_concrete",
        {"log_normal": {"num_samples": 16}},
        "movement",
        "pdp",
        {"penalty": {"regularizer": tfc.regularizers.L1(0.01)}},
        "powerpropagation",
        "soft_movement",
        "soft_threshold",
        {"sparse_variational_dropout": {"num_samples": 16}},
        "supermask",
    ]
    model = keras.Sequential([keras.Input((6, 6, 1))])
    model.add(keras.layers.Conv2D(4, 3, name="shift"))
    model.add(keras.layers.Flatten())
    model.add(tfc.layers.ChannelScale(name="gate"))
    rules = {
        "shift": "shift_attention",
        "gate/scale": {"group_normal_jeffreys": {"num_samples": 16}},
    }
    for number, transform in enumerate(transforms):
        model.add(keras.layers.Dense(6, name=f"layer_{number}"))
        model.add(keras.layers.BatchNormalization())
        rules[f"layer_{number}"] = transform
    model.add(keras.layers.Dense(5))
    return tfc.compress(model, rules)


MODELS = {
    **{
        name: lambda stack=stack: tfc.compress(models.small(), {".*": stack})
        for name, stack in STACKS.items()
    },
    "sequential": lambda: tfc.compress(
        models.sequential(),
        {".*": ["mask", "uniform"], "conv/bias": "half", "depthwise": "codebook"},
    ),
    "residual": lambda: tfc.compress(models.residual(), {".*": "learned_step"}),
    "nested": lambda: tfc.compress(models.nested(), {".*": ["mask", "codebook"]}),
    "recurrent": lambda: tfc.compress(models.recurrent(), {".*": ["mask", "uniform"]}),
    "subclassed": lambda: tfc.compress(
        models.subclassed(), {".*": STACKS["mask_codebook_uniform"]}
    ),
    "ranges_moving": lambda: quantized("moving_average"),
    # Without dropout, so that training continues in the same way.
    "ranges_learned": lambda: quantized("learned", models.residual),
    "ranges_learned_step": lambda: quantized("learned_step"),
    "ranges_fixed": lambda: quantized(
        "percentile", samples=models.inputs(models.sequential(), 16)
    ),
    "ranges_shared": lambda: tfc.quantize_activations(models.nested(), bits=6),
    "quantized_activations": quantized_activations,
    "distiller": distiller,
    "learned": learned,
    "mutual_learning": lambda: tfc.distillation.MutualLearning(
        [tfc.compress(models.small(), {".*": "mask"}), models.nested()]
    ),
}


def write(folder, names):
    """Trains models for two epochs and saves them."""
    folder.mkdir(parents=True)
    for name in names:
        keras.utils.clear_session()
        keras.utils.set_random_seed(1)
        write_model(name, MODELS[name](), folder)
    write_plugins(folder)


def write_plugins(folder):
    """The configuration of every plug-in that can be made here."""
    from tests.test_contracts import EXAMPLES

    plugins = {
        name: keras.saving.serialize_keras_object(cls(**EXAMPLES.get(cls.__name__, {})))
        for name, cls in sorted(keras.saving.get_custom_objects().items())
        if name.startswith("tfcompress>")
        and isinstance(cls, type)
        and issubclass(cls, tfc.core.plugin.Plugin)
        and not issubclass(cls, tfc.distillation.Teacher)
    }
    text = json.dumps(plugins, indent=1, sort_keys=True)
    (folder / "plugins.json").write_text(text + "\n")


def write_model(name, model, folder):
    path = folder / f"{name}.keras"
    generator = np.random.default_rng(0)
    student = getattr(model, "student", None) or getattr(model, "students", [model])[0]
    (spec,) = keras.tree.flatten(tfc.core.macs.input_specs(student))
    x = generator.normal(size=(16, *spec.shape[1:])).astype("float16").astype("float32")
    y = models.classes(16)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam" if name in TRAINED_ON else "sgd", loss)
    masks = any("Mask(" in repr(t) for t in model_transforms(model))
    callbacks = [tfc.callbacks.Pruning(0.4)] if masks else []
    fit(model, x, y, callbacks=callbacks)
    model.save(path)
    deflate(path)
    arrays = {"x": x.astype("float16"), "y": y, "outputs": flat_outputs(model, x)}
    if name in TRAINED_ON:
        losses = fit(keras.models.load_model(path), x, y)
        arrays["losses"] = np.array(losses, "float32")
    np.savez_compressed(path.with_suffix(".npz"), **arrays)


def model_transforms(model):
    from tfcompress.core.compressed import treatments

    return [transform for _, t in treatments(model) for transform in t.transforms]


def fit(model, x, y, **arguments):
    """The losses of two epochs."""
    arguments |= {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    return model.fit(x, y, **arguments).history["loss"]


def deflate(path):
    """Packs a `.keras` file, a ZIP archive, tighter than Keras does."""
    loose = path.with_suffix(".zip")
    shutil.move(path, loose)
    with (
        zipfile.ZipFile(loose) as old,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    loose.unlink()


def flat_outputs(model, x):
    """All outputs side by side."""
    outputs = keras.tree.flatten(model(x, training=False))
    return np.concatenate([np.asarray(y, "float32") for y in outputs], axis=-1)


def found(pattern):
    paths = sorted(FILES.glob(f"*/{pattern}"))
    return [
        pytest.param(p, id=str(p.relative_to(FILES).with_suffix(""))) for p in paths
    ]


@pytest.mark.parametrize("path", found("*.keras"))
def test_a_file_computes_what_it_did_and_trains_on(path):
    model = keras.models.load_model(path)
    with np.load(path.with_suffix(".npz")) as then:
        x, y = then["x"].astype("float32"), then["y"]
        np.testing.assert_allclose(
            flat_outputs(model, x), then["outputs"], rtol=1e-6, atol=1e-6
        )
        if "losses" in then:
            losses = fit(model, x, y)
            np.testing.assert_allclose(losses, then["losses"], rtol=1e-5)
            # It had already learned something, and learns more.
            assert losses[-1] < losses[0]


def without_modules(config):
    """A configuration without the modules of classes, which may change."""
    if not isinstance(config, dict):
        return config
    kept = config.keys() - {"module"}
    return {key: without_modules(config[key]) for key in kept}


@pytest.mark.parametrize("path", found("plugins.json"))
def test_plug_ins_are_restored_from_configurations(path):
    for name, then in json.loads(path.read_text()).items():
        thing = keras.saving.deserialize_keras_object(then)
        assert type(thing).__name__ == name.partition(">")[2]
        now = without_modules(json.loads(json.dumps(thing.get_config())))
        old = without_modules(then["config"])
        assert {key: now[key] for key in old} == old


def test_every_transform_and_layer_is_in_a_file():
    text = "".join(
        zipfile.ZipFile(path).read("config.json").decode()
        for path in FILES.glob("*/*.keras")
    )
    registered = tfc.core.nouns.WeightTransform.registered.values()
    kinds = [cls.__name__ for cls in registered]
    for kind in [*kinds, *tfc.layers.__all__, "CompressedModel", "Distiller"]:
        assert f'"registered_name": "tfcompress>{kind}"' in text, (
            f"No file holds {kind}: write a new folder, see tests/test_old_files.py."
        )


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1]), sys.argv[2:] or MODELS)
