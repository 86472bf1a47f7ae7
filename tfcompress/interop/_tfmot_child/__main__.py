"""Removes the wrappers of tfmot from a tf_keras model and records what they held.

Reads the model at SOURCE, whose configuration is `config.json` in FOLDER, and writes to
FOLDER:

- `stripped.h5`: the plain model, without optimizer.
- `wrapped.json`: `weights`, the treatment of each wrapped weight, and `ranges`, the
  ranges of activations; see `_Notes`.
- `masks.npz`: the masks that `weights` refers to.
- `failure.txt` instead, with one line, if something is wrong.
"""

import contextlib
import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from tensorflow_model_optimization.python.core.clustering.keras import cluster_wrapper
from tensorflow_model_optimization.python.core.quantization.keras import (
    quantize_annotate,
    quantize_layer,
    quantize_wrapper,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry as default_8bit,
)
from tensorflow_model_optimization.python.core.sparsity.keras import pruning_wrapper
from tf_keras.src.saving.legacy.saved_model import json_utils

_PRUNED = pruning_wrapper.PruneLowMagnitude
_CLUSTERED = cluster_wrapper.ClusterWeights
_QUANTIZED = quantize_wrapper.QuantizeWrapper
_ANNOTATED = quantize_annotate.QuantizeAnnotate
_WRAPPERS = (_PRUNED, _CLUSTERED, _QUANTIZED, _ANNOTATED)

# TFLite fuses these into the previous layer, so there is no tensor in between.
_FUSED_ACTIVATIONS = ("linear", "relu", "relu6", "NoOpActivation")


class _Notes:
    """What the wrappers held.

    Attributes:
        weights: one dictionary per wrapped weight: `path`, names of the layers on the
            path to it; `index` among the layer's weights, trainable ones first; `mask`, a
            key of `masks`; `clusters`; `bits`, `symmetric` and `per_channel`.
        masks: boolean arrays.
        ranges: `{name of the tensor: [minimum, maximum]}`.
    """

    def __init__(self):
        self.weights = []
        self.masks = {}
        self.ranges = {}

    def add_weight(self, path, index, mask=None, **treatment):
        """Notes one weight."""
        note = {"path": path, "index": index, **treatment}
        if mask is not None:
            note["mask"] = f"mask{len(self.masks)}"
            self.masks[note["mask"]] = mask
        self.weights.append(note)

    def add_range(self, name, variables):
        """Notes the range of a tensor from a quantizer's variables."""
        if variables and "min_var" in variables:
            low, high = variables["min_var"].numpy(), variables["max_var"].numpy()
            self.ranges[name] = [float(low.min()), float(high.max())]

    def save(self, folder):
        """Writes the files."""
        content = {"weights": self.weights, "ranges": self.ranges}
        (folder / "wrapped.json").write_text(json.dumps(content))
        np.savez(folder / "masks.npz", **self.masks)


def main(source, folder, mode="safe"):
    """Runs the whole conversion; the exit code tells whether it succeeded."""
    folder = pathlib.Path(folder)
    try:
        with _known_classes():
            strip(source, folder, mode == "safe")
    except Exception as error:  # A process boundary: the parent shows this one line.
        line = " ".join(str(error).split())
        (folder / "failure.txt").write_text(f"{type(error).__name__}: {line}")
        sys.exit(1)


def _known_classes():
    stack = contextlib.ExitStack()
    stack.enter_context(tfmot.sparsity.keras.prune_scope())
    stack.enter_context(tfmot.clustering.keras.cluster_scope())
    stack.enter_context(tfmot.quantization.keras.quantize_scope())
    missing = {
        "ClusterWeightsRNN": cluster_wrapper.ClusterWeightsRNN,
        "ClusterWeightsMHA": cluster_wrapper.ClusterWeightsMHA,
    }
    stack.enter_context(keras.utils.custom_object_scope(missing))
    return stack


def strip(source, folder, safe_mode):
    """Loads the model, removes the wrappers and writes the files."""
    if pathlib.Path(source).is_dir():
        model = _load_saved_model(source, folder)
    else:
        model = keras.models.load_model(source, compile=False, safe_mode=safe_mode)
    is_graph = getattr(model, "_is_graph_network", False)
    if not is_graph and not isinstance(model, keras.Sequential):
        raise ValueError(
            f"{type(model).__name__} has no graph of layers; only Sequential and "
            "functional models can be converted"
        )
    config = _stripped_config(model.get_config())
    plain = type(model).from_config(config)
    if not plain.built:
        plain.build(model.input_shape)
    notes = _Notes()
    _copy_model(model, plain, notes, path=[])
    plain.save(folder / "stripped.h5", include_optimizer=False)
    notes.save(folder)


