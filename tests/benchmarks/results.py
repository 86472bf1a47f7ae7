"""Pages and figures that are printed from files of results, and results that are stale.

usage: python tests/benchmarks/results.py write | check | stale

`write` prints docs/results/NAME.json as pages in the same folder, and fills in the blocks

    <!-- figures: NAME -->
    ...
    <!-- end of figures -->

of README.md and docs/ from the templates in docs/results/figures/NAME.md, in which
`{{file / row / measure : format}}` stands for a value. `check` fails if that would change
anything, or if a figure elsewhere in these texts is in no result. `stale` lists the results
whose code has changed since.
"""

import ast
import functools
import json
import re
import subprocess
import sys

import harness
import measures_page
import overview
import peers_page
import pruning_page
import zoo_page

ROOT = harness.FOLDER.parents[1]
RESULTS = ROOT / "docs" / "results"
_ROOMS = (
    "core coding export native pruning quantization runtime tflite transforms".split()
)
# What the figures of a file come from, next to its script: rooms of the package.
ROOMS = {
    "binary_ops": ["blocks", "core", "export", "native", "runtime", "tflite"],
    "deep_compression": [*_ROOMS, "distillation", "recipes"],
    "dynamic_table": [*_ROOMS, "dynamic"],
    "latency_table": [*_ROOMS, "search"],
    "load_time": [*_ROOMS],
    "peers": [*_ROOMS, "search"],
    "pruning_tables": [*_ROOMS],
    "recipes_table": [*_ROOMS, "distillation", "measuring", "recipes"],
    "search_table": [*_ROOMS, "factorization", "recipes", "search"],
    "shrink_table": ["core", "export", "pruning", "runtime", "tflite"],
    "sparse_dense": ["core", "export", "pruning", "runtime", "tflite"],
    "digits": [*_ROOMS, "cli", "measuring"],
    "zoo": [*_ROOMS, "factorization", "interop", "rewrites"],
}
PAGES = {
    "peers": ("peers.md", peers_page.page),
    "pruning_tables": ("pruning.md", pruning_page.page),
    "zoo": ("zoo.md", zoo_page.page),
    **{
        name: (f"{name}.md", functools.partial(measures_page.page, head))
        for name, head in measures_page.HEADS.items()
    },
}
_BLOCK = re.compile(
    r"(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)", re.DOTALL
)
_VALUE = re.compile(r"\{\{([^{}]+?)(?::([^{}:]*))?\}\}")
_FIGURE = re.compile(
    r"(?<![\w.,])(\d[\d,]*(?:\.\d+)?) ?(%|x\b|ms\b|kB\b|MB\b|bytes\b|points\b)"
)


@functools.cache
def results(name):
    """The rows of a file."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def value(name, row, measure):
    """One figure.

    Raises:
        KeyError: if no result has it.
    """
    for result in results(name):
        if (
            result["row"] == row
            and result.get("measure", result.get("method")) == measure
        ):
            return result.get("value", result.get("error_percent"))
    raise KeyError(f"{name}.json has no {measure!r} in the row {row!r}")


def filled(template, get=value):
    """A template with its values.

    >>> filled("{{a / b / c : .1f}} %", lambda *key: 2.25)
    '2.2 %'
    """

    def replaced(match):
        key = [part.strip() for part in match[1].split(" / ")]
        return format(get(*key), (match[2] or "").strip())

    return _VALUE.sub(replaced, template)


def with_figures(text):
    """A page with its blocks filled in."""

    def block(match):
        template = (RESULTS / "figures" / f"{match[2]}.md").read_text()
        return match[1] + filled(template) + match[3]

    return _BLOCK.sub(block, text)


def texts():
    """Pages with prose: the README and docs/, without what is all results."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def printed():
    """`{path: text}` of all that is printed from results."""
    pages = {
        RESULTS / file: page(results(name)) for name, (file, page) in PAGES.items()
    }
    pages[RESULTS / "overview.svg"] = overview.svg(results("recipes_table"))
    return pages | {path: with_figures(path.read_text()) for path in texts()}


