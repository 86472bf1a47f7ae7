"""Watching layers while a model runs."""

import contextlib
import threading

_lock = threading.Lock()


@contextlib.contextmanager
def recorded(layers, record):
    """Calls `record` whenever one of the layers is called.

    Only calls of the same thread count: replicas of a distribution strategy trace a
    model at the same time.

    Args:
        layers: the layers.
        record: `(layer, inputs, outputs, args, kwargs)`, the first argument of the call,
            what it returned, and the other arguments.
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
                    object.__delattr__(layer, "call")


def _watched(layer):
    """What stands for the layer's `call` as long as somebody records it."""
    if not isinstance(layer.call, _Watched):
        object.__setattr__(layer, "call", _Watched(layer, layer.call))
    return layer.call


class _Watched:
    def __init__(self, layer, call):
        self.layer = layer
        self.call = call
        self.records = []

    def __call__(self, inputs, *args, **kwargs):
        outputs = self.call(inputs, *args, **kwargs)
        for thread, record in tuple(self.records):
            if thread == threading.get_ident():
                record(self.layer, inputs, outputs, args, kwargs)
        return outputs
