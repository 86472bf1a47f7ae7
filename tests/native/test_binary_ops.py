"""Binary operations in C: every instruction set against the reference, bit for bit, and
the reference against NumPy.
"""

import ctypes
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tfcompress import native

pytestmark = pytest.mark.skipif(
    native.library() is None, reason="the native core was not built"
)

FLOAT32, INT8, BITS = range(3)
BEST, REFERENCE, PORTABLE, AVX2, AVX512, NEON, NEON_IN_ORDER = range(7)
ISAS = [PORTABLE, AVX2, AVX512, NEON, NEON_IN_ORDER]
CORRUPT, UNSUPPORTED = 1, 2


class Format(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
    ]


def structure(name, integers, arrays=""):
    """A C struct of int32, with the two formats and pointers of a layer if it has any."""
    fields = [(field, ctypes.c_int32) for field in integers.split()]
    if arrays:
        fields += [("input", Format), ("output", Format)]
        fields += [(field, ctypes.c_void_p) for field in arrays.split()]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


ARRAYS = "filter multiplier bias threshold"
Conv = structure(
    "Conv",
    "batch in_height in_width channels num_outputs planes kernel_height kernel_width "
    "stride_height stride_width dilation_height dilation_width same_padding binarize relu",
    ARRAYS,
)
Dense = structure(
    "Dense", "rows groups channels num_outputs planes binarize relu", ARRAYS
)
Pool = structure(
    "Pool",
    "batch in_height in_width words pool_height pool_width stride_height stride_width "
    "same_padding",
)


def pack(signs):
    """The bits of the last axis: set where values are negative."""
    gap = -signs.shape[-1] % 32
    bits = np.pad(signs < 0, [(0, 0)] * (signs.ndim - 1) + [(0, gap)])
    return np.packbits(bits, axis=-1, bitorder="little").view("<i4")


def signs_of(x):
    return np.where(x < 0, -1.0, 1.0)


def available():
    found = native.library().tfc_isa_available
    found.restype = ctypes.c_bool
    return [isa for isa in ISAS if found(isa)]


def threads(count):
    create = native.library().tfc_threads_create
    create.restype = ctypes.c_void_p
    return ctypes.c_void_p(create(count))


def create(name, params, isa):
    """The status and the op."""
    op = ctypes.c_void_p()
    function = getattr(native.library(), f"tfc_{name}_create")
    return function(ctypes.byref(params), isa, ctypes.byref(op)), op


def run(name, params, isa, x, output, pool=None):
    """What an op writes into an array like `output`, which is initialized with garbage."""
    library = native.library()
    status, op = create(name, params, isa)
    assert status == 0
    y = np.full_like(output, 77)
    for _ in range(2):  # The scratch memory is reused.
        getattr(library, f"tfc_{name}_run")(
            op, native.pointer(x), native.pointer(y), pool
        )
    getattr(library, f"tfc_{name}_free")(op)
    return y


