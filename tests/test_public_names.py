"""Public names and their signatures stay: existing user code keeps working.

`public_names.txt` lists functions, constructors, methods and what is a subclass of what.
A line there that is no longer true breaks users; a public name that is missing there
has to be added. To rewrite the file after an intended change:

    PYTHONPATH=. python tests/test_public_names.py > tests/public_names.txt
"""

import importlib
import inspect
import pathlib
import re
import types

import pytest

import tfcompress as tfc
from tfcompress.core.plugin import Plugin

FILE = pathlib.Path(__file__).with_name("public_names.txt")
HELP = "If that is meant, write the file anew; tests/test_public_names.py says how."


def namespaces(place=tfc, path=""):
    """`{path: module}` of all public modules, the package itself at ""."""
    found = {path: place}
    for name in names(place):
        if isinstance(thing := getattr(place, name), types.ModuleType):
            found |= namespaces(thing, f"{path}.{name}".lstrip("."))
    return found


def names(module):
    """Its `__all__`; without one, `get`, the nouns, and what the module itself defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.lower)
    return [
        name
        for name, thing in sorted(
            vars(module).items(), key=lambda item: item[0].lower()
        )
        if not name.startswith("_")
        and (
            name == "get"
            or Plugin in getattr(thing, "__bases__", ())
            or (callable(thing) and thing.__module__ == module.__name__)
        )
    ]


def listed():
    """The lines that the file must have, in separate groups."""
    public = {
        f"{path}.{name}".lstrip("."): getattr(module, name)
        for path, module in namespaces().items()
        for name in names(module)
    }
    classes = {}
    for path, thing in public.items():
        if inspect.isclass(thing):
            classes.setdefault(thing, []).append(path)
    groups = {}
    for path, thing in public.items():
        lines = groups.setdefault(path.rpartition(".")[0], [])
        if inspect.isclass(thing):
            lines += class_lines(path, thing, classes)
        elif not isinstance(thing, types.ModuleType):
            lines.append(line(path))
    return groups


def class_lines(path, cls, classes):
    """A class, its nearest public base, and what it does not inherit from that."""
    above = next((base for base in cls.__mro__[1:] if base in classes), None)
    lines = [line(path)]
    if above:
        place = path.rpartition(".")[0]
        paths = sorted(classes[above], key=lambda p: p.rpartition(".")[0] != place)
        lines.append(f"{path} is a {paths[0]}")
    for name in methods(cls):
        if (
            not above
            or not hasattr(above, name)
            or text(above, name) != text(cls, name)
        ):
            lines.append(line(f"{path}.{name}"))
    return lines


def methods(cls):
    """Names of the methods and properties that are ours, not those of Keras or Python."""
    found = {
        name
        for base in cls.__mro__
        if base.__module__.startswith("tfcompress")
        for name, thing in vars(base).items()
        if (not name.startswith("_") or name == "__call__")
        and isinstance(thing, (types.FunctionType, classmethod, staticmethod, property))
    }
    return sorted(found)


def line(path):
    """The current lines: the path with its signature, if it has one."""
    place, _, name = path.rpartition(".")
    owner = tfc
    for part in filter(None, place.split(".")):
        owner = getattr(owner, part)
    return f"{place}.{text(owner, name)}".lstrip(".")


def text(owner, name):
    """`name(arguments)` of an owner's member, or the name if it takes none."""
    thing = getattr(owner, name)
    if not callable(thing):
        return name
    if inspect.isclass(thing) and not is_own(thing):
        # The arguments of Python and Keras are theirs to define.
        return f"{name}(...)"
    signature = inspect.signature(thing)
    # Types would say in which files classes are.
    bare = [
        parameter.replace(annotation=parameter.empty)
        for parameter in signature.parameters.values()
    ]
    without = signature.replace(
        parameters=bare, return_annotation=inspect.Signature.empty
    )
    # The address of a function that is a default changes with each run.
    return re.sub(r"<function (\w+) at \w+>", r"\1", f"{name}{without}")


def is_own(cls):
    """Whether we define its constructor."""
    owner = next(b for b in cls.__mro__ if {"__init__", "__new__"} & vars(b).keys())
    return owner.__module__.startswith("tfcompress")


def holds(expected):
    """Whether a line of the file is still true."""
    path, _, above = expected.partition(" is a ")
    try:
        if above:
            return issubclass(resolve(path), resolve(above))
        return line(path.partition("(")[0]) == expected
    except AttributeError:
        return False


def resolve(path):
    thing = tfc
    for part in path.split("."):
        thing = getattr(thing, part)
    return thing


def expected_lines():
    return [each for each in FILE.read_text().splitlines() if each]


def test_nothing_is_gone_or_takes_other_arguments():
    broken = [each for each in expected_lines() if not holds(each)]
    assert not broken, f"Users' code may rely on these. {HELP}"


def test_new_names_are_in_the_list():
    lines = [each for group in listed().values() for each in group]
    new = sorted({*lines} - {*expected_lines()})
    assert not new, f"Public, but not in {FILE.name}. {HELP}"


@pytest.mark.parametrize("path", [path for path in namespaces() if path])
def test_a_namespace_can_be_imported(path):
    assert importlib.import_module(f"tfcompress.{path}") is namespaces()[path]


if __name__ == "__main__":
    print("\n\n".join("\n".join(lines) for lines in listed().values() if lines))
