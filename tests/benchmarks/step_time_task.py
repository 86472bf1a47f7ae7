"""What Keras and its peers train for step_time.py: the same networks and batches."""

import tensorflow as tf

SHAPES = {"cnn_28x28x1": (28, 28, 1), "cnn_32x32x3": (32, 32, 3)}
BATCH_SIZE = 64
NUM_CLUSTERS = 16
FINAL_SPARSITY = 0.8
_NUM_BATCHES = 20


def build(keras, name):
    """A network in Keras 3 or in tf_keras."""
    blocks = {"cnn_28x28x1": _plain_blocks, "cnn_32x32x3": _normalized_blocks}[name]
    layers = keras.layers
    return keras.Sequential([layers.Input(SHAPES[name]), *blocks(layers)])


def _plain_blocks(layers):
    """Two convolutions with bias and ReLU, two dense layers: 225,034 parameters."""
    return [
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10),
    ]


def _normalized_blocks(layers):
    """Three convolutions with batch norm and ReLU: 95,242 parameters."""
    blocks = []
    for num_filters in (32, 64, 128):
        blocks += [
            layers.Conv2D(num_filters, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    return [*blocks, layers.GlobalAveragePooling2D(), layers.Dense(10)]


def epoch_of(keras, model, name, num_steps, seed, callbacks=()):
    """A function that trains `num_steps` steps of `model.fit`, including callbacks."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    batches = data(name, num_steps, seed)

    def run():
        model.fit(batches, verbose=0, callbacks=list(callbacks))

    return run


def data(name, num_steps, seed):
    """The batches for this many steps."""
    return _batches(SHAPES[name], seed).repeat().take(num_steps)


def _batches(shape, seed):
    generator = tf.random.Generator.from_seed(seed)
    images = generator.uniform((_NUM_BATCHES, BATCH_SIZE, *shape))
    labels = generator.uniform((_NUM_BATCHES, BATCH_SIZE), maxval=10, dtype=tf.int32)
    # The autotuner can delay the end of an epoch by as long as the epoch itself.
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_tensor_slices((images, labels)).with_options(options)
