"""What parameters accept: declared as annotations and checked by `checked`.

A kind describes what it expects, checks a value and converts it to its normal form
(NumPy integers become integers, names become plug-ins), and provides wrong values, with
which benchmarks and tests call every public function.
"""

import functools
import inspect
import math
import numbers
import os

import keras
import numpy as np

from tfcompress.core.errors import check_model, did_you_mean, refuse


class Kind:
    """What a parameter accepts.

    Attributes:
        expected: a description for messages.
        error: the class of the error.
        hint: the type, as the stubs for type checkers have it (tests/typing/stubs.py).
    """

    expected = ""
    error = ValueError
    hint = "Any"

    def check(self, name, value):
        """Returns the value in its normal form; raises for one of another kind.

        Args:
            name: the function and parameter, such as `"Uniform(bits)"`.
            value: anything.
        """
        raise NotImplementedError

    def has_form(self, value):
        """Whether the value can only be meant for this kind; its parts may be wrong."""
        return False

    def wrong(self):
        """Some values that `check` rejects."""
        return []

    def refuse(self, name, value, hint=""):
        """Raises the error for a value."""
        refuse(name, value, self.expected, hint, self.error)

    def __or__(self, other):
        return Either(self, other)

    def __repr__(self):
        # The form shown in signatures.
        return f"<{self.expected}>"


def full_name(cls):
    """`module.Class`, from which the stubs find the public name."""
    return f"{cls.__module__}.{cls.__qualname__}"


class Either(Kind):
    """One of several kinds; the first that accepts the value checks it.

    >>> (Integer(1) | Flag()).check("num_threads", np.int8(2))
    2
    """

    def __init__(self, *kinds):
        self.kinds = [
            one
            for kind in kinds
            for one in (kind.kinds if isinstance(kind, Either) else [kind])
        ]
        self.expected = " or ".join(kind.expected for kind in self.kinds)
        if all(kind.error is TypeError for kind in self.kinds):
            self.error = TypeError

    @property
    def hint(self):
        return " | ".join(kind.hint for kind in self.kinds)

    def has_form(self, value):
        return any(kind.has_form(value) for kind in self.kinds)

    def check(self, name, value):
        for kind in self.kinds:
            if kind.has_form(value):
                return kind.check(name, value)
        own_words = None
        for kind in self.kinds:
            try:
                return kind.check(name, value)
            except (TypeError, ValueError) as error:
                if isinstance(kind, Converted):
                    own_words = error
        if own_words:
            raise own_words
        return self.refuse(name, value)

    def wrong(self):
        candidates = [value for kind in self.kinds for value in kind.wrong()]
        return [value for value in candidates if not self._takes(value)]

    def _takes(self, value):
        try:
            self.check("", value)
        except (TypeError, ValueError):
            return False
        return True


class Number(Kind):
    """A finite number in an interval.

    Args:
        least: the lower bound, included.
        most: the upper bound, included.
        above: the lower bound, excluded.
        below: the upper bound, excluded.
        meaning: what the number means, if its name does not say so.

    >>> Number(0, below=1).check("Ternary(threshold)", np.float64(0.5))
    0.5
    >>> Number(0, below=1).check("Ternary(threshold)", "x")
    Traceback (most recent call last):
    ValueError: Ternary(threshold): got 'x', expected a number in [0, 1).
    """

    noun = "a number"
    type = numbers.Real
    hint = "float"

    def __init__(self, least=None, most=None, above=None, below=None, meaning=""):
        self.low = least if above is None else above
        self.high = most if below is None else below
        self.is_open = (above is not None, below is not None)
        self.expected = f"{self._interval()}{meaning and f' ({meaning})'}"

    def _interval(self):
        low, high, (is_above, is_below) = self.low, self.high, self.is_open
        if high is None and low == 0 and is_above:
            return self.noun.replace("a ", "a positive ")
        if high is None and low is not None:
            return f"{self.noun} {'above' if is_above else 'of at least'} {low}"
        if low is None:
            return self.noun + ("" if high is None else f" of at most {high}")
        if not (is_above or is_below):
            return f"{self.noun} from {low} to {high}"
        return f"{self.noun} in {'[('[is_above]}{low}, {high}{'])'[is_below]}"

    def check(self, name, value):
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, self.type):
            is_written = isinstance(value, str) and "e-" in value
            self.refuse(name, value, is_written * "In YAML, write 1e-3 as 1.0e-3.")
        if not -math.inf < value < math.inf or not self._holds(value):
            self.refuse(name, value)
        return value

    def _holds(self, value):
        is_above, is_below = self.is_open
        above = self.low is None or (
            value > self.low if is_above else value >= self.low
        )
        below = self.high is None or (
            value < self.high if is_below else value <= self.high
        )
        return above and below

    def wrong(self):
        outside = [float("nan"), float("inf"), "x", [1], True]
        if self.low is not None:
            outside.append(self.low if self.is_open[0] else self.low - 1)
        if self.high is not None:
            outside.append(self.high if self.is_open[1] else self.high + 1)
        return outside


