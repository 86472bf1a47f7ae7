"""One signature of a loaded `.tflite` model, for calls with fixed shapes."""


class Signature:
    """Runs a signature whose shapes never change.

    LiteRT's own runner sets all shapes and plans the memory again on each call, and fetches
    all outputs. Only this class reads its private members;
    `tests/runtime/test_signature.py` fails if they change.

    Args:
        interpreter: LiteRT's interpreter.
        name: name of the signature.

    Attributes:
        inputs: `{name: details}`.
        outputs: `{name: details}`.
    """

    def __init__(self, interpreter, name):
        runner = interpreter.get_signature_runner(name)
        self.inputs = runner.get_input_details()
        self.outputs = runner.get_output_details()
        # Only the interpreter keeps alive the bytes that the model reads.
        self._interpreter = interpreter
        self._model = runner._interpreter_wrapper
        self._graph = runner._subgraph_index
        self._places = {n: d["index"] for n, d in self.outputs.items()}
        self._input_places = {n: d["index"] for n, d in self.inputs.items()}
        self._model.AllocateTensors(self._graph)

    def run(self, values):
        """Runs on arrays in the shapes and types of the inputs.

        Args:
            values: `{name: array}`; other names are ignored.
        """
        for name, place in self._input_places.items():
            self._model.SetTensor(place, values[name], self._graph)
        self._model.Invoke(self._graph)

    def output(self, name):
        """A copy of an output of the last run."""
        return self._model.GetTensor(self._places[name], self._graph)
