"""A Keras model that teaches."""

import keras

from tfcompress.core.keras_internals import all_layers
from tfcompress.core.kinds import BuiltModel
from tfcompress.distillation.outputs import output_kinds
from tfcompress.distillation.teachers.teacher import Teacher, hash_of


@keras.saving.register_keras_serializable("tfcompress")
class KerasTeacher(Teacher):
    """A Keras model, compressed or not, that runs in inference mode.

    Args:
        model: a built Keras model.

    Raises:
        TypeError: if it is something else.
        ValueError: if it is not built.
    """

    def __init__(self, model: BuiltModel()):
        self.model = model

    @property
    def name(self):
        """The name of the model."""
        return self.model.name

    @property
    def variables(self):
        """The model's."""
        return self.model.variables

    @property
    def supports_jit(self):
        """Whether XLA can compile all of its layers."""
        return all(layer.supports_jit for layer in all_layers(self.model))

    def fingerprint(self):
        """A hash of the weights, without the random seeds."""
        return hash_of(self.model.weights)

    def run(self, inputs):
        """The model's outputs."""
        # A list of one input takes no array without a warning.
        inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
        return self.model(inputs, training=False)

    def output_kinds(self, outputs, student_kinds):
        """Determined from the graph and the values."""
        return output_kinds(self.model, outputs)
