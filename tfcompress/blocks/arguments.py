"""Checks of the blocks' arguments, each with one clear error."""

import numbers


def channels_of(block, x):
    """The number of channels of an image tensor `(batch, height, width, channels)`."""
    shape = tuple(getattr(x, "shape", ()))
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"{block}: x has shape {shape}; expected (batch, height, width, channels) "
            "with a known number of channels. Give keras.Input a shape such as "
            "(None, None, 64)."
        )
    return shape[-1]


def check_counts(block, **counts):
    """Raises unless all are positive integers."""
    for name, count in counts.items():
        if not isinstance(count, numbers.Integral) or count < 1:
            raise ValueError(f"{block}({name}={count!r}): expected a positive integer.")


def check_strides(block, strides):
    """Raises unless the strides are 1 or 2."""
    if strides not in (1, 2):
        raise ValueError(
            f"{block}(strides={strides!r}): expected 1, or 2 to halve height and width."
        )


def check_ratio(block, name, ratio):
    """Raises unless a squeeze-excite ratio is None or in (0, 1]."""
    if ratio is None or (isinstance(ratio, numbers.Real) and 0 < ratio <= 1):
        return
    raise ValueError(
        f"{block}({name}={ratio!r}): expected a fraction of the channels above 0 and up "
        "to 1, such as 0.25, or None for no squeeze-excite."
    )


def check_divides(block, name, divisor, **counts):
    """Raises unless the divisor divides all the counts."""
    for counted, count in counts.items():
        if count % divisor:
            near = divisor * max(round(count / divisor), 1)
            raise ValueError(
                f"{block}({name}={divisor}): does not divide the {count} {counted}. "
                f"Change {name}, or make it {near} {counted}."
            )
