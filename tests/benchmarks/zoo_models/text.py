"""Text models."""

import keras
import numpy as np
from keras import layers, ops

from zoo_models import Specimen, example, noise, words


class TransformerBlock(layers.Layer):
    """Attention and a small network, each with a shortcut."""

    def __init__(self, embed_dim, num_heads, ff_dim, rate=0.1):
        super().__init__()
        self.att = layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
        self.ffn = keras.Sequential(
            [layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)]
        )
        self.layernorm1 = layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = layers.Dropout(rate)
        self.dropout2 = layers.Dropout(rate)

    def call(self, inputs):
        attended = self.dropout1(self.att(inputs, inputs))
        out1 = self.layernorm1(inputs + attended)
        return self.layernorm2(out1 + self.dropout2(self.ffn(out1)))


class TokenAndPosition(layers.Layer):
    """Token embeddings plus position embeddings."""

    def __init__(self, maxlen, vocab_size, embed_dim):
        super().__init__()
        self.token_emb = layers.Embedding(input_dim=vocab_size, output_dim=embed_dim)
        self.pos_emb = layers.Embedding(input_dim=maxlen, output_dim=embed_dim)

    def call(self, x):
        maxlen = ops.shape(x)[-1]
        positions = ops.arange(start=0, stop=maxlen, step=1)
        return self.token_emb(x) + self.pos_emb(positions)


@example
def text_transformer():
    inputs = layers.Input(shape=(20,))
    x = TokenAndPosition(20, 100, 32)(inputs)
    x = TransformerBlock(32, 2, 32)(x)
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
    x = layers.Dense(20, activation="relu")(x)
    outputs = layers.Dense(2, activation="softmax")(x)
    return Specimen(keras.Model(inputs, outputs), words(20, 100).astype("float32"))


@example
def imdb_bidirectional():
    inputs = keras.Input(shape=(16,), dtype="int32")
    x = layers.Embedding(100, 32)(inputs)
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(16))(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return Specimen(keras.Model(inputs, outputs), words(16, 100))


@example
def text_convolution():
    inputs = keras.Input(shape=(32,), dtype="int64")
    x = layers.Embedding(100, 32)(inputs)
    x = layers.Dropout(0.5)(x)
    x = layers.Conv1D(32, 7, padding="valid", activation="relu", strides=3)(x)
    x = layers.Conv1D(32, 7, padding="valid", activation="relu", strides=3)(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dropout(0.5)(layers.Dense(32, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="p")(x))
    return Specimen(model, words(32, 100).astype("int64"))


@example
def pretrained_embedding():
    table = layers.Embedding(100, 24, trainable=False)
    table.build((1,))
    table.set_weights([noise(24, count=100)])
    inputs = keras.Input(shape=(40,), dtype="int32")
    x = table(inputs)
    for _ in range(2):
        x = layers.Conv1D(24, 5, activation="relu")(x)
        x = layers.MaxPooling1D(2)(x)
    x = layers.Dense(24, activation="relu")(layers.GlobalMaxPooling1D()(x))
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
    return Specimen(model, words(40, 100))


@example
def masked_gru():
    model = keras.Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(100, 16, mask_zero=True),
            layers.GRU(16, return_sequences=True),
            layers.GRU(16),
            layers.Dense(3),
        ]
    )
    ids = words(12, 100)
    ids[:, 8:] = 0
    return Specimen(model, ids)


@example
def masked_attention():
    inputs = keras.Input((12,), dtype="int32")
    embedded = layers.Embedding(100, 16, mask_zero=True)(inputs)
    attended = layers.MultiHeadAttention(2, 8)(embedded, embedded)
    x = layers.LayerNormalization()(embedded + attended)
    x = layers.GlobalAveragePooling1D()(x)
    ids = words(12, 100)
    ids[:, 9:] = 0
    return Specimen(keras.Model(inputs, layers.Dense(2)(x)), ids)


@example
def seq2seq_lstm():
    encoder_inputs = keras.Input(shape=(10, 12), name="source")
    encoder = layers.LSTM(24, return_state=True)
    _, state_h, state_c = encoder(encoder_inputs)
    decoder_inputs = keras.Input(shape=(8, 14), name="target")
    decoder = layers.LSTM(24, return_sequences=True, return_state=True)
    outputs, _, _ = decoder(decoder_inputs, initial_state=[state_h, state_c])
    outputs = layers.Dense(14, activation="softmax")(outputs)
    model = keras.Model([encoder_inputs, decoder_inputs], outputs)
    return Specimen(model, [noise(10, 12), noise(8, 14)])


