"""Writes a slimmable network as one `.tflite` file, or one per width."""

import dataclasses
import pathlib
import tempfile

from tfcompress.core.data import Batches, Samples
from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import FilePath, Instance, OneOf, checked
from tfcompress.core.samples import check_samples
from tfcompress.dynamic.slimmable import Slimmable
from tfcompress.export import export_tflite
from tfcompress.export.precisions import PRECISIONS
from tfcompress.export.prepare import PROFILES
from tfcompress.export.trace import named_specs
from tfcompress.export.verify import verify_outputs
from tfcompress.tflite.merge import merge
from tfcompress.tflite.metadata import set_metadata
from tfcompress.tflite.read import read, write
from tfcompress.tflite.slices import share_slices
from tfcompress.tflite.slim import slim

# Name of the metadata.
WIDTHS = "tfc.widths"


@checked
def export_widths(
    slimmable: Instance(Slimmable, "a tfc.dynamic.Slimmable"),
    path: FilePath("the .tflite file to write"),
    precision: OneOf(*PRECISIONS) = "float32",
    samples: Samples() = None,
    profile: OneOf(*PROFILES) = "custom",
    data: Batches() = None,
    **options,
):
    """Writes all widths of a slimmable network, in one file or one file each.

    With `profile="custom"`, one file has a signature per width, such as `width_0.5`, which
    `tfc.Interpreter(path, signature="width_0.5")` runs. Narrower networks read slices of
    the widest one's constants, taken when the file is loaded. In integer files, kernels
    are shared although each width has its own batch norms, since these become part of the
    channels' scales; in float files, kernels followed by a batch norm are stored once per
    width.

    With `profile="builtin"`, there is one file per width, `name_0.5.tflite` next to
    `path`, for runtimes without our delegate.

    Args:
        slimmable: the network.
        path: path of the file.
        precision: as in `tfc.export_tflite`.
        samples: as in `tfc.export_tflite`.
        profile: as in `tfc.export_tflite`.
        data: batches on which the statistics of shared batch norms are measured.
        **options: other arguments of `tfc.export_tflite`; `codec` only with
            `profile="builtin"`.

    Returns:
        `{width: ExportResult}`. For one file, notes list what is not shared, and why.

    Raises:
        TypeError: if `slimmable` is of another type.
        ValueError: as `tfc.export_tflite` and `Slimmable.at`; or if a `codec` is given.
        VerificationError: if a width's outputs differ from the network's.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(64, "relu"),
        ...     keras.layers.Dense(64, "relu"), keras.layers.Dense(3)])
        >>> slimmable = tfc.dynamic.Slimmable(model, widths=[0.5, 1.0])
        >>> results = export_widths(slimmable, tmp_path / "all.tflite")
        >>> interpreter = tfc.Interpreter(tmp_path / "all.tflite", signature="width_0.5")
        >>> interpreter.run(np.ones((2, 8))).shape
        (2, 3)
    """
    path = check_writable(path)
    models = {width: slimmable.at(width, data) for width in slimmable.widths}
    if profile == "builtin":
        return {
            width: export_tflite(
                model, _of_width(path, width), precision, samples, profile, **options
            )
            for width, model in models.items()
        }
    if options.get("codec"):
        raise ValueError(
            "export_widths(codec) encodes one width at a time: pass profile='builtin' "
            "for one file per width, or codec=None."
        )
    with tempfile.TemporaryDirectory() as folder:
        files = {
            width: _of_width(pathlib.Path(folder, path.name), width) for width in models
        }
        results = {
            width: export_tflite(model, files[width], precision, samples, **options)
            for width, model in models.items()
        }
        file = merge({_signature(w): read(f.read_bytes()) for w, f in files.items()})
    notes = share_slices(file, _signature(slimmable.widths[-1]))
    set_metadata(file, WIDTHS, {_signature(width): width for width in models})
    slim(file, options.get("names") or "drop")
    content = write(file)
    if options.get("verify", True):
        _check(results, models, content, samples)
    write_atomically(path, content)
    return {
        width: dataclasses.replace(
            result,
            path=path,
            size_bytes=len(content),
            notes=(
                *result.notes,
                *(n for n in notes if n.startswith(_signature(width))),
            ),
        )
        for width, result in results.items()
    }


def _of_width(path, width):
    return path.with_name(f"{path.stem}_{width:g}{path.suffix}")


def _signature(width):
    return f"width_{width:g}"


def _of_signature(notes, signature):
    return [note for note in notes if note.startswith(f"{signature}:")]


def _check(results, models, content, samples):
    """Raises unless each signature computes what its network does."""
    for width, model in models.items():
        known = samples
        if samples is not None:
            known = check_samples(samples, named_specs(model))
        verify_outputs(
            results[width], model, model, content, known, signature=_signature(width)
        )