class Layer:
    """Random weights and inputs of one op, and its outputs computed with NumPy."""

    def __init__(self, generator, shape, filter_shape, planes, input, output, binarize):
        self.input = Format(input, 0.5, int(generator.integers(-20, 20)))
        self.output = Format(output, 0.75, int(generator.integers(-20, 20)))
        num_outputs = filter_shape[0]
        weights = generator.choice([-1.0, 1.0], (planes, *filter_shape))
        self.weights = weights.mean(axis=0)
        self.binarize = binarize
        self.relu = int(output != BITS and generator.random() < 0.5)
        if input == INT8:
            levels = generator.integers(-128, 128, shape).astype("i1")
            self.x, self.values = levels, levels - float(self.input.zero_point)
        else:
            # Halves: float sums are exact in any order. Zeros of both signs among them.
            self.values = generator.integers(-6, 7, shape).astype("f4") / 2
            self.values[generator.random(shape) < 0.1] = -0.0
            if binarize:
                self.values[generator.random(shape) < 0.1] = np.nan
            self.x = pack(self.values) if input == BITS else self.values
        self.arrays = {
            "filter": np.ascontiguousarray(pack(weights)),
            "multiplier": generator.normal(size=num_outputs).astype("f4"),
            "bias": generator.normal(size=num_outputs).astype("f4"),
            "threshold": generator.integers(-9, 9, num_outputs).astype("i4"),
        }
        unused = ["multiplier", "bias"] if output == BITS else ["threshold"]
        self.pointers = {
            key: None if key in unused else native.pointer(array)
            for key, array in self.arrays.items()
        }

    def seen(self):
        """The values that are summed."""
        return signs_of(self.values) if self.binarize else self.values

    def outputs(self, sums):
        """Of sums (..., outputs), which are exact."""
        if self.output.type == BITS:
            return pack(np.where(sums < self.arrays["threshold"], -1, 1))
        if self.relu:
            sums = np.maximum(sums, 0)
        multiplier = self.arrays["multiplier"]
        if self.input.type == INT8 and not self.binarize:
            multiplier = multiplier * np.float32(self.input.scale)
        if self.output.type == FLOAT32:
            return multiplier * sums.astype("f4") + self.arrays["bias"]
        scale = np.float32(self.output.scale)
        y = multiplier / scale * sums.astype("f4") + self.arrays["bias"] / scale
        levels = np.rint(y) + self.output.zero_point
        return np.clip(levels, -128, 127).astype("i1")


def conv_case(generator, input, output, binarize, planes, same):
    """A convolution of a random shape: its parameters, its layer, its true outputs."""
    kernel, stride, dilation = (generator.integers(1, 4, 2) for _ in range(3))
    if generator.random() < 0.5:
        dilation[:] = 1
    channels, num_outputs = (
        int(generator.choice([1, 3, 31, 32, 33, 64, 70, 96])) for _ in range(2)
    )
    batch, size = generator.integers(1, 3), generator.integers(1, 9, 2)
    if not same:
        size = size + (kernel - 1) * dilation
    layer = Layer(
        generator,
        (batch, *size, channels),
        (num_outputs, *kernel, channels),
        planes,
        input,
        output,
        binarize,
    )
    params = Conv(
        *(int(n) for n in (batch, *size, channels, num_outputs, planes)),
        *(int(n) for n in (*kernel, *stride, *dilation)),
        int(same),
        int(binarize),
        layer.relu,
        layer.input,
        layer.output,
        **layer.pointers,
    )
    # TensorFlow does not support strides with dilation: computes every output, then
    # selects.
    sums = tf.nn.conv2d(
        layer.seen(),
        np.moveaxis(layer.weights, 0, -1),
        1,
        padding(size, kernel, stride, dilation, same),
        dilations=dilation,
    ).numpy()[:, :: stride[0], :: stride[1]]
    return params, layer, layer.outputs(sums)


