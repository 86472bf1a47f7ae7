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
                    layer.call.leave()


def _watched(layer):
    """What stands for the layer's `call` as long as somebody records it."""
    return layer.call if isinstance(layer.call, _Watched) else _Watched(layer)


class StandIn:
    """What is called in place of a layer's `call`, as long as it is not taken away.

    Attributes:
        layer: the layer.
        call: what it stands for.
    """

    def __init__(self, layer):
        self.layer = layer
        self.call = layer.call
        object.__setattr__(layer, "call", self)

    def leave(self):
        """Puts back what was there before."""
        object.__delattr__(self.layer, "call")
        if isinstance(self.call, StandIn):
            object.__setattr__(self.layer, "call", self.call)


class _Watched(StandIn):
    def __init__(self, layer):
        super().__init__(layer)
        self.records = []

    def __call__(self, inputs, *args, **kwargs):
        outputs = self.call(inputs, *args, **kwargs)
        for thread, record in tuple(self.records):
            if thread == threading.get_ident():
                record(self.layer, inputs, outputs, args, kwargs)
        return outputs
