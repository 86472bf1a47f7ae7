"""Loads a model from whatever file or directory holds it."""

import contextlib
import json
import os
import pathlib
import zipfile
import zlib

import h5py
import keras

from tfcompress.core.kinds import FilePath, checked
from tfcompress.interop import keras2, tfmot

_EXPECTED = (
    "a .keras file, an .h5 or .hdf5 file of model.save, or a SavedModel directory of "
    "Keras 2"
)
_KERAS_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}
_DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    UnicodeDecodeError,
    json.JSONDecodeError,
    zlib.error,
    zipfile.BadZipFile,
)


@checked
def load_model(path: FilePath("a model, as _EXPECTED")):
    """Loads a model from a file or directory as a Keras 3 model.

    - `.keras`: with its compile state. Files of Keras 2 (tf_keras) are converted.
    - `.h5`, `.hdf5`: of Keras 2 or 3, with architecture and weights; not compiled,
      since optimizers of Keras 2 do not carry over.
    - A SavedModel directory of Keras 2 is converted; it comes back not compiled. A
      SavedModel without Keras data is a graph without layers and cannot be compressed.

    `.keras` files and SavedModels of Keras 2, and models that are wrapped by
    tensorflow-model-optimization, go through `tfc.interop.tfmot.convert`, which needs
    `pip install "tfcompress[tfmot]"`. Classes of your own must be registered with
    `keras.saving.register_keras_serializable`.

    Args:
        path: string or path-like.

    Raises:
        TypeError: if `path` is not a path.
        ValueError: if there is no model at `path`, or a damaged one, or one whose
            layers cannot be restored.
        ImportError: if the file needs the extra and it is not installed.

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
        return _load_directory(path)
    if path.suffix.lower() == ".keras":
        return _load_keras(path)
    if path.suffix.lower() in (".h5", ".hdf5"):
        return _load_h5(path)
    raise ValueError(
        f"Cannot load {str(path)!r}: unknown extension {path.suffix!r}. Expected "
        f"{_EXPECTED}; rename the file if it is one of these."
    )


def _checked(path):
    if isinstance(path, keras.Model):
        raise TypeError(
            f"load_model() got the model {path.name!r} itself, expected a path. It is "
            "loaded already: pass it on as it is."
        )
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"load_model() got {path!r} of type {type(path).__name__!r}, expected the "
            f"path of {_EXPECTED}."
        )
    path = pathlib.Path(path)
    if not path.exists():
        raise ValueError(
            f"Cannot load {str(path)!r}: it does not exist. Expected {_EXPECTED}; "
            f"relative paths start at {os.getcwd()!r}."
        )
    return path


def _load_directory(path):
    if (path / "config.json").exists():
        with _naming_damage(path):
            return keras.models.load_model(path)
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
    return tfmot.convert(path)


def _load_keras(path):
    with _naming_damage(path), zipfile.ZipFile(path) as archive:
        missing = _KERAS_MEMBERS - set(archive.namelist())
        if missing:
            raise KeyError(f"no {' and no '.join(sorted(missing))} inside")
        version = json.loads(archive.read("metadata.json"))["keras_version"]
    if version.startswith("2."):
        return tfmot.convert(path)
    with _naming_damage(path):
        return keras.models.load_model(path)


def _load_h5(path):
    with _naming_damage(path), h5py.File(path) as file:
        config = file.attrs.get("model_config")
        version = file.attrs.get("keras_version", "")
    if config is None:
        raise ValueError(
            f"Cannot load {str(path)!r}: it holds weights without an architecture. "
            "Build the model and call model.load_weights(path), or save all of it with "
            "model.save."
        )
    if any(name in str(config) for name in tfmot.WRAPPERS):
        return tfmot.convert(path)
    with _naming_damage(path):
        if str(version).startswith("3."):
            return keras.models.load_model(path, compile=False)
        return keras2.load_h5(path)


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
