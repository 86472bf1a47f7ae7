"""Registry of the rules that follow channels through operations."""

import keras

_RULES = {}


def rule(*kinds):
    """Registers a function `Call -> list of output Tensors`.

    Args:
        *kinds: classes of layers, including their subclasses, and names of the classes
            that implement functions of `keras.ops`, which are not public.
    """

    def register(function):
        _RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


def find(operation):
    """The rule for an operation, or None."""
    if not isinstance(operation, keras.Layer):
        return _RULES.get(type(operation).__name__)
    known = next((c for c in type(operation).__mro__ if c in _RULES), None)
    # A subclass that overrides `call` may do anything.
    is_known = known is not None and type(operation).call is known.call
    return _RULES[known] if is_known else None
