"""Penalties minimized down to exact zeros."""

from tfcompress.core.kinds import Converted, checked
from tfcompress.core.nouns import Regularizer
from tfcompress.core.rules import Rule, Rules, check_used, last_match
from tfcompress.core.walk import weight_refs
from tfcompress.pruning.penalties.each_step import EachStep


def _regularizers(value):
    values = value if isinstance(value, (list, tuple)) else [value]
    return [Regularizer.get(one) for one in values]


_RULES = Rules(
    Converted(_regularizers, "regularizers"),
    "regularizers",
    "{'.*': tfc.regularizers.L1(1e-4)}",
    least=1,
)


class ProximalStep(EachStep):
    """Minimizes penalties with proximal steps, so that weights become exactly zero.

    After each step of the optimizer, `w ← argmin_v ½‖v - w‖² + η r(v)` with the
    learning rate `η` and the penalty `r`. Gradients of a penalty such as L1 never lead
    exactly to zero; this does, and is stable for any strength. The penalty must not be
    in the loss as well. With optimizers that scale gradients, such as Adam, the step
    stays `η` for all weights, as in decoupled weight decay: the penalty then affects
    all weights equally, whatever their gradients. Groups that the loss pulls back by
    scaled gradients hardly ever become zero: train with SGD where groups should go.

    Zeros stay zero only as long as the loss does not pull them away. If they must stay,
    add masks afterwards, which keep zeros: `tfc.compress(model, {".*": "mask"})`.

    Args:
        rules: `{pattern: regularizer or list of regularizers}`, patterns as in
            `tfc.compress`, which cover kernels unless they name another weight. Those
            in a list are applied in order; if their groups overlap, as those of filters
            and channels do, that approximates the step of their sum.

    Raises:
        ValueError: if a rule matches nothing, or a weight has no such groups.

    Source: Parikh and Boyd, "Proximal Algorithms" (2014), section 4.2; for filters Zhou et
    al., "Less Is More: Towards Compact CNNs" (2016).

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        >>> model.compile("sgd", "mse")
        >>> x, y = np.zeros((32, 8)), np.zeros((32, 4))
        >>> step = ProximalStep({".*": tfc.regularizers.L1(10.0)})
        >>> _ = model.fit(x, y, epochs=9, verbose=0, callbacks=[step])
        >>> tfc.report(model).sparsity > 0.5
        True
    """

    @checked
    def __init__(self, rules: _RULES):
        super().__init__()
        self.rules = rules

    def set_model(self, model):
        """Finds the weights."""
        super().set_model(model)
        rules = [Rule(pattern, value) for pattern, value in self.rules.items()]
        refs = weight_refs(model)
        found = [(ref, last_match(rules, ref)) for ref in refs]
        check_used(rules, refs)
        self._steps = [
            (ref.variable, _Proximal([r.of_layout(ref.layout) for r in rule.value]))
            for ref, rule in found
            if rule
        ]

    def _moves(self):
        """The proximal step of each weight."""
        return self._steps


class _Proximal:
    """One proximal step after another."""

    def __init__(self, regularizers):
        self.regularizers = regularizers

    def __call__(self, weight, learning_rate, step):
        for regularizer in self.regularizers:
            weight = regularizer.proximal(weight, learning_rate)
        return weight
