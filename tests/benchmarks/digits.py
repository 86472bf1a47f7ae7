"""The demo: a small network on the digits, pruned, with few values, in int8."""

import pathlib
import tempfile

import harness
from absl import flags
from harness import Measure


def demo(options):
    """Files of `tfcompress demo`."""
    if options.quick:
        return harness.left_out("it takes a minute: make rerun runs it")
    from tfcompress.cli import demo as command

    values = flags.FlagValues()
    command.define(values)
    with tempfile.TemporaryDirectory() as folder:
        values(["demo", f"--output={folder}", f"--seed={options.seed}"])
        comparison = command.main(values)
        sizes = {
            path.stem: path.stat().st_size for path in pathlib.Path(folder).glob("*")
        }
    assert sizes["report"]
    return [
        measure
        for row in comparison.rows
        for measure in (
            Measure(f"{row.label}: accuracy", 100 * row.accuracy, "%"),
            Measure(f"{row.label}: size", row.size_bytes, "bytes"),
            Measure(f"{row.label}: size gzipped", row.zipped_bytes, "bytes"),
            Measure(f"{row.label}: latency", row.latency_ms, "ms"),
        )
    ]


if __name__ == "__main__":
    harness.main(__doc__, {"demo": demo})