def _load_saved_model(source, folder):
    """The layers and their weights, without the graph, which can do anything."""
    config = json_utils.decode((folder / "config.json").read_text())
    model = keras.models.model_from_config(config)
    if not model.built:
        model.build(model.input_shape)
    weights = model.load_weights(pathlib.Path(source, "variables", "variables"))
    weights.expect_partial().assert_existing_objects_matched()
    return model


def _stripped_config(config):
    """The configuration of a model without wrappers, nested models included."""
    renamed, skipped, entries = {}, {}, []
    for entry in config["layers"]:
        entry = {**entry, "config": dict(entry["config"])}
        if entry["class_name"] == "QuantizeLayer":
            if "inbound_nodes" in entry:
                skipped[entry["name"]] = _only_reference(entry["inbound_nodes"])
            continue
        if "layers" in entry["config"]:
            entry["config"] = _stripped_config(entry["config"])
        elif entry["class_name"] in {cls.__name__ for cls in _wrapper_classes()}:
            inner = entry["config"]["layer"]
            options = _plain_activations(inner["config"])
            renamed[entry["config"]["name"]] = options["name"]
            entry = {**entry, **inner, "config": options}
            if "name" in entry:
                entry["name"] = options["name"]
        entries.append(entry)

    def rewired(data):
        if isinstance(data, dict):
            return {key: rewired(item) for key, item in data.items()}
        if not isinstance(data, (list, tuple)):
            return data
        if len(data) >= 3 and data[0] in list(skipped):
            data = [*skipped[data[0]][:3], *data[3:]]
        if len(data) >= 3 and isinstance(data[0], str):
            return [renamed.get(data[0], data[0]), *map(rewired, data[1:])]
        return [rewired(item) for item in data]

    for entry in entries:
        if "inbound_nodes" in entry:
            entry["inbound_nodes"] = rewired(entry["inbound_nodes"])
    ends = {key: rewired(config[key]) for key in config if key.endswith("put_layers")}
    return {**config, **ends, "layers": entries}


def _wrapper_classes():
    found = set(_WRAPPERS)
    for cls in _WRAPPERS:
        found.update(cls.__subclasses__())
    return found


def _only_reference(nodes):
    while isinstance(nodes[0], (list, tuple)):
        nodes = nodes[0]
    return nodes


def _plain_activations(options):
    """Options of a layer with the activation functions it had before wrapping."""
    if not isinstance(options, dict):
        return options
    if options.get("class_name") == "QuantizeAwareActivation":
        return _plain_activations(options["config"]["activation"])
    if options.get("class_name") == "NoOpActivation":
        return "linear"
    return {key: _plain_activations(value) for key, value in options.items()}


def _copy_model(model, plain, notes, path):
    """Copies the weights layer by layer, and notes what the wrappers did."""
    for layer in model.layers:
        if isinstance(layer, quantize_layer.QuantizeLayer):
            source = layer.input._keras_history.layer.name
            notes.add_range(source, getattr(layer, "quantizer_vars", None))
            continue
        name = layer.layer.name if isinstance(layer, _WRAPPERS) else layer.name
        if isinstance(layer, keras.layers.InputLayer):
            continue
        target = plain.get_layer(name)
        here = [*path, name]
        if isinstance(layer, keras.Model):
            _copy_model(layer, target, notes, here)
        elif isinstance(layer, _PRUNED):
            _copy_pruned(layer, target, notes, here)
        elif isinstance(layer, _CLUSTERED):
            _copy_clustered(layer, target, notes, here)
        elif isinstance(layer, _QUANTIZED):
            _copy_quantized(layer, target, notes, here)
        elif isinstance(layer, _ANNOTATED):
            _copy_annotated(layer, target, notes, here)
        else:
            target.set_weights(layer.get_weights())


