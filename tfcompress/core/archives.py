"""Opens files that say how large their contents are, and may say anything.

What is read of them takes as much memory as they say, so what says far more than any
model has is refused before it is read.
"""

import io
import math
import pathlib
import zipfile

import h5py

# Contents may be so much larger than the file, or of this size in any case. Weights of
# which most are zero pack to a fiftieth.
_MAX_EXPANSION = 100
_SMALL_BYTES = 1 << 28
_MAX_TEXT_BYTES = 1 << 26
_TEXTS = (".json", ".yaml", ".txt")


def open_archive(path):
    """A `zipfile.ZipFile` whose members are together no larger than is plausible.

    Raises:
        ValueError: if they are.
        zipfile.BadZipFile: if it is no archive.
    """
    archive = zipfile.ZipFile(path)
    members = archive.infolist()
    largest = max((m.file_size for m in members if _is_text(m)), default=0)
    size = sum(member.file_size for member in members)
    if largest > _MAX_TEXT_BYTES or not _is_plausible(size, path):
        archive.close()
        raise _refusal(path, size)
    return archive


def check_hdf5(file, path):
    """Raises if the arrays of an open HDF5 file are together larger than is plausible.

    Args:
        file: an `h5py.File`.
        path: of the file that it is, or that holds it.
    """
    sizes = []

    def look(_, item):
        if isinstance(item, h5py.Dataset):
            sizes.append(math.prod(item.shape or ()) * item.dtype.itemsize)

    file.visititems(look)
    if not _is_plausible(sum(sizes), path):
        raise _refusal(path, sum(sizes))


def check_weights(archive, path):
    """`check_hdf5` of the weights in a `.keras` file."""
    content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        check_hdf5(file, path)


def _is_text(member):
    return member.filename.endswith(_TEXTS)


def _is_plausible(size, path):
    return size <= max(_SMALL_BYTES, _MAX_EXPANSION * pathlib.Path(path).stat().st_size)


def _refusal(path, size):
    return ValueError(
        f"Cannot load {str(path)!r}: its {pathlib.Path(path).stat().st_size} bytes claim "
        f"to hold {size}, which no model does. Expected at most "
        f"{_MAX_EXPANSION} times the size of the file; save it again without compression "
        "if it is right."
    )
