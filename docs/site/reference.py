"""The pages of the reference: a directive of mkdocstrings for each public name."""

import functools
import inspect

from public_names import (
    CONSTANTS,
    home,
    is_getter,
    methods,
    namespaces,
    public,
    source,
)


@functools.cache
def pages():
    """`{uri: (title, text)}`, the package itself first."""
    spaces = sorted(namespaces())
    found = {_uri(space): (_title(space), _page(space)) for space in spaces}
    return {"reference/index.md": ("Overview", _overview(spaces))} | found


def _uri(space):
    return f"reference/{space or 'tfc'}.md"


def _title(space):
    return f"tfc.{space}".rstrip(".")


def _overview(spaces):
    lines = [
        "# Reference",
        "",
        "All examples assume `import tfcompress as tfc`. Objects in the package are found",
        "by name as well: wherever a criterion, a schedule or a codec is expected, a",
        'string such as `"magnitude"` or a dictionary such as',
        '`{"polynomial": {"final_sparsity": 0.9}}` works too.',
        "",
        "| namespace | what is in it |",
        "| --- | --- |",
    ]
    for space in spaces:
        text = _purpose(space)
        lines.append(f"| [`{_title(space)}`]({space or 'tfc'}.md) | {text} |")
    return "\n".join(lines) + "\n"


def _purpose(space):
    """The first line of a namespace's docstring."""
    import tfcompress as tfc

    place = functools.reduce(getattr, filter(None, space.split(".")), tfc)
    return inspect.getdoc(place).partition("\n")[0]


def _page(space):
    parts = [f"# {_title(space)} {{ #{_title(space)} }}", _purpose(space)]
    if not space:
        parts = ["# tfc { #tfc }", "What most programs start with."]
    return "\n\n".join([*parts, *map(_entry, namespaces()[space])]) + "\n"


def _entry(name):
    anchor, last = f"tfc.{name}", name.rpartition(".")[2]
    if name in CONSTANTS:
        value = public()[name]
        heading = f"## tfc.{name} {{ #{anchor} data-toc-label='{last}' }}"
        return f"{heading}\n\n{CONSTANTS[name]}\n\n```python\n{value!r}\n```"
    if is_getter(name):
        heading = f"## tfc.{name}(identifier) {{ #{anchor} data-toc-label='{last}' }}"
        return (
            f"{heading}\n\nReturns the object for a name, a class, a configuration such "
            "as `{name: arguments}`, or an object, which comes back as it is. Raises a "
            "`ValueError` that lists the known names if there is no such one."
        )
    if home(name) != name:
        heading = f"## tfc.{name} {{ #{anchor} data-toc-label='{last}' }}"
        return f"{heading}\n\nThe same as [`tfc.{home(name)}`][tfc.{home(name)}]."
    shown = methods(name)
    return (
        f"[](){{ #{anchor} }}\n\n"
        f"::: {source(name)}\n"
        "    options:\n"
        f"      heading: tfc.{name}\n"
        f"      toc_label: {last}\n"
        f"      inherited_members: {str(bool(shown)).lower()}\n"
        f"      members: {shown or 'false'}"
    )
