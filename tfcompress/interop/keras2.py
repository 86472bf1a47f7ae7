"""Rebuilds a Keras 2 model from its `.h5` file, without Keras 2.

Keras 3 also reads such files, but not depthwise or transposed convolutions, recurrent
layers, nested models, tensors passed by keyword, TensorFlow operators, layer names
with a slash or mixed precision, and it confuses the old `hard_sigmoid` with the new one.
"""

import dataclasses
import json
import re

import h5py
import keras

from tfcompress.core.keras_internals import all_layers, in_mode, in_safe_mode, producer

# Options that Keras 3 dropped: their layers, names, and the values for which they had no
# effect, so that nothing is lost without them.
_OFF = (None, False)
_ONE = (None, 1)
_ANY = None
_DROPPED = (
    (".*", "batch_input_shape", _ANY),
    ("Depthwise.*|Separable.*|Conv.DTranspose", "groups", _ONE),
    ("SeparableConv.D", "kernel_(initializer|regularizer|constraint)", _ANY),
    ("RNN|SimpleRNN|GRU|LSTM|ConvLSTM.D", "time_major", _OFF),
    ("BatchNormalization", "renorm|virtual_batch_size|adjustment", _OFF),
    ("BatchNormalization", "renorm_clipping|renorm_momentum|fused", _ANY),
    ("MultiHeadAttention", "(query|key|value)_shape|softmax_robust_masking", _ANY),
    ("SpatialDropout.D", "noise_shape|trainable", _ANY),
    ("Random.*", "rng_type", _ANY),
    ("Embedding", "input_length", _ANY),
)

# TensorFlow functions on Keras tensors: the function of keras.ops that computes the
# same, and the names of its arguments where they differ.
_OPERATORS = {
    "__operators__.add": ("add", {"y": "x2"}),
    "math.add": ("add", {"y": "x2"}),
    "math.subtract": ("subtract", {"y": "x2"}),
    "math.multiply": ("multiply", {"y": "x2"}),
    "math.divide": ("divide", {"y": "x2"}),
    "math.truediv": ("divide", {"y": "x2"}),
    "math.pow": ("power", {"y": "x2"}),
    "math.maximum": ("maximum", {"y": "x2"}),
    "math.minimum": ("minimum", {"y": "x2"}),
    "linalg.matmul": ("matmul", {"b": "x2"}),
    "math.negative": ("negative", {}),
    "math.abs": ("abs", {}),
    "math.square": ("square", {}),
    "math.sqrt": ("sqrt", {}),
    "math.rsqrt": ("rsqrt", {}),
    "math.exp": ("exp", {}),
    "math.log": ("log", {}),
    "math.sigmoid": ("sigmoid", {}),
    "math.tanh": ("tanh", {}),
    "nn.relu": ("relu", {}),
    "nn.relu6": ("relu6", {}),
    "nn.elu": ("elu", {}),
    "nn.silu": ("silu", {}),
    "nn.softmax": ("softmax", {}),
    "math.reduce_mean": ("mean", {}),
    "math.reduce_sum": ("sum", {}),
    "math.reduce_max": ("max", {}),
    "math.reduce_min": ("min", {}),
    "reshape": ("reshape", {"shape": "newshape"}),
    "transpose": ("transpose", {"perm": "axes"}),
    "compat.v1.transpose": ("transpose", {"perm": "axes"}),
    "expand_dims": ("expand_dims", {}),
    "squeeze": ("squeeze", {}),
    "concat": ("concatenate", {}),
    "cast": ("cast", {}),
}
_SLICE = "__operators__.getitem"
_OPERATOR_CLASSES = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
_RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)
_ADVICE = (
    "Build the same architecture in Keras 3 and copy the weights with "
    "model.load_weights(path)."
)


@keras.saving.register_keras_serializable("tfcompress")
def hard_sigmoid_of_keras2(x):
    """`clip(0.2 x + 0.5, 0, 1)`; Keras 3 changed the slope to 1/6.

    >>> hard_sigmoid_of_keras2(keras.ops.array([-3.0, 0.0, 1.0])).numpy()
    array([0. , 0.5, 0.7], dtype=float32)
    """
    return keras.ops.clip(0.2 * x + 0.5, 0, 1)


