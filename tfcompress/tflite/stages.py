"""Splits a `.tflite` model with several outputs into stages."""

import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_CARRIED = "carried_"


def split_stages(file, names):
    """Gives each output a signature that computes what earlier ones have not.

    The inputs of a signature are those of the model and tensors of earlier stages; its
    outputs are the output and what later stages need. A tensor has the same name wherever
    it is passed on: `carried_1`, or that of its stage if it is an output. Constants are
    shared, and operations that only read constants, such as those that decode them, are
    repeated in each stage that needs them; nothing else is.

    Args:
        file: the object form of a model with one signature, edited in place.
        names: names of the stages, one per output in the order of the signature.

    Raises:
        ValueError: if the number of names differs from the number of outputs.
    """
    (signature,), graph = file.signatureDefs, file.subgraphs[0]
    if len(names) != len(signature.outputs):
        raise ValueError(
            f"The model has {len(signature.outputs)} outputs: expected names for as many "
            f"stages, got {list(names)}."
        )
    outputs = [int(entry.tensorIndex) for entry in signature.outputs]
    inputs = {int(e.tensorIndex): e.name.decode() for e in signature.inputs}
    plan = _Plan(file, graph, outputs)
    names_of = {
        **{tensor: f"{_CARRIED}{i}" for i, tensor in enumerate(plan.carried, 1)},
        **inputs,
        **dict(zip(outputs, names, strict=True)),
    }
    others = file.subgraphs[1:]
    made = [subgraph(graph, *stage) for stage in plan.stages]
    # Bodies of loops and branches keep their indices.
    places = [0, *range(len(others) + 1, len(others) + len(made))]
    file.subgraphs = [made[0][0], *others, *(stage for stage, _ in made[1:])]
    file.signatureDefs = [
        _signature(name, place, ends, mapping, names_of)
        for name, place, (_, *ends), (_, mapping) in zip(
            names, places, plan.stages, made, strict=True
        )
    ]


class _Plan:
    """Which operations, inputs and outputs each stage has.

    Attributes:
        stages: list of `(operations, inputs, outputs)`; tensors are given by index.
        carried: tensors that one stage passes on to another, in order.
    """

    def __init__(self, file, graph, outputs):
        self._graph = graph
        self._makers = {
            int(t): i for i, op in enumerate(graph.operators) for t in op.outputs
        }
        self._of_constants = operations_of_constants(file, graph)
        taken, parts = set(), []
        for output in outputs:
            needed = self._needed([output], taken)
            parts.append(needed)
            taken |= needed - self._of_constants
        self._find_ends(parts, outputs)

    def _needed(self, tensors, taken):
        found, waiting = set(), list(tensors)
        while waiting:
            maker = self._makers.get(waiting.pop())
            if maker is not None and maker not in found and maker not in taken:
                found.add(maker)
                waiting += read_tensors(self._graph.operators[maker])
        return found

    def _find_ends(self, parts, outputs):
        stages = [[self._graph.operators[i] for i in sorted(part)] for part in parts]
        made = [{int(t) for op in stage for t in op.outputs} for stage in stages]
        whole_inputs = {*map(int, self._graph.inputs)}
        ever_made = set.union(whole_inputs, *made)
        inputs = [
            [
                t
                for t in dict.fromkeys(t for op in stage for t in read_tensors(op))
                if t in ever_made and t not in own
            ]
            for stage, own in zip(stages, made, strict=True)
        ]
        self.carried = list(
            dict.fromkeys(t for read in inputs for t in read if t not in whole_inputs)
        )
        handed_on = [
            [output, *(t for t in self.carried if t in own and t != output)]
            for output, own in zip(outputs, made, strict=True)
        ]
        self.stages = list(zip(stages, inputs, handed_on, strict=True))


def constants(file, graph):
    """Indices of the tensors of a graph that the file holds."""
    return {
        i
        for i, tensor in enumerate(graph.tensors)
        if file.buffers[tensor.buffer].data is not None
        and len(file.buffers[tensor.buffer].data)
    }


def operations_of_constants(file, graph):
    """Indices of the operations of a graph that always compute the same."""
    known, found = constants(file, graph), set()
    for i, operation in enumerate(graph.operators):
        tensors = read_tensors(operation)
        if tensors and known.issuperset(tensors):
            found.add(i)
            known.update(map(int, operation.outputs))
    return found


def read_tensors(operation):
    """Indices of the tensors that an operation reads, without omitted inputs."""
    return [int(t) for t in operation.inputs if t >= 0]


def subgraph(graph, operations, inputs, outputs):
    """A graph of some of the operations, and `{index of a tensor: its new index}`."""
    used = [t for op in operations for t in (*read_tensors(op), *map(int, op.outputs))]
    kept = sorted({*used, *inputs, *outputs})
    mapping = {old: new for new, old in enumerate(kept)}
    # An omitted input.
    mapping[-1] = -1
    made = copy.copy(graph)
    made.tensors = [graph.tensors[t] for t in kept]
    made.operators = [moved(operation, mapping) for operation in operations]
    made.inputs, made.outputs = _places(inputs, mapping), _places(outputs, mapping)
    return made, mapping


def moved(operation, mapping):
    """A copy of an operation whose tensors have other indices."""
    made = copy.copy(operation)
    for side in ("inputs", "outputs", "intermediates"):
        if getattr(made, side, None) is not None:
            setattr(made, side, _places(getattr(made, side), mapping))
    return made


def _places(tensors, mapping):
    return np.array([mapping[int(t)] for t in tensors], np.int32)


def _signature(name, place, ends, mapping, names):
    made = schema.SignatureDefT()
    made.signatureKey, made.subgraphIndex = name.encode(), place
    made.inputs, made.outputs = (
        [_entry(names[tensor], mapping[tensor]) for tensor in tensors]
        for tensors in ends
    )
    return made


def _entry(name, place):
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), place
    return entry
