"""Each function of `keras_internals`, compared with Keras."""

import ast
import inspect
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.core import keras_internals as internals

L = keras.layers
PACKAGE = pathlib.Path(tfc.__file__).parent


class Block(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = L.Dense(4, name="first")
        self.second = L.Dense(4, name="second")

    def build(self, shape):
        self.first.build(shape)
        self.second.build(shape)

    def call(self, inputs):
        return self.second(self.first(inputs))


class Subclassed(keras.Model):
    def __init__(self, shared=None):
        super().__init__(name="subclassed")
        self.early = L.Dense(4, name="early")
        self.blocks = [Block(name="block1"), Block(name="block2")]
        self.shared = shared or self.early
        self.late = L.Dense(4, name="late")

    def call(self, inputs):
        for layer in (self.early, *self.blocks, self.shared, self.late):
            inputs = layer(inputs)
        return inputs


def sequential():
    inner = keras.Sequential(
        [keras.Input((4,), name="in2"), L.Dense(4, name="a"), L.Dense(4, name="b")],
        name="inner",
    )
    return keras.Sequential(
        [
            keras.Input((4,), name="in1"),
            L.ReLU(name="relu"),
            inner,
            Block(name="block"),
        ],
        name="outer",
    )


def functional():
    x = keras.Input((4,), name="x")
    y = L.Dense(4, name="before")(x)
    y = Block(name="block")(sequential()(y))
    return keras.Model(x, L.Dense(4, name="after")(y), name="functional")


def subclassed():
    model = Subclassed()
    model(np.ones((1, 4)))
    return model


BLOCK = ["block", "first", "second"]
OUTER = ["outer", "in1", "relu", "inner", "in2", "a", "b", *BLOCK]
ORDERS = {
    sequential: OUTER,
    functional: ["functional", "x", "before", *OUTER, *BLOCK, "after"],
    subclassed: [
        *["subclassed", "early", "block1", "first", "second"],
        *["block2", "first", "second", "late"],
    ],
}


def names(layers):
    return [layer.name for layer in layers]


@pytest.mark.parametrize("make", ORDERS)
def test_all_layers_come_in_the_order_they_were_added(make):
    model = make()
    layers = internals.all_layers(model)
    assert names(layers) == ORDERS[make]
    assert layers[0] is model
    assert internals.all_layers(model, include_self=False) == layers[1:]
    assert set(map(id, layers)) == set(map(id, model._flatten_layers()))


@pytest.mark.parametrize("make", ORDERS)
def test_the_order_is_the_same_whatever_holds_the_model(make):
    model = make()
    layers = internals.all_layers(model)
    x = keras.Input((4,), name="input of the holder")
    holders = [
        tfc.distillation.Distiller(model, make()),
        keras.Sequential([keras.Input((4,)), model, L.ReLU()]),
        keras.Model(x, L.ReLU()(model(x))),
        L.TimeDistributed(model),
    ]
    for holder in holders:
        found = internals.all_layers(holder)
        start = found.index(model)
        assert found[start : start + len(layers)] == layers


def test_a_shared_layer_comes_once():
    shared = L.Dense(4, name="shared")
    model = keras.Sequential([keras.Input((4,), name="x"), shared, Subclassed(shared)])
    found = names(internals.all_layers(model, include_self=False))
    assert found.count("shared") == 1
    assert found.index("shared") < found.index("subclassed")


def test_direct_layers():
    model = functional()
    assert internals.direct_layers(model) == model.layers
    assert names(internals.direct_layers(model)) == [
        *["x", "before", "outer", "block", "after"]
    ]
    block = model.get_layer("block")
    assert internals.direct_layers(block) == [block.first, block.second]
    assert internals.direct_layers(block.first) == []
    rnn = L.RNN(L.LSTMCell(3))
    assert internals.direct_layers(rnn) == [rnn.cell]


def test_producer():
    x = keras.Input((4,), name="x")
    layer = L.Dense(4)
    y = layer(x)
    assert isinstance(internals.producer(x), L.InputLayer)
    assert internals.producer(y) is layer
    assert isinstance(internals.producer(keras.ops.add(x, 1.0)), keras.Operation)
    # A later call of the layer does not change what the tensor came from.
    layer(y)
    assert internals.producer(y) is layer
    for other in (tf.ones(2), np.ones(2), 3, None, keras.KerasTensor((2,))):
        assert internals.producer(other) is None


def test_symbolic_calls():
    layer = L.Dense(4)
    assert internals.symbolic_calls(layer) == []
    x, z = keras.Input((4,)), keras.Input((4,))
    y = layer(x)
    layer(np.ones((1, 4)))
    w = layer(z)
    first, second = internals.symbolic_calls(layer)
    assert first.operation is second.operation is layer
    assert first.input_tensors[0] is x and second.input_tensors[0] is z
    assert first.output_tensors[0] is y and second.output_tensors[0] is w
    assert first.arguments.keras_tensors[0] is x
    # The result belongs to the caller.
    internals.symbolic_calls(layer).clear()
    assert len(internals.symbolic_calls(layer)) == 2


def test_ordered_calls():
    x = keras.Input((4,), name="x")
    shared = L.Dense(4, name="shared")
    y = shared(x)
    z = L.Add(name="add")([shared(y), x])
    shared(z)  # not a part of the model
    model = keras.Model(x, keras.ops.multiply(z, 2.0))
    calls = internals.ordered_calls(model)
    assert names(c.operation for c in calls) == [
        *["x", "shared", "shared", "add", model.operations[-1].name]
    ]
    made = set()
    for call in calls:
        assert {id(t) for t in call.arguments.keras_tensors} <= made
        made |= {id(t) for t in call.output_tensors}
    expected = internals.symbolic_calls(shared)[:2]
    assert [c for c in calls if c.operation is shared] == expected


def own_loss(labels, outputs):
    return keras.ops.mean(outputs - labels, -1)


def test_compile_arguments_are_the_objects_themselves():
    model = models.small()
    optimizer, metric = keras.optimizers.SGD(), keras.metrics.MeanSquaredError()
    model.compile(optimizer, own_loss, metrics=[metric], run_eagerly=True)
    found = internals.compile_arguments(model)
    assert found["optimizer"] is optimizer
    assert found["loss"] is own_loss
    assert found["metrics"][0] is metric
    assert found["run_eagerly"] is True


def test_compiled_loss():
    model = models.small()
    assert internals.compiled_loss(model) is None
    model.compile("sgd")
    assert internals.compiled_loss(model) is None
    model.compile("sgd", own_loss)
    labels, outputs = np.zeros((2, 5)), np.array([[1.0] * 5, [4.0] * 5])
    loss = internals.compiled_loss(model)
    assert float(loss(labels, outputs, None)) == 2.5
    assert float(loss(labels, outputs, np.array([1.0, 0.5]))) == 1.5


def test_added_loss():
    model = models.small()
    loss = internals.added_loss(model, tf.constant([1, 2]))
    assert loss.dtype == "float32" and float(loss) == 3.0

    # The total is what Keras sums.
    model.add(L.ActivityRegularization(l1=0.5))
    model.compile("sgd", own_loss)
    x, y = models.inputs(model, 4), np.zeros((4, 5), "float32")
    outputs = model(x, training=True)
    parts = [internals.compiled_loss(model)(y, outputs, None)]
    parts += [internals.added_loss(model, loss) for loss in model.losses]
    assert len(parts) == 2
    np.testing.assert_allclose(sum(parts), model.compute_loss(x, y, outputs), rtol=1e-6)


def test_added_loss_is_shared_out_among_devices():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = models.small()
    loss = strategy.run(lambda: internals.added_loss(model, tf.constant(4.0)))
    assert [float(x) for x in strategy.experimental_local_results(loss)] == [2.0, 2.0]


@pytest.mark.parametrize(
    "module", ["keras.src.engine.functional", "tf_keras.src.engine.training"]
)
def test_models_of_keras_2(module):
    old = type("Model", (), {"__module__": module})
    assert internals.is_keras_2(old())
    if module.startswith("tf_keras"):
        assert internals.is_keras_2(type("Mine", (old,), {})())


@pytest.mark.parametrize("make", ORDERS)
def test_models_of_keras_3_are_not_of_keras_2(make):
    model = make()
    assert not any(map(internals.is_keras_2, internals.all_layers(model)))


@pytest.mark.parametrize("use_gate", [False, True])
def test_attention_tells_in_its_configuration_whether_it_has_gates(use_gate):
    layer = L.MultiHeadAttention(2, 4, use_gate=use_gate)
    assert layer.get_config()["use_gate"] is use_gate


# The slots of each optimizer for a matrix, in the shape of the matrix.
O = keras.optimizers  # noqa: E741
SLOTS = {
    O.SGD: [({}, []), ({"momentum": 0.9}, ["momentum"])],
    O.RMSprop: [
        ({}, ["velocity"]),
        (
            {"momentum": 0.9, "centered": True},
            ["velocity", "momentum", "average_gradient"],
        ),
    ],
    O.Adam: [
        ({}, ["momentum", "velocity"]),
        ({"amsgrad": True}, ["momentum", "velocity", "velocity_hat"]),
    ],
    O.AdamW: [({}, ["momentum", "velocity"])],
    O.Nadam: [({}, ["momentum", "velocity"])],
    O.Lamb: [({}, ["momentum", "velocity"])],
    O.ScheduleFreeAdamW: [({}, ["momentum", "velocity"])],
    O.Adamax: [({}, ["momentum", "norm"])],
    O.Adadelta: [({}, ["accumulated_grad", "accumulated_delta_var"])],
    O.Adagrad: [({}, ["accumulator"])],
    O.Adafactor: [({}, ["velocity"])],
    O.Ftrl: [({}, ["accumulator", "linear"])],
    O.Lion: [({}, ["momentum"])],
    # Only excluded matrices have a velocity.
    O.Muon: [
        ({}, ["momentum"]),
        ({"exclude_layers": [".*"]}, ["momentum", "velocity"]),
    ],
}
CASES = [
    pytest.param(kind, arguments, slots, id=f"{kind.__name__}-{len(slots)}")
    for kind, cases in SLOTS.items()
    for arguments, slots in cases
]
WRAPPERS = {O.LossScaleOptimizer, O.MultiOptimizer}


def test_no_optimizer_is_forgotten():
    kinds = {k for _, k in inspect.getmembers(O, inspect.isclass)}
    kinds = {k for k in kinds if issubclass(k, O.Optimizer)} - {O.Optimizer}
    assert kinds == set(SLOTS) | WRAPPERS


def twins():
    """Layers of equal shapes; two weights even have one path."""
    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="d")], name="m")
    other = keras.Sequential([keras.Input((4,)), L.Dense(4, name="d")], name="m")
    other.name = "n"
    return keras.Model(x, L.Dense(4, name="head")(other(inner(x))))


