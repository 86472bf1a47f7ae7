"""Image models in the style of the Keras examples and many papers."""

import keras
from keras import layers, ops

from zoo_models import Specimen, example, noise, words


@example
def mnist_convnet():
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(32, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    return Specimen(model, noise(28, 28, 1))


@example
def augmented_classifier():
    augmentation = keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomZoom(0.1),
        ],
        name="augmentation",
    )
    inputs = keras.Input((32, 32, 3))
    x = augmentation(inputs)
    x = layers.Rescaling(1.0 / 255)(x)
    x = layers.Conv2D(16, 3, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Activation("relu")(x)
    shortcut = x
    for size in (24, 32):
        x = layers.Activation("relu")(x)
        x = layers.SeparableConv2D(size, 3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(size, 1, strides=2, padding="same")(shortcut)
        x = layers.add([x, residual])
        shortcut = x
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.25)(x)
    model = keras.Model(inputs, layers.Dense(1, activation=None)(x))
    return Specimen(model, (noise(32, 32, 3) * 64 + 128).clip(0, 255))


def _mlp(x, units, rate):
    for size in units:
        x = layers.Dense(size, activation=keras.activations.gelu)(x)
        x = layers.Dropout(rate)(x)
    return x


class Patches(layers.Layer):
    """Cuts images into flat patches."""

    def __init__(self, patch_size):
        super().__init__()
        self.patch_size = patch_size

    def call(self, images):
        shape = ops.shape(images)
        patches = ops.image.extract_patches(images, size=self.patch_size)
        count = (shape[1] // self.patch_size) * (shape[2] // self.patch_size)
        return ops.reshape(
            patches, (shape[0], count, self.patch_size * self.patch_size * shape[3])
        )


class ConfiguredPatches(Patches):
    """The same, with a configuration that its own constructor does not take."""

    def get_config(self):
        config = super().get_config()
        config.update({"patch_size": self.patch_size})
        return config


class PatchEncoder(layers.Layer):
    """Projects patches and adds learned positions."""

    def __init__(self, num_patches, width):
        super().__init__()
        self.num_patches = num_patches
        self.projection = layers.Dense(units=width)
        self.position_embedding = layers.Embedding(num_patches, width)

    def call(self, patch):
        positions = ops.expand_dims(ops.arange(0, self.num_patches, 1), axis=0)
        return self.projection(patch) + self.position_embedding(positions)


@example
def vit_classifier():
    inputs = keras.Input((32, 32, 3))
    encoded = PatchEncoder(16, 32)(ConfiguredPatches(8)(inputs))
    for _ in range(2):
        x1 = layers.LayerNormalization(epsilon=1e-6)(encoded)
        attention = layers.MultiHeadAttention(4, key_dim=32, dropout=0.1)(x1, x1)
        x2 = layers.Add()([attention, encoded])
        x3 = layers.LayerNormalization(epsilon=1e-6)(x2)
        encoded = layers.Add()([_mlp(x3, [64, 32], 0.1), x2])
    x = layers.LayerNormalization(epsilon=1e-6)(encoded)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    logits = layers.Dense(10)(_mlp(x, [64, 32], 0.5))
    return Specimen(keras.Model(inputs, logits), noise(32, 32, 3))


class MixerLayer(layers.Layer):
    """Mixes patches, then channels."""

    def __init__(self, num_patches, width, rate, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mlp1 = keras.Sequential(
            [
                layers.Dense(num_patches, activation="gelu"),
                layers.Dense(num_patches),
                layers.Dropout(rate),
            ]
        )
        self.mlp2 = keras.Sequential(
            [
                layers.Dense(width, activation="gelu"),
                layers.Dense(width),
                layers.Dropout(rate),
            ]
        )
        self.normalize = layers.LayerNormalization(epsilon=1e-6)

    def build(self, input_shape):
        return super().build(input_shape)

    def call(self, inputs):
        x = self.normalize(inputs)
        mixed = self.mlp1(ops.transpose(x, axes=(0, 2, 1)))
        x = ops.transpose(mixed, axes=(0, 2, 1)) + inputs
        return x + self.mlp2(self.normalize(x))


class GatedMLP(layers.Layer):
    """A spatial gating unit between two dense layers."""

    def __init__(self, num_patches, width, rate, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.channel_projection1 = keras.Sequential(
            [layers.Dense(width * 2, activation="gelu"), layers.Dropout(rate)]
        )
        self.channel_projection2 = layers.Dense(width)
        self.spatial_projection = layers.Dense(num_patches, bias_initializer="Ones")
        self.normalize1 = layers.LayerNormalization(epsilon=1e-6)
        self.normalize2 = layers.LayerNormalization(epsilon=1e-6)

    def gate(self, x):
        u, v = ops.split(x, indices_or_sections=2, axis=-1)
        v = ops.transpose(self.normalize2(v), (0, 2, 1))
        return u * ops.transpose(self.spatial_projection(v), (0, 2, 1))

    def call(self, inputs):
        x = self.channel_projection1(self.normalize1(inputs))
        return inputs + self.channel_projection2(self.gate(x))


class FourierLayer(layers.Layer):
    """Mixes by the real part of a Fourier transform."""

    def __init__(self, width, rate, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.ffn = keras.Sequential(
            [layers.Dense(width, "gelu"), layers.Dropout(rate), layers.Dense(width)]
        )
        self.normalize1 = layers.LayerNormalization(epsilon=1e-6)
        self.normalize2 = layers.LayerNormalization(epsilon=1e-6)

    def call(self, inputs):
        x = ops.fft2((inputs, ops.zeros_like(inputs)))[0]
        x = self.normalize1(x + inputs)
        return self.normalize2(self.ffn(x) + x)


def _patch_classifier(blocks, width=24):
    inputs = keras.Input((32, 32, 3))
    x = layers.Dense(units=width)(Patches(8)(inputs))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(blocks(x)))
    return Specimen(keras.Model(inputs, layers.Dense(10)(x)), noise(32, 32, 3))


@example
def mlp_mixer():
    blocks = keras.Sequential([MixerLayer(16, 24, 0.2) for _ in range(2)])
    return _patch_classifier(blocks)


@example
def gated_mlp():
    blocks = keras.Sequential([GatedMLP(16, 24, 0.2) for _ in range(2)])
    return _patch_classifier(blocks)


@example
def fnet_vision():
    blocks = keras.Sequential([FourierLayer(24, 0.2) for _ in range(2)])
    return _patch_classifier(blocks)


@example
def conv_mixer():
    def activated(x):
        return layers.BatchNormalization()(layers.Activation("gelu")(x))

    inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(scale=1.0 / 255)(inputs)
    x = activated(layers.Conv2D(32, 2, strides=2)(x))
    for _ in range(2):
        x0 = x
        x = layers.DepthwiseConv2D(kernel_size=5, padding="same")(x)
        x = layers.Add()([activated(x), x0])
        x = activated(layers.Conv2D(32, kernel_size=1)(x))
    x = layers.GlobalAvgPool2D()(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    return Specimen(model, (noise(32, 32, 3) * 64 + 128).clip(0, 255))


class ConvTokenizer(layers.Layer):
    """Convolutions whose pixels become tokens."""

    def __init__(self, filters=(16, 32), positional=True, **kwargs):
        super().__init__(**kwargs)
        self.conv_model = keras.Sequential()
        for count in filters:
            self.conv_model.add(
                layers.Conv2D(
                    count,
                    3,
                    padding="valid",
                    use_bias=False,
                    activation="relu",
                    kernel_initializer="he_normal",
                )
            )
            self.conv_model.add(layers.ZeroPadding2D(1))
            self.conv_model.add(layers.MaxPooling2D(3, 2, "same"))

    def call(self, images):
        x = self.conv_model(images)
        shape = ops.shape(x)
        return ops.reshape(x, (-1, shape[1] * shape[2], shape[-1]))


class PositionEmbedding(layers.Layer):
    """Learned positions that are added."""

    def __init__(self, sequence_length, initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.sequence_length = int(sequence_length)
        self.initializer = keras.initializers.get(initializer)

    def get_config(self):
        config = super().get_config()
        config.update(
            {
                "sequence_length": self.sequence_length,
                "initializer": keras.initializers.serialize(self.initializer),
            }
        )
        return config

    def build(self, input_shape):
        self.position_embeddings = self.add_weight(
            name="embeddings",
            shape=[self.sequence_length, input_shape[-1]],
            initializer=self.initializer,
            trainable=True,
        )

    def call(self, inputs, start_index=0):
        shape = ops.shape(inputs)
        table = ops.convert_to_tensor(self.position_embeddings)
        table = ops.slice(table, (start_index, 0), (shape[-2], shape[-1]))
        return inputs + ops.broadcast_to(table, shape)


class StochasticDepth(layers.Layer):
    """Drops a branch for whole samples in training."""

    def __init__(self, drop_prop, **kwargs):
        super().__init__(**kwargs)
        self.drop_prob = drop_prop
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, x, training=None):
        if training:
            keep = 1 - self.drop_prob
            shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
            mask = keep + keras.random.uniform(shape, 0, 1, seed=self.seed_generator)
            return (x / keep) * ops.floor(mask)
        return x


class SequencePooling(layers.Layer):
    """A weighted mean of tokens."""

    def __init__(self):
        super().__init__()
        self.attention = layers.Dense(1)

    def call(self, x):
        weights = ops.softmax(self.attention(x), axis=1)
        weights = ops.transpose(weights, axes=(0, 2, 1))
        return ops.squeeze(ops.matmul(weights, x), -2)


@example
def compact_transformer():
    inputs = keras.Input((32, 32, 3))
    x = ConvTokenizer()(inputs)
    x = PositionEmbedding(sequence_length=x.shape[1])(x)
    for rate in (0.0, 0.1):
        x1 = layers.LayerNormalization(epsilon=1e-5)(x)
        attention = layers.MultiHeadAttention(2, key_dim=32, dropout=0.1)(x1, x1)
        x2 = layers.Add()([StochasticDepth(rate)(attention), x])
        x3 = _mlp(layers.LayerNormalization(epsilon=1e-5)(x2), [32, 32], 0.1)
        x = layers.Add()([StochasticDepth(rate)(x3), x2])
    x = SequencePooling()(layers.LayerNormalization(epsilon=1e-5)(x))
    return Specimen(keras.Model(inputs, layers.Dense(10)(x)), noise(32, 32, 3))


class WindowAttention(layers.Layer):
    """Attention within windows, with a bias for relative positions."""

    def __init__(self, width, window, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.width, self.window, self.num_heads = width, window, num_heads
        self.scale = (width // num_heads) ** -0.5
        self.qkv = layers.Dense(width * 3)
        self.projection = layers.Dense(width)
        span = range(window * window)
        side = 2 * window - 1
        self.positions = [
            [
                (a // window - b // window + window - 1) * side
                + (a % window - b % window + window - 1)
                for b in span
            ]
            for a in span
        ]

    def build(self, input_shape):
        self.table = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.num_heads),
            initializer="zeros",
            trainable=True,
            name="relative_bias",
        )

    def call(self, x):
        _, size, channels = x.shape
        heads = channels // self.num_heads
        qkv = ops.reshape(self.qkv(x), (-1, size, 3, self.num_heads, heads))
        qkv = ops.transpose(qkv, (2, 0, 3, 1, 4))
        q, k, v = qkv[0] * self.scale, qkv[1], qkv[2]
        attention = q @ ops.transpose(k, (0, 1, 3, 2))
        bias = ops.take(self.table, ops.reshape(self.positions, (-1,)), axis=0)
        bias = ops.transpose(ops.reshape(bias, (size, size, -1)), (2, 0, 1))
        attention = keras.activations.softmax(attention + ops.expand_dims(bias, 0))
        x = ops.transpose(attention @ v, (0, 2, 1, 3))
        return self.projection(ops.reshape(x, (-1, size, channels)))


class SwinBlock(layers.Layer):
    """Attention in windows that may be shifted, then a small network."""

    def __init__(self, width, side, window, num_heads, shift, **kwargs):
        super().__init__(**kwargs)
        self.width, self.side, self.window, self.shift = width, side, window, shift
        self.norm1 = layers.LayerNormalization(epsilon=1e-5)
        self.attention = WindowAttention(width, window, num_heads)
        self.norm2 = layers.LayerNormalization(epsilon=1e-5)
        self.mlp = keras.Sequential(
            [layers.Dense(2 * width), layers.Activation("gelu"), layers.Dense(width)]
        )

    def windows(self, x):
        n, w, c = self.side // self.window, self.window, self.width
        x = ops.reshape(x, (-1, n, w, n, w, c))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, w * w, c))

    def image(self, x):
        n, w, c = self.side // self.window, self.window, self.width
        x = ops.reshape(x, (-1, n, n, w, w, c))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, self.side, self.side, c))

    def call(self, x):
        skip = x
        x = ops.reshape(self.norm1(x), (-1, self.side, self.side, self.width))
        if self.shift > 0:
            x = ops.roll(x, shift=[-self.shift, -self.shift], axis=[1, 2])
        x = self.image(self.attention(self.windows(x)))
        if self.shift > 0:
            x = ops.roll(x, shift=[self.shift, self.shift], axis=[1, 2])
        x = skip + ops.reshape(x, (-1, self.side * self.side, self.width))
        return x + self.mlp(self.norm2(x))


class PatchMerging(layers.Layer):
    """Halves the resolution and doubles the channels."""

    def __init__(self, side, width):
        super().__init__()
        self.side, self.width = side, width
        self.linear = layers.Dense(2 * width, use_bias=False)

    def call(self, x):
        x = ops.reshape(x, (-1, self.side, self.side, self.width))
        quarters = [x[:, i::2, j::2, :] for j in (0, 1) for i in (0, 1)]
        x = ops.concatenate(quarters, axis=-1)
        return self.linear(ops.reshape(x, (-1, self.side**2 // 4, 4 * self.width)))


@example
def swin_transformer():
    inputs = keras.Input((32, 32, 3))
    x = layers.Dense(24)(Patches(4)(inputs))
    x = SwinBlock(24, 8, 4, 2, 0)(x)
    x = SwinBlock(24, 8, 4, 2, 2)(x)
    x = PatchMerging(8, 24)(x)
    x = layers.GlobalAveragePooling1D()(x)
    outputs = layers.Dense(10, activation="softmax")(x)
    return Specimen(keras.Model(inputs, outputs), noise(32, 32, 3))


@example
def external_attention():
    def attention(x, width, heads, rate):
        _, count, _ = x.shape
        x = layers.Dense(width * 4)(x)
        x = ops.reshape(x, (-1, count, heads * 4, width // heads))
        x = ops.transpose(x, axes=[0, 2, 1, 3])
        scores = layers.Dense(width // 4)(x)
        scores = layers.Softmax(axis=2)(scores)
        scores = layers.Lambda(
            lambda a: a / (1e-9 + ops.sum(a, axis=-1, keepdims=True))
        )(scores)
        x = layers.Dense(width // heads)(layers.Dropout(rate)(scores))
        x = ops.transpose(x, axes=[0, 2, 1, 3])
        x = ops.reshape(x, [-1, count, width * 4])
        return layers.Dropout(rate)(layers.Dense(width)(x))

    inputs = keras.Input((32, 32, 3))
    x = PatchEncoder(16, 32)(Patches(8)(inputs))
    for _ in range(2):
        x = layers.add([attention(layers.LayerNormalization()(x), 32, 4, 0.1), x])
        x = layers.add([_mlp(layers.LayerNormalization()(x), [32, 32], 0.1), x])
    x = layers.GlobalAveragePooling1D()(x)
    outputs = layers.Dense(10, activation="softmax")(x)
    return Specimen(keras.Model(inputs, outputs), noise(32, 32, 3))


@example
def mobile_vit():
    def conv(x, filters, size=3, strides=2):
        return layers.Conv2D(
            filters, size, strides=strides, activation="swish", padding="same"
        )(x)

    def inverted(x, expanded, filters, strides=1):
        m = layers.Conv2D(expanded, 1, padding="same", use_bias=False)(x)
        m = keras.activations.swish(layers.BatchNormalization()(m))
        if strides == 2:
            m = layers.ZeroPadding2D(padding=((0, 1), (0, 1)))(m)
        padding = "same" if strides == 1 else "valid"
        m = layers.DepthwiseConv2D(3, strides, padding=padding, use_bias=False)(m)
        m = keras.activations.swish(layers.BatchNormalization()(m))
        m = layers.Conv2D(filters, 1, padding="same", use_bias=False)(m)
        m = layers.BatchNormalization()(m)
        return layers.Add()([m, x]) if x.shape[-1] == filters and strides == 1 else m

    def block(x, depth, width):
        local = conv(conv(x, width, strides=1), width, size=1, strides=1)
        count = local.shape[1] * local.shape[2] // 4
        y = layers.Reshape((4, count, width))(local)
        for _ in range(depth):
            y1 = layers.LayerNormalization(epsilon=1e-6)(y)
            y1 = layers.MultiHeadAttention(2, key_dim=width, dropout=0.1)(y1, y1)
            y2 = layers.Add()([y1, y])
            y3 = layers.LayerNormalization(epsilon=1e-6)(y2)
            for size in (width * 2, width):
                y3 = layers.Dropout(0.1)(layers.Dense(size, activation="swish")(y3))
            y = layers.Add()([y3, y2])
        folded = layers.Reshape((*local.shape[1:-1], width))(y)
        folded = conv(folded, x.shape[-1], size=1, strides=1)
        both = layers.Concatenate(axis=-1)([x, folded])
        return conv(both, width, strides=1)

    inputs = keras.Input((32, 32, 3))
    x = conv(layers.Rescaling(1.0 / 255)(inputs), 16)
    x = inverted(x, 32, 16)
    x = inverted(x, 32, 24, strides=2)
    x = block(x, 1, 16)
    x = layers.GlobalAvgPool2D()(conv(x, 48, size=1, strides=1))
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
    return Specimen(model, (noise(32, 32, 3) * 64 + 128).clip(0, 255))


class Involution(layers.Layer):
    """A kernel for each position, computed from the pixel there."""

    def __init__(self, channel, group, kernel_size, reduction, name):
        super().__init__(name=name)
        self.channel, self.group = channel, group
        self.kernel_size, self.reduction = kernel_size, reduction

    def build(self, input_shape):
        _, height, width, channels = input_shape
        self.kernel_generator = keras.Sequential(
            [
                layers.Conv2D(self.channel // self.reduction, 1),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Conv2D(self.kernel_size**2 * self.group, 1),
            ]
        )
        taps = self.kernel_size**2
        self.kernel_shape = (-1, height, width, taps, 1, self.group)
        self.patch_shape = (
            *(-1, height, width, taps),
            *(channels // self.group, self.group),
        )
        self.output_size = (-1, height, width, channels)

    def call(self, x):
        kernel = ops.reshape(self.kernel_generator(x), self.kernel_shape)
        patches = ops.image.extract_patches(
            images=x, size=self.kernel_size, strides=1, dilation_rate=1, padding="same"
        )
        product = ops.multiply(kernel, ops.reshape(patches, self.patch_shape))
        return ops.reshape(ops.sum(product, axis=3), self.output_size), kernel


@example
def involution_net():
    inputs = keras.Input((32, 32, 3))
    x, _ = Involution(3, 1, 3, 1, name="inv_1")(inputs)
    x = layers.MaxPooling2D((2, 2))(layers.ReLU()(x))
    x, _ = Involution(3, 1, 3, 1, name="inv_2")(x)
    x = layers.MaxPooling2D((2, 2))(layers.ReLU()(x))
    x = layers.Dense(32, activation="relu")(layers.Flatten()(x))
    return Specimen(keras.Model(inputs, layers.Dense(10)(x)), noise(32, 32, 3))


@example
def squeeze_excite_cbam():
    def squeeze_excite(x, ratio=4):
        filters = x.shape[-1]
        weights = layers.GlobalAveragePooling2D()(x)
        weights = layers.Reshape((1, 1, filters))(weights)
        weights = layers.Dense(filters // ratio, activation="relu", use_bias=False)(
            weights
        )
        weights = layers.Dense(filters, activation="sigmoid", use_bias=False)(weights)
        return layers.multiply([x, weights])

    def cbam(x, ratio=4):
        filters = x.shape[-1]
        shared1 = layers.Dense(filters // ratio, activation="relu")
        shared2 = layers.Dense(filters)
        pooled = [
            shared2(shared1(ops.mean(x, axis=(1, 2)))),
            shared2(shared1(ops.max(x, axis=(1, 2)))),
        ]
        x = x * ops.sigmoid(pooled[0] + pooled[1])[:, None, None, :]
        maps = [
            ops.mean(x, axis=-1, keepdims=True),
            ops.max(x, axis=-1, keepdims=True),
        ]
        spatial = layers.Conv2D(1, 7, padding="same", activation="sigmoid")(
            layers.Concatenate()(maps)
        )
        return x * spatial

    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs)
    x = layers.PReLU(shared_axes=[1, 2])(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D()(squeeze_excite(x))
    x = layers.Conv2D(32, 3, padding="same", activation="hard_swish")(x)
    x = layers.GlobalMaxPooling2D()(cbam(x))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    return Specimen(model, noise(32, 32, 3))


@example
def unet_segmentation():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same")(inputs)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    previous = x
    for filters in (16, 24):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = layers.SeparableConv2D(filters, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        residual = layers.Conv2D(filters, 1, strides=2, padding="same")(previous)
        previous = x = layers.add([x, residual])
    for filters in (24, 16, 8):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = layers.Conv2DTranspose(filters, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
        x = layers.UpSampling2D(2)(x)
        residual = layers.UpSampling2D(2)(previous)
        residual = layers.Conv2D(filters, 1, padding="same")(residual)
        previous = x = layers.add([x, residual])
    outputs = layers.Conv2D(3, 3, activation="softmax", padding="same")(x)
    return Specimen(keras.Model(inputs, outputs), noise(32, 32, 3))


@example
def deeplab():
    def block(x, filters=16, size=3, rate=1):
        x = layers.Conv2D(
            filters, size, dilation_rate=rate, padding="same", use_bias=False
        )(x)
        return ops.nn.relu(layers.BatchNormalization()(x))

    inputs = keras.Input((64, 64, 3))
    low = block(layers.MaxPooling2D(4)(block(inputs)))
    x = block(layers.AveragePooling2D(2)(low), 32)
    pooled = block(layers.AveragePooling2D(pool_size=x.shape[1:3])(x), size=1)
    pooled = layers.UpSampling2D(x.shape[1:3], interpolation="bilinear")(pooled)
    branches = [pooled, block(x, size=1), block(x, rate=2), block(x, rate=4)]
    x = block(layers.Concatenate(axis=-1)(branches), size=1)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = block(layers.Concatenate(axis=-1)([x, block(low, 8, 1)]))
    x = layers.UpSampling2D(4, interpolation="bilinear")(x)
    outputs = layers.Conv2D(5, kernel_size=(1, 1), padding="same")(x)
    return Specimen(keras.Model(inputs, outputs), noise(64, 64, 3))


class DownscaleBlock(layers.Layer):
    """Two convolutions and a smaller copy."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.convA = layers.Conv2D(filters, 3, padding="same")
        self.convB = layers.Conv2D(filters, 3, padding="same")
        self.reluA = layers.LeakyReLU(negative_slope=0.2)
        self.reluB = layers.LeakyReLU(negative_slope=0.2)
        self.bn2a = layers.BatchNormalization()
        self.bn2b = layers.BatchNormalization()
        self.pool = layers.MaxPooling2D((2, 2), (2, 2))

    def call(self, inputs):
        d = self.convA(inputs)
        x = self.reluA(self.bn2a(d))
        x = self.reluB(self.bn2b(self.convB(x)))
        x = x + d
        return x, self.pool(x)


class UpscaleBlock(layers.Layer):
    """Enlarges and joins a skip connection."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.up = layers.UpSampling2D((2, 2))
        self.conv = layers.Conv2D(filters, 3, padding="same")
        self.relu = layers.LeakyReLU(negative_slope=0.2)
        self.norm = layers.BatchNormalization()
        self.concat = layers.Concatenate()

    def call(self, x, skip):
        x = self.concat([self.up(x), skip])
        return self.norm(self.relu(self.conv(x)))


class DepthEstimation(keras.Model):
    """Depth of each pixel, with its own training step."""

    def __init__(self):
        super().__init__()
        self.loss_metric = keras.metrics.Mean(name="depth_loss")
        self.down = [DownscaleBlock(8), DownscaleBlock(16)]
        self.bottle = layers.Conv2D(24, 3, padding="same", activation="relu")
        self.up = [UpscaleBlock(16), UpscaleBlock(8)]
        self.head = layers.Conv2D(1, 1, padding="same", activation="tanh")

    @property
    def metrics(self):
        return [self.loss_metric]

    def train_step(self, data):
        import tensorflow as tf

        x, target = data
        with tf.GradientTape() as tape:
            loss = ops.mean(ops.abs(target - self(x, training=True)))
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_weights, strict=True)
        )
        self.loss_metric.update_state(loss)
        return {"depth_loss": self.loss_metric.result()}

    def call(self, x):
        skips = []
        for block in self.down:
            skip, x = block(x)
            skips.append(skip)
        x = self.bottle(x)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = block(x, skip)
        return self.head(x)


@example
def depth_estimation():
    return Specimen(
        DepthEstimation(),
        noise(32, 32, 3),
        compile={"optimizer": "adam"},
        targets=noise(32, 32, 1),
        logs=("depth_loss",),
    )


class FeaturePyramid(layers.Layer):
    """Lateral connections over a backbone."""

    def __init__(self, backbone=None, **kwargs):
        super().__init__(name="FeaturePyramid", **kwargs)
        self.backbone = backbone or _pyramid_backbone()
        self.lateral = [layers.Conv2D(16, 1, 1, "same") for _ in range(2)]
        self.smooth = [layers.Conv2D(16, 3, 1, "same") for _ in range(2)]
        self.extra = layers.Conv2D(16, 3, 2, "same")
        self.upsample = layers.UpSampling2D(2)

    def call(self, images, training=False):
        fine, coarse = self.backbone(images, training=training)
        fine, coarse = self.lateral[0](fine), self.lateral[1](coarse)
        fine = fine + self.upsample(coarse)
        fine, coarse = self.smooth[0](fine), self.smooth[1](coarse)
        return fine, coarse, self.extra(ops.nn.relu(coarse))


def _pyramid_backbone():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, 2, "same", activation="relu")(inputs)
    fine = layers.Conv2D(16, 3, 2, "same", activation="relu")(x)
    coarse = layers.Conv2D(24, 3, 2, "same", activation="relu")(fine)
    return keras.Model(inputs, [fine, coarse])


def _detection_head(filters, bias):
    head = keras.Sequential([keras.Input((None, None, 16))])
    for _ in range(2):
        head.add(layers.Conv2D(16, 3, padding="same"))
        head.add(layers.ReLU())
    head.add(layers.Conv2D(filters, 3, 1, "same", bias_initializer=bias))
    return head


class RetinaNet(keras.Model):
    """Classes and boxes of every anchor."""

    def __init__(self, num_classes, backbone=None, **kwargs):
        super().__init__(name="RetinaNet", **kwargs)
        self.fpn = FeaturePyramid(backbone)
        self.num_classes = num_classes
        prior = keras.initializers.Constant(-2.0)
        self.cls_head = _detection_head(3 * num_classes, prior)
        self.box_head = _detection_head(3 * 4, "zeros")

    def call(self, image, training=False):
        classes, boxes = [], []
        batch = ops.shape(image)[0]
        for feature in self.fpn(image, training=training):
            boxes.append(ops.reshape(self.box_head(feature), [batch, -1, 4]))
            classes.append(
                ops.reshape(self.cls_head(feature), [batch, -1, self.num_classes])
            )
        return ops.concatenate(
            [ops.concatenate(boxes, axis=1), ops.concatenate(classes, axis=1)], axis=-1
        )


@example
def retina_net():
    return Specimen(RetinaNet(4, _pyramid_backbone()), noise(32, 32, 3))


class DistanceLayer(layers.Layer):
    """Squared distances from an anchor."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)

    def call(self, anchor, positive, negative):
        near = ops.sum(ops.square(anchor - positive), -1)
        far = ops.sum(ops.square(anchor - negative), -1)
        return (near, far)


class SiameseModel(keras.Model):
    """Triplet loss over a network that yields distances."""

    def __init__(self, siamese_network, margin=0.5):
        super().__init__()
        self.siamese_network = siamese_network
        self.margin = margin
        self.loss_tracker = keras.metrics.Mean(name="triplet_loss")

    def call(self, inputs):
        return self.siamese_network(inputs)

    def train_step(self, data):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            near, far = self.siamese_network(data)
            loss = ops.mean(ops.maximum(near - far + self.margin, 0.0))
        weights = self.siamese_network.trainable_weights
        gradients = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.loss_tracker.update_state(loss)
        return {"triplet_loss": self.loss_tracker.result()}

    @property
    def metrics(self):
        return [self.loss_tracker]


def _embedding_model():
    inputs = keras.Input((24, 24, 3))
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    x = layers.Flatten()(layers.MaxPooling2D(4)(x))
    x = layers.BatchNormalization()(layers.Dense(32, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(16)(x), name="Embedding")


def _siamese_network():
    embedding = _embedding_model()
    names = ("anchor", "positive", "negative")
    inputs = [keras.Input((24, 24, 3), name=name) for name in names]
    distances = DistanceLayer()(*[embedding(x) for x in inputs])
    return keras.Model(inputs, distances)


@example
def siamese_network():
    images = noise(24, 24, 3)
    return Specimen(
        _siamese_network(), [images, images[::-1], images[::2].repeat(2, 0)]
    )


@example
def siamese_training_model():
    images = noise(24, 24, 3)
    return Specimen(
        SiameseModel(_siamese_network()),
        [images, images[::-1], images[::2].repeat(2, 0)],
        compile={"optimizer": keras.optimizers.Adam(0.001)},
        logs=("triplet_loss",),
    )


class CTCLayer(layers.Layer):
    """Adds the CTC loss and passes predictions on."""

    def call(self, y_true, y_pred):
        batch = ops.shape(y_true)[0]
        lengths = ops.ones((batch,), dtype="int32")
        loss = ops.nn.ctc_loss(
            ops.cast(y_true, "int32"),
            y_pred,
            lengths * y_true.shape[1],
            lengths * y_pred.shape[1],
            mask_index=0,
        )
        self.add_loss(ops.mean(loss))
        return y_pred


@example
def captcha_ocr():
    image = keras.Input((32, 16, 1), name="image")
    labels = keras.Input((4,), name="label", dtype="int32")
    x = layers.Conv2D(8, 3, activation="relu", padding="same", name="Conv1")(image)
    x = layers.MaxPooling2D((2, 2))(x)
    x = layers.Conv2D(16, 3, activation="relu", padding="same", name="Conv2")(x)
    x = layers.MaxPooling2D((2, 2))(x)
    x = layers.Reshape(target_shape=(8, 4 * 16), name="reshape")(x)
    x = layers.Dropout(0.2)(layers.Dense(16, activation="relu", name="dense1")(x))
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True, dropout=0.25))(x)
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    x = layers.Dense(12, name="dense2")(x)
    model = keras.Model([image, labels], CTCLayer(name="ctc_loss")(labels, x))
    return Specimen(
        model, [noise(32, 16, 1), words(4, 12)], compile={"optimizer": "adam"}
    )


@example
def captcha_ocr_prediction():
    training = captcha_ocr().model
    model = keras.Model(training.inputs[0], training.get_layer("dense2").output)
    return Specimen(model, noise(32, 16, 1))


@example
def convolution_lstm():
    inputs = keras.Input((4, 16, 16, 1))
    x = layers.ConvLSTM2D(
        8, (3, 3), padding="same", return_sequences=True, activation="relu"
    )(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.ConvLSTM2D(
        8, (1, 1), padding="same", return_sequences=True, activation="relu"
    )(x)
    x = layers.Conv3D(1, (3, 3, 3), activation="sigmoid", padding="same")(x)
    return Specimen(keras.Model(inputs, x), noise(4, 16, 16, 1))


@example
def volume_classifier():
    inputs = keras.Input((16, 16, 8, 1))
    x = inputs
    for filters in (8, 16):
        x = layers.Conv3D(filters, kernel_size=3, activation="relu", padding="same")(x)
        x = layers.MaxPool3D(pool_size=2)(x)
        x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling3D()(x)
    x = layers.Dropout(0.3)(layers.Dense(units=16, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x), name="3dcnn")
    return Specimen(model, noise(16, 16, 8, 1))


class OrthogonalRegularizer(keras.regularizers.Regularizer):
    """Keeps a transformation near a rotation."""

    def __init__(self, num_features, l2reg=0.001):
        self.num_features = num_features
        self.l2reg = l2reg

    def __call__(self, x):
        x = ops.reshape(x, (-1, self.num_features, self.num_features))
        product = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        identity = ops.eye(self.num_features)
        return ops.sum(self.l2reg * ops.square(product - identity))


@example
def point_net():
    def conv(x, filters):
        x = layers.Conv1D(filters, kernel_size=1, padding="valid")(x)
        return layers.Activation("relu")(layers.BatchNormalization(momentum=0.0)(x))

    def dense(x, filters):
        x = layers.BatchNormalization(momentum=0.0)(layers.Dense(filters)(x))
        return layers.Activation("relu")(x)

    def tnet(inputs, size):
        bias = keras.initializers.Constant(keras.ops.eye(size).numpy().flatten())
        x = layers.GlobalMaxPooling1D()(conv(conv(inputs, 16), 32))
        x = layers.Dense(
            size * size,
            kernel_initializer="zeros",
            bias_initializer=bias,
            activity_regularizer=OrthogonalRegularizer(size),
        )(dense(x, 16))
        return layers.Dot(axes=(2, 1))([inputs, layers.Reshape((size, size))(x)])

    inputs = keras.Input((64, 3))
    x = conv(conv(tnet(inputs, 3), 16), 16)
    x = layers.GlobalMaxPooling1D()(conv(conv(tnet(x, 16), 16), 32))
    x = layers.Dropout(0.3)(dense(x, 16))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    return Specimen(model, noise(64, 3))


@example
def nerf():
    inputs = keras.Input((16, 12))
    frequencies = [2.0**i * inputs[..., :3] for i in range(3)]
    x = ops.concatenate(
        [inputs, *map(ops.sin, frequencies), *map(ops.cos, frequencies)], axis=-1
    )
    encoded = x
    for number in range(5):
        x = layers.Dense(units=32, activation="relu")(x)
        if number % 4 == 0 and number > 0:
            x = layers.concatenate([x, encoded], axis=-1)
    rgb_sigma = layers.Dense(units=4)(x)
    rgb, sigma = ops.sigmoid(rgb_sigma[..., :-1]), ops.relu(rgb_sigma[..., -1])
    alpha = 1.0 - ops.exp(-sigma * 0.1)
    through = ops.cumprod(1.0 - alpha + 1e-10, axis=-1)
    color = ops.sum((alpha * through)[..., None] * rgb, axis=-2)
    return Specimen(keras.Model(inputs, [color, sigma]), noise(16, 12))


class MILAttention(layers.Layer):
    """Weights of the instances of a bag."""

    def __init__(self, weight_params_dim, use_gated=False, **kwargs):
        super().__init__(**kwargs)
        self.weight_params_dim = weight_params_dim
        self.use_gated = use_gated
        self.init = keras.initializers.get("glorot_uniform")

    def build(self, input_shape):
        size = (input_shape[0][1], self.weight_params_dim)
        self.v_weight_params = self.add_weight(
            shape=size, initializer=self.init, name="v"
        )
        self.w_weight_params = self.add_weight(
            shape=(self.weight_params_dim, 1), initializer=self.init, name="w"
        )
        self.u_weight_params = None
        if self.use_gated:
            self.u_weight_params = self.add_weight(
                shape=size, initializer=self.init, name="u"
            )

    def call(self, inputs):
        scores = ops.stack([self.score(each) for each in inputs])
        weights = ops.softmax(scores, axis=0)
        return [weights[i] for i in range(weights.shape[0])]

    def score(self, instance):
        x = ops.tanh(ops.tensordot(instance, self.v_weight_params, axes=1))
        if self.use_gated:
            gate = ops.tensordot(instance, self.u_weight_params, axes=1)
            x = x * ops.sigmoid(gate)
        return ops.tensordot(x, self.w_weight_params, axes=1)


@example
def attention_mil():
    shared1 = layers.Dense(32, activation="relu")
    shared2 = layers.Dense(16, activation="relu")
    inputs, embeddings = [], []
    for _ in range(3):
        each = keras.Input((12, 12))
        inputs.append(each)
        embeddings.append(shared2(shared1(layers.Flatten()(each))))
    alpha = MILAttention(16, use_gated=True, name="alpha")(embeddings)
    weighted = [layers.multiply([a, e]) for a, e in zip(alpha, embeddings, strict=True)]
    outputs = layers.Dense(2, activation="softmax")(
        layers.concatenate(weighted, axis=1)
    )
    images = noise(12, 12)
    return Specimen(
        keras.Model(inputs, outputs), [images, images[::-1], images.transpose(0, 2, 1)]
    )


class Perceiver(keras.Model):
    """A few latents that read many patches again and again."""

    def __init__(self, patch_size, num_patches, latents, width, num_iterations):
        super().__init__()
        self.patcher = Patches(patch_size)
        self.patch_encoder = PatchEncoder(num_patches, width)
        self.latents, self.width = latents, width
        self.num_iterations = num_iterations

    def build(self, input_shape):
        self.latent_array = self.add_weight(
            shape=(self.latents, self.width),
            initializer="random_normal",
            trainable=True,
            name="latent_array",
        )
        self.cross = layers.Attention(use_scale=True)
        self.query = layers.Dense(self.width)
        self.key = layers.Dense(self.width)
        self.value = layers.Dense(self.width)
        self.transformer = layers.MultiHeadAttention(2, self.width)
        self.norm = layers.LayerNormalization()
        self.ffn = layers.Dense(self.width, activation="gelu")
        self.pool = layers.GlobalAveragePooling1D()
        self.head = layers.Dense(10)
        super().build(input_shape)

    def call(self, inputs):
        patches = self.patch_encoder(self.patcher(inputs))
        x = ops.expand_dims(self.latent_array, 0)
        x = ops.tile(x, (ops.shape(inputs)[0], 1, 1))
        for _ in range(self.num_iterations):
            read = [self.query(x), self.key(patches), self.value(patches)]
            x = x + self.cross([read[0], read[2], read[1]])
            x = self.ffn(self.norm(x)) + self.transformer(x, x)
        return self.head(self.pool(x))


@example
def perceiver():
    return Specimen(Perceiver(8, 16, 6, 24, 2), noise(32, 32, 3))


@example
def token_learner():
    def learn(x, count):
        x = layers.LayerNormalization(epsilon=1e-6)(x)
        attention = keras.Sequential(
            [
                layers.Conv2D(
                    count, 3, activation="gelu", padding="same", use_bias=False
                ),
                layers.Conv2D(count, 3, activation="sigmoid", padding="same"),
                layers.Reshape((-1, count)),
                layers.Permute((2, 1)),
            ]
        )(x)
        flat = layers.Reshape((1, -1, x.shape[-1]))(x)
        return ops.mean(attention[..., None] * flat, axis=2)

    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(24, 4, strides=4, padding="VALID")(inputs)
    x = learn(x, 4)
    x = layers.Add()([layers.MultiHeadAttention(2, 12)(x, x), x])
    x = layers.GlobalAvgPool1D()(layers.LayerNormalization()(x))
    return Specimen(keras.Model(inputs, layers.Dense(10)(x)), noise(32, 32, 3))


@example
def frozen_encoder_projection():
    encoder = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(16, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Conv2D(32, 3, strides=2, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.GlobalAveragePooling2D(),
        ],
        name="encoder",
    )
    encoder.trainable = False
    inputs = keras.Input((32, 32, 3))
    features = encoder(inputs, training=False)
    x = layers.Dropout(0.5)(layers.Dense(32, activation="relu")(features))
    return Specimen(
        keras.Model(inputs, layers.UnitNormalization()(layers.Dense(10)(x))),
        noise(32, 32, 3),
    )


class StudentDistiller(keras.Model):
    """A student that learns from a teacher that it contains."""

    def __init__(self, student, teacher):
        super().__init__()
        self.teacher = teacher
        self.student = student

    def compile(self, optimizer, metrics, student_loss_fn, alpha=0.1, **kwargs):
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)
        self.student_loss_fn = student_loss_fn
        self.alpha = alpha

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, allow_empty=False
    ):
        soft = ops.softmax(self.teacher(x, training=False) / 3.0, axis=1)
        mine = ops.log_softmax(y_pred / 3.0, axis=1)
        distilled = -ops.mean(ops.sum(soft * mine, axis=1))
        return self.alpha * self.student_loss_fn(y, y_pred) + distilled

    def call(self, x):
        return self.student(x)


@example
def student_distiller():
    def network(filters):
        return keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Conv2D(filters, (3, 3), strides=(2, 2), padding="same"),
                layers.LeakyReLU(negative_slope=0.2),
                layers.MaxPooling2D((2, 2), strides=(1, 1), padding="same"),
                layers.Conv2D(filters * 2, (3, 3), strides=(2, 2), padding="same"),
                layers.Flatten(),
                layers.Dense(10),
            ]
        )

    return Specimen(
        StudentDistiller(network(8), network(16)),
        noise(28, 28, 1),
        compile={
            "optimizer": "adam",
            "metrics": [keras.metrics.SparseCategoricalAccuracy()],
            "student_loss_fn": keras.losses.SparseCategoricalCrossentropy(True),
        },
        targets=words(1, 10)[:, 0],
    )
