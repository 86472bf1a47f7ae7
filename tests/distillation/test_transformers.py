"""Attention, hidden states and fewer layers, by hand and in training."""

import keras
import numpy as np
import pytest

from tfcompress import distillation
from tfcompress.core.walk import sublayers
from tfcompress.distillation import AttentionRelations, AttentionScores, drop_layers

L = keras.layers
_GENERATOR = np.random.default_rng(0)


def transformer(depth, width=8, heads=2, key_dim=4):
    x = keras.Input((5, 6))
    y = L.Dense(width, name="embeddings")(x)
    for i in range(1, depth + 1):
        attention = L.MultiHeadAttention(heads, key_dim, name=f"attention{i}")
        y = L.Add(name=f"middle{i}")([y, attention(y, y)])
        y = L.LayerNormalization(name=f"norm{i}")(y)
        y = L.Add(name=f"end{i}")([y, L.Dense(width, "gelu", name=f"dense{i}")(y)])
    y = L.GlobalAveragePooling1D()(y)
    return keras.Model(x, L.Dense(3, name="head")(y))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def draw(*shape):
    return _GENERATOR.normal(size=shape)


def test_attention_scores_closed_form():
    student = [draw(3, 5, 2, 4) for _ in range(4)]
    teacher = [draw(3, 5, 2, 9) for _ in range(4)]

    def scores(q, k):
        return np.einsum("btnd,bsnd->bnts", q, k) / np.sqrt(q.shape[-1])

    expected = sum(
        np.mean(
            (scores(*student[i : i + 2]) - scores(*teacher[i : i + 2])) ** 2, (1, 2, 3)
        )
        for i in (0, 2)
    )
    np.testing.assert_allclose(AttentionScores()(student, teacher), expected, rtol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_relations_closed_form(causal):
    student = [draw(3, 5, 2, 4) for _ in range(3)]
    teacher = [draw(3, 5, 2, 9) for _ in range(3)]

    def relation(q, k):
        z = np.einsum("btnd,bsnd->bnts", q, k) / np.sqrt(q.shape[-1])
        return softmax(np.where(np.tri(5), z, -np.inf) if causal else z)

    expected = 0.0
    for i, j in ((0, 1), (2, 2)):
        p, q = relation(teacher[i], teacher[j]), relation(student[i], student[j])
        terms = p * np.log(np.where(p > 0, p, 1) / np.where(q > 0, q, 1))
        expected = expected + terms.sum(-1).mean((1, 2))
    loss = AttentionRelations(causal=causal)
    np.testing.assert_allclose(loss(student, teacher), expected, rtol=1e-4)


def test_the_scores_are_those_of_the_layer():
    model = transformer(1)
    layer, x = model.get_layer("attention1"), draw(2, 5, 8).astype("float32")
    _, attention = layer(x, x, return_attention_scores=True)
    inside = {sub.name: sub for sub in sublayers(layer)}
    query, key = inside["query"](x), inside["key"](x)
    loss = distillation.losses.attention_scores
    np.testing.assert_allclose(
        softmax(np.asarray(loss.scores(query, key))), attention, rtol=1e-4
    )


def test_trains_a_student_from_pairs_of_layers():
    keras.utils.set_random_seed(0)
    teacher, student = transformer(4, width=16, key_dim=8), transformer(2)
    losses = [
        "attention_scores",
        {"attention_relations": {"student_layers": ["attention2"]}},
        {
            "hints": {
                "student_layers": ["end1", "end2"],
                "teacher_layers": ["end2", "end4"],
            }
        },
    ]
    losses[1]["attention_relations"]["teacher_layers"] = ["attention4"]
    distiller = distillation.Distiller(student, teacher, losses)
    distiller.compile(keras.optimizers.Adam(0.02))
    x = draw(64, 5, 6).astype("float32")
    history = distiller.fit(x, epochs=15, batch_size=64, verbose=0).history
    for name in ("attention_scores", "attention_relations", "hints"):
        assert history[name][-1] < 0.8 * history[name][0]


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (transformer(2), transformer(1), "student has 2 layers .* teacher 1"),
        (transformer(1, heads=4), transformer(1), "same number of heads"),
        (
            keras.Sequential([keras.Input((5, 6)), L.Flatten(), L.Dense(3)]),
            transformer(1),
            "no layer with query, key inside",
        ),
    ],
)
def test_attention_that_cannot_be_compared(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        distillation.Distiller(student, teacher, "attention_scores")


def test_dropped_blocks_pass_their_input_on():
    model = transformer(4)
    states = ["embeddings", *(f"end{i}" for i in range(1, 5))]
    x = draw(3, 5, 6).astype("float32")
    every_second = drop_layers(model, states)
    names = {layer.name for layer in every_second.layers}
    assert {"attention1", "dense3", "end3"} <= names
    assert not {"attention2", "norm4", "end2"} & names
    # By hand: only blocks 1 and 3 run.
    y = model.get_layer("embeddings")(x)
    for i in (1, 3):
        y = y + model.get_layer(f"attention{i}")(y, y)
        y = model.get_layer(f"norm{i}")(y)
        y = y + model.get_layer(f"dense{i}")(y)
    expected = model.get_layer("head")(keras.ops.mean(y, axis=1))
    np.testing.assert_allclose(every_second(x), expected, rtol=1e-4, atol=1e-5)
    whole = drop_layers(model, states, keep=[1, 2, 3, 4])
    np.testing.assert_allclose(whole(x), model(x), rtol=1e-5, atol=1e-6)
    last = drop_layers(model, states, keep=[4])
    assert "attention4" in {layer.name for layer in last.layers}
    assert last.count_params() < every_second.count_params() < model.count_params()


@pytest.mark.parametrize(
    ("states", "keep", "message"),
    [
        (["embeddings", "end9"], None, "no layer 'end9'.*end1"),
        (["embeddings", "head"], None, "same shape"),
        (["embeddings"], None, "at least two layers"),
        (["embeddings", "end1"], [2], "there is no block 2"),
    ],
)
def test_states_that_are_none(states, keep, message):
    with pytest.raises(ValueError, match=message):
        drop_layers(transformer(1), states, keep)
