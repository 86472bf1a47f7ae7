"""Teachers: ensembles, SavedModels and `.tflite` files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.distillation import (
    KL,
    Distiller,
    Ensemble,
    KerasTeacher,
    SavedModelTeacher,
    Teacher,
    TFLiteTeacher,
)
from tfcompress.distillation.teachers import as_teacher

L = keras.layers
X = np.random.default_rng(0).normal(size=(12, 8)).astype("float32")
Y = np.arange(12) % 5


def answering(logits, activation=None):
    """A model that returns the same logits for any input."""
    layer = L.Dense(len(logits), activation=activation)
    model = keras.Sequential([keras.Input((8,)), layer])
    layer.kernel.assign(np.zeros((8, len(logits))))
    layer.bias.assign(logits)
    return model


def classifier(units=5, width=16, activation=None):
    return keras.Sequential(
        [
            keras.Input((8,), name="vector"),
            L.Dense(width, activation="relu"),
            L.Dense(units, activation=activation),
        ]
    )


def answer(teacher, x=X):
    teacher = as_teacher(teacher)
    teacher.build(tf.constant(x))
    return [np.asarray(part) for part in teacher(tf.constant(x))]


def compiled(student, teacher, **kwargs):
    distiller = Distiller(student, teacher)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.SGD(0.1), loss, **kwargs)
    return distiller


def softmax(*numbers):
    return np.exp(numbers) / np.sum(np.exp(numbers))


class TestEnsemble:
    def test_means_by_hand(self):
        sure, unsure = answering(np.log([8.0, 1.0, 1.0])), answering([0.0, 0.0, 0.0])
        mean = softmax(*answer([sure, unsure])[0][0])
        np.testing.assert_allclose(mean, np.array([17, 6.5, 6.5]) / 30, rtol=1e-5)
        weighted = softmax(*answer(Ensemble([sure, unsure], [0.25, 0.75]))[0][0])
        np.testing.assert_allclose(weighted, [0.45, 0.275, 0.275], rtol=1e-5)
        geometric = answer(Ensemble([sure, unsure], average="logits"))[0][0]
        np.testing.assert_allclose(geometric, np.log([8, 1, 1]) / 2, rtol=1e-5)
        np.testing.assert_allclose(softmax(*geometric)[0], 8**0.5 / (8**0.5 + 2), 1e-5)

    def test_a_single_unit_is_a_choice_between_two(self):
        # Probabilities 0.9 and 0.5 have the mean 0.7.
        both = [answering([np.log(9.0)]), answering([0.5], "linear")]
        both[1].layers[0].bias.assign([0.0])
        np.testing.assert_allclose(answer(both)[0][0], [np.log(7 / 3)], rtol=1e-5)
        units = [answering(np.log([9.0, 4.0]), "sigmoid"), answering([0, 0], "sigmoid")]
        wanted = np.log([[0.7 / 0.3], [0.65 / 0.35]])
        np.testing.assert_allclose(answer(units)[0][0], wanted, rtol=1e-4)

    def test_far_logits_stay_finite(self):
        found = answer([answering([200.0, 0.0]), answering([300.0, 0.0])])[0][0]
        np.testing.assert_allclose(found[0] - found[1], 200 + np.log(2), rtol=1e-5)

    def test_members_of_all_kinds(self, tmp_path):
        first, second = classifier(), classifier(activation="softmax")
        second.save(tmp_path / "second.keras")
        students = Distiller(classifier(), [first, str(tmp_path / "second.keras")])
        assert isinstance(students.teacher, Ensemble)
        wanted = np.log((tf.nn.softmax(first(X)) + second(X)) / 2)
        np.testing.assert_allclose(students.teacher(X)[0], wanted, atol=1e-5)

    def test_fit_save_and_load(self, tmp_path):
        ensemble = Ensemble([classifier(), classifier()], weights=[0.3, 0.7])
        distiller = compiled(classifier(width=4), ensemble)
        history = distiller.fit(X, Y, epochs=4, verbose=0).history["kl"]
        assert history[-1] < history[0]
        distiller.save(tmp_path / "distiller.keras")
        loaded = keras.models.load_model(tmp_path / "distiller.keras")
        assert loaded.teacher.weights == [0.3, 0.7]
        np.testing.assert_array_equal(loaded.teacher(X)[0], ensemble(X)[0])
        wanted = distiller.evaluate(X, Y, verbose=0)
        assert loaded.evaluate(X, Y, verbose=0) == pytest.approx(wanted)

    def test_several_outputs(self):
        teachers = [models.two_ports(), models.two_ports()]
        distiller = Distiller(models.two_ports(), teachers)
        distiller.compile("sgd")
        x = {"a": np.ones((4, 4)), "b": np.ones((4, 3))}
        assert {"u_kl", "v_kl"} <= set(distiller.fit(x, verbose=0).history)

    @pytest.mark.parametrize(
        ("match", "teachers", "kwargs"),
        [
            ("at least one", [], {}),
            ("expected 'probabilities' or", [classifier()], {"average": "mode"}),
            ("expected 2 numbers", [classifier()] * 2, {"weights": [1.0]}),
            ("sum to 1.2", [classifier()] * 2, {"weights": [0.6, 0.6]}),
            ("of at least 0", [classifier()] * 2, {"weights": [1.5, -0.5]}),
        ],
    )
    def test_errors(self, match, teachers, kwargs):
        with pytest.raises(ValueError, match=match):
            Ensemble(teachers, **kwargs)

    def test_members_that_differ(self):
        with pytest.raises(ValueError, match="needs the same outputs, classes"):
            answer([classifier(3), classifier(5)])


class TestSavedModel:
    @pytest.mark.parametrize("end", [None, "softmax", "sigmoid"])
    def test_exported_by_keras(self, tmp_path, end):
        model = classifier(activation=end)
        model.export(tmp_path / "exported", verbose=False)
        student = classifier(activation="sigmoid" if end == "sigmoid" else None)
        teacher = Distiller(student, str(tmp_path / "exported")).teacher
        assert isinstance(teacher, SavedModelTeacher)
        assert teacher.name == "exported"
        np.testing.assert_allclose(teacher(X)[0], answer(model)[0], atol=1e-5)

    def test_fit_also_in_xla(self, tmp_path):
        classifier().export(tmp_path / "exported", verbose=False)
        distiller = compiled(classifier(), tmp_path / "exported", jit_compile=True)
        history = distiller.fit(X, Y, epochs=4, verbose=0).history["kl"]
        assert history[-1] < history[0]

    @pytest.mark.parametrize("signatures", [None, "scores"])
    def test_modules(self, tmp_path, signatures):
        class Scores(tf.Module):
            def __init__(self):
                self.kernel = tf.Variable(tf.ones((8, 5)))

            @tf.function(input_signature=[tf.TensorSpec((None, 8), tf.float32)])
            def score(self, x):
                return {"scores": x @ self.kernel}

            @tf.function
            def __call__(self, x):
                return x @ self.kernel

        module = Scores()
        if signatures:
            tf.saved_model.save(module, tmp_path / "it", {signatures: module.score})
        else:
            module(tf.ones((2, 8), tf.float32))
            module.__call__.get_concrete_function(tf.TensorSpec((None, 8)))
            tf.saved_model.save(module, tmp_path / "it")
        wanted = np.repeat(X.sum(1, keepdims=True), 5, axis=1)
        # The values are cast to the file's dtype.
        found = answer(tmp_path / "it", X.astype("float64"))[0]
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)

    def test_inputs_and_outputs_keep_their_places(self, tmp_path):
        z, a = keras.Input((4,), name="z"), keras.Input((4,), name="a")
        outputs = [L.Dense(2, name="v")(z), L.Dense(2, name="u")(a)]
        model = keras.Model([z, a], outputs)
        model.export(tmp_path / "exported", verbose=False)
        x = [np.ones((3, 4), "float32"), np.full((3, 4), 2.0, "float32")]
        teacher = SavedModelTeacher(tmp_path / "exported")
        teacher.build([tf.constant(part) for part in x])
        for found, wanted in zip(teacher(x), model(x), strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)

    def test_saved_with_its_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        classifier().export("exported", verbose=False)
        distiller = compiled(classifier(), "exported")
        distiller.save("distiller.keras")
        loaded = keras.models.load_model("distiller.keras", safe_mode=False)
        assert loaded.teacher.path == "exported"
        np.testing.assert_array_equal(loaded.teacher(X)[0], distiller.teacher(X)[0])

    @pytest.mark.parametrize("alone", [True, False])
    def test_a_file_does_not_run_the_graph_that_it_names(self, tmp_path, alone):
        class Writes(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((None, 8))])
            def serve(self, x):
                tf.io.write_file(str(tmp_path / "written"), "")
                return x[:, :5]

        tf.saved_model.save(Writes(), str(tmp_path / "writes"))
        path = str(tmp_path / "writes")
        distiller = compiled(classifier(), path if alone else [path, classifier()])
        distiller.save(tmp_path / "distiller.keras")
        (tmp_path / "written").unlink()
        loaded = tfc.load_model(tmp_path / "distiller.keras")
        np.testing.assert_array_equal(loaded.predict(X), distiller.predict(X))
        with pytest.raises(
            ValueError, match=r"writes' is a SavedModel.*safe_mode=False"
        ):
            loaded.fit(X, Y, verbose=0)
        assert not (tmp_path / "written").exists()
        trusted = tfc.load_model(tmp_path / "distiller.keras", safe_mode=False)
        trusted.fit(X, Y, verbose=0)
        assert (tmp_path / "written").exists()


class TestTFLite:
    def test_fit_evaluate_and_save(self, tmp_path):
        model = classifier()
        tfc.export_tflite(model, tmp_path / "model.tflite")
        distiller = compiled(classifier(width=4), tmp_path / "model.tflite")
        np.testing.assert_allclose(distiller.teacher(X)[0], model(X), atol=1e-5)
        wanted = np.mean(KL()(distiller.student(X), model(X)))
        found = distiller.evaluate(X, Y, return_dict=True, verbose=0)["kl"]
        assert found == pytest.approx(wanted, rel=1e-4)
        history = distiller.fit(X, Y, epochs=4, batch_size=8, verbose=0).history["kl"]
        assert history[-1] < history[0]
        distiller.save(tmp_path / "distiller.keras")
        loaded = keras.models.load_model(tmp_path / "distiller.keras")
        assert loaded.teacher == distiller.teacher

    def test_integer_files_take_real_numbers(self, tmp_path):
        model = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 8), L.Flatten()])
        images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3), "uint8")
        real = images.astype("float32")
        path = tmp_path / "model.tflite"
        tfc.export_tflite(model, path, precision="int8", samples=real)
        for x in (images, real):
            found = answer(path, x)[0]
            assert np.abs(found - model(real)).max() < 0.05 * np.abs(found).max()

    def test_ports_go_by_name(self, tmp_path):
        model = models.two_ports()
        tfc.export_tflite(model, tmp_path / "model.tflite")
        x = {"a": np.ones((4, 4), "float32"), "b": np.ones((4, 3), "float32")}
        distiller = Distiller(models.two_ports(), tmp_path / "model.tflite")
        distiller.compile("sgd")
        distiller.fit(x, verbose=0)
        found = distiller.teacher({k: tf.constant(v) for k, v in x.items()})
        for part, name in zip(found, "uv", strict=True):
            np.testing.assert_allclose(part, model(x)[name], atol=1e-5)
        with pytest.raises(ValueError, match=r"inputs \['a', 'b'\] by name, got 2"):
            answer_list = [tf.constant(part) for part in x.values()]
            TFLiteTeacher(tmp_path / "model.tflite").build(answer_list)

    def test_keras_does_not_hand_it_to_xla(self, tmp_path):
        tfc.export_tflite(classifier(), tmp_path / "model.tflite")
        with pytest.warns(UserWarning, match="Proceeding with `jit_compile=False`"):
            distiller = compiled(
                classifier(), tmp_path / "model.tflite", jit_compile=True
            )
        assert np.isfinite(distiller.fit(X, Y, verbose=0).history["kl"]).all()

    def test_zero_to_one_may_be_either(self, tmp_path):
        path = tmp_path / "model.tflite"
        tfc.export_tflite(classifier(activation="sigmoid"), path)
        with pytest.raises(ValueError, match="from 0 to 1, which may be logits or"):
            answer(path)
        assert answer(TFLiteTeacher(path, kind="sigmoid"))[0].shape == (12, 5, 1)
        assert answer(TFLiteTeacher(path, kind="logits"))[0].shape == (12, 5)
        with pytest.raises(ValueError, match=r"kind\): got 'softmax', expected"):
            TFLiteTeacher(path, kind="softmax")


class TestPaths:
    def test_keras_files(self, tmp_path):
        model = classifier()
        model.save(tmp_path / "model.keras")
        teacher = as_teacher(tmp_path / "model.keras")
        assert isinstance(teacher, KerasTeacher)
        assert teacher.fingerprint() == KerasTeacher(model).fingerprint()

    def test_what_is_no_teacher(self, tmp_path):
        (tmp_path / "notes.txt").write_text("")
        for path, match in [
            ("missing.tflite", "does not exist. Expected a .keras"),
            ("notes.txt", "is something else"),
            ("", "is something else"),
        ]:
            with pytest.raises(ValueError, match=match):
                as_teacher(tmp_path / path)


class TestReplicas:
    @pytest.mark.parametrize("name", ["exported", "model.tflite"])
    def test_they_do_what_one_does(self, tmp_path, name):
        model = classifier()
        model.export(tmp_path / "exported", verbose=False)
        tfc.export_tflite(model, tmp_path / "model.tflite")
        alone = compiled(classifier(width=4), model)
        strategy = tf.distribute.MirroredStrategy(
            ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
        )
        with strategy.scope():
            mirrored = compiled(classifier(width=4), tmp_path / name)
        mirrored.student.set_weights(alone.student.get_weights())
        for distiller in (alone, mirrored):
            distiller.fit(X, Y, batch_size=12, epochs=2, shuffle=False, verbose=0)
        weights = (d.student.get_weights() for d in (alone, mirrored))
        for one, other in zip(*weights, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_plugins_that_teach_can_be_written():
    @keras.saving.register_keras_serializable("tests")
    class Sums(Teacher):
        name = "sums"

        def run(self, inputs):
            return tf.repeat(tf.reduce_sum(inputs, axis=1, keepdims=True), 5, axis=1)

    distiller = compiled(classifier(), Sums())
    assert np.isfinite(distiller.fit(X, Y, verbose=0).history["loss"]).all()
