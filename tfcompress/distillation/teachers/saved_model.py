"""A SavedModel that teaches."""

import concurrent.futures

import keras
import tensorflow as tf

from tfcompress.core.errors import refuse
from tfcompress.core.keras_internals import in_safe_mode
from tfcompress.core.kinds import FilePath, OneOf
from tfcompress.distillation.teachers.file import (
    FileTeacher,
    named_inputs,
    ordered_outputs,
)


@keras.saving.register_keras_serializable("tfcompress")
class SavedModelTeacher(FileTeacher):
    """A folder that `keras_model.export` or `tf.saved_model.save` wrote.

    It runs the endpoint that Keras exported (`serve`), else the module's call, else its
    only signature or "serving_default". A call takes inputs in the saved structure; a
    signature takes several inputs by name. Outputs called `output_0`, `output_1`, ... are
    matched by position, others by name.

    A graph can do anything, such as write files. It is opened if a person names the
    folder, but not if a saved `Distiller` does: that needs `safe_mode=False` in
    `tfc.load_model` to train further, and can be used for inference without it.

    Args:
        path: path of the folder with `saved_model.pb`.
        kind: how to read outputs from 0 to 1, as "sigmoid" or "logits"; by default, as
            the student's.

    Raises:
        ValueError: if the folder holds no function to call.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> model.export(tmp_path / "exported", verbose=False)
        >>> teacher = SavedModelTeacher(tmp_path / "exported")
        >>> teacher.build(np.ones((2, 4)))
        >>> np.allclose(teacher(np.ones((2, 4)))[0], model(np.ones((2, 4))))
        True
    """

    def __init__(
        self,
        path: FilePath("a SavedModel"),
        kind: OneOf("sigmoid", "logits", None) = None,
    ):
        super().__init__(path, kind)
        self.is_open = not in_safe_mode()
        if self.is_open:
            # The loaded object owns the variables and has to live as long.
            self._loaded = _loaded(self.path)
            self._function = self._called() or self._signature()

    def build(self, inputs, outputs=None, kinds=None):
        """Runs the function once; one that may not run is assumed to match the student."""
        if self.is_open:
            return super().build(inputs, outputs, kinds)
        if outputs is None:
            self._refuse()
        count = len(keras.tree.flatten(outputs))
        self.structure = keras.tree.pack_sequence_as(outputs, list(range(count)))
        self.kinds = kinds

    def run(self, inputs):
        """The function's outputs."""
        if not self.is_open:
            self._refuse()
        return self._function(inputs)

    def _refuse(self):
        raise ValueError(
            f"The teacher {self.path!r} is a SavedModel named by a loaded file; it was not "
            "opened, since its graph can do anything, such as write files. If you trust "
            "it, load the file with tfc.load_model(path, safe_mode=False)."
        )

    def _called(self):
        """A function of inputs in the saved structure, or None."""
        for name in ("serve", "__call__"):
            function = getattr(self._loaded, name, None)
            if getattr(function, "concrete_functions", ()):
                break
        else:
            return None
        arguments, _ = function.concrete_functions[0].structured_input_signature
        specs = [argument for argument in arguments if _is_tensors(argument)]
        return lambda inputs: function(*_cast(inputs, specs))

    def _signature(self):
        """A function of named inputs."""
        signatures = dict(self._loaded.signatures)
        names = ["serving_default"] if "serving_default" in signatures else signatures
        if len(names) != 1:
            raise ValueError(
                f"The SavedModel {self.path!r} has the signatures {sorted(signatures)}: "
                "expected one, or one called 'serving_default', or a module that can be "
                "called. Save it with tf.saved_model.save(module, path, signatures=...)."
            )
        function = signatures[next(iter(names))]
        specs = function.structured_input_signature[1]

        def run(inputs):
            named = named_inputs(inputs, list(specs))
            return ordered_outputs(function(**_cast(named, specs)))

        return run


def _loaded(path):
    """Loads a SavedModel outside of any `tf.distribute` strategy.

    Functions loaded in a scope run only in replicas, but a distiller is created outside
    of them. Scopes are per thread, so it is loaded in another thread.
    """
    if not tf.saved_model.contains_saved_model(path):
        refuse("SavedModelTeacher(path)", path, "the folder of a SavedModel")
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(tf.saved_model.load, path).result()


def _is_tensors(argument):
    leaves = tf.nest.flatten(argument)
    return bool(leaves) and all(isinstance(leaf, tf.TensorSpec) for leaf in leaves)


def _cast(inputs, specs):
    """Inputs in the structure and the dtypes of `specs`."""
    flat, wanted = keras.tree.flatten(inputs), tf.nest.flatten(specs)
    if len(flat) != len(wanted):
        raise ValueError(f"it takes {len(wanted)} inputs, got {len(flat)}.")
    cast = [tf.cast(x, spec.dtype) for x, spec in zip(flat, wanted, strict=True)]
    return tf.nest.pack_sequence_as(specs, cast)
