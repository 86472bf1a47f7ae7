"""The temperature of soft targets."""

import keras

from tfcompress.core.kinds import Instance, Number

# 1 keeps the probabilities; about 4 brings out the small ones.
TEMPERATURE = Number(above=0) | Instance(
    keras.optimizers.schedules.LearningRateSchedule,
    "a keras.optimizers.schedules object whose values are",
)


def temperature_at(temperature, step):
    """The temperature at an optimizer step.

    >>> schedule = keras.optimizers.schedules.PolynomialDecay(8.0, 100, 2.0)
    >>> float(temperature_at(schedule, 50)), temperature_at(4.0, 50)
    (5.0, 4.0)
    """
    return temperature(step) if callable(temperature) else temperature
