"""Tables as text."""

import io

import rich.console


def as_text(*parts, width=120):
    """What `rich` prints of tables and lines, as a string.

    >>> as_text("a line", "another").splitlines()
    ['a line', 'another']
    """
    console = rich.console.Console(file=io.StringIO(), width=width)
    for part in parts:
        console.print(part)
    return console.file.getvalue()
