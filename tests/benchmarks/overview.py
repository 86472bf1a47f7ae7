"""The picture in the README: what recipes make of a ResNet-20, accuracy against bytes."""

import re

from tfcompress.measuring.charts import Point, scatter

# Colours that read on light and dark pages.
_STYLE = """<style>
text { font-family: system-ui, sans-serif; fill: #57606a; font-size: 12px; }
.label { font-size: 13px; font-weight: 500; }
.grid { stroke: #8884; }
.leader, .base { stroke: #888; }
circle { fill: #3b82f6; fill-opacity: .25; stroke: #3b82f6; stroke-width: 1.5; }
circle.first { fill: #888; stroke: #888; }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9; } }
</style>"""


def svg(results):
    """The picture.

    Args:
        results: the list that `recipes_table.py --json` prints.
    """
    rows = {}
    for result in results:
        rows.setdefault(result["row"], {})[result["measure"]] = result
    dense = float(re.search(r"dense ([\d.]+) %", results[0]["note"])[1])
    size = _float32_bytes(rows)
    detail = f"{size / 1000:,.0f} kB, {dense:.1f} %"
    points = [Point("float32", detail, size, dense, kind="first")]
    for name, row in rows.items():
        accuracy, share = row["accuracy"]["value"], row["bytes over float32"]["value"]
        detail = f"{share * size / 1000:,.0f} kB, {accuracy:.1f} %"
        points.append(Point(name, detail, share * size, accuracy))
    drawn = scatter(
        points,
        "Accuracy against file size of a ResNet-20 on CIFAR-10, recipe by recipe",
        "bytes of the file",
        "accuracy on CIFAR-10, %",
        lambda x: f"{x / 1000:,.0f} kB",
        lambda y: f"{y:.0f}",
    )
    return drawn.replace(">", f' xmlns="http://www.w3.org/2000/svg">{_STYLE}', 1) + "\n"


def _float32_bytes(rows):
    notes = [row["bytes over float32"]["note"] or "" for row in rows.values()]
    (first, *_) = filter(None, (re.search(r"float32 ([\d,]+)", note) for note in notes))
    return int(first[1].replace(",", ""))
