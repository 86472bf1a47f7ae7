"""Brings docstrings into the form that the site shows."""

import re

import griffe
from public_names import linked


class Docstrings(griffe.Extension):
    """Examples become blocks of code, names of the package links.

    Kinds that annotate parameters are left out: the text says what they take.
    """

    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = linked(as_blocks(obj.docstring.value))

    def on_function(self, *, func, **_):
        for parameter in func.parameters:
            parameter.annotation = None


def as_blocks(text):
    """Puts fences around each run of lines that begins with `>>>`."""
    text = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.MULTILINE)
    return re.sub(
        r"^( *)>>> .*(?:\n(?! *$).*)*",
        lambda run: f"{run[1]}```pycon\n{run[0]}\n{run[1]}```",
        text,
        flags=re.MULTILINE,
    )
