"""Writes docs/methods.md: paper, class, file and test of every method.

    PYTHONPATH=. python docs/site/methods.py

It reads the `Source:` of docstrings; a test compares the page with what it would write.
"""

import ast
import functools
import inspect
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import public_names

ROOT = public_names.ROOT
PAGE = ROOT / "docs" / "methods.md"
_SOURCE = re.compile(r"^Source: (.*?)(?=\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_HEAD = """# Methods

Every method with the paper that it comes from, its class or function, its file and a
test. Look for the name that the method usually goes by. The list is generated from the
`Source:` lines of the docstrings.
"""
_CLOSEST = {
    "DoReFa-Net (Zhou et al., 2016)": (
        "weights: `tfc.transforms.Uniform`, without the hyperbolic tangent before "
        "rounding; activations: `tfc.quantize_activations(bits=...)`; gradients are not "
        "quantized"
    ),
    "VIBNet (Dai et al., 2018)": (
        "gates of whole channels with `tfc.transforms.LogNormal` or "
        "`tfc.transforms.HardConcrete` on `tfc.gate_channels`; there is no information "
        "bottleneck"
    ),
    "ThiNet (Luo et al., 2017)": (
        "`tfc.prune_channels(reconstruct=...)`, which fits the next layer by least squares"
    ),
    "HAQ (Wang et al., 2019)": (
        "`tfc.mixed_precision`; or `tfc.search.engines.AMC`, which chooses channels"
    ),
    "NNC (MPEG-7 part 17)": (
        "`tfc.coding.Mixing`, adaptive codes of the same decisions in another format"
    ),
    "Bop (Helwegen et al., 2019)": (
        "`tfc.transforms.Binary`, whose latent weights any optimizer trains"
    ),
}
_END = """
## Names without a class of their own

| name | what comes closest |
| --- | --- |
""" + "".join(f"| {name} | {text} |\n" for name, text in _CLOSEST.items())


def page():
    """The text of the page."""
    return _HEAD + "".join(map(_section, public_names.namespaces())) + _END


def _section(space):
    entries = [_entry(name) for name in public_names.namespaces()[space]]
    text = "\n".join(filter(None, entries))
    return text and f"\n## {f'tfc.{space}'.rstrip('.')}\n\n{text}\n"


def _entry(name):
    """The line of a public name, None if it has no source."""
    if name in public_names.CONSTANTS or public_names.is_getter(name):
        return None
    if public_names.home(name) != name:
        return None
    thing = public_names.public()[name]
    found = _SOURCE.search(inspect.cleandoc(public_names.vars_doc(thing) or ""))
    if not found:
        return None
    paper = " ".join(found[1].split()).rstrip(".")
    path = pathlib.Path(inspect.getsourcefile(inspect.unwrap(thing))).relative_to(ROOT)
    test = _test(name.rpartition(".")[2], path)
    return f"- {paper}: `tfc.{name}`, in `{path.as_posix()}`, tested in `{test}`"


def _test(last, path):
    """The test that names a class or function, the one nearest to its file."""
    wanted = {last, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last).lower()}
    named = [test for test, names in _named().items() if wanted & names]
    found = min(named, default=None, key=lambda test: _distance(test, path))
    return (found or pathlib.Path("tests/test_contracts.py")).as_posix()


def _distance(test, path):
    """How far a test is from a file: another room, other folders, another name."""
    own = {*path.with_suffix("").parts}
    shared = own & {*test.parts, test.stem.removeprefix("test_")}
    return test.parts[1] != path.parts[1], -len(shared), test.as_posix()


@functools.cache
def _named():
    """`{test: names and strings in its code}`."""
    return {
        path.relative_to(ROOT): {
            getattr(node, "attr", None)
            or getattr(node, "id", None)
            or str(getattr(node, "value", None))
            for node in ast.walk(ast.parse(path.read_text()))
        }
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
    }


if __name__ == "__main__":
    PAGE.write_text(page())
