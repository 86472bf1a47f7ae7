"""Layers made of other layers, of the forms that libraries of transformers use."""

import keras

L = keras.layers
ops = keras.ops


class Encoder(L.Layer):
    """A block of BERT, with an own variable."""

    def __init__(self, num_heads=4, width=24, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.width = num_heads, width
        self.supports_masking = True

    def build(self, shape):
        size = shape[-1]
        self.attention = L.MultiHeadAttention(
            self.num_heads, size // self.num_heads, name="attention"
        )
        self.attention.build(shape, shape)
        self.attention_norm = L.LayerNormalization(name="attention_norm")
        self.attention_norm.build(shape)
        self.wide = L.Dense(self.width, activation="gelu", name="wide")
        self.wide.build(shape)
        self.thin = L.Dense(size, name="thin")
        self.thin.build((*shape[:-1], self.width))
        self.norm = L.LayerNormalization(name="norm")
        self.norm.build(shape)
        self.dropout = L.Dropout(0.1, name="dropout")
        self.scale = self.add_weight(name="scale", shape=(size,), initializer="ones")

    def call(self, x, padding_mask=None, training=None):
        mask = None
        if padding_mask is not None:
            mask = ops.cast(ops.expand_dims(padding_mask, 1), "bool")
        y = self.attention(x, x, attention_mask=mask)
        x = self.attention_norm(x + self.dropout(y, training=training))
        return self.norm(x + self.thin(self.wide(x)) * self.scale)

    def get_config(self):
        own = {"num_heads": self.num_heads, "width": self.width}
        return {**super().get_config(), **own}


class RootMeanSquare(L.Layer):
    """Normalization without Keras' layer for it."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=shape[-1:], initializer="ones")

    def call(self, x):
        power = ops.mean(ops.square(x), axis=-1, keepdims=True)
        return x * ops.rsqrt(power + 1e-6) * self.scale


class Rotary(L.Layer):
    """Rotates halves of each head by angles that depend on the position."""

    def call(self, x):
        length, size = x.shape[1], x.shape[-1]
        rates = 10.0 ** -(ops.arange(size // 2, dtype="float32") / size)
        angles = ops.arange(length, dtype="float32")[:, None, None] * rates
        first, second = ops.split(x, 2, axis=-1)
        sine, cosine = ops.sin(angles), ops.cos(angles)
        return ops.concatenate(
            [first * cosine - second * sine, second * cosine + first * sine], axis=-1
        )


class GroupedAttention(L.Layer):
    """Causal attention in which several heads of queries share one of keys and values."""

    def __init__(self, num_heads=4, num_shared=2, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.num_shared = num_heads, num_shared

    def build(self, shape):
        size = shape[-1]
        head = size // self.num_heads

        def projection(name, heads):
            made = L.EinsumDense("abc,cde->abde", (None, heads, head), name=name)
            made.build(shape)
            return made

        self.query = projection("query", self.num_heads)
        self.key = projection("key", self.num_shared)
        self.value = projection("value", self.num_shared)
        self.rotary = Rotary(name="rotary")
        self.output_dense = L.EinsumDense("abde,dec->abc", (None, size), name="output")
        self.output_dense.build((None, None, self.num_heads, head))

    def call(self, x):
        batch, length = ops.shape(x)[0], ops.shape(x)[1]
        query, key = self.rotary(self.query(x)), self.rotary(self.key(x))
        times = self.num_heads // self.num_shared
        key = ops.repeat(key, times, axis=2)
        value = ops.repeat(self.value(x), times, axis=2)
        scores = ops.einsum("aqhe,akhe->ahqk", query, key) * query.shape[-1] ** -0.5
        places = ops.arange(length)
        mask = ops.broadcast_to(
            places[:, None] >= places[None, :], (batch, length, length)
        )
        scores = ops.where(ops.expand_dims(mask, 1), scores, -1e9)
        mixed = ops.einsum("ahqk,akhe->aqhe", ops.softmax(scores), value)
        return self.output_dense(mixed), None


class Decoder(L.Layer):
    """A block of Llama: rotary grouped-query attention, and a gated feed-forward part."""

    def __init__(self, width=24, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, shape):
        self.attention = GroupedAttention(name="attention")
        self.attention.build(shape)
        self.norms = [RootMeanSquare(name="norm_1"), RootMeanSquare(name="norm_2")]
        for norm in self.norms:
            norm.build(shape)
        self.gate = L.Dense(self.width, "silu", use_bias=False, name="gate")
        self.wide = L.Dense(self.width, use_bias=False, name="wide")
        self.thin = L.Dense(shape[-1], use_bias=False, name="thin")
        for dense in (self.gate, self.wide):
            dense.build(shape)
        self.thin.build((*shape[:-1], self.width))

    def call(self, x):
        mixed, _ = self.attention(self.norms[0](x))
        x = x + mixed
        y = self.norms[1](x)
        return x + self.thin(self.gate(y) * self.wide(y))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


def _classifier(block, count, *arguments):
    words = keras.Input((6,), dtype="int32", name="words")
    x = L.Embedding(20, 16, name="table")(words)
    inputs = [words]
    for number in range(count):
        x = block(name=f"block_{number}")(x, *arguments)
    inputs += arguments
    return keras.Model(inputs, L.Dense(3, name="head")(x[:, 0]))


def bert():
    """Two blocks of encoders with masks, and a classifier."""
    return _classifier(Encoder, 2, keras.Input((6,), dtype="int32", name="mask"))


def llama():
    """A block of decoders, and a classifier of the first word."""
    return _classifier(Decoder, 1)
