"""A Keras model that trains a student with the help of a teacher."""

import threading
import types

import keras
from keras import ops

from tfcompress.core.cloning import own_training
from tfcompress.core.keras_internals import (
    added_loss,
    compile_arguments,
    compiled_loss,
)
from tfcompress.core.kinds import (
    Anything,
    BuiltModel,
    Each,
    Name,
    Number,
    PlugIn,
    checked,
)
from tfcompress.core.samples import random_inputs
from tfcompress.core.warn import warn
from tfcompress.distillation.features import watched
from tfcompress.distillation.outputs import (
    checked_logits,
    output_kinds,
    output_names,
    parts_like,
    to_logits,
)
from tfcompress.distillation.reduction import show
from tfcompress.distillation.taught import Taught
from tfcompress.distillation.teachers import Teacher
from tfcompress.distillation.terms import Run, make_terms


@keras.saving.register_keras_serializable("tfcompress")
class Distiller(keras.Model):
    """Trains a student on labels and on the answers of its teacher.

        L = L_task(y, student) + Σ_i w_i L_i(student, teacher)

    or, with `alpha`, `L = alpha L_task + (1 - alpha) Σ_i w_i L_i`, where the weights sum
    to one. `L_task` is the loss passed to `compile`; without one, no labels are needed.
    The penalties of the student are added unchanged.

    It compiles, trains, evaluates, predicts and saves like any Keras model, with the
    student's outputs; `distiller.student` is the model to keep, the same object that was
    passed in. Student and teacher run once per batch. The teacher runs in inference mode,
    gets no gradient and is not a layer of the distiller, so callbacks see only the
    student; its weights are saved nevertheless. Sample weights and masks apply to all
    losses. The student may be compressed, and pruned or quantized during training. Losses
    that compare samples see the batch of one replica.

    Outputs may be logits, or probabilities from a softmax or sigmoid: the losses get
    logits. If there are several outputs or positions, all of them count.

    Args:
        student: a built Keras model, which is trained.
        teacher: a built Keras model; the path of a `.keras` or `.tflite` file or of a
            SavedModel; a list of these, which becomes an `Ensemble`; or `SoftLabels`,
            whose `attach` puts the logits into `y`. None for losses with which a model
            teaches itself.
        losses: a `tfc.distillation` loss, a name, `{name: arguments}`, or a list of
            them; or `{output name: these}` for several outputs.
        weights: one non-negative number per loss; by default 1 each, or equal weights
            that sum to 1 if `alpha` is given. A loss on logits is summed over the outputs.
        alpha: weight of the task's loss, from 0 to 1.
        name: name of the model.

    Raises:
        TypeError: if the student is not a Keras model.
        ValueError: if student and teacher do not match, a layer or loss is unknown, or
            the weights are invalid.

    Metrics: `task_loss`, if there is one, and each distillation loss under its name.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).

    Example:
        >>> teacher = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
        >>> student = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
        >>> kl = tfc.distillation.KL(temperature=4)
        >>> distiller = Distiller(student, teacher, kl, alpha=0.1)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> distiller.compile("adam", loss, metrics=["accuracy"])
        >>> x, y = np.ones((4, 8)), np.zeros(4)
        >>> sorted(distiller.fit(x, y, verbose=0).history)
        ['accuracy', 'kl', 'loss', 'task_loss']
    """

    # Where the student is: it has the inputs, and rules name its weights.
    wraps_model = "student"

    @checked
    def __init__(
        self,
        student: BuiltModel(),
        teacher: PlugIn(Teacher) = None,
        losses: Anything(
            "a distillation loss, a list of them or {output name: losses}"
        ) = "kl",
        weights: Number(0) | Each(Number(0), "numbers, one per loss") = None,
        alpha: Number(0, 1, meaning="0 for the teacher only, 1 for labels only") = None,
        name: Name() = None,
    ):
        super().__init__(name=name, dtype=student.dtype_policy, autocast=False)
        if own := own_training(type(student)):
            warn(
                f"A Distiller trains {student.name!r} in its own steps: {', '.join(own)} "
                f"of {type(student).__name__} are left out."
            )
        self.student = student
        self.alpha = alpha
        self._teacher = teacher
        self._given = types.SimpleNamespace(losses=losses, weights=weights)
        self._latest = threading.local()
        self._meet()
        self._task_metric = keras.metrics.Mean("task_loss")
        self._term_metrics = [keras.metrics.Mean(term.name) for term in self._terms]
        self.supports_jit = self._teacher is None or self._teacher.supports_jit
        self.built = True

    @property
    def teacher(self):
        """The teacher as a `tfc.distillation.Teacher`, or None."""
        return self._teacher

    @property
    def output_names(self):
        """The student's output names, usable as keys for losses and metrics."""
        return getattr(
            getattr(self.student, "inner", self.student), "output_names", None
        )

    @property
    def metrics(self):
        """The metrics of Keras, and one for each distillation loss."""
        unused = self._task_metric if compiled_loss(self) is None else None
        return [metric for metric in super().metrics if metric is not unused]

    def _meet(self):
        """Runs student and teacher once to see what they return."""
        inputs = random_inputs(self.student, batch_size=2)
        outputs = self.student(inputs, training=False)
        self._kinds = output_kinds(self.student, outputs)
        if self._teacher:
            self._teacher.build(inputs, outputs, self._kinds)
        self._terms = make_terms(
            self.student,
            self._teacher,
            output_names(self.student, outputs),
            self._kinds,
            losses=self._given.losses,
            weights=self._given.weights,
            alpha=self.alpha,
        )
        outputs = self.call(inputs, training=False)
        student = self._student_run(inputs, outputs, training=False)
        teacher = self._teacher
        asks = teacher and teacher.can_be_asked and teacher.is_open
        teacher = self._teacher_run(inputs, None, student) if asks else student
        for term in self._terms:
            term.build(student, teacher)
        self._adapters = [layer for term in self._terms for layer in term.loss.adapters]

    def call(self, inputs, training=None):
        """The student's outputs."""
        layers = [layer for term in self._terms for layer in term.student_layers]
        with watched(layers) as features:
            outputs = self.student(inputs, training=training)
        self._latest.run = (keras.tree.flatten(outputs), features)
        return outputs

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The weighted sum of all losses, each of which updates its metric."""
        labels, taught = y if isinstance(y, Taught) else (y, None)
        total = sum(added_loss(self, loss) for loss in self.losses)
        task_loss = compiled_loss(self)
        if task_loss is not None:
            task = task_loss(labels, y_pred, sample_weight)
            show(self._task_metric, task, x)
            total += task if self.alpha is None else self.alpha * task
        student = self._student_run(x, y_pred, training)
        teacher = self._teacher_run(x, taught, student)
        labels = parts_like(labels, y_pred)
        sample_weights = parts_like(sample_weight, y_pred)
        step = self.optimizer.iterations if self.optimizer else 0
        share = 1.0 if self.alpha is None else 1.0 - self.alpha
        for term, metric in zip(self._terms, self._term_metrics, strict=True):
            values = term(student, teacher, labels, step)
            loss = term.reduce(values, y_pred, sample_weights)
            show(metric, loss, x)
            total += share * term.weight * loss
        return total

    def _student_run(self, x, y_pred, training):
        """What the student did when it returned `y_pred`."""
        flat = keras.tree.flatten(y_pred)
        outputs, features = getattr(self._latest, "run", ([None], {}))
        watches = any(term.student_layers for term in self._terms)
        if watches and outputs[0] is not flat[0]:
            # Keras, or a user, asks for the loss without the call.
            self.call(x, training=training)
            features = self._latest.run[1]
        logits = map(to_logits, flat, self._kinds)
        return Run(list(logits), features)

    def _teacher_run(self, x, taught, student):
        """The teacher's run on the same inputs; no gradient passes."""
        layers = [layer for term in self._terms for layer in term.teacher_layers]
        features, logits = {}, student.logits
        if self._teacher and (layers or taught is None):
            with watched(layers) as features:
                logits = self._teacher(x)
        if taught is not None:
            logits = checked_logits(taught, student.logits)
        elif self._teacher is None and any(t.reads_outputs for t in self._terms):
            raise ValueError(
                "There is no teacher to learn from: pass one to Distiller, or pass "
                "soft labels as y, see tfc.distillation.precompute."
            )
        return Run(*keras.tree.map_structure(ops.stop_gradient, (logits, features)))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The compiled metrics, which see only the labels."""
        labels = y.labels if isinstance(y, Taught) else y
        asked = compile_arguments(self) if self.compiled else {}
        if labels is None and (asked.get("metrics") or asked.get("weighted_metrics")):
            raise ValueError(
                "Distiller is compiled with metrics, which compare outputs with labels, "
                "and got no labels. Pass y, or compile it without metrics."
            )
        return super().compute_metrics(x, labels, y_pred, sample_weight)

    def save_own_variables(self, store):
        """Saves the teacher, which is not a layer."""
        for i, variable in enumerate(self._teacher.variables if self._teacher else ()):
            store[str(i)] = variable

    def load_own_variables(self, store):
        """Loads the teacher."""
        for i, variable in enumerate(self._teacher.variables if self._teacher else ()):
            variable.assign(store[str(i)])

    def get_config(self):
        """The constructor's arguments."""
        parts = {"student": self.student, "teacher": self._teacher, **vars(self._given)}
        return {
            "name": self.name,
            "alpha": self.alpha,
            **{k: keras.saving.serialize_keras_object(v) for k, v in parts.items()},
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Restores the distiller."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{k: restore(v, custom_objects) for k, v in config.items()})