def is_known_operator(function):
    """Whether Keras 3 has an equivalent of a TensorFlow function.

    >>> is_known_operator("math.add"), is_known_operator("io.write_file")
    (True, False)
    """
    return function == _SLICE or function in _OPERATORS


def load_h5(path, safe_mode=True):
    """The Keras 3 model from a `.h5` file that Keras 2 wrote, without its optimizer.

    Args:
        path: a file from `model.save` in Keras 2 (`tf.keras` up to TensorFlow 2.15, or
            `tf_keras`).
        safe_mode: whether to refuse Lambda layers, which are Python code.

    Raises:
        ValueError: if Keras 3 has no equivalent of a layer.
    """
    with h5py.File(path) as file, in_mode(safe_mode):
        config = json.loads(file.attrs["model_config"])
        part = _build(config)
        for name, child in part.children.items():
            _set_weights(child, _read_weights(file["model_weights"], name))
    return part.layer


@dataclasses.dataclass(frozen=True)
class _Part:
    """A rebuilt layer; for a model also its layers, in the order of Keras 2."""

    layer: keras.Layer
    children: dict | None = None


def _build(entry):
    config = entry["config"]
    if isinstance(config, list):
        return _build_sequential({"layers": config})
    if "input_layers" in config:
        return _FunctionalBuilder(config).build()
    if "layers" in config:
        return _build_sequential(config)
    return _Part(_build_layer(entry))


def _build_sequential(config):
    first = config["layers"][0]
    shape = first["config"].get("batch_input_shape") or config.get("build_input_shape")
    entries = [e for e in config["layers"] if e["class_name"] != "InputLayer"]
    children = {entry["config"]["name"]: _build(entry) for entry in entries}
    layers = [child.layer for child in children.values()]
    if first["class_name"] == "InputLayer":
        layers.insert(0, _build_input(first["config"]))
    elif shape:
        layers.insert(0, keras.Input(batch_shape=shape))
    model = keras.Sequential(layers, name=_name(config))
    if not model.built:
        raise ValueError(
            f"The Keras 2 model {model.name!r} was saved before its input shape was "
            "known. Call it once on data, or add an Input layer, and save it again."
        )
    return _Part(_freeze(model, config), children)


class _FunctionalBuilder:
    """Calls the layers of a functional model again, along its saved nodes."""

    def __init__(self, config):
        self.config = config
        self.entries = {entry["name"]: entry for entry in config["layers"]}
        self.children = {}
        self.outputs = {}

    def build(self):
        """The rebuilt model."""
        for name, entry in self.entries.items():
            self._create(name, entry)
        pending = {name: list(e["inbound_nodes"]) for name, e in self.entries.items()}
        while any(pending.values()):
            if not sum([self._call_ready(*item) for item in pending.items()]):
                waiting = sorted(name for name, nodes in pending.items() if nodes)
                raise ValueError(
                    f"The layers {waiting} of the Keras 2 model are not connected to "
                    "its inputs: the file is damaged. Save the model again."
                )
        inputs = self._values(self.config["input_layers"])
        outputs = self._values(self.config["output_layers"])
        model = keras.Model(_single(inputs), _single(outputs), name=_name(self.config))
        return _Part(_freeze(model, self.config), self.children)

    def _create(self, name, entry):
        self.outputs[name] = []
        if entry["class_name"] == "InputLayer":
            self.outputs[name].append([_build_input(entry["config"])])
        elif entry["class_name"] not in _OPERATOR_CLASSES:
            self.children[name] = _build(entry)

    def _call_ready(self, name, nodes):
        """Makes the calls of a layer whose inputs exist; returns their number."""
        count = 0
        while nodes and all(map(self._exists, _references(nodes[0]))):
            outputs = self._call(name, nodes.pop(0))
            self.outputs[name].append(keras.tree.flatten(outputs))
            count += 1
        return count

    def _call(self, name, node):
        entry = self.entries[name]
        inputs = _single(self._values(node))
        options = self._values(_options(node))
        if entry["class_name"] in _OPERATOR_CLASSES:
            return _operate(entry["config"], inputs, options)
        layer = self.children[name].layer
        if isinstance(layer, _RECURRENT) and isinstance(inputs, list):
            return layer(inputs[0], initial_state=inputs[1:], **options)
        return layer(inputs, **options)

    def _exists(self, reference):
        return len(self.outputs[reference[0]]) > self._index(reference)

    def _index(self, reference):
        name, index = reference[:2]
        # Keras 2 counts the construction of a nested model as its first call.
        return index - int(_starts_with_input(self.entries[name]))

    def _values(self, data):
        if _is_reference(data):
            return self.outputs[data[0]][self._index(data)][data[2]]
        if _is_constant(data):
            return data[2]
        if isinstance(data, list):
            return [self._values(item) for item in data]
        if isinstance(data, dict):
            return {key: self._values(item) for key, item in data.items()}
        return data


