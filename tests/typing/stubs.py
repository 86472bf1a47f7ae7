"""Stubs for type checkers, made from what the package itself declares.

Parameters are annotated with kinds (`bits: Integer(2, 8)`), which check them and which no
type checker reads; each kind knows the type that it stands for. What is public, and where,
is what `tests/test_public_names.py` finds. To write the stubs anew after a change:

    PYTHONPATH=. python tests/typing/stubs.py
"""

import dataclasses
import inspect
import pathlib
import re
import types

import keras

import tfcompress as tfc
from tests.test_public_names import is_own, methods, names, namespaces
from tfcompress.core.kinds import Kind, full_name

ROOT = pathlib.Path(tfc.__file__).parent
HEADER = """# Written by tests/typing/stubs.py.
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras

"""


def stubs():
    """`{file: content}`, one for each public module."""
    return {file_of(path): stub(path, module) for path, module in namespaces().items()}


def file_of(path):
    """The stub of a module, next to it if it lies at its public place."""
    place = ROOT.joinpath(*path.split("."))
    is_package = (place / "__init__.py").exists()
    return place / "__init__.pyi" if is_package else place.with_suffix(".pyi")


def stub(path, module):
    """The content of one stub."""
    lines = [] if path else ["__version__: str"]
    for name in names(module):
        lines += declared(f"{path}.{name}".lstrip("."), getattr(module, name))
    imports, text = {"import tfcompress"}, "\n".join(lines)
    for module, name in re.findall(
        r"\b(tfcompress(?:\.[a-z0-9_]+)*)\.([A-Z]\w*)", text
    ):
        if module.removeprefix("tfcompress").lstrip(".") in namespaces():
            imports.add(f"import {module}")
        else:
            # A function may have the name of the module in which it is.
            imports.add(f"from {module} import {name}")
            text = text.replace(f"{module}.{name}", name)
    return "\n".join([HEADER, *sorted(imports), "", text, ""])


def declared(path, thing):
    """How a public name is declared, or imported from the place where it is."""
    place, _, name = path.rpartition(".")
    if isinstance(thing, types.ModuleType):
        return [imported(place, name)]
    if dataclasses.is_dataclass(thing):
        # Its fields have types where it is defined.
        return [f"from {thing.__module__} import {thing.__name__} as {name}"]
    if not callable(thing):
        return [f"{name}: {type_name(type(thing))}"]
    if inspect.isclass(thing) or isinstance(thing, types.FunctionType):
        home, _, own_name = PUBLIC[thing].rpartition(".")
        if (home, own_name) != (place, name):
            return [imported(home, own_name, name)]
    if inspect.isclass(thing):
        return class_lines(path, thing)
    return [f"def {name}{signature(thing)}: ..."]


def imported(place, name, as_name=None):
    """An import that shows a name here too."""
    module = f"tfcompress.{place}".rstrip(".")
    return f"from {module} import {name} as {as_name or name}"


def class_lines(path, cls):
    """A class with what it does not inherit from another public one."""
    above = bases(cls)
    lines = [f"class {path.rpartition('.')[2]}({', '.join(map(type_name, above))}):"]
    if is_own(cls):
        lines.append(f"    def __init__{signature(cls, 'self', 'None')}: ...")
    inherited = [base for base in above if base in PUBLIC]
    for name in [*methods(cls), *special(cls)]:
        own = inspect.getattr_static(cls, name)
        if not any(inspect.getattr_static(b, name, None) is own for b in inherited):
            lines += [f"    {line}" for line in method_lines(cls, name, own)]
    if not inherited:
        # Attributes are not declared in the classes.
        lines.append("    def __getattr__(self, name: str) -> Any: ...")
    return lines if len(lines) > 1 else [f"{lines[0]} ..."]


def special(cls):
    """What lets users write `with`, `len`, `for` and `[]`."""
    found = ("__enter__", "__exit__", "__len__", "__iter__", "__getitem__")
    return [
        name
        for name in found
        if any(
            name in vars(b)
            for b in cls.__mro__
            if b.__module__.startswith("tfcompress")
        )
    ]