def padding(size, kernel, stride, dilation, same):
    """Explicit zeros before and after, for a convolution with strides."""
    both = [[0, 0]]
    for axis in range(2):
        out = -(-size[axis] // stride[axis])
        covered = (out - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        missing = max(covered - size[axis], 0) if same else 0
        both.append([missing // 2, missing - missing // 2])
    return [*both, [0, 0]]


KINDS = [
    kind
    for kind in itertools.product((FLOAT32, INT8, BITS), (FLOAT32, INT8, BITS), (0, 1))
    if kind[0] != BITS or kind[2]
]


@pytest.mark.parametrize("input, output, binarize", KINDS)
def test_conv_grid(input, output, binarize):
    generator = np.random.default_rng([input, output, binarize])
    pools = [threads(n) for n in (1, 2, 3)]
    cases = itertools.product((1, 2), (False, True), range(6))
    for number, (planes, same, _) in enumerate(cases):
        case = conv_case(generator, input, output, binarize, planes, same)
        params, layer, expected = case
        height, width = ctypes.c_int32(), ctypes.c_int32()
        size = ctypes.byref(height), ctypes.byref(width)
        native.library().tfc_bconv2d_output_size(ctypes.byref(params), *size)
        assert expected.shape[1:3] == (height.value, width.value)
        reference = run("bconv2d", params, REFERENCE, layer.x, expected)
        np.testing.assert_array_equal(reference, expected)
        for isa in available():
            pool = pools[number % 3]
            y = run("bconv2d", params, isa, layer.x, expected, pool)
            np.testing.assert_array_equal(y, expected, err_msg=f"isa {isa}")
    for pool in pools:
        native.library().tfc_threads_free(pool)


def dense_params(layer, rows, groups, channels, num_outputs, planes, binarize):
    sizes = rows, groups, channels, num_outputs, planes, binarize, layer.relu
    return Dense(*sizes, layer.input, layer.output, **layer.pointers)


# More words than 8 or 16 bits can count; gaps between groups; values of each kind.
@pytest.mark.parametrize(
    "input, groups, channels, planes, binarize",
    [
        (BITS, 1, 66_000, 1, 1),
        (BITS, 9, 40, 2, 1),
        (FLOAT32, 1, 333, 1, 1),
        (FLOAT32, 1, 333, 2, 0),
        (INT8, 1, 333, 1, 0),
    ],
)
def test_dense(input, groups, channels, planes, binarize):
    generator = np.random.default_rng(channels)
    shape = (3, groups, channels)
    filter_shape = (35, groups, channels)
    layer = Layer(generator, shape, filter_shape, planes, input, FLOAT32, binarize)
    params = dense_params(layer, 3, groups, channels, 35, planes, binarize)
    expected = layer.outputs(np.einsum("ngc,ogc->no", layer.seen(), layer.weights))
    for isa in [REFERENCE, *available()]:
        y = run("bdense", params, isa, layer.x, expected)
        np.testing.assert_array_equal(y, expected, err_msg=f"isa {isa}")


@pytest.mark.parametrize("planes", [1, 2])
def test_order_of_float_sums(planes):
    generator = np.random.default_rng(planes)
    layer = Layer(generator, (5, 1, 100), (40, 1, 100), planes, FLOAT32, FLOAT32, 0)
    layer.x = generator.normal(size=(5, 1, 100)).astype("f4")
    params = dense_params(layer, 5, 1, 100, 40, planes, 0)
    bits = layer.arrays["filter"].view("u1").reshape(planes, 40, -1)
    signs = 1 - 2.0 * np.unpackbits(bits, axis=-1, bitorder="little")[..., :100]
    terms = (signs[:, None] * layer.x).astype("f4")  # planes, rows, outputs, channels
    sums = np.cumsum(terms, axis=-1, dtype="f4")[..., -1]
    expected = layer.outputs(sums.sum(axis=0) * np.float32(1 / planes))
    for isa in [REFERENCE, *available()]:
        y = run("bdense", params, isa, layer.x, expected)
        np.testing.assert_array_equal(y, expected, err_msg=f"isa {isa}")


@pytest.mark.parametrize("input, binarize", [(FLOAT32, 1), (FLOAT32, 0), (INT8, 0)])
def test_threads_share_large_inputs(input, binarize):
    generator = np.random.default_rng(0)
    layer = Layer(generator, (2, 9, 21, 64), (70, 3, 3, 64), 1, input, BITS, binarize)
    sizes = (2, 9, 21, 64, 70, 1, 3, 3, 1, 1, 1, 1, 1, binarize, 0)
    params = Conv(*sizes, layer.input, layer.output, **layer.pointers)
    filters = np.moveaxis(layer.weights, 0, -1)
    expected = layer.outputs(tf.nn.conv2d(layer.seen(), filters, 1, "SAME").numpy())
    for count, isa in itertools.product((1, 2, 3), available()):
        pool = threads(count)
        for _ in range(20):
            y = run("bconv2d", params, isa, layer.x, expected, pool)
            np.testing.assert_array_equal(y, expected, err_msg=f"isa {isa}")
        native.library().tfc_threads_free(pool)


# The largest possible sums: of 2^22 values, each 255 from zero.
@pytest.mark.parametrize(
    "rows, channels, level, zero_point",
    [(5, 1001, 127, -128), (5, 1001, -128, 127), (1, 2**22, 127, -128)],
)
def test_largest_integers(rows, channels, level, zero_point):
    layer = Layer(np.random.default_rng(0), (2, 1, 3), (2, 1, 3), 2, INT8, FLOAT32, 0)
    layer.input.zero_point = zero_point
    weights = np.repeat([[1.0], [-1.0]], channels, axis=-1)[:, None]
    filters = pack(np.stack([weights, weights]))
    layer.pointers["filter"] = native.pointer(filters)
    params = dense_params(layer, rows, 1, channels, 2, 2, 0)
    x = np.full((rows, channels), level, "i1")
    sums = (level - zero_point) * channels * np.array([1.0, -1.0])
    expected = layer.outputs(np.tile(sums, (rows, 1)))
    for isa in [REFERENCE, *available()]:
        y = run("bdense", params, isa, x, expected)
        np.testing.assert_array_equal(y, expected, err_msg=f"isa {isa}")


@pytest.mark.parametrize("same", [False, True])
def test_max_pool(same):
    generator = np.random.default_rng(0)
    for _ in range(20):
        size, pool, stride = (generator.integers(1, 5, 2) for _ in range(3))
        if not same:
            size = size + pool - 1
        x = generator.choice([-1.0, 1.0], (2, *size, 40))
        padding = "SAME" if same else "VALID"
        expected = pack(tf.nn.max_pool2d(x, pool, stride, padding).numpy())
        params = Pool(2, *(int(n) for n in (*size, 2, *pool, *stride)), int(same))
        y, bits = np.full_like(expected, 77), pack(x)
        library = native.library()
        library.tfc_bmaxpool2d_run(
            ctypes.byref(params), native.pointer(bits), native.pointer(y), None
        )
        np.testing.assert_array_equal(y, expected)


HUGE = 2**31 - 1


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 0},
        {"batch": HUGE},
        {"channels": -1},
        {"channels": HUGE},
        {"num_outputs": HUGE},
        {"planes": 3},
        {"kernel_height": HUGE},
        {"kernel_width": 5, "same_padding": 0},
        {"stride_height": 0},
        {"dilation_width": HUGE},
        {"in_height": 2**16, "in_width": 2**16},
        {"in_height": HUGE, "stride_height": HUGE, "dilation_height": HUGE},
        {"binarize": 0, "input": Format(BITS, 0, 0)},
        {"input": Format(7, 1, 0)},
        {"relu": 2},
        {"relu": 1, "output": Format(BITS, 0, 0)},
        {"input": Format(INT8, 0, 0)},
        {"output": Format(INT8, np.nan, 0)},
        {"output": Format(INT8, 1, 128)},
        {"output": Format(BITS, 0, 0)},
        {"bias": None},
        {"filter": None},
    ],
)
def test_contradictions_are_refused(changes):
    layer = Layer(
        np.random.default_rng(0), (1, 4, 4, 3), (2, 3, 3, 3), 1, FLOAT32, FLOAT32, 1
    )
    sizes = (1, 4, 4, 3, 2, 1, 3, 3, 1, 1, 1, 1, 1, 1, 0)
    params = Conv(*sizes, layer.input, layer.output, **layer.pointers)
    for name, value in changes.items():
        setattr(params, name, value)
    for isa in (REFERENCE, BEST):
        status, op = create("bconv2d", params, isa)
        assert status == CORRUPT and not op


def test_unknown_instruction_sets_are_refused():
    layer = Layer(
        np.random.default_rng(0), (1, 1, 3), (2, 1, 3), 1, FLOAT32, FLOAT32, 1
    )
    params = dense_params(layer, 1, 1, 3, 2, 1, 1)
    for isa in {*ISAS, 99} - {*available()}:
        assert create("bdense", params, isa)[0] == UNSUPPORTED


def test_rows_of_values_have_one_group():
    layer = Layer(
        np.random.default_rng(0), (1, 2, 3), (2, 2, 3), 1, FLOAT32, FLOAT32, 1
    )
    assert create("bdense", dense_params(layer, 1, 2, 3, 2, 1, 1), BEST)[0] == CORRUPT
