"""Opens files that declare how large their contents are, and may declare anything.

Reading them takes as much memory as they declare, so a file that declares far more than
any model holds is refused before it is read.
"""

import io
import math
import pathlib
import zipfile

import h5py

# Contents may be this many times larger than the file, and may always have this size.
# Weights that are mostly zero compress to a fiftieth.
_MAX_EXPANSION = 100
_SMALL_BYTES = 1 << 28
_MAX_TEXT_BYTES = 1 << 26
_TEXTS = (".json", ".yaml", ".txt")


def open_archive(path):
    """A `zipfile.ZipFile` whose members are together no larger than is plausible.

    Raises:
        ValueError: if they are larger.
        zipfile.BadZipFile: if the file is not an archive.
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
        path: path of this file, or of the archive that contains it.
    """
    sizes = []

    def look(_, item):
        if isinstance(item, h5py.Dataset):
            sizes.append(math.prod(item.shape or ()) * item.dtype.itemsize)

    file.visititems(look)
    if not _is_plausible(sum(sizes), path):
        raise _refusal(path, sum(sizes))


def check_weights(archive, path):
    """Runs `check_hdf5` on the weights in a `.keras` file."""
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
        f"to hold {size} bytes, which no model does. Expected at most "
        f"{_MAX_EXPANSION} times the size of the file; if the file is valid, save it "
        "again without compression."
    )
