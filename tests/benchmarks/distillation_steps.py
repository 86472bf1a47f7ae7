"""Time of a training step of `tfc.distillation.Distiller`, and of one written by hand."""

import functools
import statistics

import harness
import tensorflow as tf

NUM_CLASSES = 10
TEMPERATURE = 4.0
_BATCH_SIZE = 64
_NUM_BATCHES = 8
_SHAPE = (32, 32, 3)
# Layers whose outputs are compared.
_LAYERS = ("relu2", "relu3")
_STUDENT, _TEACHER = (16, 32, 64), (24, 48, 96)
_LIMIT = 1.05
_PEER = "keras {}"


def measure(options):
    """Our step time relative to a step by hand, and in milliseconds."""
    import keras

    num_steps, rounds = (1, 1) if options.quick else (options.steps, options.rounds)
    peer = _PEER.format(keras.__version__)
    measures = []
    for name, label in (
        ("logits", "KL"),
        ("adapted", "features with adapters"),
        ("features", "features of equal shapes"),
    ):
        harness.progress(f"step time: {label}")
        keras.utils.set_random_seed(options.seed)
        data = batches(options.seed)
        variants = {
            variant: functools.partial(run, step, data, num_steps)
            for variant, step in steps(name).items()
            if not (variant == "peer" and options.no_peers)
        }
        times = harness.interleaved(variants, rounds)
        by_hand = times["by hand"]
        ratios = {k: harness.ratio(times[k], by_hand) for k in times}
        measures.append(
            harness.Measure(
                f"{label}: over a step by hand",
                ratios["ours"],
                "x",
                at_most=_LIMIT,
                peer={peer: ratios["peer"]} if "peer" in ratios else None,
            )
        )
        measures += [
            harness.Measure(
                f"{label}: {peer if variant == 'peer' else variant}, a step",
                1e3 * statistics.median(seconds) / num_steps,
                "ms",
            )
            for variant, seconds in times.items()
        ]
    return measures


def run(step, data, num_steps):
    """Trains for this many steps."""
    for _ in range(num_steps):
        logs = step(data)
    # TensorFlow may return before the computation has finished.
    tf.nest.map_structure(lambda value: value.numpy(), logs)


def batches(seed):
    """An endless iterator over the same few random batches."""
    generator = tf.random.Generator.from_seed(seed)
    images = generator.uniform((_NUM_BATCHES, _BATCH_SIZE, *_SHAPE))
    labels = generator.uniform(
        (_NUM_BATCHES, _BATCH_SIZE), maxval=NUM_CLASSES, dtype=tf.int32
    )
    # The autotuner may take time at any moment.
    options = tf.data.Options()
    options.autotune.enabled = False
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    return iter(data.repeat().with_options(options))


