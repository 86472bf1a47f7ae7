"""Transformers: what works inside KerasHub backbones, and what is lost by compression.

Rows of networks that are trained here are in transformer_rows/.
"""

import functools
import json
import os
import subprocess
import sys

import cifar
import dynamic_lab
import harness

NAMES = (
    *("bert", "distilbert", "roberta", "albert", "deberta", "vit", "mit", "gpt2"),
    *("opt", "gemma", "llama", "qwen", "t5", "whisper"),
)
STEPS = ("opened", "masked", "pruned", "factorized", "float32", "int8")
_TOGETHER = "all"
_QUICK = ("movement", "bert", _TOGETHER)
# Seconds for one backbone.
_LIMIT = 1200


def _outcomes(name, path):
    """`{step: reason}` from a process of its own, which has the peers' packages."""
    folders = [harness.FOLDER, harness.FOLDER.parents[1], path]
    search = os.pathsep.join(map(str, folders))
    run = subprocess.run(
        [sys.executable, harness.FOLDER / "transformers_task.py", f"hub_{name}"],
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=_LIMIT,
    )
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        last = " ".join(run.stderr.split())[-200:]
        return dict.fromkeys(STEPS, f"exit status {run.returncode}: {last}")
    return json.loads(lines[-1])


class Backbones:
    """Takes backbones through the steps and counts on how many each works."""

    def __init__(self):
        self._outcomes = {}

    def measure(self, name, options):
        """The figures of one backbone, and why steps do not work."""
        if options.no_peers:
            return harness.left_out("--no-peers")
        path = harness.peer_packages("keras_hub", options.peers_dir)
        self._outcomes[name] = _outcomes(name, path)
        return [
            harness.Measure(step, int(not reason), at_least=1, note=reason or "works")
            for step, reason in self._outcomes[name].items()
        ]

    def summarize(self, options):
        """On how many backbones each step works."""
        total = len(self._outcomes)
        if not total:
            return harness.left_out("no backbone was run")
        return [
            harness.Measure(
                step,
                sum(not outcomes[step] for outcomes in self._outcomes.values()),
                at_least=total,
                note=f"of {total} backbones",
            )
            for step in STEPS
        ]


def rows():
    """`{name: function of the options}`: trained networks, backbones, and all of these."""
    backbones = Backbones()
    each = {name: functools.partial(backbones.measure, name) for name in NAMES}
    trained = dynamic_lab.rows_of("transformer_rows")
    return {**trained, **each, _TOGETHER: backbones.summarize}


if __name__ == "__main__":
    harness.main(__doc__, rows(), cifar.add_options, quick=_QUICK)
