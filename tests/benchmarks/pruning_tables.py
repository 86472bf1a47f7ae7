"""Pruning methods compared with their papers: weights kept, error, bits and bytes.

Rows are in pruning_rows/, one file per family of methods. A row takes minutes; if its
schedule is shorter than the paper's, the note says so.
"""

import functools

import harness
import pruning_lab


def _run(function, options):
    return function(pruning_lab.Lab(options))


def _add_options(parser):
    parser.add_argument("--model", help=".keras file of the CIFAR-10 ResNet-20")


def show(title, results):
    """The results as a table."""
    import rich.console
    import rich.table

    columns = (
        "method kept_percent error_percent paper target met file_bytes left".split()
    )
    table = rich.table.Table(title=title, title_justify="left")
    for column in ("row", *columns, "seconds"):
        table.add_column(column.replace("_percent", ", %").replace("_", " "))
    previous = None
    for result in results:
        if previous not in (None, result["row"]):
            table.add_section()
        # A row that is left out gives the reason in place of a method.
        result = {"method": result["note"], **result}
        cells = [result.get(column) for column in (*columns, "seconds")]
        first = "" if result["row"] == previous else result["row"]
        table.add_row(first, *("" if cell is None else str(cell) for cell in cells))
        previous = result["row"]
    console = rich.console.Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


if __name__ == "__main__":
    harness.main(
        __doc__,
        {
            name: functools.partial(_run, function)
            for name, function in harness.rows_in("pruning_rows").items()
        },
        _add_options,
        quick=["gradual"],
        show=show,
    )
