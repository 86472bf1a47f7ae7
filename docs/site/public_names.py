"""The public names of the package, and where the reference shows each."""

import functools
import inspect
import pathlib
import re
import types

ROOT = pathlib.Path(__file__).parents[2]
FILE = ROOT / "tests" / "public_names.txt"
# What has no place of its own in the source that could carry a docstring.
CONSTANTS = {
    "export.CODECS": "Names that `tfc.export_tflite(codec=...)` takes.",
    "export.NAMES": "Names that `tfc.export_tflite(names=...)` takes.",
    "export.PRECISIONS": "Names that `tfc.export_tflite(precision=...)` takes.",
    "export.SPARSE": "Names that `tfc.export_tflite(sparse=...)` takes.",
}
# Names in files, which are none of Python.
IN_FILES = {"BConv2D", "BDense", "BMaxPool2D", "cascade"}
# In code of a page: `tfc.prune(model)`.
_MENTION = re.compile(r"(?<![`\[])`tfc\.(\w+(?:\.\w+)*)[^`\n]*`(?!\])")


@functools.cache
def listed():
    """All names of the list, methods too, in its order."""
    lines = FILE.read_text().splitlines()
    names = [re.split(r"\(| is a ", line)[0] for line in lines if line]
    return list(dict.fromkeys(names))


@functools.cache
def public():
    """`{name: object}` of the functions, classes and constants of the list."""
    import tfcompress as tfc

    found = {}
    for name in listed():
        owner, _, last = name.rpartition(".")
        place = functools.reduce(getattr, filter(None, owner.split(".")), tfc)
        if isinstance(place, types.ModuleType):
            found[name] = getattr(place, last)
    return found


def methods(name):
    """Names of the methods and properties that the list has for a class."""
    start = f"{name}."
    return [each.removeprefix(start) for each in listed() if each.startswith(start)]


@functools.cache
def namespaces():
    """`{namespace: names in it}`; the package itself is ""."""
    found = {}
    for name in public():
        found.setdefault(name.rpartition(".")[0], []).append(name)
    return found


def is_getter(name):
    """Whether a name is the function that finds the plug-ins of its namespace."""
    return name.rpartition(".")[2] == "get"


def source(name):
    """Where an object is written: the dotted path that mkdocstrings shows."""
    thing = inspect.unwrap(public()[name])
    return f"{thing.__module__}.{thing.__qualname__}"


def home(name):
    """The one of several public names of an object that the reference describes."""
    thing = public()[name]
    if name in CONSTANTS or is_getter(name):
        return name
    same = [other for other, found in public().items() if found is thing]
    return min(same, key=lambda other: (other.count("."), _is_far(other), other))


def _is_far(name):
    """Whether a namespace is not the room in which the object is written."""
    return f".{name.split('.')[0]}." not in source(name)


def undocumented():
    """Functions and classes without a docstring of their own."""
    return [
        name
        for name, thing in public().items()
        if name not in CONSTANTS and not vars_doc(thing)
    ]


def vars_doc(thing):
    """The docstring of an object, not the one that a class inherits."""
    return vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__


def anchors():
    """The anchor that each name of the list must have in the reference."""
    found = {}
    for name in public():
        found[name] = f"tfc.{name}"
        if inspect.isclass(public()[name]) and home(name) == name:
            for method in methods(name):
                found[f"{name}.{method}"] = f"{source(name)}.{method}"
    return found


def linked(text):
    """Turns each mention of a public name in code into a link to its description."""
    return _MENTION.sub(_link, text)


def unknown(text):
    """Mentions of names that the package does not have (any more)."""
    found = [mention for mention in _MENTION.finditer(text) if _target(mention) is None]
    return [mention[0] for mention in found if mention[1] not in IN_FILES]


def _link(mention):
    target = _target(mention)
    return f"[{mention[0]}][{target}]" if target else mention[0]


def _target(mention):
    name = mention[1]
    if name in namespaces() or name in public():
        return f"tfc.{name}"
    if name in listed():
        owner, _, method = name.rpartition(".")
        return f"{source(owner)}.{method}"
    return None
