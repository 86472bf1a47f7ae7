"""Watching layers while a model runs."""

import contextlib
import threading

import keras

_lock = threading.Lock()


@contextlib.contextmanager
def recorded(layers, record):
    """Calls `record` whenever one of the layers is called.

    Only calls from the same thread count: replicas of a distribution strategy trace a
    model at the same time.

    Args:
        layers: the layers.
        record: a function of `(layer, inputs, outputs, args, kwargs)`: the first
            argument of the call that holds a tensor, the result, and all arguments as
            passed.
    """
    thread = threading.get_ident()
    with _lock:
        for layer in layers:
            _watched(layer).records.append((thread, record))
    try:
        yield
    finally:
        with _lock:
            for layer in layers:
                _watched(layer).records.remove((thread, record))
                if not layer.call.records:
                    layer.call.leave()


def _watched(layer):
    """The stand-in for the layer's `call` while it is recorded."""
    return layer.call if isinstance(layer.call, _Watched) else _Watched(layer)


class StandIn:
    """Is called in place of a layer's `call` until it is removed.

    Attributes:
        layer: the layer.
        call: the method that it replaces.
    """

    def __init__(self, layer):
        self.layer = layer
        self.call = layer.call
        object.__setattr__(layer, "call", self)

    def leave(self):
        """Restores the previous state."""
        object.__delattr__(self.layer, "call")
        if isinstance(self.call, StandIn):
            object.__setattr__(self.layer, "call", self.call)


class _Watched(StandIn):
    def __init__(self, layer):
        super().__init__(layer)
        self.records = []

    def __call__(self, *args, **kwargs):
        outputs = self.call(*args, **kwargs)
        for thread, record in tuple(self.records):
            if thread == threading.get_ident():
                inputs = main_argument(self.layer, args, kwargs)
                record(self.layer, inputs, outputs, args, kwargs)
        return outputs


def main_argument(layer, args, kwargs):
    """The first argument of a call that holds a tensor, None if there is none.

    >>> attention = keras.layers.MultiHeadAttention(1, 2)
    >>> main_argument(attention, (), {"value": keras.Input((3,)), "query": np.ones(2)})
    array([1., 1.])
    """
    place = _main_place(layer, args, kwargs)
    return None if place is None else (kwargs if place in kwargs else args)[place]


def with_main_argument(layer, value, args, kwargs):
    """`(args, kwargs)` of a call with another value of `main_argument`."""
    place = _main_place(layer, args, kwargs)
    if place in kwargs:
        return args, {**kwargs, place: value}
    return (*args[:place], value, *args[place + 1 :]), kwargs


def _main_place(layer, args, kwargs):
    """Its position, or its name if it was passed by name."""
    names = getattr(layer, "call_signature_parameters", ())
    places = [*range(len(args)), *(n for n in names if n in kwargs), *kwargs]
    given = dict(enumerate(args)) | kwargs
    return next((place for place in places if _holds_tensor(given[place])), None)


def _holds_tensor(value):
    return any(hasattr(part, "dtype") for part in keras.tree.flatten(value))
