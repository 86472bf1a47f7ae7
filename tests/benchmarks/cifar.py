"""CIFAR-10 and a ResNet-20 trained on it, for the scripts that compress it."""

import pathlib

# Test accuracy in percent, as published with the model.
PUBLISHED_ACCURACY = 91.73


def load_data(data_dir):
    """`((x_train, y_train), (x_test, y_test))`, pixels from 0 to 1."""
    import tfcompress as tfc

    try:
        return tfc.datasets.load("cifar10", data_dir)
    except FileNotFoundError as error:
        if data_dir and any(pathlib.Path(data_dir).glob("cifar10_*.med.xz")):
            error.add_note(
                "The folder has the packed files. Unpack them in about 25 s with "
                f"`python {data_dir}/unpack_cifar10.py DIR` and pass --data-dir DIR."
            )
        raise


def load_model(options):
    """The trained model, which takes pixels from 0 to 255 and returns logits."""
    import keras

    return keras.models.load_model(_model_path(options), compile=False)


def _model_path(options):
    if options.model:
        return options.model
    if not options.data_dir:
        raise SystemExit("Pass --model, the .keras file of a CIFAR-10 ResNet-20.")
    return pathlib.Path(options.data_dir) / "../models/cifar10_resnet20.keras"


def add_options(parser):
    """The option that says where the model is."""
    parser.add_argument(
        "--model",
        help=".keras file; takes pixels from 0 to 255 and returns logits "
        "(default: DATA_DIR/../models/cifar10_resnet20.keras)",
    )
