"""What all teachers share."""

import hashlib

import keras

from tfcompress.core.plugin import Plugin
from tfcompress.distillation.outputs import flat_like, sums_to_one, to_logits


class Teacher(Plugin):
    """Returns logits for inputs, and is never trained.

    Attributes:
        model: the Keras model whose inner layers can be read, or None.
        variables: variables that have to be saved with a distiller.
        supports_jit: whether XLA can compile it.
        can_be_asked: whether it takes any inputs; else `y` has to hold its answers.
        is_open: whether it may run; in safe mode, code from a file may not.
        structure: indices of the outputs, in the structure that `run` returns.
    """

    model = None
    variables = ()
    supports_jit = True
    can_be_asked = True
    is_open = True
    structure = 0

    def run(self, inputs):
        """The teacher's outputs for inputs, in its own structure."""
        raise NotImplementedError

    def fingerprint(self):
        """A string that differs between teachers: a hash of the weights."""
        return hash_of(self.variables)

    def output_kinds(self, outputs, student_kinds):
        """The kind of each output: "logits", "softmax" or "sigmoid".

        Without a graph, outputs are taken for sigmoids where the student's are sigmoids.

        Raises:
            ValueError: if there is no student and the values are ambiguous.
        """
        return [
            self._kind(output, kind)
            for output, kind in zip(outputs, student_kinds, strict=True)
        ]

    def _kind(self, output, student_kind):
        if sums_to_one(output):
            return "softmax"
        if student_kind == "logits" or not _is_between_zero_and_one(output):
            return "logits"
        if student_kind == "sigmoid":
            return "sigmoid"
        raise ValueError(
            f"The teacher {self.name!r} returns numbers from 0 to 1, which may be logits "
            "or the probabilities of sigmoids. Specify which: SavedModelTeacher or "
            "TFLiteTeacher(path, kind='sigmoid'), or kind='logits'."
        )

    def build(self, inputs, outputs=None, kinds=None):
        """Prepares for given inputs and a student.

        Args:
            inputs: some inputs of the student.
            outputs: the student's outputs for them; None if there is no student.
            kinds: the kind of each of these outputs, see `output_kinds`.

        Raises:
            ValueError: if the teacher cannot be called on the inputs, or its outputs do
                not match the student's.
        """
        answer = self._answer(inputs, "dataset's" if outputs is None else "student's")
        count = len(keras.tree.flatten(answer))
        self.structure = keras.tree.pack_sequence_as(answer, list(range(count)))
        if outputs is None:
            flat = keras.tree.flatten(answer)
            self.kinds = self.output_kinds(flat, [None] * count)
            return
        flat = flat_like(answer, outputs)
        self.kinds = self.output_kinds(flat, kinds)
        learned = keras.tree.flatten(outputs)
        for output, kind, own, own_kind in zip(
            flat, self.kinds, learned, kinds, strict=True
        ):
            self._check(output, kind, own, own_kind)

    def _answer(self, inputs, whose):
        try:
            return self.run(inputs)
        except Exception as error:
            raise ValueError(
                f"The teacher {self.name!r} cannot be called on the {whose} inputs "
                f"({_described(inputs)}): {_first_line(error)} A teacher has to take "
                "the same inputs; wrap it in a model that first applies what it needs, "
                "such as keras.layers.Resizing."
            ) from error

    def _check(self, output, kind, own, own_kind):
        if tuple(output.shape) != tuple(own.shape):
            raise ValueError(
                f"The teacher {self.name!r} returns {_shape(output)}, the student "
                f"{_shape(own)}: both need the same classes and positions."
            )
        if kind != own_kind and "sigmoid" in (kind, own_kind) and own.shape[-1] > 1:
            raise ValueError(
                f"The teacher {self.name!r} returns {_KINDS[kind]}, the student "
                f"{_KINDS[own_kind]}: end both in a sigmoid (each unit a separate "
                "choice), or neither (one of several classes)."
            )

    def logits(self, outputs):
        """The outputs of `run`, as a list of float32 logits."""
        flat = keras.tree.flatten(outputs)
        return [
            to_logits(output, kind)
            for output, kind in zip(flat, self.kinds, strict=True)
        ]

    def __call__(self, inputs):
        """A list of float32 logits, one entry per output of the student."""
        return self.logits(self.run(inputs))


def hash_of(variables):
    """A SHA-256 of shapes, dtypes and values."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(f"{variable.shape} {variable.dtype}".encode())
        digest.update(keras.ops.convert_to_numpy(variable).tobytes())
    return digest.hexdigest()


_KINDS = {
    "logits": "logits",
    "softmax": "class probabilities (softmax)",
    "sigmoid": "probabilities of single units (sigmoid)",
}


def _is_between_zero_and_one(output):
    return bool(keras.ops.all((output >= 0) & (output <= 1)))


def _described(inputs):
    return keras.tree.map_structure(lambda x: f"{_shape(x)} {x.dtype.name}", inputs)


def _shape(tensor):
    return f"(batch, {', '.join(map(str, tensor.shape[1:]))})"


def _first_line(error):
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
