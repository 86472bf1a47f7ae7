"""Architectures that keras.applications does not have, small and untrained.

All return logits, the classes on the last axis.
"""

import keras

L = keras.layers


def small_vit(size=32, patch=8, width=48, num_heads=3, depth=2, num_classes=10):
    """A vision transformer: patches, learned positions, pre-norm blocks, mean pooling."""
    x = keras.Input((size, size, 3), name="image")
    y = L.Conv2D(width, patch, strides=patch, name="patches")(x)
    tokens = ((size // patch) ** 2, width)
    y = L.Reshape(tokens, name="tokens")(y)
    # Its bias, one for each token and channel, is the position embedding.
    y = L.EinsumDense("btc,cd->btd", tokens, bias_axes="td", name="positions")(y)
    for number in range(1, depth + 1):
        y = _transformer_block(y, f"block{number}", num_heads)
    y = L.LayerNormalization(epsilon=1e-6, name="norm")(y)
    y = L.GlobalAveragePooling1D(name="pool")(y)
    return keras.Model(x, L.Dense(num_classes, name="head")(y), name="small_vit")


def _transformer_block(x, name, num_heads, expansion=2):
    width = x.shape[-1]
    attention = L.MultiHeadAttention(
        num_heads, width // num_heads, name=f"{name}_attention"
    )
    y = L.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
    x = L.Add(name=f"{name}_add1")([x, attention(y, y)])
    y = L.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
    y = L.Dense(expansion * width, activation="gelu", name=f"{name}_wide")(y)
    y = L.Dropout(0.1, name=f"{name}_dropout")(y)
    y = L.Dense(width, name=f"{name}_narrow")(y)
    return L.Add(name=f"{name}_add2")([x, y])


def lstm(length=12, vocabulary=100, width=16, num_classes=5):
    """A text classifier: word vectors, a bidirectional LSTM, another one, a head."""
    x = keras.Input((length,), dtype="int32", name="words")
    # Vectors as large as trained ones: Keras' own would let the signal die out.
    initializer = keras.initializers.RandomUniform(-1.0, 1.0)
    y = L.Embedding(vocabulary, width, initializer, name="vectors")(x)
    y = L.Bidirectional(L.LSTM(width, return_sequences=True), name="both_ways")(y)
    y = L.LSTM(width, name="summary")(y)
    return keras.Model(x, L.Dense(num_classes, name="head")(y), name="lstm")


def unet(size=32, width=8, depth=2, num_classes=3):
    """A segmentation network whose decoder sees what the encoder saw at its size."""
    x = y = keras.Input((size, size, 3), name="image")
    skips = []
    for level in range(depth):
        y = _double_convolution(y, width << level, f"down{level}")
        skips.append(y)
        y = L.MaxPooling2D(name=f"down{level}_pool")(y)
    y = _double_convolution(y, width << depth, "bottom")
    for level in reversed(range(depth)):
        y = L.Conv2DTranspose(width << level, 2, strides=2, name=f"up{level}_grow")(y)
        y = L.Concatenate(name=f"up{level}_concat")([skips[level], y])
        y = _double_convolution(y, width << level, f"up{level}")
    return keras.Model(x, L.Conv2D(num_classes, 1, name="head")(y), name="unet")


def _double_convolution(x, filters, name):
    for number in (1, 2):
        x = L.Conv2D(
            filters, 3, padding="same", use_bias=False, name=f"{name}_conv{number}"
        )(x)
        x = L.BatchNormalization(name=f"{name}_norm{number}")(x)
        x = L.ReLU(name=f"{name}_relu{number}")(x)
    return x
