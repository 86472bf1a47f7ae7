"""usage: tfcompress convert MODEL OUTPUT [flags]

Writes a model (.keras, .h5 or SavedModel) as a .tflite file, runs the file and
compares it with the model before keeping it.

Example:
  tfcompress convert model.keras model.tflite --precision int8 --samples train.npz
"""

from absl import flags

from . import data, models

SUMMARY = "write a .tflite file"
ARGUMENTS = 2
# Choices of tfc.export; asking it would import TensorFlow.
PRECISIONS = (
    *("float32", "float16", "dynamic", "dynamic_int4"),
    *("int8", "int16x8", "int4"),
)
PROFILES = ("custom", "builtin")
SPARSE = ("auto", "always", "never")
CODECS = ("auto", "lut", "huffman", "prune", "rans")
NAMES = ("keep", "short", "drop")


def define(values):
    """Flags of the command."""
    models.define(values)
    flags.DEFINE_enum(
        "precision",
        "float32",
        PRECISIONS,
        "Precision of the numbers in the file.",
        values,
    )
    flags.DEFINE_enum(
        "profile", "custom", PROFILES, "Operations that the file may use.", values
    )
    flags.DEFINE_string(
        "samples",
        None,
        "A .npz file (x or x_train, or inputs by name) or .npy file.",
        values,
    )
    flags.DEFINE_enum(
        "sparse",
        "auto",
        SPARSE,
        "Kernels to store without zeros: those that get faster, all, or none.",
        values,
    )
    flags.DEFINE_enum(
        "codec",
        None,
        CODECS,
        "Encoding of weights with few values; auto chooses the smallest.",
        values,
    )
    flags.DEFINE_integer(
        "batch_size",
        None,
        "Samples per batch; by default the model's batch size, or 1.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "names",
        None,
        NAMES,
        "Names of inner tensors: the converter's, those of layers (short, the default), or "
        "none (the default with a codec).",
        values,
    )
    flags.DEFINE_list(
        "float_layers",
        [],
        "Regular expressions for layers that stay float in an int8 or int4 file.",
        flag_values=values,
    )
    flags.DEFINE_bool("verify", True, "Compare the file with the model.", values)


def main(values, model_path, output):
    """Converts and describes the file."""
    from tfcompress.export import export_tflite

    samples = _samples(values.samples) if values.samples else None
    return export_tflite(
        models.load(values, model_path),
        output,
        values.precision,
        samples,
        values.profile,
        values.verify,
        values.sparse,
        values.codec,
        values.batch_size,
        values.names,
        values.float_layers,
    )


def _samples(path):
    arrays = data.read_arrays(path)
    for name in ("x", "x_train"):
        if name in arrays:
            return arrays[name]
    return arrays