def found_slots(optimizer, variables):
    return [internals.optimizer_slots(optimizer, v) for v in variables]


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("kind", "arguments", "expected"), CASES)
def test_optimizer_slots(kind, arguments, expected, wrapped):
    model = twins()
    optimizer = kind(use_ema=True, **arguments)
    inner = optimizer
    if wrapped:
        optimizer = O.LossScaleOptimizer(optimizer)
    variables = model.trainable_variables
    assert not any(found_slots(optimizer, variables))
    optimizer.build(variables)
    slots = found_slots(optimizer, variables)
    prefixes = [v.path.replace("/", "_") for v in variables]
    assert prefixes[0] == prefixes[2]
    for variable, own, prefix in zip(variables, slots, prefixes, strict=True):
        assert all(slot.shape == variable.shape for slot in own)
        if len(variable.shape) == 2:
            assert sorted(s.name for s in own) == sorted(
                f"{prefix}_{name}" for name in expected
            )
    # Only averages of these shapes are left over, and nothing occurs twice.
    taken = [id(slot) for own in slots for slot in own]
    assert len(set(taken)) == len(taken)
    shapes = {v.shape for v in variables}
    rest = [
        v.name
        for v in inner.variables
        if id(v) not in taken and v.shape in shapes and "average" in v.name
    ]
    assert sorted(rest) == sorted(f"{prefix}_average" for prefix in prefixes)
    if kind is not O.Adafactor:
        per_variable = [v for v in inner.variables if v.shape in shapes]
        assert len(per_variable) == len(taken) + len(variables)