def bases(cls):
    """Classes right above it that users can name."""
    found = []
    for base in cls.__bases__:
        is_hidden = base.__module__.startswith("tfcompress") and base not in PUBLIC
        found += bases(base) if is_hidden else [base]
    return [base for base in dict.fromkeys(found) if base is not object]


def method_lines(cls, name, own):
    """A method or property."""
    if isinstance(own, property):
        result = returned(inspect.signature(own.fget))
        return ["@property", f"def {name}(self) -> {result}: ..."]
    if isinstance(own, staticmethod):
        return ["@staticmethod", f"def {name}{signature(getattr(cls, name))}: ..."]
    if isinstance(own, classmethod):
        taken = signature(getattr(cls, name), "cls", "Any")
        return ["@classmethod", f"def {name}{taken}: ..."]
    return [f"def {name}{signature(own)}: ..."]


def signature(thing, first=None, result=None):
    """Parameters and the result, in types.

    Args:
        thing: what is called.
        first: the name of a parameter that `inspect.signature` leaves out.
        result: the type of the result, if it is not for `thing` to say.
    """
    found = inspect.signature(thing)
    taken = [
        parameter.replace(annotation=Text(hint(parameter)), default=default(parameter))
        for parameter in found.parameters.values()
    ]
    if first:
        kind = inspect.Parameter.POSITIONAL_ONLY
        if all(one.kind is not kind for one in taken):
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        taken.insert(0, inspect.Parameter(first, kind))
    if taken and taken[0].name in ("self", "cls"):
        taken[0] = taken[0].replace(annotation=inspect.Parameter.empty)
    if result is None:
        owner = getattr(thing, "__self__", None)
        is_get = inspect.isclass(owner) and thing.__name__ == "get"
        result = type_name(owner) if is_get else returned(found)
    return f"{inspect.Signature(taken)} -> {result}"


class Text(str):
    """Shown as it is: `inspect` shows types of parameters by their `repr`."""

    __repr__ = str.__str__


def hint(parameter):
    """The type of a parameter."""
    kind = parameter.annotation
    if not isinstance(kind, Kind) or kind.hint == "Any":
        return "Any"
    # Integers such as those in NumPy's arrays are taken too, but nobody writes them.
    text = re.sub(
        r"\b(builtins|numbers|tfcompress|keras)(\.\w+)+",
        lambda m: public(m[0]),
        kind.hint,
    )
    return f"{text} | None" if parameter.default is None else text


def default(parameter):
    """A default as it is written, or `...` where that is long."""
    value = parameter.default
    is_plain = isinstance(value, (bool, int, float, str, type(None)))
    if value is parameter.empty or is_plain or value == ():
        return value
    return Text("...")


def returned(found):
    """The type of a result."""
    result = found.return_annotation
    if result is inspect.Signature.empty:
        return "Any"
    return type_name(result) if inspect.isclass(result) else str(result)


def type_name(cls):
    """The name of a class that works everywhere."""
    return public(full_name(cls))


def public(name):
    """The public name for the one of the module that defines a class."""
    return NAMES.get(name, name.removeprefix("builtins."))


def places():
    """`{function or class: the first of its public names}`."""
    found = {}
    for path, module in namespaces().items():
        for name in names(module):
            thing = getattr(module, name)
            if inspect.isclass(thing) or isinstance(thing, types.FunctionType):
                found.setdefault(thing, f"{path}.{name}".lstrip("."))
    return found


PUBLIC = places()
NAMES = {
    "builtins.dict": "dict[Any, Any]",
    "builtins.list": "list[Any]",
    "builtins.tuple": "tuple[Any, ...]",
    "numbers.Integral": "int",
    "numbers.Real": "float",
}
NAMES |= {
    full_name(thing): f"{module.__name__}.{name}"
    for module in (keras, keras.callbacks, keras.losses, keras.regularizers)
    for name, thing in vars(module).items()
    if inspect.isclass(thing)
}
NAMES |= {
    full_name(cls): f"tfcompress.{place}"
    for cls, place in PUBLIC.items()
    if inspect.isclass(cls)
}

if __name__ == "__main__":
    for file, content in stubs().items():
        file.write_text(content)