@example
def seq2seq_attention():
    source = keras.Input((10,), dtype="int32", name="source")
    target = keras.Input((8,), dtype="int32", name="target")
    encoder = layers.GRU(24, return_sequences=True, return_state=True)
    encoded, state = encoder(layers.Embedding(50, 16)(source))
    decoded = layers.GRU(24, return_sequences=True)(
        layers.Embedding(60, 16)(target), initial_state=state
    )
    context = layers.AdditiveAttention()([decoded, encoded])
    joined = layers.Concatenate()([decoded, context])
    outputs = layers.TimeDistributed(layers.Dense(60, activation="softmax"))(joined)
    return Specimen(
        keras.Model([source, target], outputs), [words(10, 50), words(8, 60)]
    )


@example
def addition_rnn():
    model = keras.Sequential()
    model.add(layers.Input((7, 12)))
    model.add(layers.LSTM(24))
    model.add(layers.RepeatVector(4))
    model.add(layers.LSTM(24, return_sequences=True))
    model.add(layers.Dense(12, activation="softmax"))
    return Specimen(model, noise(7, 12))


class PositionalEmbedding(layers.Layer):
    """Token and position embeddings, with the mask of the tokens."""

    def __init__(self, sequence_length, vocab_size, embed_dim, **kwargs):
        super().__init__(**kwargs)
        self.token_embeddings = layers.Embedding(vocab_size, embed_dim)
        self.position_embeddings = layers.Embedding(sequence_length, embed_dim)
        self.sequence_length = sequence_length
        self.vocab_size = vocab_size
        self.embed_dim = embed_dim

    def call(self, inputs):
        length = ops.shape(inputs)[-1]
        positions = ops.arange(0, length, 1)
        return self.token_embeddings(inputs) + self.position_embeddings(positions)

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "sequence_length": self.sequence_length,
                "vocab_size": self.vocab_size,
                "embed_dim": self.embed_dim,
            }
        )
        return config


