"""Observes the smallest and largest values of all tensors in a float file."""

import functools

import numpy as np
from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema

from tfcompress.core.quiet import native_notes_dropped
from tfcompress.tflite.operations import operation_name
from tfcompress.tflite.read import read, write

_WITHOUT_DELEGATES = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
# Options that say which graphs an operation runs.
_CALLED = {
    "WHILE": ("condSubgraphIndex", "bodySubgraphIndex"),
    "IF": ("thenSubgraphIndex", "elseSubgraphIndex"),
}
# A round takes about 0.3 ms. Long sequences would take hours, and this many rounds are
# enough.
_MOST_ROUNDS = 50_000
# The ends of an empty set of values.
_NOTHING = np.inf, -np.inf


class FloatFile:
    """A float file whose tensors can be observed while it runs, also in loops and branches.

    Args:
        model: bytes, or the object form.
        index: index of the graph that runs.

    Attributes:
        num_runs: number of observed runs.
    """

    def __init__(self, model, index=0):
        self.file, self._index, self.num_runs = read(model), index, 0
        self._graph = self.file.subgraphs[index]
        with native_notes_dropped():
            self._interpreter = litert.Interpreter(
                model_content=write(_led_by(self.file, index)),
                # Otherwise, later operations overwrite tensors.
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=_WITHOUT_DELEGATES,
            )
            self._interpreter.allocate_tensors()
        # LiteRT does not keep unread inputs or results of loops. What a branch passes
        # on is read, too.
        self._read = {int(i) for op in self._graph.operators for i in op.inputs}
        self._read.update(map(int, self._graph.outputs))
        self._floats = self._kept_floats()
        self._shapes = {
            detail["index"]: tuple(detail["shape"])
            for detail in self._interpreter.get_input_details()
        }

    @functools.cached_property
    def _calls(self):
        """`(operation, the graphs that it runs)` of loops and branches."""
        return [
            (operation, [FloatFile(self.file, index) for index in indices])
            for operation in self._graph.operators
            if (indices := called(self.file, operation))
        ]

    def outputs(self, samples):
        """The outputs for `{input name: array}`, a list with one array per output."""
        rows = [self._run(inputs) for inputs in self._batches(samples)]
        return [np.stack(parts) for parts in zip(*rows, strict=True)]

    def ends(self, samples):
        """`{(graph, index of a float tensor): (smallest, largest value)}` on samples."""
        found = {}
        for inputs in self._batches(samples):
            self._observe(inputs, found)
        return {
            place: (float(low), float(high))
            for place, (low, high) in found.items()
            if np.isfinite(low) and np.isfinite(high)
        }

    def _batches(self, samples):
        """Lists of arrays in the file's batch size; the last ones are filled up."""
        (signature,) = self.file.signatureDefs[:1]
        places = {e.name.decode(): int(e.tensorIndex) for e in signature.inputs}
        names = {place: name for name, place in places.items()}
        order = [names[int(place)] for place in self._graph.inputs]
        size = int(self._graph.tensors[int(self._graph.inputs[0])].shape[0])
        count = len(samples[order[0]])
        for start in range(0, count, size):
            rows = np.arange(start, start + size) % count
            yield [samples[name][rows] for name in order]

    def _run(self, inputs):
        """The outputs for the inputs, lists in the order of the graph."""
        given = dict(zip(map(int, self._graph.inputs), inputs, strict=True))
        self._resize(given)
        for place in given.keys() & self._read:
            self._interpreter.set_tensor(place, given[place])
        self._interpreter.invoke()
        return [
            given[place] if place in given else self._interpreter.get_tensor(place)
            for place in map(int, self._graph.outputs)
        ]

    def _resize(self, given):
        """Resizes inputs to the given arrays, since sizes may be unknown in loops."""
        shapes = {place: np.shape(array) for place, array in given.items()}
        changed = [place for place in shapes if shapes[place] != self._shapes[place]]
        for place in changed:
            self._interpreter.resize_tensor_input(place, shapes[place])
        if changed:
            self._interpreter.allocate_tensors()
            self._shapes = shapes

    def _observe(self, inputs, found):
        """Runs the file, and widens the ends that were found before."""
        self.num_runs += 1
        outputs = self._run(inputs)
        for place in self._floats:
            low, high = found.get((self._index, place), _NOTHING)
            least, most = self._ends(place)
            found[self._index, place] = np.minimum(low, least), np.maximum(high, most)
        for operation, graphs in self._calls:
            given = [self._interpreter.get_tensor(int(i)) for i in operation.inputs]
            _FOLLOW[operation_name(self.file, operation)](given, *graphs, found)
        return outputs

    def _kept_floats(self):
        given, written = {*map(int, self._graph.inputs)}, set()
        for operation in self._graph.operators:
            places = given if called(self.file, operation) else written
            places.update(map(int, operation.outputs))
        kept = written | given & self._read
        kinds = self._graph.tensors
        return sorted(i for i in kept if kinds[i].type == schema.TensorType.FLOAT32)

    def _ends(self, place):
        try:
            # A view, which must be released before the file runs again.
            values = self._interpreter.tensor(place)()
        except ValueError:
            # Empty tensors have no values.
            return _NOTHING
        return (values.min(), values.max()) if values.size else _NOTHING


def called(file, operation):
    """Indices of the graphs that an operation runs, in the order of its options."""
    names = _CALLED.get(operation_name(file, operation), ())
    return [getattr(operation.builtinOptions, name) for name in names]


def _led_by(file, index):
    """A copy of a file with the graph in first place, so that LiteRT runs it."""
    if index == 0:
        return file
    copy = read(write(file))
    graphs, copy.signatureDefs = copy.subgraphs, None
    graphs[0], graphs[index] = graphs[index], graphs[0]
    moved = {0: index, index: 0}
    for operation in [operation for graph in graphs for operation in graph.operators]:
        for name in _CALLED.get(operation_name(copy, operation), ()):
            old = getattr(operation.builtinOptions, name)
            setattr(operation.builtinOptions, name, moved.get(old, old))
    return copy


def _follow_loop(state, condition, body, found):
    if body.num_runs >= _MOST_ROUNDS:
        return
    while condition._observe(state, found)[0]:
        state = body._observe(state, found)


def _follow_branch(inputs, then, otherwise, found):
    taken = then if inputs[0] else otherwise
    taken._observe(inputs[1:], found)


_FOLLOW = {"WHILE": _follow_loop, "IF": _follow_branch}
