"""From a Keras model to a checked `.tflite` file."""

import time

from tfcompress import native
from tfcompress.core.behaviour import has_ranges
from tfcompress.core.data import Samples
from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.kinds import (
    BuiltModel,
    FilePath,
    Flag,
    Instance,
    Integer,
    OneOf,
    checked,
)
from tfcompress.core.macs import fixed_batch_size
from tfcompress.core.rules import EXPRESSIONS
from tfcompress.core.samples import check_samples
from tfcompress.export.binary import connect_directly
from tfcompress.export.converter import converted
from tfcompress.export.precisions import PRECISIONS, precision_of
from tfcompress.export.prepare import (
    NUM_CALIBRATION_SAMPLES,
    PROFILES,
    plain_model,
    prepared,
    with_binary_layers,
)
from tfcompress.export.trace import named_specs
from tfcompress.export.verify import ExportResult, describe_result, verify_outputs
from tfcompress.export.weights import dense_kernels, grid_values
from tfcompress.runtime.sparse_costs import SparseCosts
from tfcompress.tflite.edit import name_ends, order_ends
from tfcompress.tflite.encode import CODECS, encode_tflite
from tfcompress.tflite.exact_grids import store_exact_grids
from tfcompress.tflite.int4 import decoded_note, pack_int4, unpack_convolutions
from tfcompress.tflite.loops import carry_integers
from tfcompress.tflite.operations import float_ends
from tfcompress.tflite.packed_weights import pack_weights
from tfcompress.tflite.read import read, write
from tfcompress.tflite.reversals import rescale_reversals
from tfcompress.tflite.slim import NAMES, slim
from tfcompress.tflite.sparsity import SPARSE, store_sparse

# Samples per batch.
_MOST_SAMPLES = 2**20


