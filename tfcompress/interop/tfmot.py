"""Converts models of tf_keras and tensorflow-model-optimization (tfmot) to Keras 3."""

import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

import h5py
import keras
import numpy as np

from tfcompress.core.archives import check_hdf5, check_weights, open_archive
from tfcompress.core.compress import compress
from tfcompress.core.kinds import FilePath, Flag, Kind, checked
from tfcompress.core.walk import weight_refs
from tfcompress.interop import keras2
from tfcompress.interop.python_code import check_no_code, saved_model_config
from tfcompress.quantization.layers import FakeQuant
from tfcompress.quantization.quantize_activations import quantize_activations
from tfcompress.transforms import Codebook, Mask, Uniform

WRAPPERS = (
    "PruneLowMagnitude",
    "ClusterWeights",
    "QuantizeWrapper",
    "QuantizeAnnotate",
)
_PACKAGES = ("tf_keras", "tensorflow_model_optimization")
_CHILD = pathlib.Path(__file__).with_name("_tfmot_child")


class _Keras2Model(Kind):
    """A model of tf_keras."""

    expected = "a tf_keras model"
    error = TypeError

    def has_form(self, value):
        return isinstance(value, keras.Model)

    def check(self, name, value):
        if isinstance(value, keras.Model):
            advice = "A Keras 3 model needs no conversion: pass it to tfc.compress."
            self.refuse(name, value, advice)
        classes = type(value).__mro__
        if not any(cls.__module__.startswith("tf_keras.") for cls in classes):
            self.refuse(name, value)
        return value

    def wrong(self):
        return [5, object()]


@checked
def convert(
    path_or_model: FilePath("a .h5 or .keras file or a SavedModel") | _Keras2Model(),
    activations: Flag() = False,
    safe_mode: Flag() = True,
) -> keras.Model:
    """Converts a tf_keras model, wrapped by tfmot or plain, to a Keras 3 model.

    Names, weights and predictions are those of the model without its wrappers; what a
    wrapper did to a weight becomes transforms, so that training can continue:

    - `prune_low_magnitude`: `Mask()` with the same mask.
    - `cluster_weights`: `Codebook(number_of_clusters)`, after a `Mask()` if sparsity was
      preserved (zero is then one of the clusters, but not in the codebook; tfmot does not
      save this mask, so it is taken from the zeros in the last training step). One codebook
      per channel becomes one large codebook per weight.
    - `quantize_model`, `quantize_apply` and `quantize_annotate_model`: `Uniform(bits)`, per
      channel where tfmot is; after a `Mask()` if the weight has zeros.

    A plain model stays plain. tfmot runs in a separate process, since importing it switches
    a whole process to Keras 2; it needs `pip install "tfcompress[tfmot]"`.

    Args:
        path_or_model: a `.h5` or `.keras` file, a SavedModel directory, or a tf_keras
            model, Sequential or functional.
        activations: whether to add the ranges measured by quantization-aware training to
            the model as `tfc.layers.FakeQuant`. See `tfc.quantize_activations`.
        safe_mode: whether to refuse Python code in the model, see `tfc.load_model`.

    Returns:
        A `keras.Model`, compressed where the original was, without optimizer.

    Raises:
        ImportError: if tf_keras or tensorflow-model-optimization is not installed.
        TypeError: if `path_or_model` is neither a path nor a tf_keras model.
        ValueError: if the model cannot be read, has a layer that Keras 3 lacks or holds
            Python code, or if `activations` is True for a model without measured ranges.

    Example:
        >>> model = convert("pruned.h5")  # doctest: +SKIP
        >>> tfc.report(model)["conv/kernel"].sparsity  # doctest: +SKIP
        0.9
    """
    _check_installed()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        source = _save_or_check(path_or_model, folder)
        config = _config(source)
        if safe_mode:
            check_no_code(config, source)
        (folder / "config.json").write_text(json.dumps(config))
        _run_child(source, folder, safe_mode)
        model = keras2.load_h5(folder / "stripped.h5", safe_mode)
        wrapped = json.loads((folder / "wrapped.json").read_text())
        with np.load(folder / "masks.npz") as masks:
            model = _restore(model, wrapped["weights"], masks)
    if not activations:
        return model
    if not wrapped["ranges"]:
        raise ValueError(
            f"activations=True, but {source} has no measured activation ranges: expected "
            "a model trained with quantize_model or quantize_apply. Call "
            "tfc.quantize_activations(model) and train it instead."
        )
    return _with_ranges(quantize_activations(model), wrapped["ranges"])


def is_installed() -> bool:
    """Whether `convert` can run here."""
    return not _missing_packages()


