"""Small image datasets for trying out compression, all in the same format."""

import os
import pathlib
import zipfile
import zlib

import keras
import numpy as np

from tfcompress.core.kinds import FilePath, OneOf, checked

DATA_VARIABLE = "TFCOMPRESS_DATA"

# Shape of an image, as `load` returns it.
_SHAPES = {
    "cifar10": (32, 32, 3),
    "digits": (8, 8, 1),
    "fashion_mnist": (28, 28, 1),
    "mnist": (28, 28, 1),
}
_KEYS = ("x_train", "y_train", "x_test", "y_test")
_NUM_CLASSES = 10
_NUM_DIGITS_TEST = 360
# What NumPy raises for a file that is not an .npz, is truncated, lacks an array or
# contains a damaged one.
_DAMAGED = (
    EOFError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@checked
def load(name: OneOf(*sorted(_SHAPES)), data_dir: FilePath() = None):
    """Returns a dataset with ten classes, split into training and test data.

    Images are float32 in [0, 1], `(count, height, width, channels)`, for every dataset;
    a model that was trained on 0 to 255 needs `255 * x`. Labels are int32, `(count,)`.

    `digits` (1797 images, 8x8x1) comes with scikit-learn and is split by a fixed
    shuffle. `mnist`, `fashion_mnist` (28x28x1) and `cifar10` (32x32x3) are read from
    `<data_dir>/<name>.npz`, the format of Keras' own `mnist.npz`: uint8 arrays
    `x_train`, `y_train`, `x_test` and `y_test`. Without a folder, Keras downloads them.

    Args:
        name: `"cifar10"`, `"digits"`, `"fashion_mnist"` or `"mnist"`.
        data_dir: folder with the `.npz` files; None uses the environment variable
            `TFCOMPRESS_DATA`, or, if that is not set, Keras' download.

    Returns:
        `((x_train, y_train), (x_test, y_test))`.

    Raises:
        ValueError: if the name is unknown, or a file is damaged or in another format.
        FileNotFoundError: if the folder does not exist or lacks the file.
        ConnectionError: if the download fails.

    Source of the split of `digits`: `numpy.random.default_rng(0)`, 360 images held out.

    Example:
        >>> (x_train, y_train), (x_test, y_test) = load("digits")
        >>> x_train.shape, x_train.dtype, y_test.shape, y_test.dtype
        ((1437, 8, 8, 1), dtype('float32'), (360,), dtype('int32'))
    """
    if name == "digits":
        return _load_digits()
    data_dir = data_dir or os.environ.get(DATA_VARIABLE)
    if data_dir:
        arrays, source = _read(name, pathlib.Path(data_dir).expanduser())
    else:
        arrays, source = _download(name), f"Keras' download of {name!r}"
    return tuple(
        (
            _images(arrays[f"x_{part}"], _SHAPES[name], f"x_{part} of {source}"),
            _labels(arrays[f"y_{part}"], arrays[f"x_{part}"], f"y_{part} of {source}"),
        )
        for part in ("train", "test")
    )


def _load_digits():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, *_SHAPES["digits"])
    labels = labels.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:-_NUM_DIGITS_TEST], order[-_NUM_DIGITS_TEST:]
    return (images[train], labels[train]), (images[test], labels[test])


def _read(name, folder):
    """The arrays of a file and the file's path."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"No folder {str(folder)!r} to load {name!r} from: pass data_dir, or set "
            f"{DATA_VARIABLE}, to a folder that contains {name}.npz."
        )
    path = folder / f"{name}.npz"
    if not path.is_file():
        names = [f"{other}.npz" for other in sorted(_SHAPES) if other != "digits"]
        found = [other for other in names if (folder / other).is_file()]
        raise FileNotFoundError(
            f"No file {path.name!r} in {str(folder)!r}: expected datasets as "
            f"{', '.join(names)}, and it has {', '.join(found) or 'none of them'}. "
            "Without a data_dir, Keras downloads them."
        )
    return _read_arrays(path), path


def _read_arrays(path):
    try:
        with np.load(path) as file:
            return {key: file[key] for key in _KEYS}
    except _DAMAGED as error:
        raise ValueError(
            f"{str(path)!r} cannot be read ({_one_line(error)}): expected an .npz file "
            f"with the arrays {', '.join(_KEYS)}. Copy or download it again."
        ) from error


def _download(name):
    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises this for every failed download.
        raise ConnectionError(
            f"Keras could not download {name!r}: {_one_line(error)}. Pass "
            f"data_dir, or set {DATA_VARIABLE}, to a folder that contains {name}.npz."
        ) from error
    return dict(zip(_KEYS, (x_train, y_train, x_test, y_test), strict=True))


def _images(array, shape, source):
    """float32 images in [0, 1] with a channel axis."""
    accepted = [shape, shape[:2]] if shape[2] == 1 else [shape]
    if array.dtype != np.uint8 or array.shape[1:] not in accepted:
        raise ValueError(
            f"{source} contains {array.dtype} of shape {array.shape}: expected uint8 "
            f"images of shape (count, {', '.join(map(str, accepted[-1]))})."
        )
    return array.reshape(-1, *shape).astype(np.float32) / 255


def _labels(array, images, source):
    """int32 labels on one axis."""
    accepted = [(len(images),), (len(images), 1)]
    if array.dtype.kind not in "iu" or array.shape not in accepted:
        raise ValueError(
            f"{source} contains {array.dtype} of shape {array.shape}: expected integer "
            f"labels of shape ({len(images)},), one for each image."
        )
    labels = array.astype(np.int32).ravel()
    if labels.size and not 0 <= labels.min() <= labels.max() < _NUM_CLASSES:
        raise ValueError(
            f"{source} contains labels from {labels.min()} to {labels.max()}: expected "
            f"0 to {_NUM_CLASSES - 1}."
        )
    return labels


def _one_line(error):
    return " ".join(str(error).split())