class Integer(Number):
    """An integer from `least` to `most`.

    >>> Integer(1, 16).check("Uniform(bits)", np.int64(8))
    8
    """

    noun = "an integer"
    type = numbers.Integral
    hint = "int"

    def _interval(self):
        if self.low == 1 and self.high is None:
            return "a positive integer"
        return super()._interval()

    def check(self, name, value):
        return int(super().check(name, value))

    def wrong(self):
        return [*super().wrong(), 2.5]


class Flag(Kind):
    """True or False.

    >>> Flag().check("verify", np.True_)
    True
    """

    expected = "True or False"
    hint = "bool"

    def check(self, name, value):
        # 0 and 1 mean the same.
        if isinstance(value, (bool, np.bool_, numbers.Integral)) and value in (0, 1):
            return bool(value)
        return self.refuse(name, value)

    def wrong(self):
        return ["x", 2, 0.5, []]


class OneOf(Kind):
    """One of several names or numbers.

    >>> OneOf("max", "mse").check("quantize_weights(scales)", "mean")
    Traceback (most recent call last):
    ValueError: quantize_weights(scales): got 'mean', expected 'max' or 'mse'.
    """

    def __init__(self, *choices):
        self.choices = choices
        self.hint = f"Literal[{', '.join(map(repr, choices))}]"
        *most, last = map(repr, choices)
        self.expected = f"{', '.join(most)} or {last}" if most else last

    def check(self, name, value):
        is_plain = isinstance(value, (str, numbers.Number, type(None)))
        if is_plain and value in self.choices:
            return value
        words = [choice for choice in self.choices if isinstance(choice, str)]
        near = did_you_mean(value, words) if isinstance(value, str) else ""
        return self.refuse(name, value, near.strip())

    def wrong(self):
        return ["nothing", -7, 2.5, [], object()]


# What Keras accepts as `verbose`, for functions that print their progress.
VERBOSE = OneOf(0, 1, 2, "auto")


class Text(Kind):
    """A string."""

    expected = "a string"
    hint = "str"

    def check(self, name, value):
        return value if isinstance(value, str) else self.refuse(name, value)

    def wrong(self):
        return [5, [], object()]


class Name(Text):
    """The name of a layer or model, or a prefix of one."""

    expected = "a string without '/'"

    def check(self, name, value):
        if "/" in super().check(name, value):
            self.refuse(name, value)
        return value

    def wrong(self):
        return [*super().wrong(), "a/b"]


class FilePath(Kind):
    """The path of a file or folder.

    Args:
        of: what the path refers to.

    >>> FilePath().check("load_model(path)", 5)
    Traceback (most recent call last):
    TypeError: load_model(path): got 5, expected a path.
    """

    error = TypeError
    hint = "str | os.PathLike[str]"

    def __init__(self, of=""):
        self.expected = f"the path of {of}" if of else "a path"

    def check(self, name, value):
        is_path = isinstance(value, (str, os.PathLike))
        return value if is_path else self.refuse(name, value)

    def wrong(self):
        return [5, [], object(), b"model.tflite"]


