"""Whether a file fits a microcontroller."""

import dataclasses
import pathlib

from tfcompress.core.kinds import Converted, Each, FilePath, OneOf, checked
from tfcompress.core.text import Table, as_text
from tfcompress.measuring.chips import CHIPS, Chip
from tfcompress.measuring.micro import RUNTIME_BYTES, arena, unsupported_operations

FITS, TIGHT, TOO_BIG, DOES_NOT_RUN = "FITS", "TIGHT", "TOO BIG", "DOES NOT RUN"
# Above this share of flash or RAM little is left for the rest of the program.
_TIGHT = 0.8


@dataclasses.dataclass(frozen=True)
class ChipFit:
    """How a file fits one microcontroller.

    Attributes:
        chip: a `Chip`.
        flash_share: of its flash, what the file and the interpreter take.
        ram_share: of its RAM, what the arena takes.
        runs: whether TFLite Micro has all operations of the file.
    """

    chip: Chip
    flash_share: float
    ram_share: float
    runs: bool = True

    @property
    def fits(self):
        """Whether it runs and there is room for it."""
        return self.runs and max(self.flash_share, self.ram_share) <= 1

    @property
    def verdict(self):
        """`"FITS"`, `"TIGHT"` (above 80 % of a memory), `"TOO BIG"` or `"DOES NOT RUN"`."""
        if not self.runs:
            return DOES_NOT_RUN
        if not self.fits:
            return TOO_BIG
        return TIGHT if max(self.flash_share, self.ram_share) > _TIGHT else FITS

    def to_dict(self):
        """Plain numbers and strings."""
        return {
            **dataclasses.asdict(self.chip),
            "flash_share": self.flash_share,
            "ram_share": self.ram_share,
            "verdict": self.verdict,
        }


@dataclasses.dataclass(frozen=True)
class FitCheck:
    """What a file needs on a microcontroller, and which ones have it; prints as a table.

    Attributes:
        path: the file.
        size_bytes: of the file.
        runtime_bytes: of flash, allowed for the interpreter and its kernels.
        arena: the `Arena`: RAM while it runs, and whether that was measured.
        unsupported: `{operation: count}` that TFLite Micro does not have.
        rows: a `ChipFit` for each chip.
    """

    path: str
    size_bytes: int
    runtime_bytes: int
    arena: object
    unsupported: dict
    rows: tuple

    @property
    def flash_bytes(self):
        """The file and the interpreter."""
        return self.size_bytes + self.runtime_bytes

    def to_dict(self):
        """Plain numbers, strings, lists and dictionaries."""
        return {
            "path": self.path,
            "size_bytes": self.size_bytes,
            "runtime_bytes": self.runtime_bytes,
            "flash_bytes": self.flash_bytes,
            "arena": dataclasses.asdict(self.arena),
            "unsupported": self.unsupported,
            "rows": [row.to_dict() for row in self.rows],
        }

    def __str__(self):
        table = Table("chip", "core", "flash", "RAM", "flash used", "RAM used", "")
        for row in self.rows:
            table.add_row(
                row.chip.name,
                row.chip.core,
                _kib(row.chip.flash_bytes),
                _kib(row.chip.ram_bytes),
                f"{row.flash_share:.0%}",
                f"{row.ram_share:.0%}",
                row.verdict,
            )
        how = "measured with TFLite Micro on this host"
        if not self.arena.is_measured:
            how = f"estimated, since {self.arena.note}"
        lines = [
            self.path,
            f"flash: {_kib(self.flash_bytes)} = file {_kib(self.size_bytes)} + "
            f"{_kib(self.runtime_bytes)} allowed for the interpreter and its kernels",
            f"RAM: arena of {_kib(self.arena.size_bytes)}, {how}",
        ]
        if self.unsupported:
            named = ", ".join(f"{name} ({n})" for name, n in self.unsupported.items())
            lines.insert(1, f"It does not run: TFLite Micro has no {named}")
        return as_text(*lines, table).rstrip()


def _kib(size_bytes):
    """A size in the unit of data sheets.

    >>> _kib(262_144), _kib(1536)
    ('256 KiB', '1.5 KiB')
    """
    return f"{round(size_bytes / 1024, 1):g} KiB"


@checked
def fit_check(
    model: FilePath("a .tflite file"),
    chips: Each(
        Converted(lambda value: _chip(value), "a Chip or the name of one"),
        "names of chips",
        least=1,
    ) = None,
):
    """Says which microcontrollers a `.tflite` file fits, with TFLite Micro as the runtime.

        flash = file + 64 KiB for the interpreter and its kernels
        RAM   = arena: activations, and what the interpreter keeps of each operation

    The arena is measured by TFLite Micro's interpreter if the package `tflite-micro` is
    installed, else estimated; the result says which. The rest of the program, its stack
    and its buffers come on top: a file is `TIGHT` above 80 % of either memory.

    Args:
        model: the path of the file.
        chips: names of common chips, or `tfc.runtime.Chip` objects of your own; None for
            all that are known.

    Returns:
        A `FitCheck`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a complete TFLite model, or a chip is unknown.

    Source: David et al., "TensorFlow Lite Micro" (2021), for what is in flash and what in
    the arena.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> path = tmp_path / "m.tflite"
        >>> _ = tfc.export_tflite(model, path)
        >>> [(row.chip.name, row.verdict) for row in fit_check(path, ["rp2040"]).rows]
        [('rp2040', 'FITS')]
    """
    path = pathlib.Path(model)
    if not path.is_file():
        raise FileNotFoundError(f"No file {str(path)!r}; expected a .tflite model.")
    content = path.read_bytes()
    unsupported = unsupported_operations(content)
    needed = arena(path)
    flash_bytes = len(content) + RUNTIME_BYTES
    rows = [
        ChipFit(
            chip,
            flash_bytes / chip.flash_bytes,
            needed.size_bytes / chip.ram_bytes,
            not unsupported,
        )
        for chip in chips or CHIPS.values()
    ]
    return FitCheck(
        str(path), len(content), RUNTIME_BYTES, needed, unsupported, tuple(rows)
    )


def _chip(value):
    """The chip of a name."""
    return (
        value if isinstance(value, Chip) else CHIPS[OneOf(*CHIPS).check("chip", value)]
    )
