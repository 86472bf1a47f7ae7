"""Bytes of small int8 files that are not weights, before and after `slim`, and which
runtimes compute the same; 4-bit convolutions that are decoded when a file is loaded.
"""

import functools
import pathlib
import tempfile

import harness
import numpy as np
from harness import Measure

# Of what is in a file next to its constants.
MOST_LEFT = 0.4
_NUM_COMPARED = 8
_ARENA_BYTES = 1 << 22
# Channels and strides.
_BLOCKS = ((16, 1), (32, 2), (64, 2), (64, 1))
_QUICK_BLOCKS = ((32, 2),)
# What of the file is not weights cannot become less than this.
_FLOOR = (
    "LiteRT demands a zero point for each scale, so that scales, and zero points of each "
    "length once, take {:.1%} of the bytes before"
)


def ds_cnn():
    """The keyword network of MLPerf Tiny."""
    from keras import Input, Model, layers

    def block(x, layer):
        return layers.ReLU()(layers.BatchNormalization()(layer(x)))

    image = Input((49, 10, 1), name="image")
    x = block(image, layers.Conv2D(64, (10, 4), strides=2, padding="same"))
    x = layers.Dropout(0.2)(x)
    for _ in range(4):
        x = block(x, layers.DepthwiseConv2D(3, padding="same"))
        x = block(x, layers.Conv2D(64, 1, padding="same"))
    x = layers.AveragePooling2D((25, 5))(layers.Dropout(0.4)(x))
    return Model(image, layers.Dense(12, "softmax")(layers.Flatten()(x)))


