"""Methods of post-training quantization, the cheapest first."""

from tfcompress.core.nouns import SearchEngine
from tfcompress.search.space import MODEL


class Ladder(SearchEngine):
    """Tries one quantization method after another until a file is accurate enough.

    The rungs are those of `tfc.quantize_ladder`, in order of cost: the converter alone;
    clipping ranges, with kernels rounded to the nearest level; the same after equalization;
    and, on the better of these two, bias correction, GPTQ and AdaRound. `space` may select
    some of them. With a budget of `"accuracy_drop"`, the first rung within it is the
    result. Channels, bits and other dimensions of layers are not chosen.

    Source: the order follows Nagel et al., "A White Paper on Neural Network
    Quantization" (2021), section 3.

    Example:
        >>> tfc.search.engines.Ladder()
        Ladder()
    """

    chooses_methods = True

    def propose(self, study, limits):
        """The next rung; None after the last one."""
        tried = {_key(c.member): c for c in study.candidates}
        for member in self._rungs(study.space, tried):
            if _key(member) not in tried:
                return member
        return None

    def _rungs(self, space, tried):
        rounding = space.choices.get("rounding", {MODEL: (None,)})[MODEL]
        equalization = space.choices.get("equalization", {MODEL: (False,)})[MODEL]
        simple = [one for one in (None, "nearest") if one in rounding]
        pairs = [(False, one) for one in simple]
        pairs += [(True, simple[-1])] if True in equalization else []
        for pair in pairs:
            yield _member(space, *pair)
        # By now all of these have been tried.
        bases = [pair for pair in pairs if pair[1] == simple[-1]]
        is_equalized, _ = max(bases, key=lambda pair: _accuracy(tried, space, pair))
        for one in rounding:
            if one not in simple:
                yield _member(space, is_equalized, one)


def _member(space, is_equalized, rounding):
    chosen = {"equalization": is_equalized, "rounding": rounding}
    return {name: {MODEL: chosen[name]} for name in space.choices}


def _accuracy(tried, space, pair):
    return tried[_key(_member(space, *pair))].accuracy


def _key(member):
    return repr(sorted(member.items()))