def build(filters):
    """Three convolutions with batch norm and ReLU."""
    import keras

    layers = keras.layers
    stack = [layers.Input(_SHAPE)]
    for number, count in enumerate(filters, 1):
        stack += [
            layers.Conv2D(count, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(name=f"relu{number}"),
            layers.MaxPooling2D(),
        ]
    stack += [layers.GlobalAveragePooling2D(), layers.Dense(NUM_CLASSES)]
    return keras.Sequential(stack)


def steps(name):
    """`{variant: function that trains on the next batch of an iterator}`.

    All start at the same weights and learn from the same teacher.

    Args:
        name: "logits", "features" of equal shapes, or "adapted" ones.
    """
    teacher = build(_STUDENT if name == "features" else _TEACHER)
    student = build(_STUDENT)

    def copy():
        other = build(_STUDENT)
        other.set_weights(student.get_weights())
        return other

    variants = {
        "by hand": by_hand(name, copy(), teacher),
        "ours": ours(name, copy(), teacher),
    }
    # Keras' Distiller does not train adapters.
    if name != "adapted":
        variants["peer"] = peer(name, copy(), teacher)
    return variants


def ours(name, student, teacher):
    """A step of our `Distiller`."""
    import tfcompress as tfc

    losses = tfc.distillation
    loss = (
        losses.KL(TEMPERATURE)
        if name == "logits"
        else losses.Hints(list(_LAYERS), list(_LAYERS))
    )
    return _train_function(losses.Distiller(student, teacher, loss))


def peer(name, student, teacher):
    """A step of Keras' `Distiller`."""
    from keras import distillation

    # The same weights as in our sum, up to a factor.
    losses = (
        [distillation.LogitsDistillation(TEMPERATURE)]
        if name == "logits"
        else [
            distillation.FeatureDistillation("mse", layer, layer) for layer in _LAYERS
        ]
    )
    return _train_function(distillation.Distiller(teacher, student, losses))


def _train_function(model):
    model.compile(_optimizer(), _task_loss(), jit_compile=False)
    model.make_train_function()
    return model.train_function


def _optimizer():
    import keras

    return keras.optimizers.SGD(1e-3, momentum=0.9)


def _task_loss():
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def by_hand(name, student, teacher):
    """A step in TensorFlow that computes and records the same as ours."""
    import keras

    watched = () if name == "logits" else _LAYERS
    student_run, teacher_run = (_with_features(m, watched) for m in (student, teacher))
    adapters = _adapters(student_run, teacher_run)
    variables = [
        *student.trainable_variables,
        *(v for adapter in adapters for v in adapter.trainable_variables),
    ]
    optimizer, task_loss = _optimizer(), _task_loss()
    optimizer.build(variables)
    flatten = keras.tree.flatten
    metrics = [keras.metrics.Mean(n) for n in ("loss", "task", "distillation")]

    @tf.function
    def step(iterator):
        x, y = next(iterator)
        *wanted, taught = flatten(teacher_run(x, training=False))
        with tf.GradientTape() as tape:
            *features, logits = flatten(student_run(x, training=True))
            task = task_loss(y, logits)
            if name == "logits":
                distillation = _kl(logits, taught)
            else:
                distillation = _hints(features, wanted, adapters)
            loss = task + distillation
        optimizer.apply(tape.gradient(loss, variables), variables)
        for metric, value in zip(metrics, (loss, task, distillation), strict=True):
            metric.update_state(value, sample_weight=tf.shape(x)[0])
        return {metric.name: metric.result() for metric in metrics}

    return step


def _with_features(model, layers):
    import keras

    features = [model.get_layer(layer).output for layer in layers]
    return keras.Model(model.inputs, [*features, model.outputs[0]])


def _adapters(student, teacher):
    """1x1 convolutions if the numbers of channels differ."""
    import keras

    adapters = []
    for found, wanted in zip(student.outputs[:-1], teacher.outputs[:-1], strict=True):
        if found.shape[-1] != wanted.shape[-1]:
            adapters.append(keras.layers.Conv2D(wanted.shape[-1], 1))
            adapters[-1].build(found.shape)
    return adapters


def _kl(logits, taught):
    softened = taught / TEMPERATURE
    excess = tf.nn.log_softmax(softened) - tf.nn.log_softmax(logits / TEMPERATURE)
    each = tf.reduce_sum(tf.nn.softmax(softened) * excess, axis=-1)
    return TEMPERATURE**2 * tf.reduce_mean(each)


def _hints(features, wanted, adapters):
    if adapters:
        features = [a(f) for a, f in zip(adapters, features, strict=True)]
    errors = [
        tf.reduce_mean(tf.math.squared_difference(f, w))
        for f, w in zip(features, wanted, strict=True)
    ]
    return tf.add_n(errors)


def add_options(parser):
    """Adds options for the duration of the timing."""
    parser.add_argument("--steps", type=int, default=5, help="steps per timed round")
    parser.add_argument("--rounds", type=int, default=31, help="timed rounds")
