"""All uses of private members of Keras, which may change with any version.

Each function documents what it returns, and `tests/core/test_keras_internals.py` checks
it against Keras. No other module uses a private member of Keras.
"""

import collections
import contextlib
import functools
import inspect
import threading

import keras
import numpy as np
import tensorflow as tf

from tfcompress.core.replicas import num_workers


def direct_layers(layer):
    """The direct sublayers of a layer or model, each once, in the order they were added."""
    return list(layer._flatten_layers(include_self=False, recursive=False))


def all_layers(model, include_self=True):
    """Every layer of a model at any depth, each once.

    Parents come before their children, and siblings in the order in which they were
    added, whatever contains the model.

    Args:
        model: a layer or model.
        include_self: whether the model itself comes first in the list.

    >>> inner = keras.Sequential([keras.layers.ReLU(name="a"), keras.layers.ReLU(name="b")])
    >>> outer = keras.Sequential([inner, keras.layers.ReLU(name="c")], name="outer")
    >>> [layer.name for layer in all_layers(outer) if layer is not inner]
    ['outer', 'a', 'b', 'c']
    """
    found = {}

    def visit(layer):
        if id(layer) not in found:
            found[id(layer)] = layer
            for held in direct_layers(layer):
                visit(held)

    visit(model)
    return list(found.values())[0 if include_self else 1 :]


def producer(tensor):
    """The operation that produced a symbolic tensor; None for anything else.

    >>> producer(keras.Input((3,), name="x")).name
    'x'
    """
    history = getattr(tensor, "_keras_history", None)
    return None if history is None else history.operation


def symbolic_calls(operation):
    """The calls of an operation with symbolic tensors, in the order they were made.

    Each has `operation`, `arguments`, `input_tensors` and `output_tensors`.
    """
    return list(operation._inbound_nodes)


