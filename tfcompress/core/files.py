"""Files that are either whole or not there."""

import contextlib
import os
import pathlib
import tempfile


def check_writable(path):
    """The path, if a file can be made there.

    Raises:
        ValueError: if it names a folder, or its folder is missing or not writable.
    """
    path = pathlib.Path(path)
    folder = path.parent
    if path.is_dir():
        raise ValueError(
            f"Cannot write {str(path)!r}: it is a folder; name a file in it."
        )
    if not folder.is_dir():
        raise ValueError(
            f"Cannot write {str(path)!r}: the folder {str(folder)!r} does not exist; "
            "make it first."
        )
    if not os.access(folder, os.W_OK):
        raise ValueError(
            f"Cannot write {str(path)!r}: no permission to write in {str(folder)!r}."
        )
    return path


def write_atomically(path, content):
    """Writes bytes or text to a temporary file that then takes the path's name.

    An earlier file stays whole if anything fails.

    Raises:
        ValueError: if the path cannot be written.
        OSError: if the disk is full.
    """
    path = check_writable(path)
    content = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"Cannot write {len(content):,} bytes to {str(path)!r}: {error.strerror}. "
            "Nothing was left behind; free some space or choose another folder",
        ) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    return path


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
