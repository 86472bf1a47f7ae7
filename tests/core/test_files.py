import os
import resource
import signal
import socket
import stat
import threading

import pytest

from tfcompress.core.files import check_writable, replacing, write_atomically


def test_replaces_a_file_as_a_whole(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_a_missing_folder_and_a_folder(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        write_atomically(tmp_path / "nowhere" / "file", b"x")
    with pytest.raises(ValueError, match="it is a folder"):
        check_writable(tmp_path)


def test_no_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="no permission"):
        check_writable(tmp_path / "file")


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    # A limit on file size fails in the same call as a full disk.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match="free some space"):
            write_atomically(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def _socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)


@pytest.mark.parametrize("make", [os.mkfifo, _socket])
def test_what_is_no_regular_file_stays(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)  # Names of sockets are short.
    make("special")
    os.symlink("special", "link")
    kind = os.stat("special").st_mode
    for name in ("special", "link"):
        with pytest.raises(ValueError, match="a device, a pipe or a socket"):
            write_atomically(name, b"new")
    assert os.stat("special").st_mode == kind
    with pytest.raises(ValueError, match="a device, a pipe or a socket"):
        check_writable(os.devnull)


def test_a_read_only_file_stays(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(ValueError, match=r"read-only; .*chmod u\+w"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed(tmp_path, there):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "file", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to("folder/file")
    assert write_atomically(link, b"new") == link
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["file"]


def test_links_that_lead_nowhere(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere/file")
    with pytest.raises(ValueError, match="Too many levels of symbolic links"):
        check_writable(tmp_path / "loop")
    with pytest.raises(ValueError, match="nowhere' does not exist"):
        check_writable(tmp_path / "gone")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_permissions_stay(tmp_path, mode):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(mode)
    with replacing(path) as temporary:
        # From the start: whoever may not read the file must not read this one.
        assert stat.S_IMODE(temporary.stat().st_mode) == mode
        temporary.write_bytes(b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_the_owner_stays(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    os.chown(path, 12, 34)
    write_atomically(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12, 34)


def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", b"new")
    finally:
        assert os.umask(before) == 0o027
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_the_umask_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was set"))
    write_atomically(tmp_path / "file", b"new")


def test_writers_at_once_leave_one_whole_file(tmp_path):
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(4)]
    found = set()

    def write(content):
        for _ in range(20):
            write_atomically(path, content)
            found.add(path.read_bytes())

    threads = [threading.Thread(target=write, args=(each,)) for each in contents]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert found <= set(contents)
    assert os.listdir(tmp_path) == ["file"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_long_names(tmp_path):
    name = "x" * 255
    write_atomically(tmp_path / name, b"new")
    assert os.listdir(tmp_path) == [name]