def ordered_calls(model):
    """The calls that make up a functional model, each after those that feed it.

    They are objects as returned by `symbolic_calls`.
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [call for depth in depths for call in model._nodes_by_depth[depth]]


def mask_of(tensor):
    """The mask that Keras attached to a tensor, None if there is none."""
    return keras.src.backend.get_keras_mask(tensor)


def set_mask(tensor, mask):
    """Makes Keras pass on a mask with a tensor."""
    if mask is not None:
        keras.src.backend.set_keras_mask(tensor, mask)


def call_like(wrapper, layer):
    """Makes Keras treat the arguments of a wrapper's calls as those of the wrapped layer.

    It derives masks, the first argument and `training` from the names that `call`
    declares. The wrapper's own `call` takes any arguments and `training`, even if the
    layer does not.
    """
    signature = layer._call_signature
    parameters = list(signature.parameters.values())
    if "training" not in signature.parameters:
        training = inspect.Parameter(
            "training", inspect.Parameter.KEYWORD_ONLY, default=None
        )
        is_open = bool(parameters) and parameters[-1].kind is training.VAR_KEYWORD
        parameters.insert(len(parameters) - is_open, training)
    names = [parameter.name for parameter in parameters]
    wrapper._call_signature = signature.replace(parameters=parameters)
    wrapper.call_signature_parameters = names
    wrapper._call_has_training_arg = True
    wrapper._call_has_mask_arg = "mask" in names
    wrapper._call_context_args = set(layer._call_context_args)
    wrapper._call_has_context_arg = {n: n in names for n in layer._call_context_args}
    wrapper._convert_input_args = layer._convert_input_args
    wrapper._allow_non_tensor_positional_args = layer._allow_non_tensor_positional_args


def is_state(layer, variable):
    """Whether a variable that a layer created is state rather than a parameter.

    The statistics of batch normalization are state: they follow from the data or from
    other weights. The weights of a frozen layer are still parameters.

    >>> layer = keras.layers.BatchNormalization(trainable=False); layer.build((None, 2))
    >>> is_state(layer, layer.gamma), is_state(layer, layer.moving_mean)
    (False, True)
    """
    return any(variable is held for held in layer._non_trainable_variables)


def compile_arguments(model):
    """`{name: value}` of the arguments of `compile`, with objects unchanged."""
    return model._compile_config.config


def compiled_loss(model):
    """`f(labels, outputs, sample_weight)`: the loss of `compile`; None if it has none."""
    return model._compile_loss


def added_loss(model, loss):
    """A loss of `model.losses` in the form in which Keras adds it to the compiled loss.

    With several devices it is divided by their number, since their losses are summed.
    """
    return model._aggregate_additional_loss(loss)


def mend_fit_on_workers():
    """Lets Keras' `fit` and `evaluate` run on several workers.

    Keras 3.15 does not support this for any model. It needs the shapes of the first
    batch and reduces it over workers as if it were a single tensor, and it averages
    metrics, which are scalars, along their first axis. Models on one worker train as
    before.
    """
    module = keras.src.backend.tensorflow.trainer
    trainer = module.TensorFlowTrainer
    build, reduce = trainer._maybe_symbolic_build, module.reduce_per_replica

    @functools.wraps(build)
    def build_like_own_batch(self, iterator=None, data_batch=None):
        strategy = self.distribute_strategy
        if iterator is not None and num_workers(strategy) > 1:
            batches = next(iter(iterator))[-1]
            iterator, data_batch = None, _own_part(strategy, next(batches))
        build(self, iterator, data_batch)

    @functools.wraps(reduce)
    def reduce_scalars(values, strategy, reduction):
        if reduction != "auto" or num_workers(strategy) == 1:
            return reduce(values, strategy, reduction)
        return keras.tree.map_structure(
            lambda value: strategy.reduce("MEAN", value, axis=None), values
        )

    trainer._maybe_symbolic_build = build_like_own_batch
    module.reduce_per_replica = reduce_scalars


def _own_part(strategy, batch):
    return keras.tree.map_structure(
        lambda part: strategy.experimental_local_results(part)[0], batch
    )


def is_stateful(obj):
    """Whether an object is a layer, operation, metric or similar, or a part of one.

    Such objects have state that a copy must not share.
    """
    saveable = keras.src.saving.keras_saveable.KerasSaveable
    return isinstance(obj, (saveable, keras.random.SeedGenerator)) or is_tracker(obj)


def is_tracker(obj):
    """Whether an object is the tracker in which a layer lists its variables and layers."""
    return isinstance(obj, keras.src.utils.tracking.Tracker)


def track_again(tracker):
    """Updates a tracker whose lists were filled from outside."""
    tracker.stored_ids = {
        name: {id(value) for value in values}
        for name, (_, values) in tracker.config.items()
    }


def blank(kind):
    """An object of a Keras class without its attributes.

    Methods that Keras wraps for each object, such as `build`, are its own. Models are
    in their state before `compile`.
    """
    made = kind.__new__(kind)
    if issubclass(kind, keras.Model):
        keras.Model.__init__(made)
    return made


def lasting_attributes(obj):
    """The attributes that a copy of an object needs, in addition to those of `blank`.

    Calls with symbolic tensors and attributes set by `compile` and `fit` are left out.
    """
    left_out = {"build", "quantize"} if isinstance(obj, keras.Layer) else set()
    if isinstance(obj, keras.Model):
        left_out |= _training_attributes()
    attributes = {k: v for k, v in vars(obj).items() if k not in left_out}
    for name in ("_inbound_nodes", "_outbound_nodes"):
        if name in attributes:
            attributes[name] = []
    return attributes


@functools.cache
def _training_attributes():
    model = keras.Model()
    model.compile("sgd", "mse", metrics=["mae"])
    made = {"train_function", "test_function", "predict_function", "stop_training"}
    return made | (vars(model).keys() - vars(keras.layers.Layer()).keys())


def copied_variable(variable):
    """A new variable with the same value, type and name."""
    if isinstance(variable, tf.Variable):
        return tf.Variable(variable, trainable=variable.trainable, name=variable.name)
    copy = object.__new__(type(variable))
    vars(copy).update(vars(variable))
    copy._initialize(variable.numpy())
    return copy


@contextlib.contextmanager
def plain_operations():
    """Within it, `argmax`, `argmin` and `signbit` use operations that LiteRT has.

    Keras distinguishes -0 from 0 by the bits of the number, with an operation that
    LiteRT lacks. Integers have only one zero.
    """
    functions = {
        "argmax": _plain_extreme(tf.argmax),
        "argmin": _plain_extreme(tf.argmin),
        "signbit": lambda x: keras.ops.convert_to_tensor(x) < 0,
    }
    module = keras.src.backend.numpy
    with _patching:
        known = {name: getattr(module, name) for name in functions}
        vars(module).update(functions)
        try:
            yield
        finally:
            vars(module).update(known)


@contextlib.contextmanager
def exact_scopes():
    """Within it, names of operations in a graph start with the names of their layers.

    Keras opens the scope of a layer twice, to build and to call it, and TensorFlow
    numbers the second one: operations of `dense` would be called `dense_1/...`.

    >>> dense = keras.layers.Dense(2, name="dense")
    >>> dense.build((1, 3))
    >>> def scopes():
    ...     function = tf.function(lambda x: dense(x))
    ...     graph = function.get_concrete_function(tf.TensorSpec((1, 3))).graph
    ...     names = [op.name.split("/") for op in graph.get_operations()]
    ...     return {first for first, *rest in names if rest}
    >>> scopes()
    {'dense_1'}
    >>> with exact_scopes():
    ...     scopes()
    {'dense'}
    """

    class Scope(keras.src.backend.name_scope):
        def __enter__(self):
            # TensorFlow does not number what ends with a slash.
            path = "/".join([*filter(None, [tf.get_current_name_scope()]), self.name])
            self._tf_name_scope = tf.name_scope(f"{path}/")
            return super().__enter__()

    with _patching:
        known = keras.src.backend.name_scope
        keras.src.backend.name_scope = Scope
        try:
            yield
        finally:
            keras.src.backend.name_scope = known


def reserve_names(operations):
    """Keeps Keras from choosing names that operations already have.

    It numbers names since the start of the session, not those in models from files.

    >>> keras.utils.clear_session(free_memory=False)
    >>> reserve_names([keras.layers.ReLU(name="add_3")])
    >>> keras.ops.add(keras.Input((2,)), 1.0)._keras_history.operation.name
    'add_4'
    """
    numbers = keras.src.backend.common.global_state.get_global_attribute(
        "object_name_uids", collections.defaultdict(int), set_to_default=True
    )
    for operation in operations:
        prefix, _, number = operation.name.rpartition("_")
        if number.isdigit():
            numbers[prefix] = max(numbers[prefix], int(number) + 1)
        numbers[operation.name] = max(numbers[operation.name], 1)


@contextlib.contextmanager
def dense_products():
    """Within it, symbolic products with a constant are not taken for sparse.

    Keras 3.15 takes constants for sparse tensors, with which hardly any layer works.

    >>> x = keras.Input((3,))
    >>> (x * keras.ops.ones(3)).sparse
    True
    >>> with dense_products():
    ...     (x * keras.ops.ones(3)).sparse
    False
    """
    kind = keras.src.ops.numpy.Multiply
    compute = kind.compute_output_spec

    def compute_output_spec(self, x1, x2):
        spec = compute(self, x1, x2)
        is_sparse = any(getattr(x, "sparse", False) for x in (x1, x2))
        return keras.KerasTensor(spec.shape, spec.dtype, sparse=is_sparse)

    with _patching:
        kind.compute_output_spec = compute_output_spec
        try:
            yield
        finally:
            kind.compute_output_spec = compute


_patching = threading.RLock()


def _plain_extreme(function):
    def extreme(x, axis=None, keepdims=False):
        x = keras.ops.convert_to_tensor(x)
        if axis is None:
            place = function(tf.reshape(x, [-1]), output_type=tf.int32)
            return tf.reshape(place, [1] * len(x.shape)) if keepdims else place
        place = function(x, axis=axis, output_type=tf.int32)
        return tf.expand_dims(place, axis) if keepdims else place

    return extreme


def recast(layer, dtype):
    """Makes a layer compute, store variables and take inputs in another precision.

    >>> layer = keras.layers.Dense(2, dtype="float16"); layer.build((None, 3))
    >>> recast(layer, "float32")
    >>> layer.kernel.dtype, layer.compute_dtype
    ('float32', 'float32')
    """
    if isinstance(layer, keras.layers.InputLayer):
        is_float = keras.backend.is_float_dtype(layer.dtype)
        layer._dtype = dtype if is_float else layer.dtype
        return
    layer.dtype_policy = dtype
    held = [v for v in layer._trainable_variables + layer._non_trainable_variables]
    for variable in held:
        if keras.backend.is_float_dtype(variable.dtype):
            value = keras.ops.cast(keras.ops.convert_to_numpy(variable), dtype)
            variable._dtype = dtype
            variable._initialize(value)


def uncast():
    """Within it, variables keep their storage precision, also in mixed precision.

    >>> weight = keras.Variable(np.ones(2, "float32"))
    >>> with uncast():
    ...     keras.backend.standardize_dtype(weight.value.dtype)
    'float32'
    """
    return keras.src.backend.AutocastScope(None)


def in_safe_mode():
    """Whether Keras is loading something in safe mode, which must not run its own code.

    Outside of loading it is False.

    >>> in_safe_mode()
    False
    >>> with in_mode(True):
    ...     in_safe_mode()
    True
    """
    return bool(keras.src.saving.serialization_lib.in_safe_mode())


def in_mode(safe_mode):
    """Within it, Keras loads in safe mode, or not."""
    return keras.src.saving.serialization_lib.SafeModeScope(safe_mode)


def is_keras_2(model):
    """Whether an object is a model or layer of Keras 2 or tf_keras."""
    modules = [base.__module__ for base in type(model).__mro__]
    return modules[0].startswith("keras.src.engine") or any(
        module.startswith("tf_keras") for module in modules
    )


def trains(optimizer, variable):
    """Whether an optimizer is built for a variable.

    >>> weight = keras.Variable(np.ones(2))
    >>> optimizer = keras.optimizers.SGD()
    >>> before = trains(optimizer, weight)
    >>> optimizer.build([weight])
    >>> before, trains(optimizer, weight)
    (False, True)
    """
    if any(trains(inner, variable) for inner in _wrapped(optimizer)):
        return True
    return optimizer._var_key(variable) in optimizer._trainable_variables_indices


def _wrapped(optimizer):
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return (optimizer.inner_optimizer,)
    return getattr(optimizer, "optimizers", ())


def trained_variables(optimizer):
    """The weights that an optimizer is built for, in the order of its gradients.

    >>> weight = keras.Variable(np.ones(2))
    >>> optimizer = keras.optimizers.SGD()
    >>> optimizer.build([weight])
    >>> trained_variables(optimizer)[0] is weight
    True
    """
    return list(optimizer._trainable_variables)


def optimizer_slots(optimizer, variable):
    """The slots that an optimizer keeps for a variable, in the variable's shape.

    These are momenta, velocities, accumulators and similar. Averages of weights
    (`use_ema`) are not included, nor are the row and column statistics of `Adafactor`.

    Args:
        optimizer: any Keras optimizer, also one that wraps others.
        variable: a trainable variable of the model.

    Returns:
        List of variables, empty if the optimizer is not built or does not train
        `variable`.

    >>> weight = keras.Variable(np.ones((2, 3)), name="weight")
    >>> optimizer = keras.optimizers.Adam()
    >>> optimizer.build([weight])
    >>> [slot.name for slot in optimizer_slots(optimizer, weight)]
    ['weight_momentum', 'weight_velocity']
    """
    slots = [
        slot
        for inner in _wrapped(optimizer)
        for slot in optimizer_slots(inner, variable)
    ]
    positions = optimizer._trainable_variables_indices
    position = positions.get(optimizer._var_key(variable))
    if position is None:
        return slots
    own = {id(v) for v in optimizer.variables}
    for name, values in vars(optimizer).items():
        if name in ("_variables", "_model_variables_moving_average"):
            continue
        # Keras keeps each kind of slot as a list with one entry per variable.
        if not isinstance(values, list) or len(values) != len(positions):
            continue
        slot = values[position]
        if id(slot) in own and tuple(slot.shape) == tuple(variable.shape):
            slots.append(slot)
    return slots


def merge_lora(layer):
    """Merges the LoRA update of a layer into its weight, in place, and disables LoRA.

    The layer computes the same with one plain weight. Layers without LoRA, and those
    quantized by Keras, are left unchanged.

    >>> layer = keras.layers.Dense(2); layer.build((None, 3))
    >>> layer.enable_lora(1)
    >>> merge_lora(layer)
    >>> [variable.name for variable in layer.variables], layer.lora_enabled
    (['kernel', 'bias'], False)
    """
    if not getattr(layer, "lora_enabled", False) or layer.quantization_mode:
        return
    name = "embeddings" if hasattr(layer, "embeddings") else "kernel"
    merged = keras.ops.convert_to_numpy(getattr(layer, name))
    for part, value in list(vars(layer).items()):
        if part.startswith("lora_") and isinstance(value, keras.Variable):
            layer._untrack_variable(value)
            setattr(layer, part, None)
    layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
    weight = getattr(layer, f"_{name}")
    # `enable_lora` froze it.
    weight.trainable = True
    weight.assign(merged)


_MODES = ("int8", "int4", "gptq", "awq")


def quantized_by_keras(layer):
    """Whether Keras stores the weights of a layer as integers (`model.quantize`).

    >>> layer = keras.layers.Dense(2); layer.build((None, 3))
    >>> layer.quantize("int8")
    >>> quantized_by_keras(layer), quantized_by_keras(keras.layers.ReLU())
    (True, False)
    """
    mode = getattr(layer, "quantization_mode", None)
    if mode not in _MODES or not layer.built:
        return False
    # Until it is calibrated, it computes with its float kernel.
    return getattr(layer, f"is_{mode}_calibrated", True)


def quantized_weight(layer):
    """The float weight with which a layer that Keras quantized computes.

    Returns:
        `(array, divisors)`: the layer divides its inputs by the divisors and multiplies by
        the array; they are None except in AWQ layers.

    >>> layer = keras.layers.Dense(1, use_bias=False); layer.build((None, 2))
    >>> _ = layer.kernel.assign([[1.27], [-0.5]])
    >>> layer.quantize("int8")
    >>> quantized_weight(layer)[0].ravel().round(4)
    array([ 1.27, -0.5 ], dtype=float32)
    """
    if isinstance(layer, keras.layers.Embedding):
        return _quantized_table(layer), None
    scale = _array(layer, "kernel_scale")
    codes = _array(layer, "kernel").astype(np.float32)
    if layer.quantization_mode == "int8" and hasattr(layer, "equation"):
        adjusted = layer._adjust_scale_for_dequant(layer.kernel_scale)
        return codes / keras.ops.convert_to_numpy(adjusted), None
    if layer.quantization_mode in ("gptq", "awq"):
        # Stored as outputs x inputs.
        rows = _with_zero_points(
            layer, codes.T, scale.T, _array(layer, "kernel_zero").T
        )
    else:
        rows = codes.reshape(-1, scale.shape[-1])
        zero = _array(layer, "kernel_zero")
        has_groups = zero is not None
        rows = (
            _with_zero_points(layer, rows, scale, zero) if has_groups else rows / scale
        )
    shape = getattr(layer, "original_kernel_shape", rows.shape)
    return rows.reshape(shape), _array(layer, "awq_scales")


def _with_zero_points(layer, codes, scale, zero):
    """`s (q - z)` of rows of inputs, which belong to groups."""
    groups = _array(layer, "g_idx").astype(int)
    return (codes - zero.astype(np.float32)[groups]) * scale[groups]


def _quantized_table(layer):
    codes = keras.ops.convert_to_numpy(layer.embeddings).astype(np.float32)
    scale = _array(layer, "embeddings_scale")
    zero = _array(layer, "embeddings_zero")
    if zero is None:
        return codes / scale[:, None]
    return _with_zero_points(layer, codes.T, scale.T, zero.T).T


def _array(layer, name):
    variable = getattr(layer, name, None)
    return None if variable is None else keras.ops.convert_to_numpy(variable)


def make_float(layer, weight):
    """Gives a layer that Keras quantized a float weight, in place.

    >>> layer = keras.layers.Dense(2); layer.build((None, 3))
    >>> layer.quantize("int4")
    >>> make_float(layer, np.ones((3, 2), "float32"))
    >>> layer.quantization_mode, sorted(v.name for v in layer.variables)
    (None, ['bias', 'kernel'])
    """
    name = "embeddings" if isinstance(layer, keras.layers.Embedding) else "kernel"
    stored = [
        part
        for part, value in vars(layer).items()
        if isinstance(value, keras.Variable) and part != "bias"
    ]
    for part in stored:
        layer._untrack_variable(getattr(layer, part))
        # A layer's own `__delattr__` collects garbage each time, which can take seconds.
        super(keras.Layer, layer).__delattr__(part)
    source = layer.dtype_policy.name.rpartition("_from_")[2]
    layer.dtype_policy = keras.dtype_policies.get(source)
    layer._is_quantized, layer.quantization_config = False, None
    if hasattr(layer, "gptq_unpacked_column_size"):
        layer.gptq_unpacked_column_size = None
    layer._tracker.unlock()
    variable = layer.add_weight(name=name, shape=weight.shape, initializer="zeros")
    setattr(layer, f"_{name}", variable)
    layer._tracker.lock()
    variable.assign(weight)
