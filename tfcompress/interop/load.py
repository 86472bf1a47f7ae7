"""Loads a model from a file or directory of any supported format."""

import contextlib
import json
import os
import pathlib
import zipfile
import zlib

import h5py
import keras

from tfcompress.core.archives import check_hdf5, check_weights, open_archive
from tfcompress.core.kinds import FilePath, Flag, checked
from tfcompress.interop import keras2, tfmot

_EXPECTED = (
    "a .keras file, an .h5 or .hdf5 file from model.save, or a SavedModel directory "
    "from Keras 2"
)
_KERAS_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
_DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    RecursionError,
    UnicodeDecodeError,
    json.JSONDecodeError,
    zlib.error,
    zipfile.BadZipFile,
)


@checked
def load_model(
    path: FilePath(_EXPECTED),
    safe_mode: Flag() = True,
) -> keras.Model:
    """Loads a model from a file or directory as a Keras 3 model.

    - `.keras`: with its compile state. Files from Keras 2 (tf_keras) are converted.
    - `.h5`, `.hdf5`: from Keras 2 or 3, with architecture and weights; not compiled,
      since optimizers from Keras 2 cannot be transferred.
    - A SavedModel directory from Keras 2 is converted, and is not compiled. A SavedModel
      without Keras data is a graph without layers and cannot be compressed.

    `.keras` files and SavedModels from Keras 2, and models wrapped by
    tensorflow-model-optimization, are loaded by `tfc.interop.tfmot.convert`, which needs
    `pip install "tfcompress[tfmot]"`. Custom classes must be registered with
    `keras.saving.register_keras_serializable`.

    As in Keras, Python code in a file, such as that of a Lambda layer, and functions that a
    file names are refused before any of it runs; graphs of SavedModels are never run. A
    file that claims to hold more than 256 MiB and more than 100 times its own size is
    refused before it is read. The memory that layers of a model request is not limited.

    Args:
        path: string or path-like.
        safe_mode: whether to refuse code in the file. Pass False only for files from
            people you trust: loading them may do anything. False also allows a saved
            `tfc.distillation.Distiller` to open its teacher's SavedModel.

    Raises:
        TypeError: if `path` is not a path.
        ValueError: if there is no model at `path`, it is damaged, its layers cannot be
            restored, or it holds code in safe mode.
        ImportError: if the file needs the extra `tfmot` and it is not installed.

    Example:
        >>> import tempfile
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> path = pathlib.Path(tempfile.mkdtemp(), "model.keras")
        >>> model.save(path)
        >>> load_model(path).output_shape
        (None, 2)
    """
    path = _checked(path)
    if path.is_dir():
        return _load_directory(path, safe_mode)
    if path.suffix.lower() == ".keras":
        return _load_keras(path, safe_mode)
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _load_h5(path, safe_mode)
    raise ValueError(
        f"Cannot load {str(path)!r}: unknown extension {path.suffix!r}. Expected "
        f"{_EXPECTED}; rename the file if it is one of these."
    )


def _checked(path):
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(
            f"Cannot load {str(path)!r}: it does not exist. Expected {_EXPECTED}; "
            f"relative paths start at {os.getcwd()!r}."
        )
    return path


def _load_directory(path, safe_mode):
    if (path / "config.json").exists():
        with _naming_damage(path):
            if (weights := path / "model.weights.h5").exists():
                with h5py.File(weights) as file:
                    check_hdf5(file, weights)
            return keras.models.load_model(path, safe_mode=safe_mode)
    if not (path / "saved_model.pb").exists():
        raise ValueError(
            f"Cannot load {str(path)!r}: the directory has no saved_model.pb. Expected "
            f"{_EXPECTED}; pass the file or directory that model.save wrote."
        )
    if not (path / "keras_metadata.pb").exists():
        raise ValueError(
            f"Cannot load {str(path)!r}: this SavedModel holds a graph but no Keras "
            "layers, so there are no kernels to compress. Save the model itself with "
            "model.save('model.keras') where it is built."
        )
    return tfmot.convert(path, safe_mode=safe_mode)


def _load_keras(path, safe_mode):
    with _naming_damage(path), open_archive(path) as archive:
        missing = _KERAS_MEMBERS - set(archive.namelist())
        if missing:
            raise KeyError(f"no {' and no '.join(sorted(missing))} inside")
        version = json.loads(archive.read("metadata.json"))["keras_version"]
        is_keras_2 = str(version).startswith("2.")
        if not is_keras_2:
            check_weights(archive, path)
    if is_keras_2:
        return tfmot.convert(path, safe_mode=safe_mode)
    with _naming_damage(path):
        return keras.models.load_model(path, safe_mode=safe_mode)


def _load_h5(path, safe_mode):
    with _naming_damage(path), h5py.File(path) as file:
        config = file.attrs.get("model_config")
        version = file.attrs.get("keras_version", "")
        check_hdf5(file, path)
    if config is None:
        raise ValueError(
            f"Cannot load {str(path)!r}: it holds weights without an architecture. Build "
            "the model and call model.load_weights(path), or save the whole model with "
            "model.save."
        )
    if any(name in str(config) for name in tfmot.WRAPPERS):
        return tfmot.convert(path, safe_mode=safe_mode)
    with _naming_damage(path):
        if str(version).startswith("3."):
            return keras.models.load_model(path, compile=False, safe_mode=safe_mode)
        return keras2.load_h5(path, safe_mode)


@contextlib.contextmanager
def _naming_damage(path):
    try:
        yield
    except _DAMAGE as error:
        detail = " ".join(str(error).split())
        raise ValueError(
            f"Cannot load {str(path)!r}: the file is damaged or incomplete ({detail}). "
            f"Expected {_EXPECTED}; save or copy it again."
        ) from error
