"""Soft labels on disk: found by content, complete or absent, distinguished from others."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress.distillation import Distiller, SoftLabels, Taught, precompute
from tfcompress.distillation.teachers import KerasTeacher
from tfcompress.distillation.teachers.soft_label_files import locked

L = keras.layers
X = np.random.default_rng(0).normal(size=(20, 8)).astype("float32")
Y = np.arange(20) % 5


def classifier(units=5):
    return keras.Sequential([keras.Input((8,)), L.Dense(units)])


class Counting(KerasTeacher):
    """Counts the samples for which it is called."""

    asked = 0

    def run(self, inputs):
        tf.py_function(self._count, [tf.shape(inputs)[0]], [])
        return super().run(inputs)

    def _count(self, size):
        self.asked += int(size)


def slices(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


def computed(model, data, path):
    return precompute(model, data, path, verbose=0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "soft"


def interrupted(count):
    """A dataset that fails after some batches of 4."""

    def batches():
        for start in range(0, count, 4):
            yield X[start : start + 4]
        raise RuntimeError("the disk is gone")

    return tf.data.Dataset.from_generator(
        batches, output_signature=tf.TensorSpec((None, 8), tf.float32)
    )


class TestContent:
    def test_order_and_batches_do_not_matter(self, folder):
        model = classifier()
        soft = computed(model, slices(X, Y).batch(6), folder)
        shuffled = slices(X, Y).shuffle(20).batch(7)
        seen = 0
        for x, y in soft.attach(shuffled):
            np.testing.assert_allclose(y.logits, model(x), atol=1e-5)
            np.testing.assert_array_equal(
                y.labels, Y[[np.flatnonzero((row == X).all(1))[0] for row in x.numpy()]]
            )
            seen += len(x)
        assert seen == 20

    def test_arrays(self, folder):
        model = classifier()
        soft = computed(model, (X, Y), folder)
        x, y, weight = soft.attach((X[::-1], Y, np.ones(20)))
        np.testing.assert_allclose(y.logits, model(X[::-1]), atol=1e-5)
        assert x.shape == (20, 8)
        assert weight.sum() == 20
        assert soft.attach(X)[1].labels is None

    def test_equal_samples_are_stored_once(self, folder):
        teacher = Counting(classifier())
        soft = computed(teacher, slices(np.repeat(X, 3, axis=0)).batch(7), folder)
        assert len(soft) == 20
        assert (folder / "logits.bin").stat().st_size == 20 * 5 * 4
        asked = teacher.asked
        assert computed(teacher, (X, Y), folder) == soft
        assert teacher.asked == asked

    def test_images_of_bytes(self, folder):
        images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), "uint8")
        model = models.sequential()
        soft = computed(model, images, folder)
        _, y = soft.attach((images, np.zeros(6)))
        np.testing.assert_allclose(y.logits, model(images), rtol=1e-4, atol=1e-3)
        with pytest.raises(ValueError, match=r"\(8, 8, 3\) uint8, one of .* float32"):
            soft.attach(images.astype("float32"))

    def test_several_inputs_and_outputs(self, folder):
        model = models.two_ports()
        generator = np.random.default_rng(0)
        x = {
            "a": generator.normal(size=(9, 4)).astype("float32"),
            "b": generator.normal(size=(9, 3)).astype("float32"),
        }
        soft = computed(model, x, folder)
        _, y = next(iter(soft.attach(slices(x).batch(9))))
        for name, logits in model(x).items():
            np.testing.assert_allclose(y.logits[name], logits, atol=1e-5)
        # Only one of two inputs is another sample.
        with pytest.raises(ValueError, match="belong to other data"):
            soft.attach({"a": x["a"], "b": x["b"][::-1]})

    def test_sequences(self, folder):
        tokens = np.random.default_rng(0).integers(0, 9, (8, 4))
        model = keras.Sequential([keras.Input((4,)), L.Embedding(9, 3), L.Dense(2)])
        soft = computed(model, tokens, folder)
        logits = soft.attach(tokens)[1].logits
        np.testing.assert_allclose(logits, model(tokens), atol=1e-5)

    def test_probabilities_become_logits(self, folder):
        model = keras.Sequential([classifier(), L.Activation("sigmoid")])
        soft = computed(model, X, folder)
        logits = soft.attach(X)[1].logits
        np.testing.assert_allclose(
            logits[..., 0], model.layers[0](X), rtol=1e-3, atol=1e-4
        )


class TestDisk:
    def test_interrupted_runs_go_on(self, folder):
        teacher = Counting(classifier())
        with pytest.raises(tf.errors.OpError, match="the disk is gone"):
            computed(teacher, interrupted(12), folder)
        assert len(SoftLabels(folder)) == 12
        teacher.asked = 0
        soft = computed(teacher, slices(X).batch(5), folder)
        # The third batch, the first with anything new, identifies the teacher.
        assert teacher.asked == 8 + 2 * 5
        np.testing.assert_allclose(
            soft.attach(X)[1].logits, teacher.model(X), atol=1e-5
        )

    @pytest.mark.parametrize(
        ("name", "damage", "left"),
        [
            ("logits.bin", lambda content: content[:-3], 19),
            ("keys.bin", lambda content: content[:-20], 18),
            ("keys.bin", lambda content: content + b"half", 20),
            ("logits.bin", lambda content: content[:-60] + bytes(60), 17),
        ],
    )
    def test_damaged_tails_are_cut(self, folder, name, damage, left):
        teacher = Counting(classifier())
        computed(teacher, X, folder)
        file = folder / name
        file.write_bytes(damage(file.read_bytes()))
        assert len(SoftLabels(folder)) == left
        soft = computed(teacher, X, folder)
        assert len(soft) == 20
        assert len(SoftLabels(folder)) == 20
        np.testing.assert_allclose(
            soft.attach(X)[1].logits, teacher.model(X), atol=1e-5
        )

    @pytest.mark.parametrize(
        ("name", "place"), [("logits.bin", 3 * 5 * 4), ("keys.bin", 3 * 16 + 8)]
    )
    def test_damage_in_the_middle_is_named_and_mended(self, folder, name, place):
        teacher = Counting(classifier())
        soft, right = computed(teacher, X, folder), teacher.model(X)
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged: rows \[3\] of .*precompute"):
            soft.attach(X)
        with pytest.raises(tf.errors.OpError, match=r"damaged: rows \[3\]"):
            list(soft.attach(slices(X).batch(2)))
        teacher.asked = 0
        mended = computed(teacher, X, folder)
        # Twice twenty to identify the teacher, and the one new sample.
        assert teacher.asked == 2 * 20 + 1
        assert len(mended) == 20
        np.testing.assert_allclose(mended.attach(X)[1].logits, right, atol=1e-5)
        assert computed(teacher, X, folder) == mended
        assert teacher.asked == 2 * 20 + 1

    def test_damaged_keys_are_asked_again(self, folder):
        model = classifier()
        computed(model, X, folder)
        content = bytearray((folder / "keys.bin").read_bytes())
        content[3 * 16] ^= 1
        (folder / "keys.bin").write_bytes(content)
        with pytest.raises(ValueError, match="not 1 of 20 in this batch"):
            SoftLabels(folder).attach(X)
        logits = computed(model, X, folder).attach(X)[1].logits
        np.testing.assert_allclose(logits, model(X), atol=1e-5)

    def test_rows_of_other_samples_are_damage(self, folder):
        model = classifier()
        computed(model, X, folder)
        rows = np.fromfile(folder / "logits.bin", "<f4").reshape(20, 5)
        rows[[2, 7]] = rows[[7, 2]]
        rows.tofile(folder / "logits.bin")
        with pytest.raises(ValueError, match=r"damaged: rows \[2, 7\]"):
            SoftLabels(folder).attach(X)
        logits = computed(model, X, folder).attach(X)[1].logits
        np.testing.assert_allclose(logits, model(X), atol=1e-5)

    def test_a_second_run_is_refused(self, folder):
        model = classifier()
        soft = computed(model, X[:4], folder)
        with locked(folder):
            with pytest.raises(
                ValueError, match="another run of precompute is writing"
            ):
                computed(model, X, folder)
            # A run that writes nothing disturbs nobody.
            assert computed(model, X[:4], folder) == soft
        assert len(computed(model, X, folder)) == 20

    def test_what_another_run_wrote_since_is_not_asked(self, folder):
        model = classifier()

        class Late(Counting):
            def build(self, inputs):
                computed(model, X, folder)
                super().build(inputs)

        late = Late(model)
        soft = computed(late, X, folder)
        # Only to identify the teacher.
        assert (late.asked, len(soft)) == (2 * 20, 20)
        assert (folder / "logits.bin").stat().st_size == 20 * 5 * 4

    def test_a_run_that_ended_before_its_first_answer(self, folder):
        with locked(folder):
            pass
        assert len(computed(classifier(), X, folder)) == 20

    def test_the_index_is_readable(self, folder):
        computed(classifier(), X, folder)
        index = json.loads((folder / "index.json").read_text())
        assert index.pop("teacher")
        assert index == {
            "format": 1,
            "inputs": [[[8], "float32"]],
            "shapes": [[5]],
            "kinds": ["logits"],
            "structure": 0,
        }

    def test_progress(self, folder, capsys):
        precompute(classifier(), slices(X).batch(4), folder)
        assert "5/5" in capsys.readouterr().out


class TestTraining:
    def compiled(self, soft, **kwargs):
        distiller = Distiller(classifier(), soft, alpha=0.5)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile(
            keras.optimizers.SGD(0.1), loss, metrics=["accuracy"], **kwargs
        )
        return distiller

    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_it_is_that_of_the_teacher_itself(self, folder, jit_compile):
        model = classifier()
        soft = computed(model, X, folder)
        taught, asking = (
            self.compiled(soft, jit_compile=jit_compile),
            self.compiled(model),
        )
        asking.student.set_weights(taught.student.get_weights())
        data = slices(X, Y).batch(5)
        histories = [
            taught.fit(soft.attach(data), epochs=2, verbose=0).history,
            asking.fit(data, epochs=2, verbose=0).history,
        ]
        for name, values in histories[0].items():
            assert values == pytest.approx(histories[1][name], rel=1e-4)

    def test_arrays_with_and_without_labels(self, folder):
        soft = computed(classifier(), X, folder)
        self.compiled(soft).fit(*soft.attach((X, Y)), verbose=0)
        distiller = Distiller(classifier(), str(folder))
        distiller.compile("adam")
        history = distiller.fit(*soft.attach(X), epochs=3, verbose=0).history["kl"]
        assert history[-1] < history[0]

    def test_saved_with_its_path(self, folder, tmp_path):
        soft = computed(classifier(), X, folder)
        distiller = self.compiled(soft)
        distiller.save(tmp_path / "distiller.keras")
        assert keras.models.load_model(tmp_path / "distiller.keras").teacher == soft

    def test_replicas(self, folder):
        soft = computed(classifier(), X, folder)
        alone = self.compiled(soft)
        strategy = tf.distribute.MirroredStrategy(
            ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
        )
        with strategy.scope():
            mirrored = self.compiled(soft)
        mirrored.student.set_weights(alone.student.get_weights())
        for distiller in (alone, mirrored):
            distiller.fit(soft.attach(slices(X, Y).batch(10)), verbose=0)
        weights = (d.student.get_weights() for d in (alone, mirrored))
        for one, other in zip(*weights, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


class TestBadInput:
    def test_other_data(self, folder):
        soft = computed(classifier(), X, folder)
        with pytest.raises(
            ValueError, match="other data: 'soft' knows 20 samples, but"
        ):
            soft.attach(slices(X + 1, Y).batch(4))
        later = soft.attach(slices(np.concatenate([X, X + 1])).batch(20))
        distiller = Distiller(classifier(), soft)
        distiller.compile("sgd")
        with pytest.raises(tf.errors.OpError, match="belong to other data"):
            distiller.fit(later, verbose=0)
        with pytest.raises(
            ValueError, match=r"is \(8,\) float32, one of this data \(3,"
        ):
            soft.attach(np.ones((4, 3), "float32"))

    def test_another_teacher(self, folder):
        computed(classifier(), X, folder)
        with pytest.raises(ValueError, match="answers of another teacher"):
            computed(classifier(), X, folder)

    def test_students_of_other_classes(self, folder):
        soft = computed(classifier(), X, folder)
        with pytest.raises(ValueError, match="both need the same classes"):
            Distiller(classifier(3), soft)
        with pytest.raises(ValueError, match="The teacher has 1 outputs"):
            Distiller(models.two_ports(), soft)

    def test_labels_that_are_not_attached(self, folder):
        distiller = Distiller(classifier(), computed(classifier(), X, folder))
        distiller.compile("sgd")
        with pytest.raises(ValueError, match="come with the data: pass what"):
            distiller.fit(X, Y, verbose=0)

    @pytest.mark.parametrize(
        ("match", "data", "kind"),
        [
            ("infinite", slices(X).batch(4).repeat(), ValueError),
            ("is empty", slices(X).batch(4).take(0), ValueError),
            ("batch it first", slices(np.arange(3.0)), ValueError),
            ("Got 4 parts", (X, Y, Y, Y), ValueError),
            ("expected a tf.data.Dataset", iter([X]), TypeError),
            ("cannot be called on the dataset's inputs", X[:, :3], ValueError),
        ],
    )
    def test_datasets(self, folder, match, data, kind):
        with pytest.raises(kind, match=match):
            computed(classifier(), data, folder)
        assert not folder.exists()

    def test_answers_of_other_lengths(self, folder):
        model = keras.Sequential([keras.Input((None, 2)), L.Dense(3)])
        ragged = tf.data.Dataset.from_generator(
            lambda: (np.ones((1, n, 2), "float32") * n for n in (2, 3)),
            output_signature=tf.TensorSpec((None, None, 2), tf.float32),
        )
        with pytest.raises(ValueError, match="pad all sequences to one length"):
            computed(model, ragged, folder)

    def test_answers_that_are_no_numbers(self, folder):
        with pytest.raises(ValueError, match="answer of the teacher .* has 5 NaN"):
            computed(classifier(), np.where(np.arange(20) == 3, np.nan, X.T).T, folder)

    def test_folders(self, folder, tmp_path):
        with pytest.raises(ValueError, match="No soft labels at"):
            SoftLabels(folder)
        (tmp_path / "notes.txt").write_text("")
        with pytest.raises(ValueError, match="choose a new folder"):
            computed(classifier(), X, tmp_path)
        computed(classifier(), X, folder)
        (folder / "index.json").write_text('{"format": 2}')
        with pytest.raises(ValueError, match="it has format 2, not 1"):
            SoftLabels(folder)


def test_public_names():
    assert tfc.distillation.SoftLabels is SoftLabels
    assert Taught._fields == ("labels", "logits")
