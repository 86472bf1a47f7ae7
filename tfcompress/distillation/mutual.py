"""Students that teach each other."""

import keras
from keras import ops

from tfcompress.core.kinds import BuiltModel, Each, Name, Number, PlugIn, checked
from tfcompress.core.nouns import DistillationLoss
from tfcompress.core.plugin import snake_case
from tfcompress.core.samples import random_inputs
from tfcompress.distillation.outputs import output_kinds, to_logits
from tfcompress.distillation.reduction import reduced, show


@keras.saving.register_keras_serializable("tfcompress")
class MutualLearning(keras.Model):
    """Trains several students together, each on labels and on the others' answers.

        L = Σ_k ( L_task(y, k) + weight / (K - 1) Σ_{l ≠ k} L_mutual(k, l) )

    where no gradient flows into the teaching student `l`. All of them learn in the same
    step, from their answers in training; the paper updates one after another.

    The model returns `{name of the student: its output}`. A loss in `compile` applies to
    each of them; metrics are given as `{name: [metric, ...]}`. Any of the students may be
    compressed. Keep the best one, or all of them as an ensemble.

    Args:
        students: two or more built Keras models with different names, each with one
            output and the same classes.
        loss: a `tfc.distillation` loss on outputs, its name, or `{name: arguments}`.
        weight: weight of the mutual loss, at least 0.
        name: name of the model.

    Raises:
        TypeError: if a student is not a Keras model.
        ValueError: if the students do not match, the loss reads features, or the weight
            is negative.

    Metrics: the mutual loss of each student, such as `small_kl`.

    Source: DML: Zhang et al., "Deep Mutual Learning" (2018), equations 5 and 8.

    Example:
        >>> students = [
        ...     keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)], name=name)
        ...     for name in ("one", "other")
        ... ]
        >>> model = tfc.distillation.MutualLearning(students)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile("adam", loss)
        >>> history = model.fit(np.ones((4, 8)), np.zeros(4), verbose=0).history
        >>> sorted(history)
        ['loss', 'one_kl', 'one_loss', 'other_kl', 'other_loss']
    """

    @checked
    def __init__(
        self,
        students: Each(BuiltModel(), "two or more models", least=2),
        loss: PlugIn(DistillationLoss) = "kl",
        weight: Number(0) = 1.0,
        name: Name() = None,
    ):
        students = list(students)
        names = [student.name for student in students]
        if len(students) < 2 or len(set(names)) < len(names):
            raise ValueError(
                f"students={names}: expected two or more models with different names."
            )
        if "features" in (loss.student_reads, loss.teacher_reads):
            raise ValueError(
                f"{loss!r} reads features: students teach each other through outputs, "
                "with a loss such as 'kl'."
            )
        super().__init__(name=name, dtype=students[0].dtype_policy, autocast=False)
        self.students = students
        self.loss_between = loss.clone()
        self.weight = weight
        self._kinds = self._meet()
        metric = snake_case(type(loss).__name__)
        self._mutual_metrics = [keras.metrics.Mean(f"{n}_{metric}") for n in names]
        self.built = True

    def _meet(self):
        inputs = random_inputs(self.students[0], batch_size=2)
        outputs = self.call(inputs, training=False)
        shapes = {
            name: [tuple(part.shape) for part in keras.tree.flatten(output)]
            for name, output in outputs.items()
        }
        if any(shape != shapes[self.students[0].name] for shape in shapes.values()) or (
            len(keras.tree.flatten(outputs)) > len(outputs)
        ):
            raise ValueError(
                f"The students' outputs have the shapes {shapes}: expected one output "
                "each, with the same classes."
            )
        return [
            output_kinds(student, outputs[student.name])[0] for student in self.students
        ]

    def call(self, inputs, training=None):
        """`{name: output}` of all students."""
        return {s.name: s(inputs, training=training) for s in self.students}

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The losses of all students."""
        total = super().compute_loss(
            x, self._for_each(y), y_pred, self._for_each(sample_weight), training
        )
        step = self.optimizer.iterations
        outputs = [y_pred[student.name] for student in self.students]
        logits = list(map(to_logits, outputs, self._kinds))
        for output, own, metric in zip(
            outputs, logits, self._mutual_metrics, strict=True
        ):
            values = [
                self.loss_between(own, ops.stop_gradient(other), labels=y, step=step)
                for other in logits
                if other is not own
            ]
            loss = reduced(sum(values) / len(values), output, sample_weight)
            show(metric, loss, x)
            total += self.weight * loss
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The compiled metrics of all students."""
        y, sample_weight = self._for_each(y), self._for_each(sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _for_each(self, value):
        if value is None:
            return None
        return {student.name: value for student in self.students}

    def get_config(self):
        """The constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "weight": self.weight,
            "loss": serialize(self.loss_between),
            "students": [serialize(student) for student in self.students],
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the model."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{k: restore(v, custom_objects) for k, v in config.items()})