def _starts_with_input(entry):
    config = entry["config"]
    layers = config if isinstance(config, list) else config.get("layers")
    return bool(layers) and layers[0]["class_name"] == "InputLayer"


def _is_constant(data):
    return isinstance(data, list) and data[:1] == ["_CONSTANT_VALUE"]


def _is_reference(data):
    """Whether saved data stands for a tensor: layer, call and output, options."""
    return (
        isinstance(data, list)
        and len(data) in (3, 4)
        and isinstance(data[0], str)
        and all(isinstance(item, int) for item in data[1:3])
        and not _is_constant(data)
    )


def _references(data):
    if _is_reference(data) or _is_constant(data):
        found = [] if _is_constant(data) else [data]
        return found + (_references(data[3]) if len(data) > 3 else [])
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, list):
        return [reference for item in data for reference in _references(item)]
    return []


def _options(node):
    """The keyword arguments of a saved call, which are stored with its first tensor."""
    if isinstance(node, dict):
        return _options(next(iter(node.values())))
    if not (_is_reference(node) or _is_constant(node)):
        return _options(node[0])
    options = node[3] if len(node) > 3 and node[3] else {}
    return {key: value for key, value in options.items() if value is not None}


def _single(values):
    return values[0] if isinstance(values, list) and len(values) == 1 else values


def _operate(config, inputs, options):
    """Calls the `keras.ops` equivalent of a TensorFlow function."""
    function = config.get("function")
    described = f"Layer {config['name']!r} of the Keras 2 model calls TensorFlow's "
    if not is_known_operator(function):
        raise ValueError(
            f"{described}{function!r}, for which no Keras 3 operation is known. "
            f"{_ADVICE}"
        )
    # TensorFlow stores its defaults, including options that Keras does not have.
    options = {k: v for k, v in options.items() if k != "name" and v is not False}
    try:
        output = _call_operator(function, inputs, options)
    except TypeError as error:
        raise ValueError(
            f"{described}{function!r} with arguments that Keras 3 does not know: "
            f"{sorted(options)}. {_ADVICE}"
        ) from error
    # The automatic name may already be that of a layer of the model.
    producer(output).name = _name(config)
    return output


def _call_operator(function, inputs, options):
    if function == _SLICE:
        return inputs[_slices(options["slice_spec"])]
    operator, names = _OPERATORS[function]
    options = {names.get(key, key): value for key, value in options.items()}
    return getattr(keras.ops, operator)(inputs, **options)


def _slices(spec):
    return tuple(map(_slice, spec if isinstance(spec, list) else [spec]))


def _slice(item):
    if not isinstance(item, dict):
        return item
    if "start" not in item:
        return ...
    return slice(item["start"], item["stop"], item["step"])


def _build_input(config):
    return keras.Input(
        batch_shape=config.get("batch_input_shape") or config["batch_shape"],
        dtype=_dtype(config.get("dtype")),
        sparse=bool(config.get("sparse")),
        name=_name(config),
    )


