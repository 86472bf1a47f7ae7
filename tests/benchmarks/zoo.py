"""Takes models as other people write them through everything that the product does."""

import collections
import concurrent.futures
import functools
import json
import os
import subprocess
import sys
import threading

import harness

STEPS = (
    *("report", "train", "float32", "float16", "dynamic", "int8", "int16x8"),
    *("channels", "factorize", "ranges", "4 bits"),
)
# How a step can end. The first is success.
KINDS = {
    "works": "did what it should",
    "said": "refused by the product's own words",
    "foreign": "a ValueError, TypeError or NotImplementedError from elsewhere",
    "odd": "any other error",
    "silent": "nothing done, nothing said",
    "wrong": "a wrong result",
    "crash": "the process ended",
    "time": "took too long",
}
_TOGETHER = "all"
_QUICK = ("tutorial_mlp", _TOGETHER)
# Seconds for one step.
_LIMIT = 300


def try_model(name, path):
    """`{step: outcome}` for a model, from processes that may die.

    Args:
        name: of the model.
        path: folder of packages that the model needs, or None.
    """
    outcomes, steps = {}, list(STEPS)
    while steps:
        started, found = _run_task(name, steps, path)
        outcomes.update(found)
        if outcomes["build"]["kind"] != "works":
            break
        steps = steps[steps.index(started) + 1 :]
    return outcomes


def _run_task(name, steps, path):
    """Runs `zoo_task.py`; returns the last step that it started, and `{step: outcome}`."""
    folders = [harness.FOLDER, harness.FOLDER.parents[1], os.environ.get("PYTHONPATH")]
    search = os.pathsep.join(str(folder) for folder in (*folders, path) if folder)
    child = subprocess.Popen(
        [sys.executable, harness.FOLDER / "zoo_task.py", name, *steps],
        env=os.environ | {"PYTHONPATH": search},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    notes = collections.deque(maxlen=40)
    listener = threading.Thread(target=lambda: notes.extend(child.stderr))
    listener.start()
    started, outcomes = "build", {}
    while line := _next_line(child):
        answer = json.loads(line)
        if "begin" in answer:
            started = answer["begin"]
        else:
            outcomes[answer["step"]] = answer
    code = child.wait()
    listener.join()
    if started not in outcomes:
        outcomes[started] = _ended(started, code, "".join(notes))
    return started, outcomes


def _next_line(child):
    """The next line of the process; empty once it has ended or was killed."""
    timer = threading.Timer(_LIMIT, child.kill)
    timer.start()
    line = child.stdout.readline()
    timer.cancel()
    return line


def _ended(step, code, notes):
    """The outcome of a step in which the process ended."""
    kind, reason = "crash", f"exit status {code}: {notes.strip()[-200:]}"
    if code == -9:
        kind, reason = "time", f"killed after {_LIMIT} s, or for its memory"
    return {
        "step": step,
        "kind": kind,
        "reason": " ".join(reason.split()),
        "warnings": [],
        "seconds": 0.0,
    }


class Trials:
    """Takes models through the steps, several at a time, and stores the outcomes.

    Attributes:
        outcomes: `{name: {step: outcome}}` of the models requested so far.
    """

    def __init__(self):
        self.outcomes = {}
        self._futures = None

    def measure(self, name, options):
        """The figures of one model, and why steps fail."""
        if name.startswith("hub_") and options.no_peers:
            return harness.left_out("--no-peers")
        outcomes = self._begun(options)[name].result()
        self.outcomes[name] = outcomes
        for step, outcome in outcomes.items():
            if outcome["kind"] != "works":
                harness.progress(f"  {step}: {outcome['kind']}: {outcome['reason']}")
        return [_as_measure(outcome) for outcome in outcomes.values()]

    def _begun(self, options):
        if self._futures is None:
            pool = concurrent.futures.ThreadPoolExecutor(options.jobs)
            wanted = options.only or (_QUICK if options.quick else names())
            self._futures = {
                name: pool.submit(_try_model_with_peers, name, options)
                for name in wanted
                if name != _TOGETHER
                and not (name.startswith("hub_") and options.no_peers)
            }
        return self._futures

    def summarize(self, options):
        """On how many models each step works, and how the others fail."""
        measures = [harness.Measure("models", len(self.outcomes))]
        for step in ("build", *STEPS):
            kinds = collections.Counter(
                outcomes[step]["kind"]
                for outcomes in self.outcomes.values()
                if step in outcomes
            )
            total = kinds.total()
            for kind in KINDS:
                if kind == "works" or kinds[kind]:
                    note = f"of {total} models: {KINDS[kind]}"
                    name = f"{step}: {kind}"
                    measures.append(harness.Measure(name, kinds[kind], note=note))
        return measures


def _try_model_with_peers(name, options):
    path = None
    if name.startswith("hub_"):
        path = harness.peer_packages("keras_hub", options.peers_dir)
    return try_model(name, path)


def _as_measure(outcome):
    works = outcome["kind"] == "works"
    notes = [] if works else [f"{outcome['kind']}: {outcome['reason']}"]
    notes += [f"warned: {line}" for line in outcome["warnings"][:2]]
    note = "; ".join(notes) or None
    return harness.Measure(outcome["step"], int(works), at_least=1, note=note)


def names():
    """Names of all models."""
    import zoo_models
    from zoo_models import hub

    return [*zoo_models.names(), *hub.BACKBONES]


def rows():
    """`{name: function of the options}` for all models, and one for them together."""
    trials = Trials()
    functions = {name: functools.partial(trials.measure, name) for name in names()}
    return {**functions, _TOGETHER: trials.summarize}


def show(title, results):
    """Prints how many models each step works on, then every failure."""
    import rich.console
    import rich.markup
    import rich.table

    table = rich.table.Table(title=title, title_justify="left")
    table.add_column("step")
    table.add_column("works", justify="right")
    for kind in list(KINDS)[1:]:
        table.add_column(kind, justify="right")
    models = [r for r in results if r["row"] != _TOGETHER and r["value"] is not None]
    for step in ("build", *STEPS):
        mine = [_kind_of(result) for result in models if result["measure"] == step]
        counts = collections.Counter(mine)
        others = (str(counts[kind] or "") for kind in list(KINDS)[1:])
        table.add_row(step, f"{counts['works']} of {len(mine)}", *others)
    failures = rich.table.Table("step", "model", "why not", title_justify="left")
    for step in ("build", *STEPS):
        for result in models:
            if result["measure"] == step and not result["value"]:
                why = rich.markup.escape(result["note"])
                failures.add_row(step, result["row"], why)
    console = rich.console.Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table, failures)
    console.print("\n".join(f"{kind}: {what}" for kind, what in KINDS.items()))


def _kind_of(result):
    return "works" if result["value"] else result["note"].partition(":")[0]


def _add_options(parser):
    parser.add_argument("--jobs", type=int, default=1, help="models at a time")


if __name__ == "__main__":
    harness.main(__doc__, rows(), _add_options, quick=_QUICK, show=show)
