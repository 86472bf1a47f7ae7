"""Describes binary layers."""

import collections
import dataclasses


@dataclasses.dataclass(frozen=True)
class BinaryLayer:
    """What became of a layer whose kernel has two or three values.

    Attributes:
        name: name of the layer.
        operation: operation in the file, such as `"tfc.BConv2D"`; None if the layer stays
            ordinary.
        bits: bits per weight, 1 or 2 (ternary).
        input: `"bits"`; `"signs"` of values; or `"values"`.
        output: `"bits"` or `"values"`.
        reason: why it stays ordinary, or why it writes values although a sign follows;
            None otherwise.

    Example:
        >>> sign = tfc.layers.QuantizedActivation("sign")
        >>> dense = keras.layers.Dense(4, name="d")
        >>> model = keras.Sequential([keras.Input((64,)), sign, dense])
        >>> model = tfc.compress(model, {"d": "binary"})
        >>> result = tfc.export_tflite(model, tmp_path / "m.tflite", verify=False)
        >>> print(result.binary[0])
        d: tfc.BDense, 1 bit, signs -> values
    """

    name: str
    operation: str | None
    bits: int
    input: str = "values"
    output: str = "values"
    reason: str | None = None

    def __str__(self):
        if not self.operation:
            return f"{self.name}: stays ordinary: {self.reason}"
        bits = "1 bit" if self.bits == 1 else f"{self.bits} bits"
        text = f"{self.name}: {self.operation}, {bits}, {self.input} -> {self.output}"
        return f"{text} ({self.reason})" if self.reason else text


def binary_lines(layers):
    """One line per kind of binary layer, with the names of layers with a reason."""
    groups = collections.defaultdict(list)
    for layer in layers:
        text = str(layer).removeprefix(f"{layer.name}: ")
        groups[text].append(layer.name)
    return [f"binary: {text}: {', '.join(names)}" for text, names in groups.items()]
