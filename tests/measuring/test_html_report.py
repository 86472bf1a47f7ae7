"""The HTML report: self-contained, complete, escaped, and drawn from its input."""

import re

import keras
import numpy as np
import pytest

from tests.measuring.page import Page
from tfcompress.core.compress import compress
from tfcompress.core.compressed import treatments
from tfcompress.measuring.charts import NUM_BINS, Point, histogram, scatter
from tfcompress.measuring.compare import Comparison, Row
from tfcompress.measuring.html_report import write_html_report
from tfcompress.measuring.labels import place_labels
from tfcompress.measuring.report import Report, WeightReport, report


def row(label, size_bytes=1000, latency_ms=2.0, accuracy=0.9, **kwargs):
    facts = {
        "kind": "tflite",
        "zipped_bytes": size_bytes // 2,
        "parameters": 20_000,
        "nonzero_parameters": 5_000,
        "macs": 1_500_000,
        "agreement": 0.95,
    }
    return Row(label, **{**facts, **kwargs}, size_bytes=size_bytes,
               latency_ms=latency_ms, accuracy=accuracy)  # fmt: skip


def weight(name, transforms=("Mask()",), skipped=None, macs=100, sparsity=0.75):
    return WeightReport(
        name=name, layer="Dense", shape=(8, 4), parameters=32, macs=macs,
        binary_macs=0, sparsity=sparsity, unique_values=9, bits=4, memory_bytes=16,
        entropy=1.5,
        transforms=transforms, skipped=skipped,
    )  # fmt: skip


TWO = Comparison((row("dense", 8_000_000, 4.0), row("small", 1_000_000, 2.0, 0.88)))


def written(tmp_path, *args, **kwargs):
    path = write_html_report(tmp_path / "report.html", *args, **kwargs)
    return Page(path.read_text("utf-8"))


def test_the_headline_says_the_three_ratios(tmp_path):
    page = written(tmp_path, TWO)
    assert page.says("8.00× smaller") and page.says("8.00 MB → 1.00 MB")
    assert page.says("2.00× faster") and page.says("4.00 ms → 2.00 ms")
    assert page.says("2.00 points lower") and page.says("90.00% → 88.00%")


def test_the_headline_says_what_got_worse(tmp_path):
    page = written(tmp_path, Comparison(TWO.rows[::-1]))
    assert page.says("8.00× larger") and page.says("2.00× slower")
    assert page.says("2.00 points higher")
    assert ("class", "number warn") in page.attributes


def test_the_page_is_self_contained(tmp_path):
    rules = Report("m", (weight("a/kernel"), weight("b/kernel", (), "too small")))
    page = written(tmp_path, TWO, rules, notes=["see http: below"])
    assert not re.search(r"https?://|//cdn|@import|url\(", page.text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "srcset"} & {name for name, _ in page.attributes}


def test_everything_given_is_escaped(tmp_path):
    evil = '<b>&"x"</b>'
    rules = Report(evil, (weight(evil, (evil,)), weight("c", (), evil, macs=None)))
    rows = (row("dense"), row(evil, 500))
    page = written(tmp_path, Comparison(rows), rules, title=evil, notes=[evil])
    assert "b" not in page.tags
    assert page.text.count("&lt;b&gt;&amp;&quot;x&quot;&lt;/b&gt;") >= 7


def test_every_row_stands_in_table_and_chart(tmp_path):
    rows = tuple(row(f"model {i}", 1000 * 2**i, 1.0 + i, 0.9) for i in range(8))
    page = written(tmp_path, Comparison(rows))
    for i in range(8):
        assert page.text.count(f">model {i}") >= 1 + 2 * 2
    assert page.text.count("<circle") == 2 * 8


def test_missing_numbers_leave_no_hole(tmp_path):
    bare = {"latency_ms": None, "accuracy": None, "agreement": None}
    page = written(tmp_path, Comparison((row("a", **bare), row("b", 500, **bare))))
    assert page.says("2.00× smaller") and not page.says("latency with")
    assert "<circle" not in page.text


def test_one_model_alone_has_no_ratio(tmp_path):
    page = written(tmp_path, Comparison((row("alone"),)))
    assert page.says("alone") and not page.says("×")


def test_regression_speaks_of_error(tmp_path):
    rows = (row("a", accuracy=-0.1, agreement=0.0), row("b", accuracy=-0.2))
    page = written(tmp_path, Comparison(rows, classifies=False))
    assert page.says("Mean squared error") and page.says("2.00× higher")
    assert page.says("0.1 → 0.2") and page.says("−0.2") and not page.says("points")


def test_no_rows_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no rows"):
        write_html_report(tmp_path / "report.html", Comparison(()))
    assert list(tmp_path.iterdir()) == []


