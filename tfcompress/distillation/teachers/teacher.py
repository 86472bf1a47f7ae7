"""What all teachers share."""

import hashlib

import keras

from tfcompress.core.plugin import Plugin
from tfcompress.distillation.outputs import flat_like, sums_to_one, to_logits


class Teacher(Plugin):
    """Something that answers inputs with logits, and never learns.

    Attributes:
        model: the Keras model whose inner layers can be looked at, or None.
        variables: what has to be saved with a distiller.
        supports_jit: whether XLA can compile it.
        can_be_asked: whether it answers any inputs; else `y` has to hold its answers.
        is_open: whether it may run; what would run code of a file does not in safe mode.
        structure: numbers of the outputs, in the structure that `run` returns.
    """

    model = None
    variables = ()
    supports_jit = True
    can_be_asked = True
    is_open = True
    structure = 0

    def run(self, inputs):
        """What the teacher returns for inputs, in its own structure."""
        raise NotImplementedError

    def fingerprint(self):
        """A string that is another for another teacher: a hash of its weights."""
        return hash_of(self.variables)

    def output_kinds(self, outputs, student_kinds):
        """What each output is, "logits", "softmax" or "sigmoid".

        Without a graph to look at, sigmoids are taken for such where the student's are.

        Raises:
            ValueError: if there is no student and the values may be either.
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
            "or the probabilities of sigmoids. Say which: SavedModelTeacher or "
            "TFLiteTeacher(path, kind='sigmoid'), or kind='logits'."
        )

    def build(self, inputs, outputs=None, kinds=None):
        """Gets to know its inputs, and a student.

        Args:
            inputs: some inputs of the student.
            outputs: what the student returned for them; None if there is no student.
            kinds: what each of its outputs is, see `output_kinds`.

        Raises:
            ValueError: if the teacher cannot be called on the inputs, or its outputs
                are others than the student's.
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
                "the same inputs; put what it needs, such as keras.layers.Resizing, "
                "into a model before it."
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
                f"{_KINDS[own_kind]}: end both in a sigmoid (each unit its own choice), "
                "or neither (one of several classes)."
            )

    def logits(self, outputs):
        """What `run` returned, as a list of float32 logits."""
        flat = keras.tree.flatten(outputs)
        return [
            to_logits(output, kind)
            for output, kind in zip(flat, self.kinds, strict=True)
        ]

    def __call__(self, inputs):
        """A list of float32 logits, one for each output of the student."""
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
    "softmax": "probabilities of classes (softmax)",
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
