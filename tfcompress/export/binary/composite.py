"""Custom operations enter a `.tflite` file as functions that name them."""

import tensorflow as tf


def composite(name, attributes, function):
    """A function of tensors that the converter writes as one custom operation.

    Its arguments are the operation's inputs, in order. Outside the converter it just runs.

    Args:
        name: name of the operation, such as `"tfc.BConv2D"`.
        attributes: `{name: integer}`, a flexbuffer map in the file.
        function: function of tensors that computes what the operation does.
    """
    integers = {name: f"i: {int(value)}" for name, value in attributes.items()}
    marked = {"tfl_fusable_op": "b: true", **integers}
    # Attributes in this form; with only a name, the function would be inlined.
    attr = " ".join(
        f'attr {{ key: "{key}" value {{ {value} }} }}' for key, value in marked.items()
    )
    implements = f'name: "{name}" {attr}'
    traceable = tf.function(
        function, autograph=False, experimental_implements=implements
    )

    def call(*tensors):
        # One trace per layer; TensorFlow warns about that if `traceable` itself is called.
        return traceable.get_concrete_function(*tensors)(*tensors)

    return call