def _copy_pruned(wrapper, target, notes, path):
    target.set_weights(wrapper.layer.get_weights())
    for weight, mask, _ in wrapper.pruning_vars:
        index = _position(wrapper.layer, weight)
        notes.add_weight(path, index, mask=mask.numpy() != 0)


def _position(layer, weight):
    return [candidate is weight for candidate in layer.weights].index(True)


def _copy_clustered(wrapper, target, notes, path):
    masks = _restore_sparsity(wrapper) if wrapper.preserve_sparsity else {}
    # The latest centroids in place of the weights, as in strip_clustering.
    wrapper.update_clustered_weights_associations()
    values = wrapper.layer.get_weights()
    for index, name in sorted(wrapper.position_original_weights.items()):
        value = wrapper.get_weight_from_layer(name)
        values.insert(index, value)
        clusters = wrapper.number_of_clusters - wrapper.preserve_sparsity
        if wrapper.cluster_per_channel:
            clusters *= wrapper.num_channels
        notes.add_weight(path, index, mask=masks.get(name), clusters=clusters)
    target.set_weights(values)


def _restore_sparsity(wrapper):
    """Masks of weights whose zeros are kept.

    A file does not hold them; tfmot computes them again from the random weights with which
    the layer starts. The stored assignment to the zero centroid determines them.
    """
    masks = {}
    for name, centroids in wrapper.cluster_centroids.items():
        zero = tf.argmin(tf.abs(centroids), axis=-1)
        assigned = wrapper.pulling_indices[name]
        # With one codebook per channel, the channels are the last axis.
        masks[name] = assigned.numpy() != zero.numpy()
        wrapper.zero_idx[name] = zero
        wrapper.sparsity_masks[name] = tf.cast(masks[name], tf.float32)
    return masks


def _copy_quantized(wrapper, target, notes, path):
    stored = {_base_name(weight): weight for weight in wrapper.weights}
    if "ori_weights_vars_tf" in stored:
        raise ValueError(
            f"layer {wrapper.name!r} keeps clusters during quantization, which "
            "cannot be converted: convert the clustered model from before "
            "quantize_apply"
        )
    stored |= {_base_name(weight): weight for weight, _, _ in wrapper._weight_vars}
    names = [_base_name(weight) for weight in target.weights]
    if len(set(names)) < len(names):
        raise ValueError(
            f"layer {wrapper.name!r} has several weights with the same name ({names}), "
            "so quantized ones cannot be told apart"
        )
    target.set_weights([stored[name].numpy() for name in names])
    for weight, quantizer, _ in wrapper._weight_vars:
        _note_quantized(target, _base_name(weight), quantizer, notes, path)
    name = path[-1]
    notes.add_range(name, getattr(wrapper, "_output_quantizer_vars", None))
    for activation in wrapper._quantize_activations:
        function = getattr(activation.activation, "__name__", "NoOpActivation")
        function = {"swish": "silu"}.get(function, function)
        suffix = "" if function in _FUSED_ACTIVATIONS else f"_{function}"
        notes.add_range(name, getattr(activation, "_pre_activation_vars", None))
        after = getattr(activation, "_post_activation_vars", None)
        notes.add_range(name + suffix, after)


def _copy_annotated(wrapper, target, notes, path):
    target.set_weights(wrapper.layer.get_weights())
    config = wrapper.quantize_config
    registry = default_8bit.Default8BitQuantizeRegistry()
    if config is None and registry.supports(wrapper.layer):
        config = registry.get_quantize_config(wrapper.layer)
    if config is None:
        return
    for weight, quantizer in config.get_weights_and_quantizers(wrapper.layer):
        _note_quantized(target, _base_name(weight), quantizer, notes, path)


def _note_quantized(target, name, quantizer, notes, path):
    index = [_base_name(weight) for weight in target.weights].index(name)
    value = target.get_weights()[index]
    # The last axis of a depthwise kernel is its multiplier, so tfmot's "per axis"
    # scale spans all channels.
    per_channel = getattr(quantizer, "per_axis", False) and name != "depthwise_kernel"
    notes.add_weight(
        path,
        index,
        # Quantization that preserves pruning stores no mask, only zeros.
        mask=None if value.all() else value != 0,
        bits=quantizer.num_bits,
        symmetric=bool(getattr(quantizer, "symmetric", False)),
        per_channel=per_channel,
    )


def _base_name(variable):
    return variable.name.split("/")[-1].split(":")[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
