"""The table of precisions, by hand, and that no other code depends on their names."""

import ast
import pathlib

import pytest

import tfcompress as tfc
from tfcompress.export.precisions import precision_of

_ROOT = pathlib.Path(tfc.__file__).parent


def test_names_and_their_order():
    names = (
        *("float32", "float16", "dynamic", "dynamic_int4"),
        *("int8", "int16x8", "int4"),
    )
    assert names == tfc.export.PRECISIONS
    assert [precision_of(name).name for name in names] == list(names)


@pytest.mark.parametrize(
    ("name", "weight_bits", "activation_bits", "rows"),
    [
        # integer, ranges survive, exact, sparse, binary; usual, most, of signs
        ("float32", 32, 32, (False, False, True, True, True, 1e-3, 1e-2, 1.0)),
        ("float16", 16, 32, (False, False, False, False, True, 0.02, 0.1, 1.0)),
        ("dynamic", 8, 32, (False, False, False, False, True, 0.1, 0.3, 1.0)),
        ("dynamic_int4", 4, 32, (False, False, False, False, True, 0.2, 0.7, 1.0)),
        ("int8", 8, 8, (True, True, False, False, True, 0.1, 0.3, 1.0)),
        ("int16x8", 8, 16, (True, False, False, False, False, 0.05, 0.3, 1.0)),
        ("int4", 4, 8, (True, True, False, False, False, 0.2, 0.7, 1.0)),
    ],
)
def test_rows(name, weight_bits, activation_bits, rows):
    row = precision_of(name)
    assert (row.weight_bits, row.activation_bits) == (weight_bits, activation_bits)
    found = (
        row.is_integer,
        row.holds_ranges,
        row.is_exact,
        row.without_sparse is None,
        row.without_binary is None,
        row.tolerance.usual,
        row.tolerance.most,
        row.tolerance.of_signs,
    )
    assert found == rows
    assert row.holds_grids == row.holds_ranges
    assert row.packs_weights == (weight_bits < 16 and activation_bits == 32)


def _asks_for_a_name(node):
    """Whether a comparison has a precision on one side and names on the other."""
    if not isinstance(node, ast.Compare):
        return False
    inner = list(ast.walk(node))
    asked = {getattr(n, "id", getattr(n, "attr", "")) for n in inner}
    texts = {n.value for n in inner if isinstance(n, ast.Constant)}
    return "precision" in asked and not texts.isdisjoint(tfc.export.PRECISIONS)


def test_nothing_asks_for_the_name_of_a_precision():
    code = "precision in ('int8', 'int4'); result.precision == 'float32'"
    assert sum(map(_asks_for_a_name, ast.walk(ast.parse(code)))) == 2
    for path in _ROOT.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        assert not [node.lineno for node in nodes if _asks_for_a_name(node)], path
