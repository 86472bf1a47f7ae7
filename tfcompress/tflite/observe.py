"""What a float file computes inside: the ends of the values of every tensor."""

import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.quiet import native_notes_dropped
from tfcompress.tflite.read import read, write

_WITHOUT_DELEGATES = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


class FloatFile:
    """A file of floats that can be looked into while it runs.

    Args:
        model: bytes, or the object form.
    """

    def __init__(self, model):
        self.file = read(model)
        content = model if isinstance(model, (bytes, bytearray)) else write(model)
        with native_notes_dropped():
            self._interpreter = litert.Interpreter(
                model_content=bytes(content),
                # Else tensors are overwritten by what is computed later.
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=_WITHOUT_DELEGATES,
            )
            self._interpreter.allocate_tensors()
        signatures = self._interpreter.get_signature_list()
        runner = self._interpreter.get_signature_runner(next(iter(signatures)))
        self._inputs = {
            name: detail["index"] for name, detail in runner.get_input_details().items()
        }

    def outputs(self, samples):
        """The outputs for `{input name: array}`, a list of arrays, one for each."""
        graph = self.file.subgraphs[0]
        rows = [
            [self._interpreter.get_tensor(int(i)) for i in graph.outputs]
            for _ in self._run(samples)
        ]
        return [np.stack(parts) for parts in zip(*rows, strict=True)]

    def ends(self, samples):
        """`{place of a float tensor: (smallest, largest value)}` over the samples."""
        places = _written_floats(self.file.subgraphs[0])
        low, high = np.full(len(places), np.inf), np.full(len(places), -np.inf)
        for _ in self._run(samples):
            ends = np.array([self._ends(place) for place in places]).reshape(-1, 2)
            low, high = np.minimum(low, ends[:, 0]), np.maximum(high, ends[:, 1])
        return {
            place: (float(a), float(b))
            for place, a, b in zip(places, low, high, strict=True)
            if np.isfinite(a) and np.isfinite(b)
        }

    def _run(self, samples):
        for row in range(len(next(iter(samples.values())))):
            for name, array in samples.items():
                index = self._inputs[name]
                self._interpreter.set_tensor(index, array[row : row + 1])
            self._interpreter.invoke()
            yield row

    def _ends(self, place):
        try:
            # A view, which must be gone when the file runs again.
            values = self._interpreter.tensor(place)()
        except ValueError:
            # What a loop does not write has no values.
            return np.nan, np.nan
        return (values.min(), values.max()) if values.size else (0.0, 0.0)


def _written_floats(graph):
    written = {int(i) for i in graph.inputs}
    written.update(int(i) for op in graph.operators for i in op.outputs)
    return sorted(
        place
        for place in written
        if graph.tensors[place].type == schema.TensorType.FLOAT32
    )
