"""Where the optimizer has been heading."""

from tfcompress.core.nouns import Signal
from tfcompress.core.optimizers import momentum_of, optimizer_of
from tfcompress.core.walk import weight_refs


class Momentum(Signal):
    """The running mean of gradients that the optimizer keeps of each weight.

    `m` of SGD with momentum, `m / (√v + ε)` of Adam and its like, with ε = 1e-8. It is
    read off the optimizer, so that no data are needed, and has the shape of the weight.
    What a `Mask` hides gets no gradient while it does.

    Raises:
        ValueError: if the optimizer keeps no momentum of a weight.

    Source: Dettmers and Zettlemoyer, "Sparse networks from scratch" (2019), section 3.

    Example:
        >>> tfc.signals.get("momentum")
        Momentum()
    """

    def measure(self, source):
        """What the optimizer keeps."""
        trained = {ref.path: ref.variable for ref in weight_refs(source.model)}
        return [
            self._of(source.model, weight.ref, trained) for weight in source.weights
        ]

    def _of(self, model, ref, trained):
        variable = trained.get(ref.path, ref.variable)
        momentum = momentum_of(optimizer_of(model, [variable]), variable)
        if momentum is None:
            raise ValueError(
                f"The optimizer of model {model.name!r} keeps no momentum of weight "
                f"{ref.path}. Compile the model with one that does, such as "
                "keras.optimizers.SGD(0.1, momentum=0.9) or Adam, and train it."
            )
        return ref.layout.to_canonical(momentum)