class Content(Kind):
    """The bytes of a file.

    >>> Content("a .tflite model").check("decode_tflite(content)", "model.tflite")
    Traceback (most recent call last):
    TypeError: decode_tflite(content): got 'model.tflite', expected the bytes of a .tflite
    model. Read them first: pathlib.Path(path).read_bytes().
    """

    error = TypeError
    hint = "bytes | bytearray | memoryview"

    def __init__(self, of):
        self.expected = f"the bytes of {of}"

    def check(self, name, value):
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        is_path = isinstance(value, (str, os.PathLike))
        advice = "Read them first: pathlib.Path(path).read_bytes()."
        return self.refuse(name, value, advice * is_path)

    def wrong(self):
        return ["model.tflite", 5, object()]


class BuiltModel(Kind):
    """A built Keras 3 model."""

    expected = "a keras.Model"
    error = TypeError
    hint = "keras.Model"

    def check(self, name, value):
        check_model(value, name)
        return value

    def wrong(self):
        return ["model.keras", 5, object()]


class Instance(Kind):
    """An object of a class.

    Args:
        cls: the class, or several.
        expected: a description of it.
    """

    error = TypeError

    def __init__(self, cls, expected):
        self.cls, self.expected = cls, expected
        self.hint = full_name(cls)

    def check(self, name, value):
        return value if isinstance(value, self.cls) else self.refuse(name, value)

    def wrong(self):
        return ["x", 5, object()]


def is_function(value):
    """Whether it is a function to call, rather than a layer or model."""
    return callable(value) and not isinstance(value, keras.Layer)


class Function(Kind):
    """A function.

    Args:
        called: the form of the call, such as `"train(model)"`.
    """

    error = TypeError
    hint = "Callable[..., Any]"

    def __init__(self, called):
        self.expected = f"a function {called}"

    def check(self, name, value):
        return value if is_function(value) else self.refuse(name, value)

    def wrong(self):
        return ["x", 5, object()]


class Each(Kind):
    """A list or tuple whose elements are of one kind.

    Args:
        kind: the kind of the elements.
        plural: a description of the elements.
        count: the required number of elements; None for any number.
        least: the minimum number of elements.

    >>> Each(Integer(0), "two numbers", count=2).check("epochs", [1, -2])
    Traceback (most recent call last):
    ValueError: epochs[1]: got -2, expected an integer of at least 0.
    """

    def __init__(self, kind, plural, count=None, least=0):
        self.kind, self.count, self.least = kind, count, least
        self.expected = plural if count else f"a list of {plural}"

    @property
    def hint(self):
        return f"Sequence[{self.kind.hint}]"

    def has_form(self, value):
        return isinstance(value, (list, tuple, range))

    def check(self, name, value):
        if isinstance(value, np.ndarray) and value.ndim == 1:
            value = value.tolist()
        if not self.has_form(value) or len(value) < self.least:
            self.refuse(name, value)
        if self.count is not None and len(value) != self.count:
            self.refuse(name, value)
        made = [self.kind.check(f"{name}[{i}]", one) for i, one in enumerate(value)]
        return tuple(made) if isinstance(value, tuple) else made

    def wrong(self):
        ill = [[value] * (self.count or 1) for value in self.kind.wrong()]
        return ["x", 5, object(), *ill] + [[]] * (self.least > 0)


class Mapping(Kind):
    """A dictionary.

    Args:
        key: the kind of the keys.
        value: the kind of the values.
        expected: a description of the dictionary.
        least: the minimum number of entries.
    """

    def __init__(self, key, value, expected, least=0):
        self.key, self.value, self.expected, self.least = key, value, expected, least

    @property
    def hint(self):
        # Type checkers want the very type of the keys, not one that is narrower.
        return f"Mapping[Any, {self.value.hint}]"

    def has_form(self, value):
        return isinstance(value, dict)

    def check(self, name, value):
        if not isinstance(value, dict) or len(value) < self.least:
            self.refuse(name, value)
        return {
            self.key.check(name, key): self.value.check(f"{name}[{key!r}]", one)
            for key, one in value.items()
        }

    def wrong(self):
        ill = [{".*": value} for value in self.value.wrong()]
        ill += [{key: 1} for key in self.key.wrong() if isinstance(key, (int, str))]
        return [["x"], 5, object(), *ill] + [{}] * (self.least > 0)