def lenet_5():
    """LeCun et al. (1998), with ReLU and maxima."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((28, 28, 1), name="image"),
            layers.Conv2D(6, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(120, "relu"),
            layers.Dense(84, "relu"),
            layers.Dense(10, "softmax"),
        ]
    )


def mobilenet():
    """MobileNetV1 0.25 with two classes, the person detector of MLPerf Tiny."""
    import keras

    shape = (96, 96, 3)
    return keras.applications.MobileNet(shape, alpha=0.25, weights=None, classes=2)


def residual(blocks=_BLOCKS):
    """A 3x3 convolution, and two in each residual block."""
    from keras import Input, Model, layers

    image = Input((32, 32, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    for channels, stride in blocks:
        y = layers.Conv2D(channels, 3, stride, "same", activation="relu")(x)
        y = layers.Conv2D(channels, 3, padding="same")(y)
        if x.shape != y.shape:
            x = layers.Conv2D(channels, 1, stride)(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    return Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def randomized(make, seed):
    """A network in which no bias and no statistic is zero, and typical inputs."""
    import keras

    keras.utils.set_random_seed(seed)
    model, generator = make(), np.random.default_rng(seed)
    for variable in model.variables:
        kind = variable.path.split("/")[-1]
        if kind in ("bias", "beta", "moving_mean"):
            variable.assign(generator.normal(0, 0.1, variable.shape))
        elif kind in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    shape = (64, *model.input_shape[1:])
    return model, generator.normal(size=shape).astype("float32")


def overhead(make):
    """A row: what a file of a network holds next to its constants."""

    def row(options):
        import tfcompress as tfc

        model, x = randomized(make, options.seed)
        with tempfile.TemporaryDirectory() as folder:
            paths = {n: pathlib.Path(folder, n) for n in ("before", "drop", "after")}
            paths["before"].write_bytes(_as_converted(model, x))
            for name, names in (("drop", "drop"), ("after", None)):
                tfc.export_tflite(
                    model, paths[name], "int8", x, verify=False, names=names
                )
            return [
                *_bytes({name: path.read_bytes() for name, path in paths.items()}),
                *_unequal_outputs(paths["before"], paths["after"], x, options),
            ]

    return row


def _as_converted(model, x):
    """The bytes of the file as the converter arranges it, each tensor by itself."""
    import flatbuffers

    from tfcompress.core.samples import check_samples
    from tfcompress.export.convert import convert
    from tfcompress.export.precisions import precision_of
    from tfcompress.export.trace import named_specs

    samples = check_samples(x, named_specs(model))
    file, _ = convert(model, precision_of("int8"), samples)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(file.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _bytes(contents):
    rest, measures = {}, []
    for name, content in contents.items():
        constants, _ = _parts(content)
        rest[name] = len(content) - constants
        title = {"drop": "names='drop'"}.get(name, name)
        measures += [
            Measure(f"{title}: size", len(content), "bytes"),
            Measure(f"{title}: constants", constants, "bytes"),
            Measure(f"{title}: the rest", rest[name], "bytes"),
        ]
    floor = _parts(contents["after"])[1] / rest["before"]
    share = rest["after"] / rest["before"]
    note = _FLOOR.format(floor)
    return [
        *measures,
        Measure("the rest", share, "of before", at_most=MOST_LEFT, note=note),
        Measure("the rest, names='drop'", rest["drop"] / rest["before"], "of before"),
    ]


def _parts(content):
    """Bytes of constants, and of different scales and zero points."""
    from tfcompress.tflite.read import read

    file = read(content)
    constants = sum(len(b.data) for b in file.buffers if b.data is not None)
    found = [t.quantization for g in file.subgraphs for t in g.tensors]
    found = [q for q in found if q is not None and q.scale is not None]
    vectors = {v.tobytes() for q in found for v in (q.scale, q.zeroPoint)}
    return constants, sum(map(len, vectors))


def _unequal_outputs(before, after, x, options):
    """How many outputs differ between two files, in each runtime."""
    inputs = _rounded_inputs(before, x[:_NUM_COMPARED])
    runtimes = {"LiteRT": _litert, "TFLite Micro": _micro}
    counts = {
        name: np.sum(
            run(before.read_bytes(), inputs) != run(after.read_bytes(), inputs)
        )
        for name, run in runtimes.items()
    }
    if not options.no_peers:
        array = before.with_name("inputs.npy")
        np.save(array, inputs)
        task = {"paths": [str(before), str(after)], "inputs": str(array)}
        counts["TFLite 2.16.2"] = harness.run_peer(
            "lce", "tflite_outputs.py", task, options.peers_dir
        )
    return [
        Measure(f"{name}: outputs that differ", count, "values", at_most=0)
        for name, count in counts.items()
    ]


def _rounded_inputs(path, x):
    from ai_edge_litert.interpreter import Interpreter

    (detail,) = Interpreter(str(path)).get_input_details()
    scale, zero_point = detail["quantization"]
    return np.clip(np.rint(x / scale) + zero_point, -128, 127).astype(np.int8)


def _litert(content, inputs, own_kernels=False):
    """Outputs of LiteRT, with XNNPACK or with its own kernels alone."""
    interpreter = _interpreter(content, own_kernels)
    return np.stack([_run(interpreter, one) for one in inputs])


def _interpreter(content, own_kernels=False):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.AUTO
    if own_kernels:
        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=content, num_threads=1, experimental_op_resolver_type=kernels
    )
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter, one):
    (source,), (sink,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.set_tensor(source["index"], one[None])
    interpreter.invoke()
    return interpreter.get_tensor(sink["index"])


def _micro(content, inputs):
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=_ARENA_BYTES)
    outputs = []
    for one in inputs:
        interpreter.set_input(one[None], 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0))
    return np.stack(outputs)


def int4_convolutions(options):
    """Size and speed of 4-bit convolutions, decoded at load, unpacked on each call."""
    import tfcompress as tfc

    blocks = _QUICK_BLOCKS if options.quick else _BLOCKS
    model, x = randomized(functools.partial(residual, blocks), options.seed)
    with tempfile.TemporaryDirectory() as folder:
        paths = {
            name: pathlib.Path(folder, f"{name}.tflite")
            for name in ("int8", "int4", "decoded")
        }
        for name, path in paths.items():
            precision = "int8" if name == "int8" else "int4"
            profile = "custom" if name == "decoded" else "builtin"
            tfc.export_tflite(model, path, precision, x, profile, verify=False)
        contents = {name: path.read_bytes() for name, path in paths.items()}
        inputs = _rounded_inputs(paths["int8"], x[:_NUM_COMPARED])
    measures = [
        Measure(f"{name}: size", len(content), "bytes")
        for name, content in contents.items()
    ]
    contents["decoded"] = tfc.decode_tflite(contents["decoded"])
    interpreters = {name: _interpreter(content) for name, content in contents.items()}
    runs = {
        name: functools.partial(_run, interpreter, inputs[0])
        for name, interpreter in interpreters.items()
    }
    times = harness.interleaved(runs, 1 if options.quick else 300)
    for other in ("int8", "int4"):
        share = harness.ratio(times["decoded"], times[other])
        measures.append(Measure(f"decoded: latency relative to {other}", share))
    return [*measures, *_differences(contents, inputs)]


def _differences(contents, inputs):
    """Outputs of the file of 4-bit kernels, and of the decoded one."""
    own, default = (
        [
            _litert(contents[name], inputs, own_kernels).astype(int)
            for name in ("int4", "decoded")
        ]
        for own_kernels in (True, False)
    )
    return [
        Measure(
            "LiteRT's own kernels: outputs that differ",
            np.sum(own[0] != own[1]),
            "values",
            at_most=0,
        ),
        Measure(
            "XNNPACK for what it supports: largest difference",
            np.abs(default[0] - default[1]).max(),
            "steps",
            note="XNNPACK has no 4-bit convolutions, and rounds sums in another way than "
            "LiteRT's own kernels",
        ),
    ]


ROWS = {
    "ds_cnn": overhead(ds_cnn),
    "lenet_5": overhead(lenet_5),
    "mobilenet_v1_0.25": overhead(mobilenet),
    "int4_convolutions": int4_convolutions,
}

if __name__ == "__main__":
    harness.main(__doc__, ROWS, quick=("lenet_5", "int4_convolutions"))
