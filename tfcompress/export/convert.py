"""From a Keras model to a checked `.tflite` file."""

import time
import warnings

import keras
import tensorflow as tf

from tfcompress import native
from tfcompress.core.cloning import copy_variables
from tfcompress.core.compress import compress, is_plain, strip
from tfcompress.core.compressed import treatments
from tfcompress.core.errors import check_finite, check_model
from tfcompress.core.files import check_writable, write_atomically
from tfcompress.core.graph import flatten
from tfcompress.core.keras_internals import all_layers
from tfcompress.core.quiet import native_notes_dropped
from tfcompress.core.samples import check_samples
from tfcompress.export.binary import (
    with_binary_operations,
    with_direct_tensors,
    without_binary_operations,
)
from tfcompress.export.trace import inference_function, named_specs
from tfcompress.export.verify import inspect_operations, verify_outputs
from tfcompress.export.weights import dense_kernels, grid_values, lies_on_grid
from tfcompress.quantization.layers.fake_quant import FakeQuant
from tfcompress.quantization.quantize_activations import quantize_activations
from tfcompress.rewrites.affine import AffineAsConvolution
from tfcompress.rewrites.apply import apply_to_flat
from tfcompress.rewrites.fold_batch_norm import FoldBatchNorm
from tfcompress.tflite.edit import (
    pack_int4,
    with_exact_grids,
    with_rescaled_reversals,
)
from tfcompress.tflite.encode import CODECS, encode_tflite
from tfcompress.tflite.sparsity import SPARSE, store_sparse
from tfcompress.transforms.uniform import Uniform

PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8", "int4")
PROFILES = ("custom", "builtin")
_INTEGER = ("int8", "int16x8", "int4")
# Their activations, or those of int8 beside 4-bit kernels, stay with builtin operations.
_WITHOUT_BINARY = ("int16x8", "int4")
_INT8_LEVELS = 127
_NUM_CALIBRATION_SAMPLES = 256


