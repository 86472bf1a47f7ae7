"""Every public function declares what its parameters accept, so that they are checked."""

import dataclasses
import inspect
import types

import numpy as np
import pytest

import tfcompress as tfc
from tests.test_public_names import is_own, names, namespaces
from tfcompress.core.kinds import Anything, Integer, Kind, checked

# Public objects that accept unchecked arguments, with the reason.
EXEMPT = {
    "distillation.Taught": "a pair, which holds what it is given",
    "rewrites.ranks.full_ranks": "arithmetic for plug-ins",
    "rewrites.ranks.singular_values": "arithmetic for plug-ins",
    "scopes.rounded": "arithmetic for plug-ins",
    "solvers.MatrixPattern": "a kernel's pattern, for plug-ins",
    "search.Study": "what engines get",
    "signals.Signals": "a dictionary that signals come in",
}
METHODS = (
    "Recipe.file",
    "Recipe.from_yaml",
    "Recipe.named",
    "Recipe.run",
    "Recipe.to_yaml",
)


def callables():
    """`{path: function}`; constructors by their class, each once."""
    found = {}
    for path, module in namespaces().items():
        for name in names(module):
            thing = getattr(module, name)
            if thing not in found.values() and is_asked_for(name, thing):
                found[f"{path}.{name}".lstrip(".")] = thing
    for path in METHODS:
        cls, _, name = path.partition(".")
        found[path] = getattr(getattr(tfc, cls), name)
    return {path: thing for path, thing in found.items() if path not in EXEMPT}


def is_asked_for(name, thing):
    """Whether users call it: not results, errors and constants; `get` checks by itself."""
    if inspect.isclass(thing):
        is_result = dataclasses.is_dataclass(thing)
        return is_own(thing) and not is_result and not issubclass(thing, Exception)
    return callable(thing) and not isinstance(thing, types.ModuleType) and name != "get"


def parameters(thing):
    """`{name: parameter}` of the named ones."""
    signature = inspect.signature(thing)
    return {
        name: parameter
        for name, parameter in signature.parameters.items()
        if name != "self"
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


@pytest.mark.parametrize(("path", "thing"), callables().items())
def test_every_parameter_has_a_kind_and_is_checked(path, thing):
    declared = parameters(thing)
    bare = [n for n, p in declared.items() if not isinstance(p.annotation, Kind)]
    assert not bare, "Annotate it, see tfcompress/core/kinds.py, or exempt it here."
    function = thing.__init__ if inspect.isclass(thing) else thing
    assert not declared or hasattr(function, "__wrapped__"), "Decorate it: @checked."


KINDS = {
    str(parameter.annotation): parameter.annotation
    for thing in callables().values()
    for parameter in parameters(thing).values()
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_what_a_kind_calls_wrong_it_refuses_in_plain_words(kind):
    assert kind.expected
    assert kind.wrong() or isinstance(kind, Anything)
    for value in kind.wrong():
        with pytest.raises((TypeError, ValueError), match="[Ee]xpected"):
            kind.check("f(x)", value)


@pytest.mark.parametrize(
    ("value", "normal"),
    [(np.int64(8), 8), (np.uint8(8), 8), (8, 8)],
)
def test_numpy_numbers_are_numbers(value, normal):
    assert tfc.transforms.Uniform(value).bits == normal
    assert type(tfc.transforms.Uniform(value).get_config()["bits"]) is int
    ternary = tfc.transforms.Ternary(np.float32(0.5))
    assert type(ternary.threshold) is float
    assert tfc.transforms.Codebook(np.int32(4)) == tfc.transforms.Codebook(4)


@pytest.mark.parametrize("name", ["signature", "called", "args", "kwargs", "function"])
def test_a_parameter_may_have_any_name(name):
    namespace = {"kind": Integer(1)}
    exec(f"def double({name}: kind): return 2 * {name}", namespace)
    assert checked(namespace["double"])(**{name: np.int8(4)}) == 8


def test_an_argument_that_there_is_not():
    with pytest.raises(TypeError, match=r"no argument 'bit'; .* Did you mean 'bits'"):
        tfc.transforms.Uniform(bit=8)
    with pytest.raises(TypeError, match=r"compress\(\): missing .* 'rules'"):
        tfc.compress(5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x: tfc.compress(m, ["mask"]), r"compress\(rules\): got \['mask'\]"),
        (lambda m, x: tfc.compress(m, {".*": "maks"}), "Did you mean 'mask'"),
        (
            lambda m, x: tfc.mixed_precision(m, x, average_bits=0),
            r"mixed_precision\(average_bits\): got 0, expected a positive number",
        ),
        (
            lambda m, x: tfc.quantize_activations(m, samples=(x, x)),
            r"samples\): got \(array of shape \(4, 8\).*pass x alone",
        ),
        (
            lambda m, x: tfc.recipes.deep_compression(m, None),
            r"deep_compression\(data\): got None, expected \(x, y\)",
        ),
        (
            lambda m, x: tfc.benchmark(m, num_threads=0),
            r"benchmark\(num_threads\): got 0, expected a positive integer",
        ),
        (lambda m, x: tfc.decode_tflite("m.tflite"), "expected the bytes of a .tflite"),
        (lambda m, x: tfc.prune(m, 0.5, data=(x, x)), r"single batch as \[\(x, y\)\]"),
        (lambda m, x: tfc.strip("m.keras"), r"strip\(model\): got 'm.keras'"),
    ],
)
def test_says_what_came_and_what_is_expected(call, message):
    from tests import models

    x = np.ones((4, 8), "float32")
    with pytest.raises((TypeError, ValueError), match=message):
        call(models.small(), x)
