"""Tables as text."""

import io

import rich.console
import rich.table
import rich.text


class Table(rich.table.Table):
    """A `rich.table.Table` that prints text literally: brackets are not markup.

    >>> table = Table("layer", title="[bold]")
    >>> table.add_row("[/x] :fire:")
    >>> "[bold]" in as_text(table), "[/x] :fire:" in as_text(table)
    (True, True)
    """

    def __init__(self, *headers, title=None, caption=None, **options):
        title, caption = _literal(title), _literal(caption)
        super().__init__(title=title, caption=caption, **options)
        for header in headers:
            self.add_column(header)

    def add_column(self, header="", *args, **options):
        """Adds a column."""
        super().add_column(_literal(header), *args, **options)

    def add_row(self, *cells, **options):
        """Adds a row."""
        super().add_row(*map(_literal, cells), **options)


def _literal(cell):
    return rich.text.Text(cell) if isinstance(cell, str) else cell


def as_text(*parts, width=120):
    """The output of `rich` for tables and lines, as a string.

    >>> as_text("a line", "another").splitlines()
    ['a line', 'another']
    """
    # In notebooks rich would show them, and return nothing.
    console = rich.console.Console(
        file=io.StringIO(), width=width, force_jupyter=False, force_terminal=False
    )
    for part in parts:
        console.print(_literal(part))
    return console.file.getvalue()
