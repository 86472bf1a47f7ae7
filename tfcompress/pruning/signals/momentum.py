"""Direction of the optimizer."""

from tfcompress.core.nouns import Signal
from tfcompress.core.optimizers import momentum_of, optimizer_of
from tfcompress.core.walk import weight_refs


class Momentum(Signal):
    """The running mean of gradients that the optimizer keeps for each weight.

    `m` for SGD with momentum, `m / (√v + ε)` for Adam and its variants, with ε = 1e-8.
    It is read from the optimizer, so that no data is needed, and has the shape of the
    weight. Weights get no gradient while a `Mask` hides them.

    Raises:
        ValueError: if the optimizer keeps no momentum for a weight.

    Source: Dettmers and Zettlemoyer, "Sparse networks from scratch" (2019), section 3.

    Example:
        >>> tfc.signals.get("momentum")
        Momentum()
    """

    def measure(self, source):
        """The momenta of the optimizer."""
        trained = {ref.path: ref.variable for ref in weight_refs(source.model)}
        return [
            self._of(source.model, weight.ref, trained) for weight in source.weights
        ]

    def _of(self, model, ref, trained):
        variable = trained.get(ref.path, ref.variable)
        momentum = momentum_of(optimizer_of(model, [variable]), variable)
        if momentum is None:
            raise ValueError(
                f"The optimizer of model {model.name!r} keeps no momentum for weight "
                f"{ref.path}. Compile the model with one that does, such as "
                "keras.optimizers.SGD(0.1, momentum=0.9) or Adam, and train it."
            )
        return ref.layout.to_canonical(momentum)
