"""Every plug-in through every contract of its noun.

A new plug-in is tested here as soon as it is registered; one with arguments that have
no default needs an entry in `EXAMPLES`.
"""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcompress as tfc
from tests import models
from tfcompress import (
    distillation,
    post_training,
    ranges,
    rewrites,
    solvers,
    transforms,
)
from tfcompress.core import nouns
from tfcompress.core.compressed import compressed_parts, treatments
from tfcompress.core.layout import Layout
from tfcompress.core.walk import own_variables

EXAMPLES = {
    "Constant": {"sparsity": 0.5},
    "Lifelong": {"values": {"": 2.0}},
    "OneShot": {"sparsity": 0.5},
    "Polynomial": {
        "final_sparsity": 0.5,
        "begin_step": 2,
        "end_step": 20,
        "frequency": 3,
    },
    "Cosine": {"final_sparsity": 0.5, "begin_step": 2, "end_step": 20, "frequency": 3},
    "Piecewise": {"boundaries": [5, 12], "values": [0.0, 0.25, 0.5]},
    "Penalty": {"regularizer": tfc.regularizers.L1(0.1)},
    "GaussianWeights": {"num_samples": 1000},
    "GroupNormalJeffreys": {"num_samples": 1000},
    "LogNormal": {"num_samples": 1000},
    "SparseVariationalDropout": {"num_samples": 1000},
    "Iterative": {"final_sparsity": 0.5, "rounds": 3, "steps_per_round": 4},
    "Scaled": {"schedule": {"OneShot": {"sparsity": 0.8}}, "factor": 0.625},
}
NOUNS = {
    "activation": nouns.ActivationQuantizer,
    "codec": nouns.Codec,
    "distillation loss": nouns.DistillationLoss,
    "transform": nouns.WeightTransform,
    "criterion": nouns.Criterion,
    "pattern": nouns.Pattern,
    "regularizer": nouns.Regularizer,
    "schedule": nouns.Schedule,
    "scope": nouns.Scope,
    "rewrite": nouns.LayerRewrite,
    "rank": nouns.Rank,
    "range": nouns.Range,
    "rounding": nouns.Rounding,
    "search engine": nouns.SearchEngine,
    "solver": nouns.Solver,
}


def make(cls):
    return cls(**EXAMPLES.get(cls.__name__, {}))


def plug_ins(noun):
    found = NOUNS[noun].registered.values()
    return [pytest.param(cls, id=cls.__name__) for cls in found]


EVERY = [
    pytest.param(noun, cls, id=f"{name}-{cls.__name__}")
    for name, noun in NOUNS.items()
    for cls in noun.registered.values()
]


@pytest.mark.parametrize(("noun", "cls"), EVERY)
class TestEvery:
    def test_config_restores_it(self, noun, cls):
        thing = make(cls)
        config = keras.saving.serialize_keras_object(thing)
        restored = keras.saving.deserialize_keras_object(config)
        assert type(restored) is cls
        assert restored == thing
        assert thing.clone() == thing

    def test_config_holds_every_argument(self, noun, cls):
        assert list(make(cls).get_config()) == list(cls.arguments())

    def test_found_by_name_arguments_class_and_itself(self, noun, cls):
        name = tfc.core.plugin.snake_case(cls.__name__)
        arguments = EXAMPLES.get(cls.__name__, {})
        assert noun.get({name: arguments}) == make(cls)
        assert noun.get(make(cls)) == make(cls)
        if not arguments:
            assert noun.get(name) == noun.get(cls) == make(cls)

    def test_is_documented_with_an_example(self, noun, cls):
        assert cls.__doc__
        assert ">>>" in cls.__doc__

    def test_an_unknown_argument_is_named(self, noun, cls):
        name = tfc.core.plugin.snake_case(cls.__name__)
        with pytest.raises(ValueError, match="flavour"):
            noun.get({name: {**EXAMPLES.get(cls.__name__, {}), "flavour": 1}})


def mirrored():
    # Collective operations of several strategies in one process interfere.
    return tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice()
    )


def compressed(cls, model=models.small):
    return tfc.compress(model(), {".*": make(cls)})


# Transforms on weights of every rank and layers of every kind.
STRUCTURES = [
    pytest.param(cls, build, id=f"{build.__name__}-{cls.__name__}")
    for build in (*models.ALL, models.small)
    for cls in nouns.WeightTransform.registered.values()
    if build in (models.small, models.subclassed)
    or cls in (transforms.Codebook, transforms.Hashed, transforms.Uniform)
]