@pytest.mark.parametrize(("kind", "arguments", "expected"), CASES)
def test_slots_belong_to_their_variable(kind, arguments, expected):
    """A step with one gradient changes the slots of one variable."""
    variables = [keras.Variable(np.eye(4, dtype="float32"), name="w") for _ in range(3)]
    optimizer = kind(**arguments)
    optimizer.build(variables)
    before = [[s.numpy() for s in own] for own in found_slots(optimizer, variables)]
    gradients = [tf.zeros((4, 4)), tf.random.normal((4, 4)), tf.zeros((4, 4))]
    optimizer.apply(gradients, variables)
    after = [[s.numpy() for s in own] for own in found_slots(optimizer, variables)]
    for i in (0, 2):
        # Some decay, or add a small number, where nothing flows.
        for old, new in zip(before[i], after[i], strict=True):
            assert np.ptp(new[old == old[0, 1]]) < 1e-3
    assert len(after[1]) == len(expected)
    for old, new in zip(before[1], after[1], strict=True):
        assert np.ptp(new - old) > 0


def test_slots_of_several_optimizers():
    model = twins()
    adam, sgd = O.Adam(), O.SGD(momentum=0.9)
    optimizer = O.MultiOptimizer(
        lambda variable: adam if variable.path.startswith("head") else sgd
    )
    assert not any(found_slots(optimizer, model.trainable_variables))
    optimizer.build(model.trainable_variables)
    found = [len(own) for own in found_slots(optimizer, model.trainable_variables)]
    assert found == [1, 1, 1, 1, 2, 2]


