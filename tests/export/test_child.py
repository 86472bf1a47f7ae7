"""A process apart: kept, replaced once it ended, left alone by forks."""

import os
import signal
import threading

import pytest

from tests.export import child_tasks
from tfcompress.export.child import Child


class Noting(Child):
    """Notes texts in a file."""

    def __init__(self, folder):
        super().__init__(child_tasks.note)
        self._path = folder / "notes"

    def note(self, text):
        self.run(str(self._path), text)

    def noted(self):
        """`{text: the process that wrote it}`."""
        return dict(line.split() for line in self._path.read_text().splitlines())


@pytest.fixture
def child(tmp_path):
    return Noting(tmp_path)


def test_one_process_does_all_tasks(child):
    for text in "abc":
        child.note(text)
    assert list(child.noted()) == ["a", "b", "c"]
    (process,) = set(child.noted().values())
    assert process != str(os.getpid())


def test_errors_are_told_and_the_process_stays():
    child = Child(child_tasks.fail)
    for text in ("one", "two"):
        with pytest.raises(RuntimeError, match=f"^{text}$"):
            child.run(text)
    assert child._process.poll() is None


def test_a_function_that_is_not_there_is_told():
    def inner():
        """No module has it by its name."""

    with pytest.raises(RuntimeError, match="has no attribute 'inner'"):
        Child(inner).run()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_what_ends_the_process_is_named_and_another_one_starts(number):
    child = Child(child_tasks.end)
    for _ in range(2):
        with pytest.raises(ChildProcessError, match=f"^{number.name}$"):
            child.run(int(number))


def test_a_process_that_leaves_as_the_task_comes_is_replaced(child, monkeypatch):
    child.note("a")
    child._process.send_signal(signal.SIGALRM)
    code = child._process.wait()
    monkeypatch.setattr(child._process, "poll", iter([None, code]).__next__)
    child.note("b")
    assert child.noted()["a"] != child.noted()["b"]


def test_it_leaves_with_its_parent(child):
    child.note("a")
    child._process.stdin.close()
    assert child._process.wait(timeout=30) == 0


def test_it_leaves_when_it_has_nothing_to_do():
    child = Child(child_tasks.fail, patience=1)
    with pytest.raises(RuntimeError):
        child.run("one")
    assert child._process.wait(timeout=30) == -signal.SIGALRM


def test_threads_wait_for_each_other(child):
    threads = [threading.Thread(target=child.note, args=text) for text in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(child.noted()) == ["a", "b", "c", "d"]
    assert len(set(child.noted().values())) == 1


def test_an_answer_that_nobody_waited_for_is_lost(child, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    child.note("a")
    monkeypatch.setattr(child._process.stdout, "readline", interrupted)
    with pytest.raises(KeyboardInterrupt):
        child.note("b")
    child.note("c")
    assert child.noted()["a"] != child.noted()["c"]


def test_a_fork_starts_its_own(child):
    child.note("a")
    of_the_parent = child._process
    # What Python calls in a fork; one of a process with TensorFlow's threads may hang.
    child._forget()
    child.note("b")
    assert child.noted()["a"] != child.noted()["b"]
    assert of_the_parent.poll() is None