@checked
def export_tflite(
    model: BuiltModel(),
    path: FilePath("the .tflite file to write"),
    precision: OneOf(*PRECISIONS) = "float32",
    samples: Samples() = None,
    profile: OneOf(*PROFILES) = "custom",
    verify: Flag() = True,
    sparse: OneOf(*SPARSE) | Instance(SparseCosts, "SparseCosts") = "auto",
    codec: OneOf(*CODECS, None) = None,
    batch_size: Integer(1, _MOST_SAMPLES) = None,
    names: OneOf(*NAMES, None) = None,
    float_layers: EXPRESSIONS = (),
) -> ExportResult:
    """Writes a Keras model as a `.tflite` file and checks that it computes the same.

    Compressed models are stripped first. Weights that lie on an integer grid (trained
    with `Uniform`, `LearnedStep`, `PowerOfTwo`, `Ternary`, `Binary` or a codebook on a
    grid) keep exactly that grid in integer files. Activation ranges are those trained with
    `tfc.quantize_activations`; without them, they are measured on `samples`, also inside
    loops and branches. Recurrent layers keep their loop, except in int16x8 files; layers
    with `unroll=True` are unrolled, which is faster and takes more bytes with each step.
    The integers of models that Keras quantized (`model.quantize`) are read, see
    `tfc.interop.dequantize`.

    Dense and convolution layers whose kernels have the values `-s` and `s`, or `-s`, 0
    and `s`, with one `s` per output channel, become custom operations with one or two bits
    per weight: `tfc.BDense` and `tfc.BConv2D`. If their inputs are signs
    (`tfc.activations.Sign`), these are bits too, and stay bits up to the next binary
    layer: layers in between, such as batch norm, ReLU, PReLU and max pooling, become one
    threshold per channel or `tfc.BMaxPool2D`, if their sign is monotone in the sum. Other
    inputs are multiplied as they are; with a `codec`, the weights of such layers are
    packed by the codec instead and unpacked when the file is loaded, for the runtime's own
    kernels, which are faster in int8 files. The native core runs the binary operations;
    int4 and int16x8 files have none.

    Zeros make float32 files smaller and faster where LiteRT can skip them: in dense layers
    with a single row of inputs, stored as blocks of 4 consecutive inputs of a neuron
    (`patterns.Block(4, 1)`) or as single weights. A layer is stored and run this way if
    that takes at most 0.9 of the time on this machine, by its `tfc.runtime.SparseCosts`,
    which are measured when they are first needed and kept in the user's cache folder. On
    servers with AVX-512, that means about 90 % zeros in blocks for 256 x 256 weights; 70 %
    in blocks or 90 % anywhere for 1024 x 1024. Other precisions do not use zeros: LiteRT
    refuses such files, runs them slower or computes wrong results.

    Args:
        model: a built Keras model with fixed input sizes, plain or compressed. Stateful
            recurrent layers also keep their state in the file, starting from their
            current state.
        path: path of the file. It is written under another name and renamed, so that an
            earlier file stays intact if anything fails.
        precision: `"float32"`; `"float16"` weights; `"dynamic"`: int8 weights and float
            activations, which LiteRT rounds while it runs; `"dynamic_int4"`: the same with
            4-bit weights in dense layers and embeddings, one step for each output or for
            each block of inputs (from `tfc.quantize_weights(block_size=...)`, and blocks
            of 32 for weights on no grid); `"int8"`: weights, activations, inputs and
            outputs; `"int16x8"`: int16 activations, int8 weights; `"int4"`: like int8, with
            4-bit kernels in dense layers and in ordinary convolutions in one or two
            dimensions (depthwise, separable and transposed ones stay at 8 bits, and so do
            kernels on a grid with more bits; the result lists them). LiteRT would unpack
            kernels of convolutions on every call. With `profile="custom"` they are written
            as with `codec="lut"` instead, with at most 4 bits per weight, and become int8
            once, when the file is loaded: same weights, the speed of int8.
        samples: typical inputs: an array, `{input name: array}` or a dataset of batches.
            Required for integer precisions of a model without trained ranges; also used
            for the check, which otherwise draws random inputs.
        profile: `"custom"` allows custom operations; `"builtin"` does not, for NPUs and
            for runtimes without our delegate: binary kernels are then int8 in integer
            files, and convolutions of int4 files have int4 kernels.
        verify: whether to run the file and compare it with `model` on up to 64 samples,
            each channel of each output by noise relative to its own spread. More noise
            than is usual for this precision is reported in `notes`; more than it explains
            is an error, and so are outputs that do not follow the inputs.
        sparse: `"auto"`: as above; a `SparseCosts`: the same for the machine that these
            belong to. `"always"`: the other dense and convolution kernels
            are also stored without their zeros if that is smaller (half of the weights
            as in `patterns.NOfM(2, 4)`: 0.75 of the bytes; 90 % zeros: 0.15) and made
            dense when the file is loaded, which takes 7 to 17 ms per million weights and
            the memory of both forms; they run as before. `"never"`: for runtimes without
            sparse kernels, such as those for microcontrollers. With a `codec`, kernels
            that take fewer bytes encoded are left to the codec.
        codec: how constants with at most 256 different values, in total or per output
            channel (integers, or floats from a `Codebook`, with or without a folded batch
            norm), are written, to be decoded once when the file is loaded; None leaves
            them unchanged. `"lut"`: packed indices into a table; `"huffman"`;
            `"prune"`: one bit per weight and the nonzero weights; `"rans"`: asymmetric
            numeral systems, with fixed tables or, for up to 4 million decisions in a
            file, learned contexts; `"auto"`: the smallest of all for each constant.
            Constants that would not become smaller are left unchanged, and constants read
            by several operations are decoded once. `tfc.Interpreter` reads such files,
            `tfc.decode_tflite` makes ordinary ones. TFLite Micro, unless it gets separate
            memory for decoding, reads `"lut"` with up to 128 different values,
            `"huffman"` of int8 files, and `"prune"`.
        batch_size: number of samples that the file takes at a time; None for the model's
            fixed batch size (`keras.Input(batch_shape=...)`), or else 1.
        names: what inner tensors are called, which viewers and debuggers show and no
            runtime needs; inputs and outputs are called as in the model. `"short"`: as the
            layer that they belong to, constants by numbers, each name once; `"drop"`: they
            have no names, which other tools may not accept; `"keep"`: as the converter
            calls them, after all operations that a tensor went through, which
            takes a quarter of a file of 50 kB. None for `"short"`, and for `"drop"` with a
            `codec`, which is for the smallest file.
        float_layers: regular expressions for names of layers, or paths, that stay in
            floating point in an int8 or int4 file, for those that lose too much otherwise.
            Their neighbours convert. For ranges measured on `samples`.

    Returns:
        An `ExportResult`: `noise` tells how well the file agrees with the model, `notes`
        what to know before using it, `sparsity` what became of kernels with many zeros,
        `constants` what became of constants that were to be encoded, and `binary` which
        layers became binary operations, and why others did not.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is unknown, samples are missing or do not match, or
            stripping would lose something that the file should have.
        NativeError: if binary operations have to be checked without the native core.
        VerificationError: if the file's outputs differ from the model's by more than the
            precision explains; no file is written.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        >>> result = tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=x)
        >>> result.operations, result.float_operations
        ({'FULLY_CONNECTED': 1}, {})
    """
    start = time.perf_counter()
    precision = precision_of(precision)
    if codec and profile == "builtin":
        raise ValueError(
            f"codec={codec!r} writes operations that decode weights, which "
            "profile='builtin' excludes. Use profile='custom', or codec=None."
        )
    path = check_writable(path)
    plain = plain_model(model, precision)
    batch_size = _batch_size(model, batch_size)
    if samples is not None:
        samples = check_samples(samples, named_specs(plain))
    elif precision.is_integer and not has_ranges(plain):
        raise ValueError(
            f"precision={precision.name!r} needs samples: typical inputs, such as "
            "x[:256], to measure activation ranges on. Or train ranges with "
            "tfc.quantize_activations."
        )
    made, binary = with_binary_layers(
        plain, precision, samples, profile, only_signs=codec is not None
    )
    if verify and any(layer.operation for layer in binary):
        native.require(
            "Running binary layers (profile='builtin' writes builtin operations instead; "
            "verify=False skips the check of the file)"
        )
    if float_layers:
        _check_can_stay_float(made, precision)
    file, notes = convert(made, precision, samples, batch_size, float_layers)
    sparsity = store_sparse(
        file, plain, *_sparse_and_costs(sparse), precision.without_sparse, codec
    )
    kernels = unpack_convolutions(file) if profile == "custom" else []
    slim(file, names or ("drop" if codec else "short"))
    if codec:
        content, constants = encode_tflite(file, codec)
    elif kernels:
        content, constants = encode_tflite(file, "lut", kernels)
        notes = (*notes, *decoded_note(constants))
    else:
        content, constants = write(file), ()
    result = describe_result(
        file, path, precision, len(content), sparsity, constants, binary, notes
    )
    # It holds the weights a second time.
    del file
    if verify:
        converted = made if made is not plain else None
        result = verify_outputs(
            result, model, plain, content, samples, converted, batch_size
        )
    write_atomically(path, content)
    return result.timed(time.perf_counter() - start)


