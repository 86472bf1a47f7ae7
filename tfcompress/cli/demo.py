"""usage: tfcompress demo [flags]

The whole workflow on real data: trains a small network, prunes 80 % of its weights, lets
the rest share 16 values, trains for int8, writes .tflite files, measures them and writes
report.html. Uses the digits of scikit-learn, so it needs no internet connection.

Example:
  tfcompress demo --output /tmp/demo
  tfcompress demo --dataset mnist --data-dir ~/data
"""

import pathlib

from absl import flags

SUMMARY = "run the whole workflow on a small network, in about a minute"
ARGUMENTS = 0


def define(values):
    """Flags of the command."""
    flags.DEFINE_string(
        "dataset", "digits", "Data: digits, mnist, fashion_mnist or cifar10.", values
    )
    flags.DEFINE_string("data_dir", None, "Folder with NAME.npz.", values)
    flags.DEFINE_string("output", ".", "Folder for the files.", values)
    flags.DEFINE_float(
        "sparsity", 0.8, "Fraction of the weights to remove.", flag_values=values
    )
    flags.DEFINE_integer("clusters", 16, "Number of shared values.", flag_values=values)
    flags.DEFINE_integer(
        "epochs", None, "Epochs of the first training.", flag_values=values
    )
    flags.DEFINE_integer("seed", 0, "Seed of all random numbers.", flag_values=values)


def main(values):
    """Runs the demo and returns the comparison."""
    import keras

    import tfcompress as tfc
    from tfcompress.measuring.html_report import write_html_report

    from .progress import Narrator

    folder = pathlib.Path(values.output)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(values.seed)
    train, test = tfc.datasets.load(values.dataset, values.data_dir)
    epochs = values.epochs or (30 if values.dataset == "digits" else 3)
    say = Narrator()

    say(f"training a small network on {values.dataset}")
    dense = network(train[0].shape[1:], int(train[1].max()) + 1)
    fit(dense, train, epochs)

    say(f"pruning {values.sparsity:.0%} of its weights while it trains on")
    model = tfc.compress(dense, {".*": tfc.transforms.Mask()})
    steps = epochs * -(-len(train[0]) // BATCH_SIZE)
    schedule = tfc.schedules.Polynomial(
        final_sparsity=values.sparsity,
        begin_step=0,
        end_step=max(steps // 2, 1),
        frequency=max(steps // 50, 1),
    )
    fit(
        model,
        train,
        epochs,
        callbacks=[tfc.callbacks.Pruning(schedule, scope="global")],
    )
    pruned = tfc.strip(model)

    say(f"sharing {values.clusters} values and training for int8")
    transforms = [
        tfc.transforms.Mask(),
        tfc.transforms.Codebook(values.clusters),
        tfc.transforms.Uniform(bits=8),
    ]
    model = tfc.quantize_activations(tfc.compress(pruned, {".*": transforms}))
    fit(model, train, max(epochs // 2, 1), learning_rate=1e-4)

    say("writing .tflite files and measuring them")
    tfc.export_tflite(dense, folder / "dense.tflite", samples=test[0])
    tfc.export_tflite(pruned, folder / "pruned.tflite", samples=test[0])
    exported = tfc.export_tflite(model, folder / "int8.tflite", "int8", samples=test[0])
    comparison = tfc.compare(
        {
            "dense float32": folder / "dense.tflite",
            "pruned float32": folder / "pruned.tflite",
            "pruned, shared, int8": folder / "int8.tflite",
        },
        test,
    )
    write_html_report(
        folder / "report.html",
        comparison,
        report=tfc.report(model),
        before=dense,
        after=model,
        title=f"tfcompress demo: {values.dataset}",
    )
    say(f"done: {folder / 'report.html'}, {exported.path}")
    return comparison


BATCH_SIZE = 64


def network(input_shape, num_classes):
    """A small convolutional network that ends in a softmax."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(input_shape, name="image"),
            layers.Conv2D(32, 3, padding="same", use_bias=False, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(name="relu1"),
            layers.Conv2D(
                64, 3, padding="same", strides=2, use_bias=False, name="conv2"
            ),
            layers.BatchNormalization(name="norm2"),
            layers.ReLU(name="relu2"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(64, activation="relu", name="hidden"),
            layers.Dense(num_classes, activation="softmax", name="head"),
        ],
        name="demo",
    )


def fit(model, data, epochs, learning_rate=1e-3, callbacks=()):
    """Trains a classifier."""
    import keras

    from .progress import TrainingBar

    optimizer = keras.optimizers.Adam(learning_rate)
    # Keras would trace a step twice that makes variables.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(
        *data,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        verbose=0,
        callbacks=[*callbacks, TrainingBar()],
    )