def export_tflite(
    model,
    path,
    precision="float32",
    samples=None,
    profile="custom",
    verify=True,
    sparse="auto",
    codec=None,
):
    """Writes a Keras model as a `.tflite` file and checks that it computes the same.

    Compressed models are stripped first. Weights that lie on an integer grid (trained
    with `Uniform`, `LearnedStep`, `PowerOfTwo`, `Ternary`, `Binary` or a codebook on a
    grid) keep exactly that grid in integer files.
    Activation ranges are those trained with `tfc.quantize_activations`; without them
    they are measured on `samples`, with recurrent layers written out step by step.

    Dense and convolution layers whose kernels have the values `-s` and `s`, or `-s`, 0
    and `s`, with one `s` for each output channel, become custom operations with one or
    two bits a weight: `tfc.BDense` and `tfc.BConv2D`. Where their inputs are signs
    (`tfc.activations.Sign`), those are bits too, and stay so up to the next binary
    layer: what is between, such as batch norm, ReLU, PReLU and max pooling, becomes a
    threshold for each channel or `tfc.BMaxPool2D`, if its sign rises or falls with the
    sum. Other inputs are multiplied as they are; with a `codec`, such layers' weights are
    packed by that instead, and unpacked when the file is loaded, for the runtime's own
    kernels, which are faster in int8 files. The native core runs the binary operations;
    int4 and int16x8 files have none.

    Zeros make float32 files smaller and faster where LiteRT can skip them: in dense
    layers that see one row of inputs, stored as blocks of 4 consecutive inputs of a
    neuron (`patterns.Block(4, 1)`) or as single weights. A layer
    is stored and run so if

        c + 3 / inputs <= 0.045, 0.07 from 2^19 weights on, 0.11 from 2^20 weights on,

    where c is 1.25 times the stored blocks, or the stored single weights, divided by the
    weights of the kernel: about 90 % of zeros in blocks for 256 x 256 weights; 70 % in
    blocks or 90 % anywhere for 1024 x 1024. The limits were measured on one thread of an
    x86 server with AVX-512; more threads speed up dense layers only. Other precisions
    make no use of zeros: LiteRT refuses such files, runs them slower or computes
    wrongly.

    Args:
        model: a built Keras model with fixed input sizes, plain or compressed.
        path: where the file goes. It is written under another name and renamed, so
            that an earlier file stays whole if anything fails.
        precision: `"float32"`; `"float16"` weights; `"dynamic"`: int8 weights and float
            activations; `"int8"`: weights, activations, inputs and outputs;
            `"int16x8"`: int16 activations, int8 weights; `"int4"`: like int8, with
            4-bit kernels of dense and convolution layers (depthwise stays 8, and so do
            kernels that lie on a grid of more bits).
        samples: an array, or `{input name: array}`, typical inputs. Needed for integer
            precisions of a model without trained ranges; also used for the check.
        profile: `"custom"` allows custom operations, `"builtin"` does not, as for NPUs
            and for runtimes without our delegate; binary kernels then are int8 in
            integer files.
        verify: whether to run the file and compare it with the Keras model.
        sparse: `"auto"`: as above. `"always"`: the other dense and convolution kernels
            are stored without their zeros too if that is smaller (half of the weights
            as in `patterns.NOfM(2, 4)`: 0.75 of the bytes; 90 % zeros: 0.15), and made
            dense when the file is loaded, which takes 7 to 17 ms for a million
            weights and both forms' memory; they run as before. `"never"`: for runtimes
            without sparse kernels, such as those for microcontrollers.

        codec: how constants of at most 256 different values, in all or in each output
            channel (integers, or floats from a `Codebook`, batch norm folded in or
            not), are written, to be decoded once when the file is loaded; None leaves
            them as they are. `"lut"`: packed indices of a table; `"huffman"`;
            `"prune"`: a bit for each weight and the weights that are not zero;
            `"rans"`: asymmetric numeral systems, with fixed tables or, for up to 4
            million decisions in a file, learned contexts; `"auto"`: the smallest of
            all for each constant. What would not become smaller stays. Names of inner
            tensors are left out. `tfc.Interpreter` reads such files,
            `tfc.decode_tflite` gives ordinary ones. TFLite Micro reads `"lut"` of up to
            128 different values, `"huffman"` of int8 files, and `"prune"`.

    Returns:
        An `ExportResult`; its `sparsity` says what became of kernels with many zeros,
        its `constants` what became of constants with a `codec`, its `binary` which
        layers became binary operations, and why others did not.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if an argument is unknown, samples are missing or do not fit, or
            stripping would lose something that the file should have.
        NativeError: if binary operations have to be checked without the native core.
        VerificationError: if the file's outputs differ from the model's by more than
            the precision explains; no file is left behind.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        >>> result = tfc.export_tflite(model, tmp_path / "m.tflite", "int8", samples=x)
        >>> result.operations, result.float_operations
        ({'FULLY_CONNECTED': 1}, {})
    """
    start = time.perf_counter()
    check_model(model, "export")
    _check_choice("precision", precision, PRECISIONS)
    _check_choice("profile", profile, PROFILES)
    _check_choice("sparse", sparse, SPARSE)
    _check_choice("codec", codec, (None, *CODECS))
    if codec and profile == "builtin":
        raise ValueError(
            f"codec={codec!r} writes operations that decode weights, which "
            "profile='builtin' excludes. Use profile='custom', or codec=None."
        )
    path = check_writable(path)
    plain = _in_float32(_stripped(model, precision))
    for variable in plain.variables:
        if keras.backend.is_float_dtype(variable.dtype):
            check_finite(f"Weight {variable.path}", variable.numpy())
    specs = named_specs(plain)
    if samples is not None:
        samples = check_samples(samples, specs)
    elif precision in _INTEGER and not _has_trained_ranges(plain):
        raise ValueError(
            f"precision={precision!r} needs samples: typical inputs, such as x[:256], on "
            "which activation ranges are measured. Or train ranges with "
            "tfc.quantize_activations."
        )
    prepared, binary = _with_binary_operations(
        plain, precision, samples, profile, only_signs=codec is not None
    )
    if verify and any(layer.operation for layer in binary):
        native.require(
            "Running binary layers (profile='builtin' writes builtin operations instead; "
            "verify=False leaves the file unchecked)"
        )
    content = convert(prepared, precision, samples, profile)
    content, sparsity = store_sparse(content, plain, precision, sparse)
    constants = ()
    if codec:
        content, constants = encode_tflite(content, codec)
    result = inspect_operations(content, path, precision, sparsity, constants, binary)
    if verify:
        converted = prepared if prepared is not plain else None
        result = verify_outputs(result, plain, content, samples, converted)
    write_atomically(path, content)
    return result.timed(time.perf_counter() - start)