def _missing_packages():
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def _check_installed():
    missing = _missing_packages()
    if missing:
        raise ImportError(
            f"Models of tf_keras or tfmot need {' and '.join(missing)}, not installed "
            'here. Run: pip install "tfcompress[tfmot]"'
        )


def _save_or_check(path_or_model, folder):
    """The path of a file or directory that the child process can load."""
    if isinstance(path_or_model, (str, os.PathLike)):
        path = pathlib.Path(path_or_model)
        _check_path(path)
        return path
    if not path_or_model.built:
        raise ValueError(
            f"convert() got the model {path_or_model.name!r}, which is not built and "
            "has no weights. Call it once on data."
        )
    # tf_keras can neither read quantized models from .keras files nor write pruned
    # recurrent layers to .h5 files.
    wrappers = {type(layer).__name__ for layer in path_or_model.layers}
    suffix = ".h5" if "QuantizeWrapperV2" in wrappers else ".keras"
    path = folder / f"model{suffix}"
    path_or_model.save(path)
    return path


def _check_path(path):
    if not path.exists():
        raise ValueError(
            f"{path} does not exist: expected a .h5 or .keras file or a SavedModel "
            "directory."
        )
    if path.suffix == ".keras" and "QuantizeWrapper" in json.dumps(_config(path)):
        raise ValueError(
            f"{path} holds a quantization-aware model, which tf_keras cannot read from "
            ".keras files. Save it as .h5 or SavedModel, or pass the model itself."
        )


def _config(path):
    """The configuration of the model in a file or folder."""
    if path.is_dir():
        return saved_model_config(path)
    try:
        return json.loads(_config_text(path))
    except (OSError, KeyError, RecursionError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} holds no Keras 2 model, or is damaged ({error}): save it again."
        ) from error


def _config_text(path):
    if path.suffix == ".keras":
        with open_archive(path) as archive:
            check_weights(archive, path)
            return archive.read("config.json")
    with h5py.File(path) as file:
        check_hdf5(file, path)
        return file.attrs["model_config"]


def _run_child(source, folder, safe_mode):
    settings = {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.run(
        [
            sys.executable,
            str(_CHILD),
            str(source.absolute()),
            str(folder),
            *([] if safe_mode else ["unsafe"]),
        ],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    if process.returncode == 0:
        return
    failure = folder / "failure.txt"
    lines = process.stderr.strip().splitlines() or ["no message"]
    reason = failure.read_text() if failure.exists() else lines[-1]
    raise ValueError(
        f"tf_keras cannot load or convert {source.name}: {reason}. Expected a "
        "Sequential or functional tf_keras model without custom classes."
    )


def _restore(model, weights, masks):
    """Compresses the weights as they were in tfmot."""
    if not weights:
        return model
    refs = {id(ref.variable): ref for ref in weight_refs(model)}
    rules, restored = {}, []
    for weight in weights:
        path = [name.replace("/", "_") for name in weight["path"]]
        layer = _find(model, path)
        variables = layer.trainable_weights + layer.non_trainable_weights
        variable = variables[weight["index"]]
        owners = "/".join(owner.name for owner in refs[id(variable)].owners[1:])
        rules[f"{re.escape(owners)}/{variable.name}"] = _transforms(weight)
        if "mask" in weight:
            position = [v is variable for v in layer.variables].index(True)
            restored.append((path, position, masks[weight["mask"]]))
    compressed = compress(model, rules)
    for path, position, mask in restored:
        treatments = {t.ref.index: t for t in _find(compressed, path).treatments}
        _set_mask(treatments[position], mask)
    return compressed


def _find(model, path):
    layer = model
    for name in path:
        layer = layer.get_layer(name)
    return layer


def _transforms(weight):
    transforms = []
    if "mask" in weight:
        transforms.append(Mask())
    if "clusters" in weight:
        transforms.append(Codebook(min(weight["clusters"], 65535)))
    if "bits" in weight:
        transforms.append(
            Uniform(weight["bits"], weight["symmetric"], weight["per_channel"])
        )
    return transforms


def _set_mask(treatment, mask):
    transform = treatment.transforms[0]
    transform.mask.assign(mask)
    treatment.refresh(after=transform)


def _with_ranges(model, ranges):
    """Sets the ranges of a model; those that tfmot did not measure stay unset."""
    for layer in model.layers:
        name = layer.name.removesuffix("_range")
        if isinstance(layer, FakeQuant) and not layer.is_fixed and name in ranges:
            low, high = ranges[name]
            layer.minimum.assign([low] * layer.sites)
            layer.maximum.assign([high] * layer.sites)
            layer.seen.assign([1.0] * layer.sites)
    return model
