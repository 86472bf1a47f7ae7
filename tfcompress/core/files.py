"""Files that are either complete or absent."""

import contextlib
import os
import pathlib
import secrets
import stat


def check_writable(path):
    """Returns the path, if a file can be created or replaced there.

    Raises:
        ValueError: if it names a folder, a device, a pipe, a socket or a read-only file,
            or its folder is missing or not writable.
    """
    path = pathlib.Path(path)
    obstacle = _obstacle(path)
    if obstacle:
        raise ValueError(f"Cannot write {str(path)!r}: {obstacle}.")
    return path


def _obstacle(path):
    """Why no file can be written, and how to fix that; None if one can."""
    try:
        there = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        there = None
    except OSError as error:
        return f"{error.strerror}; name another file"
    if there and stat.S_ISDIR(there.st_mode):
        return "it is a folder; name a file in it"
    if there and not stat.S_ISREG(there.st_mode):
        return "it is a device, a pipe or a socket, not a file; name another file"
    # Root may write to any file; whoever removed all write bits meant root too.
    if there and not (there.st_mode & 0o222 and os.access(path, os.W_OK)):
        return (
            f"the file is read-only; make it writable (chmod u+w {path}), delete it or "
            "choose another name"
        )
    folder = _target(path).parent
    if not folder.is_dir():
        return f"the folder {str(folder)!r} does not exist; create it first"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"no permission to write to {str(folder)!r}"
    return None


def write_atomically(path, content):
    """Writes bytes or text to a file as in `replacing`; returns its path."""
    content = content.encode() if isinstance(content, str) else content
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return pathlib.Path(path)


@contextlib.contextmanager
def replacing(path):
    """Yields the path of an empty file that replaces `path` at the end.

    It is meant for functions that write to a path, and has a unique name with the
    suffix of `path`. Readers see one complete file or another, however many processes
    and threads write there; an earlier file stays intact if anything fails. A symbolic
    link is kept, and its target is written. An earlier file's permissions are kept, and
    its owner if the user may change it; other hard links keep the earlier content.

    Raises:
        ValueError: if the path cannot be written.
        OSError: if the disk is full.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> with replacing(tmp_path / "m.keras") as temporary:
        ...     model.save(temporary)
        >>> [path.name for path in tmp_path.iterdir()]
        ['m.keras']
    """
    target = _target(check_writable(path))
    name = f".{target.stem[:40]}.{secrets.token_hex(8)}{target.suffix}"
    temporary = target.with_name(name)
    try:
        _make_like(temporary, target)
        yield temporary
        _sync(temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise OSError(
            error.errno,
            f"Cannot write {str(path)!r}: {error.strerror or error}. No partial file "
            "was left; free some space or choose another folder",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _target(path):
    """The target of a link, whether it exists or not."""
    return pathlib.Path(os.path.realpath(path))


def _make_like(path, model):
    """Creates an empty file with the permissions of `model`, if that exists."""
    there = os.stat(model) if model.exists() else None
    # The system applies the umask, which cannot be read without being set.
    mode = stat.S_IMODE(there.st_mode) if there else 0o666
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    if not there:
        return
    with contextlib.suppress(OSError):
        os.chown(path, there.st_uid, there.st_gid)
    os.chmod(path, mode)


def _sync(path):
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