def _build_layer(entry):
    class_name, config = entry["class_name"], entry["config"]
    described = f"Layer {config.get('name')!r} ({class_name}) of the Keras 2 model"
    cls = getattr(keras.layers, class_name, None)
    cls = cls or keras.saving.get_registered_object(class_name)
    if class_name == "Lambda":
        return _build_lambda(described, config)
    if cls is None:
        raise ValueError(
            f"{described} does not exist in Keras 3. If it is your own, register its "
            "Keras 3 version with keras.saving.register_keras_serializable. "
            f"{_ADVICE}"
        )
    config = {
        option: _upgrade(option, value)
        for option, value in config.items()
        if not _is_dropped(described, class_name, option, value)
    }
    try:
        return cls.from_config({**config, "name": _name(config)})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{described} cannot be rebuilt: {error}") from error


def _build_lambda(described, config):
    """A layer with Python code, from the bytecode in the file."""
    if in_safe_mode():
        raise ValueError(
            f"{described} holds Python code. If you trust its author, pass "
            f"safe_mode=False. {_ADVICE}"
        )
    options = {"name": _name(config), "arguments": config.get("arguments") or {}}
    for option in ("function", "output_shape", "mask"):
        value = config.get(option)
        kind = config.get(f"{option}_type", "raw")
        if kind == "function":
            raise ValueError(
                f"{described} calls the Python function {value!r}, which is not in the "
                f"file. {_ADVICE}"
            )
        if kind == "lambda":
            parts = zip(("code", "defaults", "closure"), value, strict=True)
            value = {"class_name": "__lambda__", "config": dict(parts)}
        options[option] = value
    return keras.layers.Lambda.from_config(options, safe_mode=False)


def _is_dropped(described, class_name, option, value):
    for layers, options, harmless in _DROPPED:
        if not (re.fullmatch(layers, class_name) and re.fullmatch(options, option)):
            continue
        if harmless is not _ANY and value not in harmless:
            raise ValueError(
                f"{described} has {option}={value!r}, which Keras 3 does not know. "
                f"{_ADVICE}"
            )
        return True
    return False


def _upgrade(key, value):
    """One option of a layer, in the form of Keras 3."""
    if key == "dtype":
        return _dtype(value)
    if key == "axis" and isinstance(value, list) and len(value) == 1:
        return value[0]
    if key.endswith("activation") and value == "hard_sigmoid":
        return hard_sigmoid_of_keras2
    if key in ("layer", "backward_layer", "cell") and value:
        return keras.saving.serialize_keras_object(_build(value).layer)
    if key == "cells":
        return [_upgrade("cell", cell) for cell in value]
    if key.endswith("_initializer") and isinstance(value, dict):
        options = {k: v for k, v in value["config"].items() if k != "dtype"}
        return {**value, "config": options}
    return value


def _dtype(value):
    """The name of a dtype or of a mixed-precision policy."""
    return value["config"]["name"] if isinstance(value, dict) else value


def _name(config):
    """The name of a layer without slashes, which Keras 3 does not allow."""
    name = config.get("name")
    return name and name.replace("/", "_")


def _freeze(model, config):
    if isinstance(config, dict) and config.get("trainable") is False:
        model.trainable = False
    return model


def _read_weights(group, name):
    layer = group[name]
    return [layer[weight][()] for weight in _read_names(layer.attrs, "weight_names")]


def _read_names(attributes, name):
    """A list of names, which Keras 2 splits into several attributes if it is long."""
    if name in attributes:
        chunks = [attributes[name]]
    else:
        count = sum(key.startswith(name) for key in attributes)
        chunks = [attributes[f"{name}{index}"] for index in range(count)]
    names = [item for chunk in chunks for item in chunk]
    return [item.decode() if isinstance(item, bytes) else item for item in names]


def _set_weights(part, values):
    variables = _trainable(part) + _non_trainable(part)
    if len(variables) != len(values):
        raise ValueError(
            f"Layer {part.layer.name!r} has {len(variables)} weights in Keras 3 and "
            f"{len(values)} in the Keras 2 file. {_ADVICE}"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    for layer in all_layers(part.layer):
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()


def _trainable(part):
    if part.children is None:
        return list(part.layer.trainable_weights)
    if not part.layer.trainable:
        return []
    return [v for child in part.children.values() for v in _trainable(child)]


def _non_trainable(part):
    if part.children is None:
        return list(part.layer.non_trainable_weights)
    return [v for child in part.children.values() for v in _non_trainable(child)]