@pytest.mark.parametrize(("cls", "build"), STRUCTURES)
def test_strip_and_reload_compute_the_same(cls, build, tmp_path):
    model = compressed(cls, build)
    x = models.inputs(model)
    if build is models.small:
        models.compile(model, run_eagerly=True)
        model.train_on_batch(x, models.classes(len(x)))
    plain = tfc.strip(model)
    assert models.difference(model, plain, x) <= 1e-6
    assert not any("tfcompress" in type(s).__module__ for s in plain._flatten_layers())
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert models.difference(model, restored, x) == 0


@pytest.mark.parametrize("cls", plug_ins("transform"))
class TestTransforms:
    def test_keeps_shape_and_dtype_and_bakes_what_inference_computes(self, cls):
        for _, treatment in treatments(compressed(cls, models.sequential)):
            value = treatment()
            assert value.shape == treatment.variable.shape
            assert value.dtype == treatment.variable.dtype
            np.testing.assert_allclose(treatment.bake(), value, atol=1e-7)

    def test_gradient_reaches_the_weight_or_what_is_trained_in_its_place(self, cls):
        part = compressed_parts(compressed(cls))[0]
        (treatment,) = part.treatments
        trained = [v for v in own_variables(part) if v.trainable]
        assert treatment.variable.trainable or trained
        if treatment.variable.trainable:
            trained.append(treatment.variable)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(treatment(training=True) ** 2)
        for gradient in tape.gradient(loss, [v.value for v in trained]):
            assert np.abs(gradient).max() > 0

    def test_same_seed_same_training(self, cls):
        histories = []
        for _ in range(2):
            keras.utils.set_random_seed(7)
            model = models.compile(compressed(cls), run_eagerly=True)
            x, y = models.inputs(model), models.classes()
            histories.append([model.train_on_batch(x, y) for _ in range(3)])
        np.testing.assert_allclose(*histories, rtol=1e-5)

    def test_compiled_by_xla(self, cls):
        part = compressed_parts(compressed(cls))[0]
        (treatment,) = part.treatments
        trained = [v.value for v in part.trainable_variables]

        def value_and_gradients(training):
            with tf.GradientTape() as tape:
                value = treatment(training=training)
                loss = tf.reduce_sum(value**3)
            found = tape.gradient(loss, trained, unconnected_gradients="zero")
            return [value, *found]

        compiled = tf.function(value_and_gradients, jit_compile=True)
        # XLA draws different numbers.
        training = not hasattr(treatment.transforms[0], "seed_generator")
        pairs = zip(value_and_gradients(training), compiled(training), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert all(np.isfinite(a).all() for a in compiled(True))

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
    def test_mixed_precision_computes_transforms_in_float32(self, cls, policy):
        keras.config.set_dtype_policy(policy)
        model = compressed(cls)
        x = models.inputs(model)
        for _, treatment in treatments(model):
            assert treatment().dtype == tf.float32
        assert keras.backend.standardize_dtype(model(x).dtype) == policy[6:]
        models.compile(model, run_eagerly=True)
        model.train_on_batch(x, models.classes(len(x)))
        assert models.difference(model, tfc.strip(model), x) <= 1e-2


# With masks, integer and trained variables, and a random state.
@pytest.mark.parametrize(
    "transform",
    [
        "mask",
        "codebook",
        "learned_step",
        {"binary": {"stochastic": True}},
        {"sparse_variational_dropout": {"num_samples": 16}},
    ],
    ids=str,
)
def test_mirrored_strategy(transform):
    with mirrored().scope():
        model = models.compile(tfc.compress(models.small(), {".*": transform}))
    x = models.inputs(model, 16)
    model.fit(x, models.classes(16), batch_size=8, verbose=0)
    for _, treatment in treatments(model):
        np.testing.assert_allclose(treatment.bake(), treatment(), atol=1e-7)


def signals_of(criterion, shape, fill=None):
    """Made-up signals that a criterion needs, for a weight with a canonical shape."""
    generator = np.random.default_rng(1)

    def values():
        return generator.normal(size=shape) if fill is None else np.full(shape, fill)

    return nouns.Signals({name: values() for name in criterion.needs}, step=3)


@pytest.mark.parametrize("cls", plug_ins("criterion"))
@pytest.mark.parametrize("shape", [(6,), (4, 5), (3, 3, 4, 8)])
@pytest.mark.parametrize("fill", [None, 0.0])
def test_criterion_scores_every_weight(cls, shape, fill):
    weight = np.random.default_rng(0).normal(size=shape)
    criterion = make(cls)
    signals = signals_of(criterion, shape, fill)
    scores = np.broadcast_to(criterion(weight, signals), shape)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(
        scores, np.broadcast_to(make(cls)(weight, signals), shape)
    )


@pytest.mark.parametrize("cls", plug_ins("regularizer"))
@pytest.mark.parametrize("shape", [(4, 5), (3, 3, 4, 8)])
def test_regularizer_is_finite_and_its_proximal_step_lowers_it(cls, shape):
    drawn = np.random.default_rng(0).normal(size=shape)
    regularizer = cls(strength=0.01)
    for weight in (drawn, 1e-3 * drawn, 0 * drawn):
        weight = tf.constant(weight, "float32")
        with tf.GradientTape() as tape:
            tape.watch(weight)
            value = regularizer(weight)
        assert value.shape == ()
        assert np.isfinite(value)
        assert np.isfinite(tape.gradient(value, weight)).all()
        nearer = regularizer.proximal(weight, 0.1)
        assert nearer.shape == weight.shape
        assert regularizer(nearer) <= value
        # For all weights, it lies on the way to zero.
        assert (np.abs(nearer) <= np.abs(weight) + 1e-6).all()


@pytest.mark.parametrize("cls", plug_ins("criterion"))
@pytest.mark.parametrize("pattern", plug_ins("pattern"))
@pytest.mark.parametrize("fill", [None, 0.0])
def test_criterion_scores_the_groups_of_every_pattern(cls, pattern, fill):
    shape, criterion, groups = (3, 3, 4, 8), make(cls), make(pattern)
    weight = np.random.default_rng(0).normal(size=shape)
    if fill is not None:
        weight = np.full(shape, fill)
    member = (weight, signals_of(criterion, shape, fill))

    def pool(scores, reduce):
        return groups.pool(np.broadcast_to(scores[0], shape), reduce)

    scores = criterion.score_groups([member], pool)
    assert scores.shape == groups.pool(weight).shape
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("cls", plug_ins("criterion"))
def test_criterion_scores_channels_that_several_weights_make(cls):
    criterion = make(cls)
    weights = [np.random.default_rng(i).normal(size=(3, 4)) for i in range(2)]
    members = [(weight, signals_of(criterion, (3, 4))) for weight in weights]

    def pool(scores, reduce):
        rows = [np.broadcast_to(each, (3, 4)).T for each in scores]
        return reduce(np.concatenate(rows, axis=1), 1)

    scores = criterion.score_groups(members, pool)
    assert scores.shape == (4,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("cls", plug_ins("pattern"))
@pytest.mark.parametrize("shape", [(7, 5), (3, 3, 4, 8), (5, 1)])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_pattern_selects_and_spreads(cls, shape, share):
    scores = np.random.default_rng(0).random(shape)
    pattern = make(cls)
    groups = pattern.pool(scores)
    mask = pattern.spread(pattern.select(groups, round(share * groups.size)), shape)
    assert mask.shape == shape
    assert mask.dtype == bool
    assert mask.all() or share < 1.0
    # Pooling the mask must give whole groups: all of it stays, or none of it.
    assert set(np.unique(pattern.pool(mask.astype(float)))) <= {0.0, 1.0}


def lesson(loss, fill=None, batch_size=5):
    """What a loss reads from student and teacher, created for it, and labels."""
    layers = [(8, 8, 4), (4, 4, 6)]
    if loss.last_layer_only:
        layers = layers[-1:]
    if loss.parts:
        # Positions, heads, numbers per head.
        layers = [(6, 2, 4)] * len(loss.parts)
    generator = np.random.default_rng(0)

    def values(shape):
        shape = (batch_size, *shape)
        drawn = generator.normal(size=shape) if fill is None else np.full(shape, fill)
        return tf.constant(drawn, tf.float32)

    student, teacher = (
        [values(shape) for shape in layers] if reads == "features" else values((3,))
        for reads in (loss.student_reads, loss.teacher_reads)
    )
    shapes = [
        [(None, *x.shape[1:]) for x in side] if isinstance(side, list) else (None, 3)
        for side in (student, teacher)
    ]
    loss.build(*shapes)
    return student, teacher, tf.range(batch_size) % 3


def value_and_gradients(loss, student, teacher, labels):
    """The loss of each example, and gradients of student, teacher and adapters."""
    trained = [v.value for a in loss.adapters for v in a.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch((student, teacher))
        value = loss(student, teacher, labels)
        mean = tf.reduce_mean(value)
    student, teacher = keras.tree.flatten(student), keras.tree.flatten(teacher)
    found = tape.gradient(mean, [student, teacher, trained])
    return value, *found


@pytest.mark.parametrize("cls", plug_ins("distillation loss"))
class TestDistillationLosses:
    def test_teaches_the_student_and_its_adapters_but_not_the_teacher(self, cls):
        loss = make(cls)
        read = lesson(loss)
        value, student, teacher, adapters = value_and_gradients(loss, *read)
        assert value.shape == (5,)
        assert value.dtype == tf.float32
        assert all(np.abs(gradient).max() > 0 for gradient in [*student, *adapters])
        assert teacher == [None] * len(teacher)

    @pytest.mark.parametrize(("fill", "batch_size"), [(0.0, 3), (1.0, 3), (0.0, 1)])
    def test_finite_where_all_is_alike(self, cls, fill, batch_size):
        loss = make(cls)
        alike, other = lesson(loss, fill, batch_size), lesson(loss, None, batch_size)
        for read in (alike, (alike[0], *other[1:]), (other[0], *alike[1:])):
            value, student, _, adapters = value_and_gradients(loss, *read)
            assert all(np.isfinite(x).all() for x in [value, *student, *adapters])

    def test_compiled_by_xla_for_any_batch_size(self, cls):
        loss = make(cls)
        read = lesson(loss)
        compiled = tf.function(
            lambda *read: value_and_gradients(loss, *read)[:2],
            input_signature=keras.tree.map_structure(
                lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype), read
            ),
            jit_compile=True,
        )
        for a, b in zip(
            tf.nest.flatten(value_and_gradients(loss, *read)[:2]),
            tf.nest.flatten(compiled(*read)),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

    def test_mixed_precision_computes_in_float32(self, cls):
        keras.config.set_dtype_policy("mixed_float16")
        loss = make(cls)
        student, teacher, labels = lesson(loss)
        exact = loss(student, teacher, labels)
        half = keras.tree.map_structure(lambda x: tf.cast(x, tf.float16), student)
        value = loss(half, teacher, labels)
        assert value.dtype == tf.float32
        np.testing.assert_allclose(value, exact, rtol=0.02, atol=0.01)


# In the others, student and teacher pass through separate learned maps.
COMPARING = [
    cls for cls in nouns.DistillationLoss.registered.values()
    if cls not in (distillation.Contrastive, distillation.SelfDistillation)
]  # fmt: skip


@pytest.mark.parametrize("cls", COMPARING, ids=lambda cls: cls.__name__)
def test_equal_models_have_nothing_to_learn(cls):
    loss = make(cls)
    student, _, labels = lesson(loss)
    value, gradients, _, _ = value_and_gradients(loss, student, student, labels)
    np.testing.assert_allclose(value, np.zeros(5), atol=1e-6)
    for gradient in gradients:
        np.testing.assert_allclose(gradient, np.zeros(gradient.shape), atol=1e-6)


@pytest.mark.parametrize("cls", plug_ins("schedule"))
def test_schedule_stays_in_range_and_is_due_whatever_the_stride(cls):
    schedule = make(cls)
    values = [schedule(step) for step in range(40)]
    assert all(0.0 <= value < 1.0 for value in values)
    assert values[-1] == pytest.approx(0.5)
    # However many steps pass at once, whatever is due in between is due once.
    for stride in (1, 2, 5, 7):
        edges = [-1, *range(stride, 60, stride)]
        for a, b in itertools.pairwise(edges):
            assert schedule.due(a, b) == any(
                schedule.due(s - 1, s) for s in range(a + 1, b + 1)
            )


@pytest.mark.parametrize("cls", plug_ins("scope"))
@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.9, 0.99])
def test_scope_keeps_the_asked_share(cls, sparsity):
    shapes = [(3, 3, 4, 16), (64, 32), (32, 10)]
    generator = np.random.default_rng(0)
    scores = [generator.random(shape) for shape in shapes]
    kept = make(cls)(scores, shapes, sparsity)
    total = sum(score.size for score in scores)
    assert all(1 <= k <= score.size for k, score in zip(kept, scores, strict=True))
    tolerance = len(shapes) / total + (0.01 if sparsity > 0.98 else 0)
    assert sum(kept) / total == pytest.approx(1 - sparsity, abs=tolerance)


@pytest.mark.parametrize("cls", plug_ins("range"))
@pytest.mark.parametrize("limits", [(0.0, 3.0), (-2.0, 1.0), (-4.0, 0.0), (0.0, 0.0)])
def test_range_holds_zero_and_is_no_wider_than_the_values(cls, limits):
    edges = np.linspace(*limits, ranges.NUM_BINS + 1)
    counts = np.random.default_rng(0).integers(0, 50, ranges.NUM_BINS)
    for bits in (2, 4, 8):
        low, high = make(cls)(counts, edges, bits)
        assert limits[0] <= low <= 0 <= high <= limits[1]
        assert low < high or limits == (0.0, 0.0)


@pytest.mark.parametrize("cls", plug_ins("rounding"))
@pytest.mark.parametrize("shape", [(1, 5, 3), (4, 9, 1)])
def test_rounding_gives_whole_numbers_within_the_levels(cls, shape):
    generator = np.random.default_rng(0)
    weight = generator.normal(size=shape)
    x = generator.normal(size=(shape[0], 50, shape[1]))
    moments = x.swapaxes(1, 2) @ x / 50
    inputs = post_training.Inputs(x.mean(axis=1), x.mean(axis=1), moments, moments)
    for level in (1, 7, 127):
        scale = np.abs(weight).max(axis=1, keepdims=True) / level
        codes = make(cls)(weight, scale, level, inputs)
        assert codes.shape == shape
        assert (codes == np.rint(codes)).all()
        assert np.abs(codes).max() == level


@pytest.mark.parametrize("cls", plug_ins("pattern"))
def test_pattern_keeps_its_quota(cls):
    pattern, shape = make(cls), (3, 3, 4, 8)
    if pattern.quota(shape) is None:
        return
    labels, stay = pattern.quota(shape)
    groups = pattern.pool(np.random.default_rng(0).random(shape))
    mask = pattern.spread(pattern.select(groups, groups.size // 2), shape)
    assert (np.bincount(labels.ravel(), mask.ravel()) == stay).all()


@pytest.mark.parametrize("cls", plug_ins("solver"))
@pytest.mark.parametrize("shape", [(1, 8, 3), (4, 9, 1)])
def test_solver_keeps_as_much_as_it_is_told_to(cls, shape):
    generator = np.random.default_rng(0)
    weight = generator.normal(size=shape)
    x = generator.normal(size=(shape[0], 50, shape[1]))
    moments = x.swapaxes(1, 2) @ x / 50
    inputs = post_training.Inputs(x.mean(axis=1), x.mean(axis=1), moments, moments)
    canonical = (shape[1], shape[0] * shape[2])
    pattern = solvers.MatrixPattern(tfc.patterns.Weight(), canonical, shape[0])
    assert np.isfinite(make(cls).scores(weight, pattern, inputs)).all()
    for num_kept in (0, 1, 7, weight.size):
        before = weight.copy()
        pruned = make(cls)(weight, num_kept, pattern, inputs)
        assert np.count_nonzero(pruned) == num_kept
        np.testing.assert_array_equal(weight, before)


@pytest.mark.parametrize("cls", plug_ins("rank"))
@pytest.mark.parametrize("shapes", [[(7, 5)], [(16, 4), (9, 30)], [(3, 9, 8)]])
def test_rank_is_between_one_and_its_limit(cls, shapes):
    generator = np.random.default_rng(0)
    matrices = [generator.normal(size=shape) for shape in shapes]
    limits = rewrites.ranks.full_ranks(matrices)
    ranks = make(cls)(matrices, macs_ratio=lambda ranks: sum(ranks) / 8)
    assert len(ranks) == len(shapes)
    assert all(type(rank) is int for rank in ranks)
    assert all(1 <= r <= limit for r, limit in zip(ranks, limits, strict=True))


def exactly(cls):
    """The plug-in configured to lose nothing: factorizers at full rank."""
    return cls(rank=1.0) if "rank" in cls.arguments() else make(cls)


@pytest.mark.parametrize("cls", plug_ins("rewrite"))
def test_rewrite_computes_the_same(cls):
    x = keras.Input((6, 6, 3))
    y = keras.layers.Rescaling(1 / 255, offset=-0.5)(x)
    y = keras.layers.Conv2D(4, 3, name="convolution")(y)
    y = keras.layers.BatchNormalization(name="norm")(y)
    y = keras.layers.SeparableConv2D(4, 3, activation="relu")(y)
    y = keras.layers.Conv2D(4, 1)(y)
    y = keras.layers.EinsumDense("...d,d->...d", 4)(y)
    y = keras.layers.Conv2D(4, 2, padding="same", name="shift")(y)
    y = keras.layers.Dense(6, name="head")(keras.layers.Flatten()(y))
    model = keras.Model(x, y)
    # A row of zeros, which a smaller kernel omits.
    kernel = model.get_layer("convolution").kernel
    kernel.assign(kernel * np.reshape([1, 1, 0], (3, 1, 1, 1)))
    # One position of the window per channel, which is a shift.
    kernel = model.get_layer("shift").kernel
    kernel.assign(kernel * np.eye(4).reshape(2, 2, 4, 1))
    # Equal weights at all four positions, so that pooling can replace the head.
    kernel = model.get_layer("head").kernel
    kernel.assign(np.tile(kernel[:4], (4, 1)))
    model(models.inputs(model, 16) * 255, training=True)
    rewritten = rewrites.apply(model, exactly(cls))
    assert [type(a) for a in rewritten.layers] != [type(a) for a in model.layers]
    # CP is fitted iteratively; the others lose only rounding.
    tolerance = 1e-4 if cls is rewrites.CP else 1e-5
    assert models.difference(model, rewritten, models.inputs(model) * 255) <= tolerance


FACTORIZERS = [
    cls
    for cls in nouns.LayerRewrite.registered.values()
    if issubclass(cls, rewrites.Factorizer)
]


def one_kernel(is_convolution):
    """A model that is one linear map, of images of 4 x 4 x 6 to 12 numbers."""
    x = keras.Input((4, 4, 6))
    if is_convolution:
        y = keras.layers.Conv2D(12, 4, use_bias=False, name="layer")(x)
        return keras.Model(x, keras.layers.Flatten()(y))
    y = keras.layers.Flatten()(x)
    return keras.Model(x, keras.layers.Dense(12, use_bias=False, name="layer")(y))


@pytest.mark.parametrize("cls", FACTORIZERS, ids=lambda cls: cls.__name__)
def test_factorizer_states_its_true_error_and_macs(cls):
    rewrite = cls(rank=2) if "rank" in cls.arguments() else make(cls)
    done = 0
    for model in map(one_kernel, (True, False)):
        row = rewrites.plan_factorization(model, rewrite)["layer"]
        small = rewrites.factorize(model, rewrite, verbose=0)
        basis = np.eye(96, dtype="float32").reshape(96, 4, 4, 6)
        before, after = model(basis).numpy(), small(basis).numpy()
        error = np.linalg.norm(before - after) / np.linalg.norm(before)
        assert (row.error or 0.0) == pytest.approx(error, abs=1e-5)
        assert row.macs_before == tfc.report(model).macs
        assert row.macs_after == tfc.report(small).macs
        assert row.parameters_after == small.count_params()
        done += row.skipped is None
        assert (error > 1e-3) == (row.skipped is None)
        if row.skipped is None:
            old = [model.get_layer("layer")]
            if rewrite.length == 2:
                old.insert(0, model.layers[1])
            kernel = rewrite.approximated(*old)
            model.get_layer("layer").kernel.assign(kernel)
            np.testing.assert_allclose(model(basis).numpy(), after, atol=1e-5)
    assert done


def test_layout_round_trip():
    generator = np.random.default_rng(0)
    for axes in itertools.chain([()], [(i,) for i in range(4)], [(2, 3), (0, 2)]):
        shape = Layout((2, 3, 4, 5), axes)
        array = generator.random((2, 3, 4, 5))
        canonical = shape.to_canonical(array)
        assert canonical.shape == shape.canonical_shape
        np.testing.assert_array_equal(shape.from_canonical(canonical), array)