def convert(model, precision="float32", samples=None, profile="custom"):
    """The bytes of a `.tflite` model; see `export_tflite`, which also checks them.

    Args:
        model: a plain Keras model in float32.
        precision: one of `PRECISIONS`.
        samples: `{input name: array}` or None.
        profile: one of `PROFILES`.
    """
    values = {}
    if precision in ("int8", "int4") and _has_trained_ranges(model):
        # Batch norm without a convolution to fold into would be two operations, with no
        # range between them.
        model = flatten(model)
        for rewrite in (FoldBatchNorm(), AffineAsConvolution(batch_norm=True)):
            model = apply_to_flat(model, rewrite)
    if precision == "int4":
        model = _with_int4_weights(model)
    # A graph with trained ranges holds them already; measuring would replace them.
    is_measured = precision in _INTEGER and not _has_trained_ranges(model)
    if is_measured:
        model = _unrolled(model)
    if precision in _INTEGER:
        values = grid_values(model)
    function, module = inference_function(model, values)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.allow_custom_ops = profile == "custom"
    _set_precision(converter, precision)
    if is_measured:
        converter.representative_dataset = lambda: _one_by_one(samples)
    with native_notes_dropped(drop_all=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            content = converter.convert()
        except Exception as error:
            raise ValueError(
                f"The TFLite converter refuses model {model.name!r} as {precision}: "
                f"{_summary(error)}"
            ) from error
    if precision in _INTEGER:
        content = with_rescaled_reversals(content)
    if precision in ("int8", "int4"):
        content = with_exact_grids(content, dense_kernels(model))
    if precision == "int4":
        return pack_int4(content)
    return with_direct_tensors(content, model) if b"tfc.B" in content else content


def _with_binary_operations(model, precision, samples, profile, only_signs):
    """The model with binary operations, and a `BinaryLayer` for each that may be one."""
    if profile == "builtin":
        return model, without_binary_operations(model, "profile='builtin'")
    if precision in _WITHOUT_BINARY:
        reason = f"binary operations do not read {precision} activations"
        return model, without_binary_operations(model, reason)
    rewritten, layers = with_binary_operations(model, only_signs)
    is_measured = precision in _INTEGER and not _has_trained_ranges(model)
    if rewritten is not model and is_measured:
        # The converter cannot run binary operations to measure what they write.
        few = {
            tensor.name: array[:_NUM_CALIBRATION_SAMPLES]
            for tensor, array in zip(rewritten.inputs, samples.values(), strict=True)
        }
        rewritten = strip(
            quantize_activations(rewritten, ranges="min_max", samples=few)
        )
    return rewritten, layers


def _check_choice(name, value, choices):
    if value not in choices:
        raise ValueError(
            f"{name}={value!r}: expected one of {', '.join(map(str, choices))}."
        )


def _stripped(model, precision):
    """The plain model, unless the file could not hold what was trained."""
    if precision not in ("int8", "int4") and _has_trained_ranges(model):
        raise ValueError(
            f"Model {model.name!r} has trained 8-bit activation ranges, which a "
            f"{precision} file would lose. Export it with precision='int8', or export "
            "the model as it was before tfc.quantize_activations."
        )
    if precision not in _INTEGER:
        return model if is_plain(model) else strip(model)
    for name, treatment in treatments(model):
        for transform in treatment.transforms:
            if (transform.max_level or 0) > _INT8_LEVELS:
                raise ValueError(
                    f"Weight {name!r} was trained on the grid of {transform!r}, which "
                    f"{precision} weights (symmetric, 8 bits) cannot hold. Train on "
                    f"at most {_INT8_LEVELS} steps from zero, as with Uniform(bits=8), or "
                    "give up the grid: export tfc.strip(model)."
                )
    return model if is_plain(model) else strip(model)


def _has_trained_ranges(model):
    """Whether a graph holds fake quantization of activations."""
    operations = getattr(model, "operations", None) or all_layers(model)
    return any(
        isinstance(op, FakeQuant) or type(op).__name__ == "FakeQuantWithMinMaxVars"
        for op in operations
    )


def _in_float32(model):
    """The model itself, or its copy without mixed precision, which does not convert."""
    return _with_config(model, _without_mixed_precision)


def _unrolled(model):
    """The model itself, or its copy with recurrent layers written out step by step.

    TFLite's calibrator crashes on loops.
    """
    return _with_config(model, _without_loops)


def _with_config(model, change):
    """The model itself, or a copy if its changed configuration is another one."""
    config = keras.saving.serialize_keras_object(model)
    changed = change(config)
    if changed == config:
        return model
    copy = keras.saving.deserialize_keras_object(changed, safe_mode=False)
    copy_variables(model, copy)
    return copy


def _without_mixed_precision(config):
    is_policy = isinstance(config, dict) and config.get("class_name") == "DTypePolicy"
    if is_policy and str(config["config"].get("name")).startswith("mixed_"):
        return {**config, "config": {**config["config"], "name": "float32"}}
    return _mapped(_without_mixed_precision, config)


def _without_loops(config):
    if isinstance(config, dict) and config.get("unroll") is False:
        return {**config, "unroll": True}
    return _mapped(_without_loops, config)


def _mapped(change, config):
    if isinstance(config, dict):
        return {key: change(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(change(value) for value in config)
    return config


def _one_by_one(samples):
    count = min(_NUM_CALIBRATION_SAMPLES, len(next(iter(samples.values()))))
    for i in range(count):
        yield {name: array[i : i + 1] for name, array in samples.items()}


def _set_precision(converter, precision):
    spec = converter.target_spec
    if precision == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        spec.supported_types = [tf.float16]
    elif precision == "int16x8":
        int16x8 = (
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        )
        spec.supported_ops = [int16x8, tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.inference_input_type = converter.inference_output_type = tf.int16
    elif precision in ("int8", "int4"):
        converter.inference_input_type = converter.inference_output_type = tf.int8


def _with_int4_weights(model):
    """A copy whose kernels lie on integer grids; those that did already are kept."""

    def needs_grid(layer):
        if not isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D)):
            return False
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            return False
        return not lies_on_grid(layer, _INT8_LEVELS)

    if not any(map(needs_grid, all_layers(model))):
        return model
    return strip(compress(model, {needs_grid: Uniform(bits=4)}))


def _summary(error):
    """The first lines of a converter's error, which may go on for pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:3])[:400] or type(error).__name__
