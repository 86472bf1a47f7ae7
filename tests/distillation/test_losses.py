"""Compares each loss with numbers worked by hand or its closed form in NumPy."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcompress import distillation
from tfcompress.distillation.losses.feature_loss import to_common_resolution
from tfcompress.distillation.losses.london import transmitting_norms


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def unit(x, axis=-1):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def huber(x):
    return np.where(np.abs(x) <= 1, x**2 / 2, np.abs(x) - 0.5)


def close(actual, desired, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(actual, desired, rtol=rtol, atol=atol)


def gradient(loss, student, *arguments):
    """The gradient of the mean loss, of one feature or of logits."""
    student = tf.constant(student, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(student)
        read = [student] if loss.student_reads == "features" else student
        value = tf.reduce_mean(loss(read, *arguments))
    return tape.gradient(value, student)


@pytest.mark.parametrize(
    "name", ["kl", "decoupled", "contrastive", "self_distillation"]
)
def test_temperature_follows_its_schedule(name):
    schedule = keras.optimizers.schedules.PolynomialDecay(8.0, 100, 2.0)
    losses = [distillation.get({name: {"temperature": t}}) for t in (schedule, 5.0)]
    assert losses[0].clone() == losses[0] != losses[1]
    reads = losses[0].student_reads == "features"
    student, teacher = normal(4, 3), normal(4, 3, seed=1)
    values = []
    for loss in losses:
        keras.utils.set_random_seed(1)
        if reads:
            of_teacher = [(None, 3)] if loss.teacher_reads == "features" else (None, 3)
            loss.build([(None, 3)], of_teacher)
        taught = [teacher] if loss.teacher_reads == "features" else teacher
        values.append(loss([student] if reads else student, taught, [0, 1, 2, 0], 50))
    close(*values)


def test_layer_names_are_kept():
    loss = distillation.London(["a", "b"], ("c", "d"))
    assert loss.clone().teacher_layers == ["c", "d"]


@pytest.mark.parametrize(
    ("cls", "shapes"),
    [
        (distillation.Hints, [(None, 8, 8, 2), (None, 4, 4, 2)]),
        (distillation.RelationalDistance, [(None, 2)]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_layers_without_names(cls, shapes):
    seen = []

    class Watched(cls):
        def build(self, student, teacher):
            seen.append(student)
            super().build(student, teacher)

    layers = [
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    distillation.Distiller(model, keras.models.clone_model(model), Watched())
    assert seen == [shapes]


class TestLogits:
    def test_is_what_kl_tends_to(self):
        student, teacher = normal(6, 5), normal(6, 5, seed=1)
        kl = distillation.KL(temperature=100)(student, teacher)
        close(distillation.Logits(centered=True)(student, teacher) / 5, kl, rtol=0.02)

    def test_a_constant_matters_unless_centered(self):
        student = normal(6, 5)
        for loss in (distillation.Logits(), distillation.Logits(centered=True)):
            value = loss(student, student + 3)
            close(value, 5 * 9 / 2 if loss.reads_constant else 0)

    def test_single_unit(self):
        student, teacher = [[1.0]], [[4.0]]
        close(distillation.Logits()(student, teacher), 4.5)
        # Centred, the logits (0, 1) and (0, 4) are (-1/2, 1/2) and (-2, 2).
        close(distillation.Logits(centered=True)(student, teacher), 2.25)


class TestDecoupled:
    def test_parts_make_up_kl(self):
        student, teacher = normal(7, 5), 3 * normal(7, 5, seed=1)
        labels = np.arange(7) % 5
        target = distillation.Decoupled(3.0, 1, 0)(student, teacher, labels)
        others = distillation.Decoupled(3.0, 0, 1)(student, teacher, labels)
        probability = softmax(teacher / 3)[np.arange(7), labels]
        kl = distillation.KL(3.0)(student, teacher)
        close(target + (1 - probability) * others, kl)
        both = distillation.Decoupled(3.0, 0.5, 8)(student, teacher, labels)
        close(both, 0.5 * target + 8 * others)

    def test_closed_form(self):
        # Teacher (1/2, 1/4, 1/4), student uniform; the others are equal in both.
        student, teacher = np.zeros((1, 3)), np.log([[2.0, 1.0, 1.0]])
        value = distillation.Decoupled(1, 1, 8)(student, teacher, [0])
        close(value, 0.5 * np.log(0.5 * 3) + 0.5 * np.log(0.5 * 1.5))

    @pytest.mark.parametrize("shape", [(4,), (4, 6)])
    def test_forms_of_labels(self, shape):
        student, teacher = normal(*shape, 3), normal(*shape, 3, seed=1)
        labels = np.random.default_rng(0).integers(0, 3, shape)
        loss = distillation.Decoupled()
        value = loss(student, teacher, labels)
        assert value.shape == shape
        smooth = 0.9 * np.eye(3)[labels] + 0.1 / 3
        for same in (labels[..., None].astype("float32"), np.eye(3)[labels], smooth):
            close(loss(student, teacher, same), value)

    def test_of_two_classes_only_the_labelled_one_counts(self):
        student, teacher = normal(4, 1), normal(4, 1, seed=1)
        labels = np.array([[0], [1], [1], [0]])
        value = distillation.Decoupled(4.0, 1, 8)(student, teacher, labels)
        close(value, distillation.KL(4.0)(student, teacher))

    def test_sure_logits_have_finite_gradients(self):
        student, teacher = [[300.0, 0.0, -300.0]], [[-300.0, 300.0, 0.0]]
        for label in range(3):
            loss = distillation.Decoupled(temperature=1.0)
            assert np.isfinite(gradient(loss, student, teacher, [label])).all()

    def test_bad_input(self):
        student = np.zeros((2, 3))
        with pytest.raises(ValueError, match="no labels: pass them to fit, or use KL"):
            distillation.Decoupled()(student, student)
        with pytest.raises(ValueError, match=r"shape \(2, 4\) do not match .*\(2, 3\)"):
            distillation.Decoupled()(student, student, np.eye(4)[:2])
        with pytest.raises(
            ValueError, match=r"beta\): got -1, expected a number of at least 0"
        ):
            distillation.Decoupled(beta=-1)


class TestHints:
    @pytest.mark.parametrize("rank", [2, 3, 4, 5])
    def test_learned_map_to_the_channels_of_the_teacher(self, rank):
        positions = (4, 3, 2)[: rank - 2]
        student, teacher = normal(5, *positions, 2), normal(5, *positions, 6, seed=1)
        loss = distillation.Hints()
        loss.build([(None, *positions, 2)], [(None, *positions, 6)])
        (adapter,) = loss.adapters
        assert adapter.dtype == "float32"
        wanted = student @ adapter.kernel.numpy() - teacher
        axes = tuple(range(1, rank))
        close(loss([student], [teacher]), (wanted**2).mean(axes))

    def test_sum_over_layers(self):
        student, teacher = normal(2, 4, 3), normal(2, 4, 3, seed=1)
        loss = distillation.Hints()
        once = loss([student], [teacher])
        close(loss([student, student], [teacher, teacher]), 2 * once)

    def test_finer_grid_is_averaged(self):
        student, teacher = normal(2, 8, 3, 5), normal(2, 4, 9, 5, seed=1)
        means = student.reshape(2, 4, 2, 3, 5).mean(2)
        wanted = teacher.reshape(2, 4, 3, 3, 5).mean(3)
        value = distillation.Hints()([student], [teacher])
        close(value, ((means - wanted) ** 2).mean((1, 2, 3)))

    def test_uneven_grids_are_averaged_by_area(self):
        fine = np.array([[[1.0], [2.0], [6.0]]])
        pooled, _ = to_common_resolution(fine, np.zeros((1, 2, 1)))
        close(pooled[0, :, 0], [(1 + 2 / 2) / 1.5, (2 / 2 + 6) / 1.5])

    def test_bad_input(self):
        with pytest.raises(
            ValueError, match="got 2 of the student and 1 of the teacher"
        ):
            distillation.Hints().build([(None, 3)] * 2, [(None, 3)])
        with pytest.raises(ValueError, match="of equal rank, but got shapes"):
            distillation.Hints().build([(None, 3)], [(None, 4, 4, 3)])
        with pytest.raises(ValueError, match="inputs of a fixed size"):
            to_common_resolution(keras.Input((None, 3)), keras.Input((4, 3)))
        with pytest.raises(
            ValueError, match=r"student_layers\): got 'conv', expected a list"
        ):
            distillation.Hints("conv")


class TestAttentionTransfer:
    @pytest.mark.parametrize("power", [1, 2, 3.5])
    def test_closed_form(self, power):
        student, teacher = normal(3, 4, 4, 2), normal(3, 4, 4, 6, seed=1)
        maps = [(np.abs(f) ** power).sum(-1).reshape(3, 16) for f in (student, teacher)]
        wanted = np.linalg.norm(unit(maps[0]) - unit(maps[1]), axis=-1)
        value = distillation.AttentionTransfer(power=power)([student], [teacher])
        close(value, wanted)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="positions and channels"):
            distillation.AttentionTransfer().build([(None, 3)], [(None, 3)])
        with pytest.raises(ValueError, match=r"power\): got 0.5"):
            distillation.AttentionTransfer(power=0.5)


class TestRelational:
    def test_mean_over_pairs(self):
        student, teacher = normal(6, 2, 2, 3), 9 * normal(6, 40, seed=1)
        relative = []
        for x in (student.reshape(6, -1), teacher):
            lengths = {
                pair: np.linalg.norm(x[pair[0]] - x[pair[1]])
                for pair in itertools.combinations(range(6), 2)
            }
            relative.append(
                np.array(list(lengths.values())) / np.mean([*lengths.values()])
            )
        value = distillation.RelationalDistance()([student], [teacher])
        close(np.mean(value), huber(relative[0] - relative[1]).mean())

    def test_mean_over_triples(self):
        student, teacher = normal(6, 2, 2, 3), 9 * normal(6, 40, seed=1)
        cosines = []
        for x in (student.reshape(6, -1), teacher):
            cosines.append(
                [
                    unit(x[i] - x[j]) @ unit(x[k] - x[j])
                    for i, j, k in itertools.permutations(range(6), 3)
                ]
            )
        value = distillation.RelationalAngle()([student], [teacher])
        close(np.mean(value), huber(np.subtract(*cosines)).mean())

    @pytest.mark.parametrize(
        "cls", [distillation.RelationalDistance, distillation.RelationalAngle]
    )
    def test_shift_scale_and_rotation_make_no_difference(self, cls):
        x = normal(8, 5)
        rotation, _ = np.linalg.qr(normal(5, 5, seed=1))
        close(cls()([x], [100 + 3 * x @ rotation]), 0, atol=1e-6)

    @pytest.mark.parametrize(
        "cls", [distillation.RelationalDistance, distillation.RelationalAngle]
    )
    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_few_or_equal_examples(self, cls, count):
        same = np.full((count, 7), 0.3)
        teacher = [normal(count, 4)]
        assert np.isfinite(cls()([same], teacher)).all()
        assert np.abs(gradient(cls(), same, teacher)).max() < 1


def test_similarity_preserving():
    student, teacher = normal(6, 2, 2, 3), normal(6, 40, seed=1)
    grams = [unit(x @ x.T) for x in (student.reshape(6, -1), teacher)]
    value = distillation.SimilarityPreserving()([student], [teacher])
    close(np.mean(value), np.sum((grams[0] - grams[1]) ** 2) / 36)


class TestContrastive:
    def test_closed_form(self):
        student, teacher = normal(6, 4, 4, 3), normal(6, 10, seed=1)
        loss = distillation.Contrastive(dimension=7, temperature=0.2)
        loss.build([(None, 4, 4, 3)], [(None, 10)])
        kernels = [adapter.kernel.numpy() for adapter in loss.adapters]
        u, v = unit(student.mean((1, 2)) @ kernels[0]), unit(teacher @ kernels[1])
        wanted = -np.log(np.diagonal(softmax(u @ v.T / 0.2)))
        close(loss([student], [teacher]), wanted)

    def test_both_embeddings_learn(self):
        loss = distillation.Contrastive(dimension=7)
        loss.build([(None, 3)], [(None, 10)])
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss([normal(6, 3)], [normal(6, 10, seed=1)]))
        kernels = [adapter.kernel.value for adapter in loss.adapters]
        assert all(np.abs(g).max() > 0 for g in tape.gradient(value, kernels))


class TestLondon:
    def test_norms_of_the_transmitting_matrices(self):
        features = [normal(6, 9), normal(6, 5, seed=1), normal(6, 7, seed=2)]
        wanted = []
        for first, second in itertools.pairwise(features):
            product = first.T @ second
            wanted.append(np.linalg.norm(product.T @ product, ord=2))
        close(transmitting_norms(features, iterations=200), wanted)

    def test_relative_differences_and_deeper_modules_weigh_more(self):
        first, second, third = normal(6, 4), normal(6, 5, seed=1), normal(6, 3, seed=2)
        # Features doubled at the end quadruple the last norm; at the start, the first.
        loss = distillation.London(beta=3)
        ends = loss([first, second, third], [first, second, 2 * third])
        starts = loss([first, second, third], [2 * first, second, third])
        close(ends, np.full(6, 0.75**2 / 2))
        close(starts, np.full(6, 0.75**2 / 2 / 3))

    def test_gradient_is_that_of_the_singular_value(self):
        first, second = normal(6, 4), normal(6, 5, seed=1)
        features = [tf.constant(f) for f in (first, second)]
        with tf.GradientTape() as tape:
            tape.watch(features)
            (norm,) = tf.unstack(transmitting_norms(features, iterations=200))
        found = tape.gradient(norm, features)

        def value(first, second):
            return np.linalg.norm(first.T @ second, ord=2) ** 2

        for position, x in enumerate((first, second)):
            numeric = np.zeros_like(x)
            for index in np.ndindex(x.shape):
                step = np.zeros_like(x)
                step[index] = 1e-5
                pairs = [[first, second], [first, second]]
                pairs[0][position], pairs[1][position] = x + step, x - step
                numeric[index] = (value(*pairs[0]) - value(*pairs[1])) / 2e-5
            close(found[position], numeric, rtol=1e-5, atol=1e-5)

    def test_starts_well_for_features_without_mean(self):
        # As after batch normalization: ones are orthogonal to such features.
        features = [f - f.mean(0) for f in (normal(8, 4), normal(8, 5, seed=1))]
        wanted = np.linalg.norm(features[0].T @ features[1], ord=2) ** 2
        close(transmitting_norms(features, iterations=100), [wanted])

    def test_large_values_fit_float32(self):
        features = [1e3 * normal(4, 3000).astype("float32") for _ in range(2)]
        wanted = np.linalg.norm(features[0] @ features[1].T, ord=2) ** 2
        close(transmitting_norms(features, iterations=50), [wanted], rtol=1e-3)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="two layers, but got 1"):
            distillation.London().build([(None, 3)], [(None, 3)])
        with pytest.raises(ValueError, match=r"beta\): got 0.5"):
            distillation.London(beta=0.5)
        with pytest.raises(ValueError, match="iterations"):
            distillation.London(iterations=0)


class TestSelfDistillation:
    def test_closed_form(self):
        feature, teacher = normal(6, 4, 4, 3), normal(6, 5, seed=1)
        labels = np.arange(6) % 5
        loss = distillation.SelfDistillation(temperature=2.0, alpha=0.25)
        loss.build([(None, 4, 4, 3)], (None, 5))
        logits = feature.mean((1, 2)) @ loss.adapters[0].kernel.numpy()
        soft = distillation.KL(2.0)(logits, teacher)
        hard = -np.log(softmax(logits)[np.arange(6), labels])
        close(loss([feature], teacher), soft)
        close(loss([feature], teacher, labels), 0.75 * hard + 0.25 * soft)

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"\(None, 7, 5\)"):
            distillation.SelfDistillation().build([(None, 3)], (None, 7, 5))
        with pytest.raises(
            ValueError, match=r"alpha\): got 2, expected a number from 0 to 1"
        ):
            distillation.SelfDistillation(alpha=2)
