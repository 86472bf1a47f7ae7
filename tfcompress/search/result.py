"""The result of a search."""

import dataclasses
import functools
import html
import pathlib
import shlex

from tfcompress.core.compress import strip
from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import FilePath, checked
from tfcompress.core.text import Table, as_text
from tfcompress.interop.load import load_model
from tfcompress.measuring import charts, html_page
from tfcompress.recipes.recipe import Recipe

# Folder for candidates that are reproduced.
AGAIN = "again"
# The data that candidates are calibrated or trained on.
DATA = "data.npz"
_COLUMNS = {
    "size_bytes": ("bytes", "{:,}".format),
    "macs": ("MACs", "{:,}".format),
    "latency_ms": ("ms", "{:.3f}".format),
    "memory_bytes": ("bytes of activations", "{:,}".format),
    "accuracy": ("accuracy", "{:.4f}".format),
}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One compressed model with its file and its measurements.

    Attributes:
        name: such as `"003"`, as in the files `NAME.yaml`, `NAME.keras` and `NAME.tflite`.
        member: the choices, `{dimension: {layer: choice}}`.
        epochs: number of epochs that it was trained for.
        path: the written `.tflite` file.
        size_bytes: bytes of the file.
        accuracy: accuracy of the file in LiteRT: the fraction of correct answers, or minus
            the mean squared error, depending on the model's loss.
        macs: multiply-accumulates per sample.
        latency_ms: milliseconds per sample; None if the budget does not limit latency.
        memory_bytes: bytes of activations that are needed at the same time.
        seconds: time to build and to measure it.
    """

    name: str
    member: dict
    epochs: int
    path: pathlib.Path
    size_bytes: int
    accuracy: float
    macs: int
    latency_ms: float | None
    memory_bytes: int
    seconds: float

    @property
    def recipe(self):
        """The `tfc.Recipe` that makes it from the model in the same folder."""
        return Recipe.from_yaml(self.path.with_suffix(".yaml"))

    @functools.cached_property
    def model(self):
        """The plain Keras model that the file was written from."""
        return strip(load_model(self.path.with_suffix(".keras")))

    @property
    def command(self):
        """The command that reproduces it; None if its data are not in one file.

        That is the case for several inputs or outputs, and for training on a dataset;
        `recipe.run` then reproduces it.
        """
        folder = self.path.parent
        if not (folder / DATA).is_file():
            return None
        model, recipe = folder / "model.keras", self.path.with_suffix(".yaml")
        again = folder / AGAIN / f"{self.name}.keras"
        files = map(str, (model, recipe, again, "--data", folder / DATA))
        return shlex.join(["tfcompress", "compress", *files])

    @property
    def costs(self):
        """`{name: cost}` of the costs that a budget can limit."""
        names = ("size_bytes", "macs", "latency_ms", "memory_bytes")
        return {name: getattr(self, name) for name in names}

    def to_dict(self):
        """Plain numbers and strings."""
        return {**dataclasses.asdict(self), "path": self.path.name}


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """All candidates of a search; prints as a table.

    Attributes:
        dense: the original model, a `Candidate` with a float32 file.
        best: the `Candidate` with the highest accuracy within the budget; the smallest
            one if the budget only limits the loss of accuracy.
        candidates: tuple of `Candidate`, in the order in which they were built.
        budget: the `Budget`.
    """

    dense: Candidate
    best: Candidate
    candidates: tuple
    budget: object

    @property
    def front(self):
        """Candidates that no other one dominates in accuracy and all costs."""
        names = [*(self.budget.costs or ["size_bytes"])]
        points = [
            (candidate, [-candidate.accuracy, *(candidate.costs[n] for n in names)])
            for candidate in self.candidates
        ]
        left = [
            candidate
            for candidate, point in points
            if not any(_dominates(other, point) for _, other in points)
        ]
        return tuple(sorted(left, key=lambda c: c.costs[names[0]]))

    def to_dict(self):
        """Plain numbers, strings and lists."""
        return {
            "budget": dataclasses.asdict(self.budget),
            "dense": self.dense.to_dict(),
            "best": self.best.name,
            "front": [candidate.name for candidate in self.front],
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }

    def _shown(self):
        rows = (self.dense, *self.candidates)
        return {
            name: column
            for name, column in _COLUMNS.items()
            if all(getattr(row, name) is not None for row in rows)
        }

    def table(self):
        """A `rich.table.Table`."""
        table = Table(title=self._title(), title_justify="left")
        table.add_column("candidate")
        for heading, _ in self._shown().values():
            table.add_column(heading, justify="right")
        table.add_column("")
        for row in (self.dense, *self.candidates):
            cells = [f(getattr(row, name)) for name, (_, f) in self._shown().items()]
            table.add_row(row.name, *cells, self._remark(row))
        return table

    def _title(self):
        limits = [
            f"{name} <= {limit:,.6g}" for name, limit in self.budget.costs.items()
        ]
        if self.budget.accuracy_drop is not None:
            limits.append(f"accuracy_drop <= {self.budget.accuracy_drop:g}")
        return ", ".join(limits)

    def _remark(self, row):
        if row is self.dense:
            return "float32, original"
        over = ", ".join(self.budget.excess(row.costs))
        trained = [f"{row.epochs} epochs"] * bool(row.epochs)
        remarks = (
            trained + ["best"] * (row is self.best) + [f"above in {over}"] * bool(over)
        )
        return ", ".join(remarks)

    def __str__(self):
        return as_text(self.table(), width=110)

    def chart(self):
        """Accuracy against the first cost of the budget, as an SVG."""
        name = next(iter(self.budget.costs), "size_bytes")
        heading, form = _COLUMNS[name]
        points = [
            charts.Point(
                row.name,
                f"{form(row.costs[name])} {heading}, {row.accuracy:.4f}",
                max(row.costs[name], 1e-9),
                row.accuracy,
                kind="first" if row is self.dense else "",
            )
            for row in (self.dense, *self.candidates)
        ]
        title = f"Accuracy against {heading}"
        return charts.scatter(
            points, title, heading, "accuracy", "{:,g}".format, "{:.3f}".format
        )

    @checked
    def save_html(self, path: FilePath("the .html file to write")):
        """Writes a page with the chart, the table, and commands to reproduce candidates."""
        check_writable(path)
        shown = self._shown()
        rows = [
            html_page.row(
                html.escape(row.name),
                [
                    html_page.td(form(getattr(row, name)), heading)
                    for name, (heading, form) in shown.items()
                ]
                + [html_page.td(html.escape(self._remark(row)))],
            )
            for row in (self.dense, *self.candidates)
        ]
        names = ["candidate", *(heading for heading, _ in shown.values()), ""]
        commands = "".join(
            f"<p><code>{html.escape(row.command)}</code></p>"
            for row in self.front
            if row.command
        )
        page = html_page.whole_page(
            "Search",
            html.escape(self._title()),
            "",
            [
                html_page.section("Accuracy and cost", "", self.chart()),
                html_page.section(
                    "Candidates",
                    "",
                    html_page.table("models", "candidates", names, rows),
                ),
                html_page.section("Reproduce", "", commands),
            ],
            html_page.footer(f"Files run in LiteRT on {html_page.host()}."),
        )
        return write_atomically(path, page)


def _dominates(other, point):
    pairs = list(zip(other, point, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
