"""Heads and widths of blocks that are layers of someone's own."""

import numpy as np
import pytest

import tfcompress as tfc
from tests import composites
from tfcompress.core.walk import weight_refs


@pytest.fixture(scope="module")
def bert():
    return composites.bert()


@pytest.fixture(scope="module")
def llama():
    return composites.llama()


def shapes(model):
    return {ref.path: tuple(ref.variable.shape) for ref in weight_refs(model)}


def test_groups_of_an_encoder(bert):
    groups = tfc.channel_groups(bert)
    sizes = sorted(group.size for group in groups if group.whole is None)
    # The residual stream; in each block heads and the feed-forward width.
    assert sizes == [4, 4, 16, 24, 24]
    assert groups["block_0/wide"].layers("input") == ["block_0>thin"]


def test_half_of_an_encoder(bert):
    small = shapes(tfc.prune_channels(bert, 0.5))
    assert small["table/embeddings"] == (20, 8)
    assert small["block_1/attention/query/kernel"] == (8, 2, 4)
    assert small["block_1/attention/attention_output/kernel"] == (2, 4, 8)
    assert small["block_1/wide/kernel"] == (8, 12)
    assert small["block_1/scale"] == (8,)
    assert small["head/kernel"] == (8, 3)


def test_rules_choose_what_is_cut(bert):
    small = shapes(tfc.prune_channels(bert, {"block_0/wide": 0.25, ".*/query": 0.5}))
    assert small["block_0/wide/kernel"] == (16, 18)
    assert small["block_1/wide/kernel"] == (16, 24)
    assert small["block_1/attention/query/kernel"] == (16, 2, 4)
    assert small["block_1/attention/value/kernel"] == (16, 2, 4)


def test_shared_heads_leave_with_their_queries(llama):
    groups = tfc.channel_groups(llama)
    heads = groups["block_0/attention/key"]
    assert heads.size == 2
    assert set(heads.layers("output")) == {
        f"block_0>attention>{name}" for name in ("query", "key", "value")
    }
    small = shapes(tfc.prune_channels(llama, {"block_0/attention/key": 0.5}))
    assert small["block_0/attention/key/kernel"] == (16, 1, 4)
    assert small["block_0/attention/query/kernel"] == (16, 2, 4)
    assert small["block_0/attention/output/kernel"][0] == 2


def test_widths_that_rotate_stay(llama):
    small = shapes(tfc.prune_channels(llama, 0.5))
    assert small["block_0/attention/query/kernel"] == (8, 2, 4)
    assert small["block_0/attention/value/kernel"] == (8, 1, 2)
    assert small["block_0/gate/kernel"] == small["block_0/wide/kernel"] == (8, 12)
    assert small["block_0/norm_1/scale"] == (8,)


def test_a_target_is_met(llama):
    small = tfc.prune_channels(llama, target_parameters=0.5)
    assert 0.4 * llama.count_params() < small.count_params()
    assert small.count_params() <= 0.5 * llama.count_params()


def test_channels_that_nothing_reads_leave_without_a_difference():
    model = composites.llama()
    thin = next(
        ref.variable for ref in weight_refs(model) if ref.path == "block_0/thin/kernel"
    )
    value = thin.numpy()
    value[::2] = 0
    thin.assign(value)
    small = tfc.shrink(model)
    assert shapes(small)["block_0/gate/kernel"] == (16, 12)
    words = np.arange(12).reshape(2, 6)
    np.testing.assert_allclose(small(words), model(words), rtol=1e-4, atol=1e-5)


def test_channels_of_composites_are_masked_in_training(llama):
    masked = tfc.compress(llama, {".*": "mask", ".*/bias": "mask"})
    pruning = tfc.callbacks.ChannelPruning({"block_.*/wide": 0.5})
    pruning.set_model(masked)
    pruning.update(step=1)
    small = tfc.shrink(masked)
    assert shapes(small)["block_0/gate/kernel"] == (16, 12)
    words = np.arange(12).reshape(2, 6)
    np.testing.assert_allclose(small(words), masked(words), rtol=1e-4, atol=1e-5)
