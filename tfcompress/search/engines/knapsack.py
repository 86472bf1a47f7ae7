"""The choices that harm least by what each does alone, found exactly."""

from tfcompress.core.nouns import SearchEngine
from tfcompress.search import knapsack
from tfcompress.search.macs_cost import macs_cost
from tfcompress.search.space import STRUCTURE

# Of the MACs, where bytes are limited too and channels may go.
_SHARES_OF_MACS = (1.0, 0.75, 0.5, 0.35)


class Knapsack(SearchEngine):
    """Measures what each choice harms alone, and solves for the best sum.

        minimise  Σ_d Ω_d(c_d)    subject to    MACs(c) <= limit,  bytes(c) <= limit

    over all that can be chosen, with the harm `Ω_d(c)` of one choice alone: the squared
    error of the outputs by their spread, with the statistics of batch normalisation
    moved along. Multiply-accumulates are exact: the channels that a layer reads and
    those that it makes count as a product. Where channels may go, structure (channels,
    rank, block) is chosen first, then what is stored (sparsity, bits, clusters); for a
    limit of bytes with several structures, of which the one that scores best is taken.
    Without channels all is chosen at once.

    Source: Yao et al., "HAWQ-V3" (2021), section 3.4, for bits by integer programming;
    Shen et al., "Structural Pruning via Latency-Saliency Knapsack" (2022), for channels
    (without the products).

    Example:
        >>> tfc.search.engines.Knapsack()
        Knapsack()
    """

    def propose(self, study, limits):
        """The member with the least sum of harms."""
        rows = study.space.flat()
        harms = dict(zip(map(_key, rows), study.harms(rows), strict=True))
        if "channels" not in study.space.choices:
            return _chosen(study, rows, harms, limits)
        structure = [row for row in rows if row[0] in STRUCTURE]
        storage = [row for row in rows if row[0] not in STRUCTURE]
        found = [
            _in_stages(study, structure, storage, harms, of_stage)
            for of_stage in _stages(study, limits)
        ]
        found = [member for member in found if member]
        if len(found) < 2:
            return found[0] if found else None
        return max(found, key=study.score)


def _key(row):
    return row[:2]


def _stages(study, limits):
    """Limits of which the structure is to keep that of MACs."""
    if "kernel_bytes" not in limits:
        return [limits]
    total = study.proxy.macs(study.space.neutral())
    most = min(limits.get("macs", total), total)
    return [{**limits, "macs": share * most} for share in _SHARES_OF_MACS]


def _in_stages(study, structure, storage, harms, limits):
    first = _chosen(study, structure, harms, {"macs": limits["macs"]})
    if first is None or not storage:
        return first
    rest = {name: limit for name, limit in limits.items() if name != "macs"}
    return _chosen(study, storage, harms, rest, first)


def _chosen(study, rows, harms, limits, before=None):
    """The member of some rows with the least harm; None if there is none.

    Args:
        study: the `Study`.
        rows: `[(dimension, name, choices)]`.
        harms: `{(dimension, name): array}`.
        limits: `{"macs": ..., "kernel_bytes": ...}`, or some of them.
        before: what was chosen already.
    """
    before = before or {}
    costs = []
    if "macs" in limits:
        costs.append(macs_cost(study.proxy, rows, limits["macs"]))
    if "kernel_bytes" in limits:
        costs.append(_bytes_cost(study.proxy, rows, limits["kernel_bytes"], before))
    found = knapsack.choose([harms[_key(row)] for row in rows], costs)
    if found is None:
        return None
    member = {dimension: dict(names) for dimension, names in before.items()}
    for (dimension, name, choices), column in zip(rows, found, strict=True):
        member.setdefault(dimension, {})[name] = choices[column]
    return member


def _bytes_cost(proxy, rows, limit, before):
    """About what kernels take, as a sum over the layers."""
    shares = proxy.shares(before)
    places = {_key(row): position for position, row in enumerate(rows)}
    cost = knapsack.Cost(limit)
    for path in proxy.layers:
        mine = [row for row in rows if row[1] == path and row[0] != "channels"]
        table = proxy.sizes(path, {d: c for d, _, c in mine}) * shares[path]
        positions = tuple(places[_key(row)] for row in mine)
        if not positions:
            cost.constant += float(table)
            continue
        cost.add(positions, table)
    return cost
