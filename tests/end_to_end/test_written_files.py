"""All that writes files does it in one way."""

import concurrent.futures
import os
import warnings
import zipfile

import numpy as np
import pytest

import tfcompress as tfc
from tests import models
from tfcompress.cli.compress import save_model
from tfcompress.measuring.html_report import write_html_report


def ladder(path):
    model = models.small()
    x = models.inputs(model, 8)
    data = x, models.classes(8)
    tfc.quantize_ladder(model, path, x, data, max_drop=1.0, verbose=0)


def page(path):
    write_html_report(path, tfc.compare({"a": models.small()}, latency=False))


WRITERS = {
    "m.tflite": lambda path: tfc.export_tflite(models.small(), path),
    "m.keras": lambda path: save_model(models.small(), path),
    "ladder.tflite": ladder,
    "page.html": page,
    "recipe.yaml": lambda path: tfc.Recipe(["strip"]).to_yaml(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_pipes_and_read_only_files_stay_and_links_are_followed(name, tmp_path):
    write, real, link = WRITERS[name], tmp_path / name, tmp_path / f"link-{name}"
    os.mkfifo(real)
    with pytest.raises(ValueError, match="not a file"):
        write(real)
    assert real.is_fifo()
    real.unlink()
    real.write_bytes(b"old")
    real.chmod(0o400)
    with pytest.raises(ValueError, match="read-only"):
        write(real)
    assert real.read_bytes() == b"old"
    real.chmod(0o600)
    link.symlink_to(name)
    write(link)
    assert link.is_symlink()
    assert len(real.read_bytes()) > len(b"old")
    assert real.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == sorted([name, link.name])


def test_threads_that_save_one_file(tmp_path):
    path, model = tmp_path / "m.keras", models.small()

    def save():
        for _ in range(10):
            save_model(model, path)
            with zipfile.ZipFile(path) as file:
                assert file.testzip() is None

    run_in_threads(save, 4)
    assert os.listdir(tmp_path) == ["m.keras"]


def test_threads_that_export_leave_the_process_as_it_was(tmp_path):
    model = models.small()
    x = models.inputs(model, 16)
    places = [os.fstat(descriptor).st_ino for descriptor in (1, 2)]
    filters = list(warnings.filters)
    path = tmp_path / "m.tflite"

    def export():
        tfc.export_tflite(model, path, "int8", samples=x)

    run_in_threads(export, 4)
    assert [os.fstat(descriptor).st_ino for descriptor in (1, 2)] == places
    assert warnings.filters == filters
    with tfc.Interpreter(path) as interpreter:
        np.testing.assert_allclose(interpreter.run(x), model(x), atol=0.1)


def run_in_threads(function, count):
    """Calls a function in several threads at once; what one raises is raised."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for run in [pool.submit(function) for _ in range(count)]:
            run.result()
