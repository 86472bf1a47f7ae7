"""The temperature of soft targets."""

import keras


def check_temperature(temperature):
    """Returns a positive number or a Keras schedule; raises for anything else.

    >>> check_temperature(4)
    4
    """
    if isinstance(temperature, keras.optimizers.schedules.LearningRateSchedule):
        return temperature
    if isinstance(temperature, (int, float)) and 0 < temperature < float("inf"):
        return temperature
    raise ValueError(
        f"temperature={temperature!r}: expected a positive number, 1 for the "
        "probabilities themselves and about 4 to see more of the small ones, or a "
        "keras.optimizers.schedules object whose values are."
    )


def temperature_at(temperature, step):
    """The temperature at an optimizer step.

    >>> schedule = keras.optimizers.schedules.PolynomialDecay(8.0, 100, 2.0)
    >>> float(temperature_at(schedule, 50)), temperature_at(4.0, 50)
    (5.0, 4.0)
    """
    return temperature(step) if callable(temperature) else temperature
