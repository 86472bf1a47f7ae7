"""The model that trains a student: its loss, and that it behaves like Keras models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.distillation import KL, DistillationLoss, Distiller, Taught

L = keras.layers

pytestmark = pytest.mark.usefixtures("uncompiled")


@keras.saving.register_keras_serializable("tests")
class Squares(DistillationLoss):
    """A loss on features: their mean squared difference, one pair per layer."""

    student_reads = teacher_reads = "features"

    def __init__(self, student_layers=None, teacher_layers=None):
        self.student_layers = student_layers
        self.teacher_layers = teacher_layers

    def build(self, student, teacher):
        self.adapters = [
            L.Dense(t[-1], name=f"adapter_{i}") for i, t in enumerate(teacher)
        ]
        for adapter, shape in zip(self.adapters, student, strict=True):
            adapter.build(shape)

    def __call__(self, student, teacher, labels=None, step=0):
        pairs = zip(self.adapters, student, teacher, strict=True)
        errors = [keras.ops.square(adapt(s) - t) for adapt, s, t in pairs]
        return sum(keras.ops.mean(e, axis=range(1, len(e.shape))) for e in errors)


def classifier(width, name, activation=None, num_classes=5):
    return keras.Sequential(
        [
            keras.Input((8,), name="vector"),
            L.Dense(width, activation="relu", name="hidden"),
            L.Dense(num_classes, activation=activation, name="head"),
        ],
        name=name,
    )


def pair(**kwargs):
    return classifier(6, "student", **kwargs), classifier(16, "teacher", **kwargs)


def data(count=32):
    x = np.random.default_rng(0).normal(size=(count, 8)).astype("float32")
    return x, np.arange(count) % 5


def cross_entropy(from_logits=True):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)


def kl(student, teacher, temperature=4.0):
    return float(np.mean(KL(temperature)(student, teacher)))


class TestSum:
    def test_task_and_losses_are_added(self):
        student, teacher = pair()
        x, y = data()
        distiller = Distiller(student, teacher, KL(4.0), weights=0.5)
        distiller.compile("sgd", cross_entropy())
        found = distiller.evaluate(x, y, return_dict=True, verbose=0)
        task = float(cross_entropy()(y, student(x)))
        taught = kl(student(x), teacher(x))
        assert found["task_loss"] == pytest.approx(task, rel=1e-5)
        assert found["kl"] == pytest.approx(taught, rel=1e-5)
        assert found["loss"] == pytest.approx(task + 0.5 * taught, rel=1e-5)

    def test_alpha_mixes_them(self):
        student, teacher = pair()
        x, y = data()
        distiller = Distiller(
            student, teacher, [KL(1.0), KL(8.0)], weights=[0.25, 0.75], alpha=0.1
        )
        distiller.compile("sgd", cross_entropy())
        found = distiller.evaluate(x, y, return_dict=True, verbose=0)
        mixed = 0.25 * found["kl"] + 0.75 * found["kl_2"]
        assert found["kl_2"] == pytest.approx(kl(student(x), teacher(x), 8.0), rel=1e-5)
        assert found["loss"] == pytest.approx(
            0.1 * found["task_loss"] + 0.9 * mixed, rel=1e-5
        )

    def test_unlabelled_inputs_need_no_task(self):
        student, teacher = pair()
        x, _ = data()
        distiller = Distiller(student, teacher)
        distiller.compile("adam")
        found = distiller.evaluate(x, return_dict=True, verbose=0)
        assert set(found) == {"loss", "kl"}
        assert found["loss"] == pytest.approx(kl(student(x), teacher(x)), rel=1e-5)
        assert distiller.fit(x, verbose=0, epochs=2).history["kl"][1] < found["kl"]

    def test_metrics_need_labels(self):
        student, teacher = pair()
        distiller = Distiller(student, teacher)
        distiller.compile("sgd", metrics=["accuracy"])
        with pytest.raises(ValueError, match="got no labels. Pass y, or compile it"):
            distiller.fit(data()[0], verbose=0)

    def test_penalties_of_the_student_are_added_as_they_are(self):
        student, teacher = pair()
        student.layers[0].kernel_regularizer = None
        x = keras.Input((8,))
        layer = L.Dense(5, kernel_regularizer=keras.regularizers.L2(0.1))
        student = keras.Model(x, layer(x))
        distiller = Distiller(student, teacher, alpha=0.5)
        distiller.compile("sgd")
        found = distiller.evaluate(data()[0], return_dict=True, verbose=0)
        penalty = 0.1 * float(np.sum(np.square(layer.kernel)))
        assert found["loss"] == pytest.approx(0.5 * found["kl"] + penalty, rel=1e-5)

    def test_sample_weights_count_for_all(self):
        student, teacher = pair()
        x, y = data()
        weights = np.linspace(0, 1, len(x)).astype("float32")
        distiller = Distiller(student, teacher, ["kl", Squares()])
        distiller.compile("sgd", cross_entropy())
        found = distiller.evaluate(
            x, y, sample_weight=weights, return_dict=True, verbose=0
        )
        values = KL()(student(x), teacher(x))
        assert found["kl"] == pytest.approx(np.mean(values * weights), rel=1e-5)
        features = [[model.layers[0](x)] for model in (student, teacher)]
        values = distiller._terms[1].loss(*features)
        assert found["squares"] == pytest.approx(np.mean(values * weights), rel=1e-5)
        task = keras.losses.sparse_categorical_crossentropy(y, student(x), True)
        assert found["task_loss"] == pytest.approx(np.mean(task * weights), rel=1e-5)

    def test_temperature_may_follow_a_schedule(self):
        student, teacher = pair()
        x, y = data()
        falling = keras.optimizers.schedules.PiecewiseConstantDecay([0], [8.0, 1.0])
        distiller = Distiller(student, teacher, KL(falling))
        distiller.compile(keras.optimizers.SGD(0.0), cross_entropy())
        history = distiller.fit(x, y, batch_size=32, epochs=2, verbose=0).history
        wanted = [kl(student(x), teacher(x), t) for t in (8.0, 1.0)]
        assert history["kl"] == pytest.approx(wanted, rel=1e-5)


class TestOutputs:
    @pytest.mark.parametrize("student_end", [None, "softmax"])
    @pytest.mark.parametrize("teacher_end", [None, "softmax"])
    def test_probabilities_are_as_good_as_logits(self, student_end, teacher_end):
        plain, wise = pair()
        student = classifier(6, "student", activation=student_end)
        teacher = classifier(16, "teacher", activation=teacher_end)
        student.set_weights(plain.get_weights())
        teacher.set_weights(wise.get_weights())
        x, _ = data()
        distiller = Distiller(student, teacher)
        distiller.compile("sgd")
        found = distiller.evaluate(x, verbose=0, return_dict=True)["kl"]
        assert found == pytest.approx(kl(plain(x), wise(x)), rel=1e-4)

    def test_sigmoids_are_choices_of_their_own(self):
        student, teacher = pair(activation="sigmoid")
        x, _ = data()
        distiller = Distiller(student, teacher, KL(1.0))
        distiller.compile("sgd")
        p, q = (np.asarray(m(x), np.float64) for m in (teacher, student))
        wanted = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
        found = distiller.evaluate(x, verbose=0, return_dict=True)["kl"]
        assert found == pytest.approx(wanted.mean(), rel=1e-4)

    def test_each_of_several_outputs_is_taught(self):
        student, teacher = models.two_ports(), models.two_ports()
        keras.utils.set_random_seed(1)
        for weight in teacher.weights:
            weight.assign(np.random.normal(size=weight.shape))
        x = {"a": np.ones((4, 4)), "b": np.ones((4, 3))}
        distiller = Distiller(student, teacher, {"u": "kl", "v": [KL(2.0)]})
        distiller.compile("sgd", {"u": "mse", "v": "mse"})
        y = {"u": np.ones((4, 2)), "v": np.ones((4, 3))}
        found = distiller.evaluate(x, y, return_dict=True, verbose=0)
        own, taught = student(x), teacher(x)
        assert found["u_kl"] == pytest.approx(kl(own["u"], taught["u"]), rel=1e-4)
        assert found["v_kl"] == pytest.approx(kl(own["v"], taught["v"], 2.0), rel=1e-4)
        both = Distiller(student, teacher)
        both.compile("sgd")
        assert {"u_kl", "v_kl"} <= set(both.fit(x, verbose=0).history)

    def test_masked_positions_do_not_count(self):
        def tagger(width):
            return keras.Sequential(
                [
                    keras.Input((4,), dtype="int32"),
                    L.Embedding(9, width, mask_zero=True),
                    L.Dense(3),
                ]
            )

        student, teacher = tagger(2), tagger(6)
        x = np.array([[1, 2, 0, 0], [3, 4, 5, 0]])
        distiller = Distiller(student, teacher)
        distiller.compile("sgd")
        values = KL()(student(x), teacher(x)).numpy()
        found = distiller.evaluate(x, verbose=0, return_dict=True)["kl"]
        assert values.shape == (2, 4)
        assert found == pytest.approx(values[x > 0].mean(), rel=1e-5)


class TestSoftLabels:
    def test_y_may_hold_them(self):
        student, teacher = pair()
        x, y = data()
        taught = Distiller(student, losses="kl")
        taught.compile("sgd", cross_entropy(), metrics=["accuracy"])
        asked = Distiller(student, teacher)
        asked.compile("sgd", cross_entropy(), metrics=["accuracy"])
        wanted = asked.evaluate(x, y, return_dict=True, verbose=0)
        soft = Taught(y, teacher(x).numpy())
        found = taught.evaluate(x, soft, return_dict=True, verbose=0)
        assert found == pytest.approx(wanted, rel=1e-5)
        batches = tf.data.Dataset.from_tensor_slices((x, soft)).batch(8)
        assert set(taught.fit(batches, verbose=0).history) == set(wanted)

    def test_without_labels(self):
        student, teacher = pair()
        x, _ = data()
        batches = tf.data.Dataset.from_tensor_slices((x, teacher(x))).batch(8)
        batches = batches.map(lambda x, z: (x, Taught(None, z)))
        distiller = Distiller(student)
        distiller.compile("adam")
        history = distiller.fit(batches, epochs=3, verbose=0).history["kl"]
        assert history[-1] < history[0]


class TestStep:
    def test_it_is_that_of_a_hand_written_one(self):
        student, teacher = pair()
        x, y = data()
        twin = keras.models.clone_model(student)
        twin.set_weights(student.get_weights())
        distiller = Distiller(student, teacher, alpha=0.3)
        distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
        distiller.fit(x, y, batch_size=32, verbose=0)
        with tf.GradientTape() as tape:
            z = twin(x, training=True)
            soft = keras.ops.mean(KL()(z, teacher(x)))
            loss = 0.3 * cross_entropy()(y, z) + 0.7 * soft
        weights = twin.trainable_variables
        gradients = tape.gradient(loss, [w.value for w in weights])
        for learned, weight, gradient in zip(
            student.trainable_variables, weights, gradients, strict=True
        ):
            np.testing.assert_allclose(learned, weight - 0.1 * gradient, atol=1e-6)

    def test_the_teacher_stays_and_both_run_once(self):
        calls = []

        class Counting(L.Layer):
            def call(self, x, training=None):
                calls.append((self.name, training))
                return x

        def network(name):
            return keras.Sequential(
                [
                    keras.Input((8,)),
                    L.BatchNormalization(),
                    L.Dropout(0.5),
                    Counting(name=name),
                    L.Dense(6, name="hidden"),
                    L.Dense(5),
                ]
            )

        student, teacher = network("small"), network("large")
        before = teacher.get_weights()
        distiller = Distiller(
            student, teacher, [Squares(student_layers=["hidden"]), "kl"]
        )
        distiller.compile("adam", cross_entropy(), run_eagerly=True)
        calls.clear()
        distiller.fit(*data(), verbose=0)
        assert calls == [("small", True), ("large", False)]
        for old, new in zip(before, teacher.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
        assert teacher.trainable

    def test_adapters_learn_and_are_no_part_of_the_student(self):
        student, teacher = pair()
        distiller = Distiller(student, teacher, Squares())
        adapter = distiller._adapters[0]
        before = adapter.kernel.numpy()
        distiller.compile("adam")
        distiller.fit(data()[0], verbose=0)
        assert np.all(adapter.kernel.numpy() != before)
        assert len(student.trainable_variables) == 4
        assert len(distiller.trainable_variables) == 6

    @pytest.mark.parametrize(
        "how",
        [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 2}],
    )
    def test_ways_to_run_it(self, how):
        results = []
        for settings in ({}, how):
            keras.utils.set_random_seed(0)
            student, teacher = pair()
            distiller = Distiller(student, teacher, ["kl", Squares()])
            distiller.compile(keras.optimizers.SGD(0.1), cross_entropy(), **settings)
            distiller.fit(*data(), batch_size=8, shuffle=False, verbose=0)
            results.append(student.get_weights())
        for one, other in zip(*results, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)

    def test_mixed_precision(self):
        keras.config.set_dtype_policy("mixed_float16")
        student, teacher = pair()
        keras.config.set_dtype_policy("float32")
        distiller = Distiller(student, teacher, ["kl", Squares()])
        distiller.compile("adam", cross_entropy())
        assert isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
        history = distiller.fit(*data(), epochs=3, verbose=0).history
        assert history["loss"][-1] < history["loss"][0]

    def test_replicas_do_what_one_does(self):
        tf.config.run_functions_eagerly(False)
        results = []
        for devices in (["CPU:0"], ["CPU:0", "CPU:1"]):
            strategy = tf.distribute.MirroredStrategy(
                devices, tf.distribute.ReductionToOneDevice()
            )
            with strategy.scope():
                keras.utils.set_random_seed(0)
                student, teacher = pair()
                student = keras.Sequential(
                    [keras.Input((8,)), L.BatchNormalization(momentum=0.5), student]
                )
                loss = Squares(["student/hidden"], ["hidden"])
                distiller = Distiller(student, teacher, ["kl", loss], weights=[1, 2])
                distiller.compile(keras.optimizers.SGD(0.1), cross_entropy())
            x, y = data()
            # Batch statistics agree if both halves of a batch are the same.
            x, y = np.concatenate([x[:16]] * 2), np.concatenate([y[:16]] * 2)
            history = distiller.fit(x, y, batch_size=32, shuffle=False, verbose=0)
            results.append((history.history, student.get_weights()))
        for name, (value,) in results[0][0].items():
            assert results[1][0][name] == pytest.approx([value], rel=1e-4)
        for one, other in zip(results[0][1], results[1][1], strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


class TestKeras:
    def test_saved_and_loaded_whole(self, tmp_path):
        student, teacher = pair()
        x, y = data()
        distiller = Distiller(student, teacher, ["kl", Squares()], weights=[1, 0.1])
        distiller.compile("adam", cross_entropy())
        distiller.fit(x, y, verbose=0)
        distiller.save(tmp_path / "distiller.keras")
        loaded = keras.models.load_model(tmp_path / "distiller.keras")
        wanted = distiller.evaluate(x, y, verbose=0, return_dict=True)
        assert loaded.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(
            wanted
        )
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), student(x))
        losses = [
            model.fit(x, y, verbose=0, shuffle=False).history["loss"]
            for model in (distiller, loaded)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)

    @pytest.mark.parametrize("build", models.ALL)
    def test_models_of_every_kind_teach_and_learn(self, build):
        student, teacher = build(), build()
        distiller = Distiller(student, teacher, ["kl", Squares()])
        x, y = models.inputs(student), models.classes()
        distiller.compile("adam", cross_entropy(build is not models.residual))
        history = distiller.fit(x, y, verbose=0).history
        assert np.isfinite(history["loss"]).all()
        assert distiller(x).shape == (4, 5)

    @pytest.mark.parametrize("build", [models.sequential, models.subclassed])
    def test_compressed_student_is_pruned_meanwhile(self, build):
        teacher = build()
        student = tfc.compress(build(), {".*": ["mask", {"uniform": {"bits": 8}}]})
        distiller = Distiller(student, teacher, ["kl", Squares(["head"])])
        distiller.compile("adam", cross_entropy())
        x, y = models.inputs(student), models.classes()
        pruning = tfc.callbacks.Pruning(0.75, pattern="weight")
        distiller.fit(x, y, epochs=2, verbose=0, callbacks=[pruning])
        kernel = tfc.strip(student).layers[-1].kernel.numpy()
        assert np.mean(kernel == 0) > 0.4
        assert not any(np.any(w == 0) for w in teacher.get_weights()[:1])


class TestBadInput:
    def complain(self, match, *args, kind=ValueError, **kwargs):
        with pytest.raises(kind, match=match):
            Distiller(*args, **kwargs)

    def test_models(self):
        student, teacher = pair()
        self.complain("expected a keras.Model", "student", teacher, kind=TypeError)
        self.complain("Got 3, expected a teacher", student, 3, kind=TypeError)
        self.complain(
            r"returns \(batch, 7\), the student \(batch, 5\): both need the same classes",
            student,
            classifier(6, "t", num_classes=7),
        )
        self.complain(
            "returns probabilities of single units .*, the student logits",
            student,
            classifier(6, "t", activation="sigmoid"),
        )
        self.complain(
            r"cannot be called on the student's inputs \(\(batch, 8\) float32\)",
            student,
            models.sequential(),
        )
        self.complain("The teacher has 2 outputs", student, _two_headed())

    def test_losses_and_weights(self):
        student, teacher = pair()
        self.complain("Did you mean 'kl'", student, teacher, "kll")
        self.complain("at least one", student, teacher, [])
        self.complain(r"alpha\): got 1.5", student, teacher, alpha=1.5)
        self.complain("of at least 0", student, teacher, weights=[-1.0])
        self.complain("expected 1", student, teacher, weights=[0.5, 0.5])
        self.complain(
            "sum to 1.5", student, teacher, ["kl", KL(2)], weights=[1, 0.5], alpha=0.5
        )

    def test_layers(self):
        student, teacher = pair()
        self.complain(
            "no layer 'hiden'.*Did you mean 'hidden'",
            student,
            teacher,
            Squares(["hiden"], ["hidden"]),
        )
        self.complain(
            "2 layers of the student cannot be paired with 1",
            student,
            teacher,
            Squares(["hidden", "head"], ["hidden"]),
        )
        self.complain("has to be a Keras model", student, None, Squares())

    @pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), "4"])
    def test_temperature(self, temperature):
        with pytest.raises(ValueError, match="expected a positive number"):
            KL(temperature)

    def test_no_one_to_learn_from(self):
        distiller = Distiller(pair()[0])
        distiller.compile("sgd", cross_entropy())
        with pytest.raises(ValueError, match="no teacher to learn from"):
            distiller.fit(*data(), verbose=0)

    def test_soft_labels_of_other_classes(self):
        distiller = Distiller(pair()[0])
        distiller.compile("sgd", cross_entropy())
        x, y = data()
        with pytest.raises(ValueError, match="both need the same classes"):
            distiller.fit(x, Taught(y, np.ones((32, 4), "float32")), verbose=0)


def _two_headed():
    x = keras.Input((8,))
    return keras.Model(x, [L.Dense(5)(x), L.Dense(5)(x)])
