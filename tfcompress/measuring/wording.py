"""Numbers as short text with three digits: sizes, times, ratios."""


def bytes_text(value, digits="#.3g"):
    """A size in thousands of bytes.

    >>> bytes_text(1_859_800), bytes_text(48_000), bytes_text(48_000, ".3g")
    ('1.86 MB', '48.0 kB', '48 kB')
    """
    if value < 1000:
        return f"{value:.0f} bytes"
    return _with_unit(value / 1000, ("kB", "MB", "GB"), digits)


def count_text(value):
    """A count, exact if it is short.

    >>> count_text(9_216), count_text(1_091_584)
    ('9,216', '1.09 M')
    """
    if value < 10_000:
        return f"{value:,}"
    return _with_unit(value, ("", "k", "M", "G", "T"))


def time_text(value):
    """A time given in milliseconds.

    >>> time_text(0.0127), time_text(2500)
    ('0.0127 ms', '2.50 s')
    """
    return _with_unit(value, ("ms", "s"))


def ratio_text(first, value, words):
    """How many times `value` is smaller or larger than `first`; "" if they are equal.

    Args:
        first: the number to compare with.
        value: the other number.
        words: the words for less and for more.

    Example:
        >>> ratio_text(12.0, 4.0, ("faster", "slower"))
        '3.00× faster'
    """
    if not first or not value:
        return ""
    ratio = max(first, value) / min(first, value)
    if ratio < 1.005:
        return ""
    return f"{_rounded(ratio)}× {words[value > first]}"


def points_text(first, value):
    """The change between two fractions in percentage points; "" if there is none.

    >>> points_text(0.9638, 0.9356)
    '2.82 points lower'
    """
    if first is None or value is None or f"{first:.4f}" == f"{value:.4f}":
        return ""
    word = "lower" if value < first else "higher"
    return f"{100 * abs(value - first):.2f} points {word}"


def listed(names):
    """Names as an enumeration in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def count_of(count, thing):
    """A number of things.

    >>> count_of(1, "run"), count_of(2400, "run")
    ('1 run', '2,400 runs')
    """
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _with_unit(value, units, digits="#.3g"):
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{_rounded(value, digits)} {units[power]}"


def _rounded(value, digits="#.3g"):
    return f"{value:,.0f}" if value >= 999.5 else f"{value:{digits}}".rstrip(".")