class Converted(Kind):
    """A value that a function converts, or rejects with its own clear message.

    Args:
        convert: converts a value, or raises TypeError or ValueError.
        expected: a description of what it accepts.
        keep: whether the original value is passed on.
    """

    def __init__(self, convert, expected, keep=False):
        self.convert, self.expected, self.keep = convert, expected, keep

    def check(self, name, value):
        try:
            made = self.convert(value)
        except (TypeError, ValueError) as error:
            # Its own message is more helpful than ours.
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{name}: {error}") from error
        return value if self.keep else made

    def wrong(self):
        return ["nothing", object(), ["nothing"], {"nothing": 1}]


class PlugIn(Converted):
    """A plug-in of a noun: an object, a class, a name or `{name: arguments}`."""

    def __init__(self, noun):
        expected = f"a {noun.__name__}, its name or {{name: arguments}}"
        # Looked up late: some rooms replace `get`.
        super().__init__(lambda value: noun.get(value), expected)
        self.noun = noun

    @property
    def hint(self):
        if "get" in vars(self.noun):
            return "Any"
        name = full_name(self.noun)
        plain = {cls for one in self.noun.registered.values() for cls in one.stands_for}
        plain = sorted(map(full_name, plain))
        return " | ".join([name, f"type[{name}]", "str", "Mapping[str, Any]", *plain])


class Keras(Converted):
    """What one of the `get` functions of Keras accepts.

    Args:
        get: the function, such as `keras.optimizers.get`.
        expected: a description of what it accepts.
    """

    def __init__(self, get, expected):
        super().__init__(get, expected, keep=True)

    def check(self, name, value):
        try:
            made = self.convert(value)
        except (AttributeError, KeyError, TypeError, ValueError):
            made = None
        return self.refuse(name, value) if made is None else value


class Anything(Kind):
    """A value that is checked later, when more is known.

    Args:
        expected: a description of what it should be.
    """

    def __init__(self, expected):
        self.expected = expected

    def check(self, name, value):
        return value


def is_declared(function):
    """Whether a function declares what its parameters accept."""
    return any(isinstance(kind, Kind) for kind in function.__annotations__.values())


def checked(function):
    """Makes a function check its arguments with the kinds that annotate its parameters.

    Defaults are checked too, except None. Meant for functions that users call once, not
    for those that run on each batch.

    >>> @checked
    ... def double(times: Integer(1)):
    ...     return 2 * times
    >>> double(np.int32(4))
    8
    >>> double(tmies=4)
    Traceback (most recent call last):
    TypeError: double() has no argument 'tmies'; it takes times. Did you mean 'times'?
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checking(*args, **kwargs):
        bound = bind(signature, _called(function, args), args, kwargs)
        return function(*bound.args, **bound.kwargs)

    # Keras reads it without following `__wrapped__`.
    checking.__signature__ = signature
    return checking


def _called(function, args):
    """What users call: the class that is instantiated, or the function."""
    if function.__name__ == "__init__":
        return type(args[0]).__name__
    return function.__name__


def bind(signature, called, args, kwargs):
    """The arguments of a call, checked and in their normal form.

    Args:
        signature: `inspect.Signature` whose annotations are kinds.
        called: the name of what is called, for messages.
        args: the positional arguments of the call.
        kwargs: the keyword arguments of the call.
    """
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        known = [name for name in signature.parameters if name not in ("self", "cls")]
        takes = f"it takes {', '.join(known) or 'no arguments'}."
        unknown = [name for name in kwargs if name not in signature.parameters]
        if unknown:
            raise TypeError(
                f"{called}() has no argument {unknown[0]!r}; {takes}"
                f"{did_you_mean(unknown[0], known)}"
            ) from None
        raise TypeError(f"{called}(): {error}; {takes}") from None
    # Defaults have a normal form too: names of plug-ins.
    bound.apply_defaults()
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        is_left_out = value is None and parameter.default is None
        if isinstance(parameter.annotation, Kind) and not is_left_out:
            checked_value = parameter.annotation.check(f"{called}({name})", value)
            bound.arguments[name] = checked_value
    return bound
