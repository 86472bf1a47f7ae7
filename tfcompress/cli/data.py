"""Arrays and datasets that commands read."""

import pathlib
import zipfile

from absl import flags


def define(values):
    """Flags that choose data."""
    flags.DEFINE_string(
        "data", None, "A .npz file with x and y, or x_test and y_test.", values
    )
    flags.DEFINE_string(
        "dataset", None, "Named data: digits, mnist, fashion_mnist or cifar10.", values
    )
    flags.DEFINE_string("data_dir", None, "Folder with NAME.npz for --dataset.", values)


def load(values, part):
    """`(x, y)` of the part `"train"` or `"test"`, or None if no flag asks for data."""
    if values.dataset:
        from tfcompress import datasets

        train, test = datasets.load(values.dataset, values.data_dir)
        return train if part == "train" else test
    if not values.data:
        return None
    arrays = read_arrays(values.data)
    for x, y in ((f"x_{part}", f"y_{part}"), ("x", "y")):
        if x in arrays:
            return arrays[x], arrays.get(y)
    raise ValueError(
        f"{values.data} holds {sorted(arrays)}: expected x and y, or x_{part} and y_{part}."
    )


def read_arrays(path):
    """`{name: array}` of an `.npz` file, or `{"x": array}` of an `.npy` file."""
    import numpy as np

    from tfcompress.core.archives import open_archive

    if not pathlib.Path(path).is_file():
        raise FileNotFoundError(f"No file {path!r}; expected .npz or .npy arrays.")
    try:
        if zipfile.is_zipfile(path):
            open_archive(path).close()
        content = np.load(path, allow_pickle=False)
        return dict(content) if hasattr(content, "files") else {"x": content}
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as .npz or .npy arrays: {error}"
        ) from error
