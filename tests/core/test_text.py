import dataclasses
import io
import pathlib

import keras
import pytest
import rich.console

import tfcompress as tfc
from tests import models
from tfcompress.core.text import Table, as_text
from tfcompress.factorization.factorize import FactorizationPlan, LayerFactorization
from tfcompress.factorization.svd import SVD
from tfcompress.pruning.channels.listing import ChannelGroups
from tfcompress.search.ladder import Ladder, Rung
from tfcompress.search.mixed_precision import LayerBits, MixedPrecision

NAME = "[bold]a[/x] :fire:"


def comparison():
    return tfc.compare({NAME: models.small()}, latency=False)


def report():
    found = tfc.report(models.small())
    rows = [dataclasses.replace(w, name=NAME, skipped=NAME) for w in found.weights]
    return dataclasses.replace(found, weights=tuple(rows))


def ladder():
    rung = Rung(NAME, 1.0, 0.0, 10, 1.0)
    return Ladder(pathlib.Path("m.tflite"), "int8", 0.0, [rung], rung, keras.Model())


def bits():
    return MixedPrecision(NAME, [LayerBits("a", 4, 8, {8: 0.0})], "output_error")


def plan():
    row = LayerFactorization("a", "Dense", SVD(), (2, 2), (), 4, 4, 4, 4, skipped=NAME)
    return FactorizationPlan("m", (row,))


def groups():
    return ChannelGroups(NAME, (), {}, 0.0)


@pytest.mark.parametrize("make", [comparison, report, ladder, bits, plan, groups])
def test_names_stand_in_tables_as_they_are(make):
    result = make()
    console = rich.console.Console(file=io.StringIO(), width=200)
    console.print(result.table())
    assert NAME in console.file.getvalue()
    assert NAME in str(result)


def test_lines_are_no_markup():
    assert as_text(NAME).strip() == NAME


def test_notebooks_and_forced_colours_change_no_text(monkeypatch):
    expected = as_text(Table("layer"))
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "layer" in expected and "\x1b" not in expected
    assert as_text(Table("layer")) == expected