def test_slots_of_accumulated_gradients_and_of_scalars():
    scalar = keras.Variable(1.0, name="scalar")
    matrix = keras.Variable(np.ones((2, 3)), name="matrix")
    optimizer = O.SGD(gradient_accumulation_steps=2)
    optimizer.build([scalar, matrix])
    names = [[s.name for s in own] for own in found_slots(optimizer, [scalar, matrix])]
    assert names == [["scalar_gradient_accumulator"], ["matrix_gradient_accumulator"]]
    # The list of all variables, here of as many, holds the learning rate: no slot.
    optimizer = O.SGD()
    optimizer.build([matrix, scalar])
    assert found_slots(optimizer, [matrix, scalar]) == [[], []]


@pytest.mark.parametrize("kind", SLOTS)
def test_what_is_not_trained_has_no_slots(kind):
    model = twins()
    model.layers[-1].trainable = False
    optimizer = kind()
    optimizer.build(model.trainable_variables)
    assert not any(found_slots(optimizer, model.layers[-1].variables))


def test_slots_on_several_devices():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = models.compile(models.small())
        model.optimizer.build(model.trainable_variables)
    found = found_slots(model.optimizer, model.trainable_variables)
    assert [len(own) for own in found] == [2, 2, 2, 2]


def keras_privates():
    """Names of private members of objects that Keras creates."""
    model = models.compile(functional())
    parts = [*internals.all_layers(model), model.input, *model.variables]
    parts += [model.optimizer, O.MultiOptimizer(O.OptimizerMap(O.Adam()))]
    names = {name for part in parts for name in dir(part)}
    return {name for name in names if re.match("_[a-z]", name)}


def private_reads(tree):
    """`(on self, name)` of each private member that is read in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
            held = ast.unparse(node.value)
            yield held in ("self", "cls", "super()"), node.attr
        if isinstance(node, ast.Call) and ast.unparse(node.func) in _BY_NAME:
            name = node.args[1]
            if isinstance(name, ast.Constant) and re.match("_[a-z]", str(name.value)):
                yield False, name.value


_BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}


def own_names(tree):
    """Names of methods and members that a module defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.name
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (t.id for t in targets if isinstance(t, ast.Name))