def test_layers_have_bars_transforms_and_reasons(tmp_path):
    weights = (
        weight("block_1/kernel", ("Mask()", "Uniform(bits=4)")),
        weight("head/kernel", (), "no rule covers it"),
        weight("head/bias", (), "not a kernel", macs=None),
    )
    page = written(tmp_path, TWO, Report("net", weights))
    assert page.says("Mask and Uniform on 1 of 2 kernels of net")
    assert page.says("block_1/kernel: 75.0% zeros")
    assert page.says("block_1/kernel: 4 bits, 9 distinct values")
    assert page.says("Mask() → Uniform(bits=4)") and page.says("8×4")
    assert page.says("no rule covers it1 weight, 32 parameters: head/kernel")
    assert page.says("not a kernel1 weight, 32 parameters: head/bias")
    assert page.text.count('<svg class="bar') == 2 * 2


def test_150_layers_stay_small(tmp_path):
    weights = tuple(weight(f"stage{i // 9}/conv_{i}/kernel") for i in range(150))
    layers = [keras.layers.Dense(16, name=f"dense_{i}") for i in range(150)]
    model = keras.Sequential([keras.Input((16,)), *layers])
    page = written(tmp_path, TWO, Report("deep", weights), model, model)
    assert len(page.text) < 1_000_000
    assert page.text.count('<path class="after"') == 150
    assert page.says("138 more")


def test_histograms_come_from_the_models(tmp_path):
    dense = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, name="hidden"),
            keras.layers.Dense(4, name="head"),
        ],
        name="net",
    )
    small = compress(dense, {"hidden": "mask"})
    ((_, treatment),) = treatments(small)
    treatment.transforms[0].mask.assign(np.zeros((8, 16)))
    measured = report(small)
    page = written(tmp_path, TWO, measured, dense, small)
    for name in (w.name for w in measured.weights if w.macs is not None):
        assert page.says(f"Weights of {name}")
    assert page.text.count('<path class="before"') == 2
    assert page.text.count('<path class="after"') == 2
    assert page.says("after, 100% zero") and "details" not in page.tags


def test_a_kernel_in_one_model_only_is_said(tmp_path):
    def model(*names):
        layers = [keras.layers.Dense(4, name=name) for name in names]
        return keras.Sequential([keras.Input((4,)), *layers])

    page = written(tmp_path, TWO, None, model("a", "old"), model("a", "new"))
    assert page.says("before: missing") and page.says("after: missing")
    with pytest.raises(TypeError, match=r"before\): got 'model.keras'"):
        write_html_report(tmp_path / "report.html", TWO, before="model.keras")


def test_an_unwritable_path_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        write_html_report(tmp_path / "nowhere" / "report.html", TWO)
    with pytest.raises(ValueError, match="folder"):
        write_html_report(tmp_path, TWO)
    assert list(tmp_path.iterdir()) == []


def steps(drawing):
    """`(x, y)` of the steps of the only path of a drawing."""
    (path,) = re.findall(r'd="M0 [\d.]+(.*)V[\d.]+Z"', drawing)
    return [(float(x), float(y)) for y, x in re.findall(r"V([\d.]+)H([\d.]+)", path)]


def test_a_histogram_has_log_heights_and_zero_in_the_middle():
    values = np.array([0.0] * 99 + [1.0] * 9 + [-1.0])
    drawing = histogram("w", {"after": values})
    (low, *_, base, peak, _, high), width = steps(drawing), 176
    assert peak[0] - base[0] == pytest.approx(width / NUM_BINS, abs=0.1)
    heights = [base[1] - y for _, y in (low, peak, high)]
    np.testing.assert_allclose(heights, 40 * np.log10([2, 100, 10]) / 2, atol=0.1)
    assert "after, 91% zero" in drawing and "peak 99" in drawing


@pytest.mark.parametrize("values", [[], [0.0], [np.nan, 1.0, np.inf], [5.0] * 4])
def test_a_histogram_of_odd_values_is_drawn(values):
    drawing = histogram("w", {"before": np.array(values)})
    assert "<path" in drawing and "nan" not in drawing and "inf" not in drawing


def test_labels_touch_nothing():
    generator = np.random.default_rng(1)
    for count in (2, 5, 8):
        places = generator.uniform((60, 40), (300, 340), (count, 2))
        bubbles = [(*place, 8.0) for place in places]
        sizes = [(100.0, 30.0)] * count
        corners = place_labels(bubbles, sizes, (50, 30, 330, 350))
        assert None not in corners
        for i, (u, v) in enumerate(corners):
            assert 50 <= u <= 230 and 30 <= v <= 320
            for x, y, radius in bubbles:
                gap = np.hypot(np.clip(x, u, u + 100) - x, np.clip(y, v, v + 30) - y)
                assert gap >= radius
            for other_u, other_v in corners[:i]:
                assert abs(u - other_u) >= 100 or abs(v - other_v) >= 30


def test_equal_points_and_no_room_are_drawn():
    points = [Point(f"model {i}", "1 ms", 1000, 0.9, 1.0) for i in range(20)]
    drawing = scatter(points, "t", "x", "y", str, str, (260, 260))
    labels = drawing.count('class="label"')
    assert drawing.count("<circle") == 20 and 4 <= labels < 20
    assert all(f"<title>model {i} 1 ms</title>" in drawing for i in range(20))