def unsourced(text, known):
    """Figures outside of blocks and code that are in no result.

    Args:
        text: of a page.
        known: numbers.

    >>> unsourced("It has 91.73 % and 12.5x, `--at 3 %`.", [91.7312])
    ['12.5x']
    """
    prose = re.sub(r"```.*?```|`[^`]*`", "", _BLOCK.sub("", text), flags=re.DOTALL)
    return [
        match[0] for match in _FIGURE.finditer(prose) if not _is_known(match[1], known)
    ]


def _is_known(printed_number, known):
    digits = printed_number.replace(",", "")
    places = len(digits.partition(".")[2])
    if places == 0 and len(digits) < 3:
        # Round numbers are words of the language, not measurements.
        return True
    return any(f"{number:.{places}f}" == digits for number in known)


def all_values():
    """Every number in every file of results."""
    return [
        number
        for path in RESULTS.glob("*.json")
        for result in results(path.stem)
        for number in result.values()
        if isinstance(number, (int, float))
    ]


def check():
    """What is wrong, one line each."""
    found = [
        f"{path.relative_to(ROOT)} is not what the results print: run make results"
        for path, text in printed().items()
        if not path.exists() or path.read_text() != text
    ]
    known = all_values()
    return found + [
        f"{path.relative_to(ROOT)}: {figure!r} is in no result"
        for path in texts()
        for figure in unsourced(path.read_text(), known)
    ]


def stale():
    """`{(file, row): changed files}` of results that are older than their code."""
    found = {}
    for name, rooms in ROOMS.items():
        paths = [*(f"tfcompress/{room}" for room in rooms), *_scripts(name)]
        for result in results(name):
            changed = _changed(result["commit"].removesuffix("-dirty"), tuple(paths))
            if changed:
                found[name, result["row"], result["date"]] = changed
    return found


def _scripts(name):
    if name == "peers":
        parts = "peer_lab.py", "peer_programs.py", "peer_rows", "peer_task.py", "peers"
        return [f"tests/benchmarks/{part}" for part in ("peers.py", *parts)]
    rows = (
        f"tests/benchmarks/{name.removesuffix('_table').removesuffix('_tables')}_rows"
    )
    return [f"tests/benchmarks/{name}.py", rows]


@functools.cache
def _changed(commit, paths):
    """Files of code that are different since a commit, comments and docstrings apart."""
    known = [path for path in paths if (ROOT / path).exists()]
    try:
        _git("cat-file", "-e", commit)
    except subprocess.CalledProcessError:
        return [f"commit {commit}, which is not in this clone"]
    names = _git("diff", "--name-only", commit, "HEAD", "--", *known).splitlines()
    return [
        name
        for name in names
        if _code(_show(commit, name)) != _code(_show("HEAD", name))
    ]


def _git(*arguments):
    run = subprocess.run(
        ["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True
    )
    return run.stdout


def _show(commit, name):
    try:
        return name, _git("show", f"{commit}:{name}")
    except subprocess.CalledProcessError:
        return name, None


def _code(file):
    """What a file does: for Python its syntax tree without docstrings."""
    name, text = file
    if text is None or not name.endswith(".py"):
        return text
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        is_text = isinstance(body, list) and body and isinstance(body[0], ast.Expr)
        if is_text and isinstance(body[0].value, ast.Constant):
            del body[0]
    return ast.dump(tree)


def _write():
    for path, text in printed().items():
        path.write_text(text)


def _print_stale():
    for (name, row, date), changed in stale().items():
        rest = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        print(f"{name}.json, {row} ({date}): {', '.join(changed[:3])}{rest}")


def main(task):
    """Does one of the three tasks; the exit code says whether all is well."""
    if task == "write":
        _write()
    elif task == "stale":
        _print_stale()
    elif task == "check":
        wrong = check()
        print("\n".join(wrong), file=sys.stderr)
        return 1 if wrong else 0
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2] or [""]))