def convert(model, precision, samples=None, batch_size=1, float_layers=()):
    """The object form of a `.tflite` model, and notes on what was not done as asked.

    `export_tflite` writes and checks it.

    Args:
        model: a plain Keras model in float32.
        precision: a `Precision`.
        samples: `{input name: array}` or None.
        batch_size: batch size of the file, unless the model has a fixed one.
        float_layers: expressions for layers that stay float.
    """
    model = prepared(model, precision)
    values = grid_values(model) if precision.is_integer else {}
    # A graph with trained ranges already holds them; measuring would replace them.
    is_measured = precision.is_integer and not has_ranges(model)
    few = {k: array[:NUM_CALIBRATION_SAMPLES] for k, array in (samples or {}).items()}
    content, outputs = converted(
        model,
        precision,
        values,
        few if is_measured else None,
        batch_size,
        float_layers,
    )
    file = read(content)
    order_ends(file, named_specs(model), outputs)
    if precision.is_integer:
        carry_integers(file)
        rescale_reversals(file)
    if precision.holds_grids:
        store_exact_grids(file, dense_kernels(model))
    notes = pack_int4(file) if precision.packs_kernels else ()
    notes = (*notes, *float_ends(file)) if precision.is_integer else notes
    connect_directly(file, model)
    if precision.packs_weights:
        notes = (*notes, *pack_weights(file, precision.weight_bits))
    name_ends(file)
    return file, notes


def _check_can_stay_float(model, precision):
    if precision.activation_bits != 8:
        raise ValueError(
            f"float_layers is for precision='int8' and 'int4', got {precision.name!r}."
        )
    if has_ranges(model):
        raise ValueError(
            f"float_layers is for ranges that are measured on samples, but those of "
            f"{model.name!r} are in the model: trained with tfc.quantize_activations, or "
            "for binary operations (profile='builtin' writes none)."
        )


def _sparse_and_costs(sparse):
    """One of `SPARSE`, and a function that returns costs, which are measured if needed."""
    if isinstance(sparse, SparseCosts):
        return "auto", lambda: sparse
    return sparse, SparseCosts.of_host


def _batch_size(model, asked):
    """The batch size of a file."""
    fixed = fixed_batch_size(model)
    if asked is None:
        return fixed or 1
    if fixed and asked != fixed:
        raise ValueError(
            f"batch_size={asked}: model {model.name!r} has the fixed batch size {fixed}. "
            "Omit batch_size, or rebuild the model on a keras.Input of any batch size."
        )
    return asked