@pytest.mark.parametrize(
    "layer",
    [
        L.Dense(3),
        L.EinsumDense("abc,cd->abd", output_shape=(5, 3)),
        L.Conv1D(3, 2),
        L.Embedding(5, 3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_lora_is_merged(layer):
    x = np.random.default_rng(0).integers(0, 5, (2, 5)).astype("float32")
    x = x if isinstance(layer, L.Embedding) else np.stack([x] * 4, axis=-1)
    layer(x)
    names = [variable.name for variable in layer.variables]
    trainable = [variable.name for variable in layer.trainable_variables]
    layer.enable_lora(2)
    for variable in layer.trainable_variables:
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    expected = layer(x)
    internals.merge_lora(layer)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    assert [variable.name for variable in layer.variables] == names
    assert [variable.name for variable in layer.trainable_variables] == trainable
    copy = type(layer).from_config(layer.get_config())
    assert not copy.lora_rank
    # It is done once, and not to layers without it.
    internals.merge_lora(layer)
    internals.merge_lora(L.ReLU())


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize(
    ("layer", "sizes"),
    [
        (L.Dense(6), (5, 128)),
        (L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="e"), (5, 128)),
    ],
)
def test_weights_of_layers_that_keras_quantized(layer, sizes, mode):
    layer = type(layer).from_config(layer.get_config())
    layer.build((None, *sizes))
    plain = type(layer).from_config(layer.get_config())
    plain.build((None, *sizes))
    layer.quantize(mode)
    assert internals.quantized_by_keras(layer)
    weight, divisors = internals.quantized_weight(layer)
    assert divisors is None
    # A single number in each row is not changed by rounding.
    x = np.tile(np.eye(sizes[1], dtype="float32")[:, None], (1, sizes[0], 1))
    expected = layer(x)
    internals.make_float(layer, weight)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)
    names = [variable.name for variable in layer.variables]
    assert sorted(names) == sorted(variable.name for variable in plain.variables)
    assert layer.kernel.trainable
    copy = type(layer).from_config(layer.get_config())
    assert copy.quantization_mode is None
    # It can be quantized again.
    layer.quantize(mode)


def test_no_other_module_reads_private_members():
    # The child runs with tf_keras, in a Python that has no Keras 3.
    files = [p for p in PACKAGE.rglob("*.py") if "_tfmot_child" not in p.parts]
    trees = {p: ast.parse(p.read_text()) for p in files}
    own, foreign = {n for t in trees.values() for n in own_names(t)}, keras_privates()
    assert {"_inbound_nodes", "_keras_history", "_flatten_layers"} <= foreign
    found = {
        f"{path.relative_to(PACKAGE)}: {name}"
        for path, tree in trees.items()
        for on_self, name in private_reads(tree)
        if name not in own or (name in foreign and not on_self)
    }
    home = "core/keras_internals.py: "
    # Those of LiteRT, which `tests/runtime/test_signature.py` checks against its runner.
    litert = {"_interpreter_wrapper", "_subgraph_index"}
    known = {f"runtime/signature.py: {name}" for name in litert}
    assert not {one for one in found - known if not one.startswith(home)}
    assert f"{home}_keras_history" in found

    imports = re.compile(r"^\s*(from|import) (keras\.src|tensorflow\.python)", re.M)
    assert not [p for p in files if imports.search(p.read_text())]


def test_parts_with_state():
    stateful = [L.Dense(1), keras.metrics.Mean(), keras.random.SeedGenerator(0)]
    assert all(map(internals.is_stateful, [*stateful, stateful[0]._tracker]))
    assert not any(map(internals.is_stateful, [1, keras.regularizers.L2(), None]))


def test_a_tracker_knows_what_others_put_into_its_lists():
    layer, other = L.Layer(), L.Dense(1)
    layer._layers.append(other)
    internals.track_again(layer._tracker)
    layer.inside = other
    assert internals.direct_layers(layer) == [other]


def test_blank_objects_have_methods_of_their_own():
    made = internals.blank(L.Dense)
    vars(made).update(internals.lasting_attributes(L.Dense(3)))
    made.build((None, 2))
    assert made.built and made.kernel.shape == (2, 3)


def test_lasting_attributes_do_without_calls_and_training():
    model = models.compile(models.subclassed())
    model.fit(np.zeros((4, 8)), np.zeros(4), verbose=0)
    attributes = internals.lasting_attributes(model)
    assert {"units", "hidden", "built"} <= attributes.keys()
    assert not {"optimizer", "train_function", "build"} & attributes.keys()
    layer = models.sequential().layers[0]
    assert layer._inbound_nodes
    assert internals.lasting_attributes(layer)["_inbound_nodes"] == []


@pytest.mark.parametrize("make", [keras.Variable, tf.Variable])
def test_copied_variables(make):
    variable = make(np.ones(3), dtype="float16", trainable=False, name="v")
    copy = internals.copied_variable(variable)
    variable.assign(np.zeros(3))
    np.testing.assert_array_equal(copy.numpy(), np.ones(3))
    assert copy.dtype == variable.dtype and not copy.trainable
    assert copy.name.split(":")[0] == "v"


@pytest.mark.parametrize(
    "layer",
    [L.Dense(2), L.MultiHeadAttention(1, 2), L.LSTM(2), L.Lambda(lambda x: x)],
    ids=lambda layer: layer.name,
)
def test_calls_of_a_wrapper_are_read_as_those_of_the_layer(layer):
    class Wrapper(keras.layers.Wrapper):
        def call(self, *args, **kwargs):
            return self.layer(*args, **kwargs)

    wrapper = Wrapper(layer)
    # What Keras stores of a signature; a new attribute needs a line in `call_like`.
    named = {"_call_signature", "call_signature_parameters"}
    of_calls = {name for name in vars(layer) if name.startswith("_call_")} | named
    internals.call_like(wrapper, layer)
    for name in of_calls - {"_called"}:
        if "training" in layer.call_signature_parameters:
            assert getattr(wrapper, name) == getattr(layer, name), name
    assert wrapper._call_has_training_arg
    assert wrapper.call_signature_parameters[0] == layer.call_signature_parameters[0]


def test_products_with_constants_are_dense_but_sparse_inputs_stay_sparse():
    dense, sparse = keras.Input((3,)), keras.Input((3,), sparse=True)
    with internals.dense_products():
        assert not (dense * keras.ops.ones(3)).sparse
        assert (sparse * 2.0).sparse
    # Keras' mistake; once it is mended, the function is not needed.
    assert (dense * keras.ops.ones(3)).sparse


def test_names_of_models_from_files_are_not_chosen_again():
    internals.reserve_names([L.ReLU(name="add_7"), L.ReLU(name="subtract")])
    x = keras.Input((3,))
    names = [internals.producer(y).name for y in (x + 1.0, x - 1.0)]
    assert names == ["add_8", "subtract_1"]


def test_state_of_layers():
    model = keras.Sequential([keras.Input((4,)), L.BatchNormalization(), L.Dense(2)])
    model.trainable = False
    states = [
        variable.name
        for layer in model.layers
        for variable in layer.variables
        if internals.is_state(layer, variable)
    ]
    assert states == ["moving_mean", "moving_variance"]


def test_exact_scopes_of_nested_and_shared_layers():
    shared = keras.layers.Dense(4, name="dense_1")
    inner = keras.Sequential([keras.Input((4,)), shared], name="inner")
    model = keras.Sequential([keras.Input((4,)), shared, inner], name="outer")
    with internals.exact_scopes():
        function = tf.function(lambda x: model(x))
        graph = function.get_concrete_function(tf.TensorSpec((1, 4))).graph
    paths = {op.name.rpartition("/")[0] for op in graph.get_operations()}
    assert {"outer/dense_1", "outer/inner/dense_1"} <= paths
    assert not any(path.startswith("outer_") for path in paths)
