"""keras.applications, untrained and on small images."""

import keras

from zoo_models import Specimen, pictures

_SIZE = 96
_NUM_CLASSES = 10
_NUM_SAMPLES = 4
# Deep layers have few pixels left for the statistics of batch norm.
_NUM_MORE = 32
# More than 90 million weights each.
_TOO_LARGE = {
    "ConvNeXtLarge",
    "ConvNeXtXLarge",
    "EfficientNetV2L",
    "ConvNeXtBase",
}


def names():
    """Names of the constructors."""
    found = (name for name in dir(keras.applications) if name[0].isupper())
    return sorted(
        name
        for name in found
        if callable(getattr(keras.applications, name)) and name not in _TOO_LARGE
    )


def build(name):
    """The `Specimen` of a constructor."""
    model = getattr(keras.applications, name)(
        weights=None,
        classes=_NUM_CLASSES,
        input_shape=(_SIZE, _SIZE, 3),
        classifier_activation=None,
    )
    images = pictures(_SIZE, _NUM_MORE)
    if any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers):
        images = (64 * images + 128).clip(0, 255)
    return Specimen(model, images[:_NUM_SAMPLES], run_eagerly=True, more_inputs=images)
