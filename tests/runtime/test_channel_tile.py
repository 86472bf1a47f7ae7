import sys

import pytest

from tfcompress.runtime import channel_tile
from tfcompress.runtime.host import cached_path, here

HOME = sys.modules[channel_tile.__module__]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((1.0, 1.0, 1.0, 1.0), 64),
        ((1.0, 1.1, 1.2, 1.9), 32),
        ((1.0, 1.1, 1.9, 3.7), 16),
        ((1.0, 1.9, 3.7, 7.4), 8),
    ],
)
def test_the_largest_size_that_takes_no_longer(times, expected):
    assert HOME.largest(dict(zip((8, 16, 32, 64), times, strict=True))) == expected


def test_it_is_measured_once_for_a_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    HOME._of_host.cache_clear()
    tile = channel_tile()
    (path,) = (tmp_path / "tfcompress").iterdir()
    assert path.name.startswith("tile_")
    HOME._of_host.cache_clear()
    monkeypatch.setattr(HOME, "measured", None)
    assert channel_tile() == tile
    HOME._of_host.cache_clear()


@pytest.mark.parametrize("content", ["", "7", "[]", "{}"])
def test_a_damaged_file_is_replaced(content, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(HOME, "measured", lambda: 16)
    path = cached_path("tile", here())
    path.write_text(content)
    HOME._of_host.cache_clear()
    assert channel_tile() == 16
    assert path.read_text() == "16"
    HOME._of_host.cache_clear()


def test_without_a_cache_folder(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(HOME, "measured", lambda: 32)
    HOME._of_host.cache_clear()
    assert channel_tile() == 32
    HOME._of_host.cache_clear()
