"""Two workers train together, as two processes of this machine."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import numpy as np
import tensorflow as tf

from tests.scale import worker

ROOT = pathlib.Path(__file__).parents[2]
LIMIT_S = 300


class Job:
    """Two workers, each a process; within it they run.

    Args:
        folder: for results and logs.
        *arguments: of `worker.main`, without the folder.
    """

    def __init__(self, folder, *arguments):
        self.folder, self.arguments = folder, arguments
        folder.mkdir(exist_ok=True)

    def __enter__(self):
        addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
        self.workers = [self._started(addresses, index) for index in range(2)]
        return self

    def _started(self, addresses, index):
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": addresses}, "task": task}
        variables = {"TF_CONFIG": json.dumps(config), "PYTHONPATH": str(ROOT)}
        with open(self._path(index), "w") as log:
            return subprocess.Popen(
                [sys.executable, worker.__file__, str(self.folder), *self.arguments],
                env=os.environ | variables | {"TF_NUM_INTRAOP_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    def _path(self, index):
        return self.folder / f"log-{index}"

    def log(self, index):
        """The end of what a worker says."""
        return self._path(index).read_text()[-4000:]

    def code(self, index):
        """What a worker ends with; fails if it takes too long."""
        return self.workers[index].wait(LIMIT_S)

    def check_ended(self):
        """Fails unless both workers end well."""
        for index in range(2):
            assert self.code(index) == 0, self.log(index)

    def results(self, name):
        """What both workers made of a training."""
        paths = [self.folder / f"{name}-{index}.npz" for index in range(2)]
        return [dict(np.load(path)) for path in paths]

    def __exit__(self, *error):
        for process in self.workers:
            process.kill()
            process.wait()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def alone(name):
    return worker.trained(name, tf.distribute.get_strategy())


def check_close(actual, expected, name):
    for key, value in expected.items():
        np.testing.assert_allclose(
            actual[key], value, rtol=1e-5, atol=1e-5, err_msg=f"{name}: {key}"
        )


def test_as_one_process(tmp_path):
    names = list(worker.TRAININGS)
    with Job(tmp_path / "job", ",".join([*names, "errors"])) as job:
        expected = {name: alone(name) for name in names}
        job.check_ended()
    for name in names:
        results = job.results(name)
        masks = expected[name].pop("masks")
        for found in results:
            np.testing.assert_array_equal(found.pop("masks"), masks, err_msg=name)
            check_close(found, expected[name], name)
        # Not only close: what is trained is the same, bit for bit.
        for key in (key for key in results[0] if key.startswith("weight")):
            np.testing.assert_array_equal(*(found[key] for found in results))
    check_masks(expected, job)
    check_errors(job.results("errors"))


def check_masks(expected, job):
    """All but the masks of learned steps changed, again and again."""
    for name in expected.keys() - {"learned_steps"}:
        rows = job.results(name)[0]["masks"]
        assert (rows[1:] != rows[:-1]).any(axis=1).sum() >= 2, name


def check_errors(results):
    for found in results:
        # Should Keras learn to do this, `mend_fit_on_workers` can go.
        assert "PerReplica" in str(found["_maybe_symbolic_build"])
        assert "reduction dimension" in str(found["reduce_per_replica"])
    for name in ("pruning", "sparse_training"):
        first, second = (str(found[name]) for found in results)
        assert "is at optimizer step 0, the first worker at 0; 1 of 2" in first
        assert "is at optimizer step 3, the first worker at 0; 1 of 2" in second
        assert "backup_dir" in first


def test_workers_that_are_killed(tmp_path):
    # The first time the second worker dies, then the first one in the other training.
    names, deaths = ("quantized", "rigl"), ("quantized=1", "rigl=0")
    for dying in (1, 0):
        with Job(tmp_path / "job", ",".join(names), *deaths) as job:
            assert job.code(dying) == -signal.SIGKILL, job.log(dying)
    with Job(tmp_path / "job", ",".join(names), *deaths) as job:
        expected = {name: alone(name) for name in names}
        job.check_ended()
    for name in names:
        masks = expected[name].pop("masks")
        logs = [key for key in expected[name] if key.startswith("log")]
        num_rows = len(masks) // worker.EPOCHS * (worker.EPOCHS - 1)
        for found in job.results(name):
            # The first epoch was trained by workers that are gone.
            np.testing.assert_array_equal(found.pop("masks"), masks[-num_rows:])
            for key in logs:
                assert len(found[key]) == worker.EPOCHS - 1
            check_close(
                found,
                {k: v[1:] if k in logs else v for k, v in expected[name].items()},
                name,
            )
