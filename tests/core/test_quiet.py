import logging
import os
import subprocess
import sys
import threading
import time

import pytest

from tfcompress.core.quiet import native_notes_dropped, tensorflow_notes_dropped

NOTE = b"I0000 00:00:1.2  1 reader.cc:83] Reading\n"
WARNING = b"W0000 00:00:1.2  1 flatbuffer.cc:364] Ignored output_format.\n"


def place(descriptor=2):
    there = os.fstat(descriptor)
    return there.st_dev, there.st_ino


def test_notes_are_dropped_and_all_else_appears_in_order(capfd):
    with native_notes_dropped():
        os.write(2, b"one\n" + NOTE)
        os.write(2, b"two\n" + WARNING + b"open line")
    assert capfd.readouterr().err == f"one\ntwo\n{WARNING.decode()}open line"


def test_warnings_on_demand_but_nothing_of_python(capfd):
    with native_notes_dropped(with_warnings=True):
        os.write(2, NOTE + WARNING + b"loc(fused[]): error: no such op\n")
        print("out")
        print("error", file=sys.stderr)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("out\n", "error\n")


def test_what_tensorflow_logs_in_notebooks():
    logger, seen = logging.getLogger("tensorflow"), []
    handler, level = logging.Handler(), logger.level
    handler.emit = lambda record: seen.append(record.msg)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with tensorflow_notes_dropped():
            with tensorflow_notes_dropped():
                logger.info("inner")
            logger.info("outer")
            logger.warning("a warning")
        logger.info("after")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert seen == ["a warning", "after"]


def test_nested(capfd):
    before = place()
    with native_notes_dropped(with_warnings=True):
        with native_notes_dropped():
            os.write(2, NOTE + WARNING + b"in\n")
        assert place() != before
        os.write(2, NOTE + b"out\n")
    assert place() == before
    assert capfd.readouterr().err == "in\nout\n"


def test_it_ends_with_an_error(capfd):
    before = place()
    with pytest.raises(KeyError), native_notes_dropped():
        os.write(2, b"kept\n")
        raise KeyError
    assert place() == before
    assert capfd.readouterr().err == "kept\n"


def test_threads_that_overlap(capfd):
    before, inside, leave = place(), threading.Barrier(2), threading.Event()

    def first():
        with native_notes_dropped():
            inside.wait()
            os.write(2, b"first\n")
        leave.set()

    thread = threading.Thread(target=first)
    thread.start()
    with native_notes_dropped():
        inside.wait()
        leave.wait()
        # Output appears whenever one context ends, not only with the last one.
        assert capfd.readouterr().err == "first\n"
        os.write(2, NOTE + b"second\n")
    thread.join()
    assert place() == before
    assert capfd.readouterr().err == "second\n"


def test_many_threads_lose_nothing(capfd):
    before, number = (place(1), place(2)), 8
    descriptors = len(os.listdir("/dev/fd"))

    def work(name):
        for step in range(50):
            with native_notes_dropped():
                os.write(2, NOTE)
            os.write(2, f"{name} {step}\n".encode())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(number)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (place(1), place(2)) == before
    assert len(os.listdir("/dev/fd")) == descriptors
    lines = capfd.readouterr().err.splitlines()
    assert sorted(lines) == sorted(f"{n} {s}" for n in range(number) for s in range(50))


def test_a_forked_child_has_its_standard_error(capfd):
    before = place()
    with native_notes_dropped():
        child = os.fork()
        if not child:
            is_back = place() == before
            # It may start and end its own contexts.
            with native_notes_dropped():
                os.write(2, NOTE)
            os._exit(0 if is_back and place() == before else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert place() == before
    assert capfd.readouterr().err == ""


def test_fork_while_threads_come_and_go():
    end = time.monotonic() + 1

    def work():
        while time.monotonic() < end:
            with native_notes_dropped():
                pass

    thread = threading.Thread(target=work)
    thread.start()
    while time.monotonic() < end:
        child = os.fork()
        if not child:
            with native_notes_dropped():
                os._exit(0)
        # A child that inherits a lock never ends.
        assert os.waitpid(child, 0)[1] == 0
    thread.join()


@pytest.mark.parametrize("stream", ["None", "closed"])
def test_streams_that_are_not_there(monkeypatch, stream):
    with open(os.devnull, "w") as closed:
        pass
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None if stream == "None" else closed)
    with native_notes_dropped():
        pass


CLOSED = """
import os, sys
streams = {{1: sys.stdout, 2: sys.stderr}}
pipes = {{number: os.dup(number) for number in streams}}

def check(*closed):
    for number in closed: os.close(number)
    sys.stdout = sys.__stdout__ = None if 1 in closed else streams[1]
    sys.stderr = sys.__stderr__ = None if 2 in closed else streams[2]
    path = {folder!r} + "/" + "".join(map(str, closed))
    # The number of a stream that is not there may be any file's.
    with open(path, "w+") as file:
        assert file.fileno() == closed[0]
        import tfcompress as tfc, keras, numpy as np
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        x = np.zeros((4, 4), "float32")
        tfc.export_tflite(model, path + ".tflite", samples=x)
        tfc.distillation.precompute(model, x, path + ".soft")
        file.write("done")
    for number in closed: os.dup2(pipes[number], number)

check(1, 2)
check(1)
check(2)
"""


def test_it_works_without_standard_output(tmp_path):
    program = CLOSED.format(folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr
    for closed in ("12", "1", "2"):
        assert (tmp_path / closed).read_text().endswith("done")
        assert (tmp_path / f"{closed}.tflite").read_bytes()[4:8] == b"TFL3"