class TransformerEncoder(layers.Layer):
    """Reads the source."""

    def __init__(self, embed_dim, dense_dim, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.embed_dim = embed_dim
        self.attention = layers.MultiHeadAttention(num_heads, key_dim=embed_dim)
        self.dense_proj = keras.Sequential(
            [layers.Dense(dense_dim, activation="relu"), layers.Dense(embed_dim)]
        )
        self.layernorm_1 = layers.LayerNormalization()
        self.layernorm_2 = layers.LayerNormalization()
        self.supports_masking = True

    def call(self, inputs, mask=None):
        padding_mask = None
        if mask is not None:
            padding_mask = ops.cast(mask[:, None, :], dtype="int32")
        attended = self.attention(
            query=inputs, value=inputs, key=inputs, attention_mask=padding_mask
        )
        projected = self.layernorm_1(inputs + attended)
        return self.layernorm_2(projected + self.dense_proj(projected))


class TransformerDecoder(layers.Layer):
    """Writes the target, seeing only previous words."""

    def __init__(self, embed_dim, latent_dim, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.attention_1 = layers.MultiHeadAttention(num_heads, key_dim=embed_dim)
        self.attention_2 = layers.MultiHeadAttention(num_heads, key_dim=embed_dim)
        self.dense_proj = keras.Sequential(
            [layers.Dense(latent_dim, activation="relu"), layers.Dense(embed_dim)]
        )
        self.layernorm_1 = layers.LayerNormalization()
        self.layernorm_2 = layers.LayerNormalization()
        self.layernorm_3 = layers.LayerNormalization()
        self.supports_masking = True

    def call(self, inputs, mask=None):
        inputs, encoder_outputs = inputs
        causal_mask = self.causal_mask(inputs)
        inputs_padding, source_padding = (None, None) if mask is None else mask
        out_1 = self.attention_1(
            query=inputs,
            value=inputs,
            key=inputs,
            attention_mask=causal_mask,
            query_mask=inputs_padding,
        )
        out_1 = self.layernorm_1(inputs + out_1)
        out_2 = self.attention_2(
            query=out_1,
            value=encoder_outputs,
            key=encoder_outputs,
            query_mask=inputs_padding,
            key_mask=source_padding,
        )
        out_2 = self.layernorm_2(out_1 + out_2)
        return self.layernorm_3(out_2 + self.dense_proj(out_2))

    def causal_mask(self, inputs):
        shape = ops.shape(inputs)
        i = ops.arange(shape[1])[:, None]
        mask = ops.cast(i >= ops.arange(shape[1]), dtype="int32")
        mask = ops.reshape(mask, (1, shape[1], shape[1]))
        return ops.tile(mask, (shape[0], 1, 1))


@example
def translation_transformer():
    source = keras.Input(shape=(10,), dtype="int64", name="encoder_inputs")
    x = PositionalEmbedding(10, 60, 24)(source)
    encoded = TransformerEncoder(24, 48, 2)(x)
    encoder_model = keras.Model(source, encoded)
    target = keras.Input(shape=(8,), dtype="int64", name="decoder_inputs")
    states = keras.Input(shape=(10, 24), name="decoder_state_inputs")
    x = PositionalEmbedding(8, 60, 24)(target)
    x = TransformerDecoder(24, 48, 2)([x, states])
    x = layers.Dense(60, activation="softmax")(layers.Dropout(0.5)(x))
    decoder = keras.Model([target, states], x)
    outputs = decoder([target, encoder_model(source)])
    model = keras.Model({"encoder_inputs": source, "decoder_inputs": target}, outputs)
    inputs = {
        "encoder_inputs": words(10, 60).astype("int64"),
        "decoder_inputs": words(8, 60).astype("int64"),
    }
    return Specimen(model, inputs)


def _causal_attention_mask(batch, length, dtype):
    i = ops.arange(length)[:, None]
    mask = ops.cast(i >= ops.arange(length), dtype)
    return ops.tile(ops.reshape(mask, [1, length, length]), [batch, 1, 1])


class CausalBlock(TransformerBlock):
    """The same, seeing only previous words."""

    def call(self, inputs):
        shape = ops.shape(inputs)
        mask = _causal_attention_mask(shape[0], shape[1], "bool")
        attended = self.dropout1(self.att(inputs, inputs, attention_mask=mask))
        out1 = self.layernorm1(inputs + attended)
        return self.layernorm2(out1 + self.dropout2(self.ffn(out1)))


@example
def miniature_gpt():
    inputs = layers.Input(shape=(16,), dtype="int32")
    x = TokenAndPosition(16, 80, 24)(inputs)
    x = CausalBlock(24, 2, 24)(x)
    outputs = layers.Dense(80)(x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return Specimen(
        keras.Model(inputs, [outputs, x]),
        words(16, 80),
        compile={"optimizer": "adam", "loss": [loss, None]},
        targets=words(16, 80),
    )


class FNetEncoder(layers.Layer):
    """Fourier transforms in place of attention."""

    def __init__(self, embed_dim, dense_dim, **kwargs):
        super().__init__(**kwargs)
        self.dense_proj = keras.Sequential(
            [layers.Dense(dense_dim, activation="relu"), layers.Dense(embed_dim)]
        )
        self.layernorm_1 = layers.LayerNormalization()
        self.layernorm_2 = layers.LayerNormalization()

    def call(self, inputs):
        real, _ = ops.fft2((inputs, ops.zeros_like(inputs)))
        projected = self.layernorm_1(inputs + real)
        return self.layernorm_2(projected + self.dense_proj(projected))


@example
def fnet_text():
    inputs = keras.Input((16,), dtype="int32")
    x = FNetEncoder(32, 48)(TokenAndPosition(16, 80, 32)(inputs))
    x = layers.GlobalAveragePooling1D()(x)
    return Specimen(keras.Model(inputs, layers.Dense(2)(x)), words(16, 80))


class Router(layers.Layer):
    """Sends each token to one expert, as far as it has capacity."""

    def __init__(self, num_experts, capacity):
        self.num_experts = num_experts
        self.capacity = capacity
        super().__init__()
        self.route = layers.Dense(units=num_experts)

    def call(self, inputs, training=False):
        logits = self.route(inputs)
        probabilities = keras.activations.softmax(logits, axis=-1)
        gate, index = ops.top_k(probabilities, k=1)
        mask = ops.one_hot(ops.squeeze(index, -1), self.num_experts)
        position = ops.cast(ops.cumsum(mask, axis=0) * mask, "int32")
        mask = mask * ops.cast(ops.less(position, self.capacity), "float32")
        flat = ops.sum(mask, axis=-1)
        place = ops.one_hot(ops.max(position, axis=-1), self.capacity)
        combined = (gate * flat[:, None] * mask)[:, :, None] * place[:, None, :]
        self.add_loss(ops.mean(ops.mean(probabilities, 0) * ops.mean(mask, 0)))
        return ops.cast(combined > 0, "float32"), combined


class Switch(layers.Layer):
    """A layer of experts."""

    def __init__(self, num_experts, embed_dim, ff_dim, tokens):
        self.num_experts, self.embed_dim = num_experts, embed_dim
        self.capacity = tokens // num_experts
        super().__init__()
        self.experts = [
            keras.Sequential(
                [layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)]
            )
            for _ in range(num_experts)
        ]
        self.router = Router(num_experts, self.capacity)

    def call(self, inputs):
        length = inputs.shape[1]
        flat = ops.reshape(inputs, [-1, self.embed_dim])
        dispatch, combine = self.router(flat)
        fed = ops.einsum("ab,acd->cdb", flat, dispatch)
        fed = ops.reshape(fed, [self.num_experts, self.capacity, self.embed_dim])
        made = [
            self.experts[i](each) for i, each in enumerate(ops.unstack(fed, axis=0))
        ]
        output = ops.einsum("abc,xba->xc", ops.stack(made, axis=1), combine)
        return ops.reshape(output, [-1, length, self.embed_dim])


@example
def switch_transformer():
    inputs = keras.Input((16,), dtype="int32")
    x = TokenAndPosition(16, 80, 24)(inputs)
    attended = layers.MultiHeadAttention(2, 24)(x, x)
    x = layers.LayerNormalization(epsilon=1e-6)(x + attended)
    x = layers.LayerNormalization(epsilon=1e-6)(x + Switch(3, 24, 32, 64)(x))
    x = layers.Dropout(0.1)(layers.GlobalAveragePooling1D()(x))
    outputs = layers.Dense(2, activation="softmax")(x)
    return Specimen(keras.Model(inputs, outputs), words(16, 80))


class MaskedLanguageModel(keras.Model):
    """A functional model whose training step weights positions."""

    def train_step(self, inputs):
        import tensorflow as tf

        features, labels = inputs
        with tf.GradientTape() as tape:
            predictions = self(features, training=True)
            loss = ops.mean(
                keras.losses.sparse_categorical_crossentropy(labels, predictions)
            )
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        return {"masked_loss": loss}


@example
def masked_language_model():
    inputs = layers.Input((16,), dtype="int64")
    word = layers.Embedding(80, 24, name="word_embedding")(inputs)
    position = layers.Embedding(16, 24, name="position_embedding")(
        np.arange(16, dtype="int64")
    )
    x = word + position
    for number in range(2):
        attention = layers.MultiHeadAttention(2, 12, name=f"encoder_{number}_att")(x, x)
        x = layers.LayerNormalization()(x + layers.Dropout(0.1)(attention))
        ffn = keras.Sequential(
            [layers.Dense(24, activation="relu"), layers.Dense(24)],
            name=f"encoder_{number}_ffn",
        )
        x = layers.LayerNormalization()(x + ffn(x))
    outputs = layers.Dense(80, name="mlm_cls", activation="softmax")(x)
    return Specimen(
        MaskedLanguageModel(inputs, outputs, name="masked_bert"),
        words(16, 80).astype("int64"),
        compile={"optimizer": "adam"},
        targets=words(16, 80),
        logs=("masked_loss",),
    )


class NERModel(keras.Model):
    """A tag for each word."""

    def __init__(self, num_tags, vocab_size, maxlen=16, embed_dim=24, ff_dim=24):
        super().__init__()
        self.embedding_layer = TokenAndPosition(maxlen, vocab_size, embed_dim)
        self.transformer_block = TransformerBlock(embed_dim, 2, ff_dim)
        self.dropout1 = layers.Dropout(0.1)
        self.ff = layers.Dense(ff_dim, activation="relu")
        self.dropout2 = layers.Dropout(0.1)
        self.ff_final = layers.Dense(num_tags, activation="softmax")

    def call(self, inputs, training=False):
        x = self.embedding_layer(inputs)
        x = self.transformer_block(x)
        x = self.dropout1(x, training=training)
        x = self.dropout2(self.ff(x), training=training)
        return self.ff_final(x)


@example
def named_entities():
    return Specimen(NERModel(5, 80), words(16, 80))


@example
def text_vectorization():
    vectorizer = layers.TextVectorization(max_tokens=50, output_sequence_length=8)
    texts = ["the cat sat", "a dog ran off", "the dog sat", "a cat"] * 2
    vectorizer.adapt(texts)
    model = keras.Sequential(
        [
            keras.Input(shape=(1,), dtype="string"),
            vectorizer,
            layers.Embedding(50, 16),
            layers.GlobalAveragePooling1D(),
            layers.Dense(16, activation="relu"),
            layers.Dense(1),
        ]
    )
    return Specimen(model, np.array(texts)[:, None])
