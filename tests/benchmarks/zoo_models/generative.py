"""Autoencoders, generators and models that enhance images."""

import keras
import numpy as np
from keras import layers, ops

from zoo_models import Specimen, example, noise


@example
def denoising_autoencoder():
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, (3, 3), activation="relu", padding="same")(inputs)
    x = layers.MaxPooling2D((2, 2), padding="same")(x)
    x = layers.Conv2D(16, (3, 3), activation="relu", padding="same")(x)
    x = layers.MaxPooling2D((2, 2), padding="same")(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, activation="relu", padding="same")(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, activation="relu", padding="same")(x)
    x = layers.Conv2D(1, (3, 3), activation="sigmoid", padding="same")(x)
    return Specimen(keras.Model(inputs, x), noise(28, 28, 1))


class Sampling(layers.Layer):
    """Draws from the distribution given by an encoder."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        mean, log_variance = inputs
        shape = ops.shape(mean)
        epsilon = keras.random.normal(shape=shape, seed=self.seed_generator)
        return mean + ops.exp(0.5 * log_variance) * epsilon


def _vae_encoder():
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 3, activation="relu", strides=2, padding="same")(inputs)
    x = layers.Conv2D(16, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Dense(16, activation="relu")(layers.Flatten()(x))
    mean = layers.Dense(2, name="z_mean")(x)
    log_variance = layers.Dense(2, name="z_log_var")(x)
    z = Sampling()([mean, log_variance])
    return keras.Model(inputs, [mean, log_variance, z], name="encoder")


def _vae_decoder():
    inputs = keras.Input((2,))
    x = layers.Dense(7 * 7 * 16, activation="relu")(inputs)
    x = layers.Reshape((7, 7, 16))(x)
    x = layers.Conv2DTranspose(16, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Conv2DTranspose(8, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)
    return keras.Model(inputs, x, name="decoder")


class VAE(keras.Model):
    """Trains both halves; its outputs are those of the decoder at the mean."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.total_loss_tracker, self.kl_loss_tracker]

    def call(self, inputs):
        return self.decoder(self.encoder(inputs)[0])

    def train_step(self, data):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            mean, log_variance, z = self.encoder(data)
            made = self.decoder(z)
            loss = ops.mean(
                ops.sum(keras.losses.binary_crossentropy(data, made), axis=(1, 2))
            )
            kl = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
            kl = ops.mean(ops.sum(kl, axis=1))
            total = loss + kl
        gradients = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_weights, strict=True)
        )
        self.total_loss_tracker.update_state(total)
        self.kl_loss_tracker.update_state(kl)
        return {
            "total_loss": self.total_loss_tracker.result(),
            "kl_loss": self.kl_loss_tracker.result(),
        }


@example
def vae():
    return Specimen(
        VAE(_vae_encoder(), _vae_decoder()),
        noise(28, 28, 1),
        compile={"optimizer": keras.optimizers.Adam()},
        logs=("kl_loss",),
    )


@example
def vae_encoder():
    return Specimen(_vae_encoder(), noise(28, 28, 1))


@example
def vae_decoder():
    return Specimen(_vae_decoder(), noise(2))


@example
def dcgan_generator():
    model = keras.Sequential(
        [
            keras.Input((32,)),
            layers.Dense(4 * 4 * 16),
            layers.Reshape((4, 4, 16)),
            layers.Conv2DTranspose(24, kernel_size=4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2DTranspose(32, kernel_size=4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.Conv2D(3, kernel_size=5, padding="same", activation="sigmoid"),
        ],
        name="generator",
    )
    return Specimen(model, noise(32))


class ConditionalGAN(keras.Model):
    """Generator and discriminator, trained in turn."""

    def __init__(self, discriminator, generator, latent_dim):
        super().__init__()
        self.discriminator = discriminator
        self.generator = generator
        self.latent_dim = latent_dim
        self.seed_generator = keras.random.SeedGenerator(1337)
        self.g_loss_metric = keras.metrics.Mean(name="g_loss")

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer = d_optimizer
        self.g_optimizer = g_optimizer
        self.loss_fn = loss_fn

    def call(self, latent):
        return self.generator(latent)

    @property
    def metrics(self):
        return [self.g_loss_metric]

    def step(self, optimizer, part, loss_of):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = loss_of()
        gradients = tape.gradient(loss, part.trainable_weights)
        optimizer.apply_gradients(zip(gradients, part.trainable_weights, strict=True))
        return loss

    def train_step(self, images):
        batch = ops.shape(images)[0]
        latent = keras.random.normal((batch, self.latent_dim), seed=self.seed_generator)
        real, fake = ops.zeros((batch, 1)), ops.ones((batch, 1))
        both = ops.concatenate([self.generator(latent), images], axis=0)
        self.step(
            self.d_optimizer,
            self.discriminator,
            lambda: self.loss_fn(
                ops.concatenate([fake, real]), self.discriminator(both)
            ),
        )
        loss = self.step(
            self.g_optimizer,
            self.generator,
            lambda: self.loss_fn(real, self.discriminator(self.generator(latent))),
        )
        self.g_loss_metric.update_state(loss)
        return {"g_loss": self.g_loss_metric.result()}


@example
def generative_adversarial():
    discriminator = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(16, kernel_size=4, strides=2, padding="same"),
            layers.LeakyReLU(negative_slope=0.2),
            layers.GlobalMaxPooling2D(),
            layers.Dropout(0.2),
            layers.Dense(1),
        ]
    )
    model = ConditionalGAN(discriminator, dcgan_generator().model, latent_dim=32)
    return Specimen(
        model,
        noise(32),
        compile={
            "d_optimizer": keras.optimizers.Adam(0.0003),
            "g_optimizer": keras.optimizers.Adam(0.0003),
            "loss_fn": keras.losses.BinaryCrossentropy(from_logits=True),
        },
        targets=noise(16, 16, 3),
        logs=("g_loss",),
    )


class VectorQuantizer(layers.Layer):
    """The nearest of some vectors, with a straight-through gradient."""

    def __init__(self, num_embeddings, embedding_dim, beta=0.25, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.num_embeddings = num_embeddings
        self.beta = beta
        self.embeddings = self.add_weight(
            shape=(embedding_dim, num_embeddings),
            initializer="random_uniform",
            name="embeddings_vqvae",
        )

    def call(self, x):
        shape = ops.shape(x)
        flat = ops.reshape(x, [-1, self.embedding_dim])
        distances = (
            ops.sum(flat**2, axis=1, keepdims=True)
            + ops.sum(self.embeddings**2, axis=0)
            - 2 * ops.matmul(flat, self.embeddings)
        )
        encodings = ops.one_hot(ops.argmin(distances, axis=1), self.num_embeddings)
        quantized = ops.matmul(encodings, ops.transpose(self.embeddings))
        quantized = ops.reshape(quantized, shape)
        commitment = ops.mean((ops.stop_gradient(quantized) - x) ** 2)
        codebook = ops.mean((quantized - ops.stop_gradient(x)) ** 2)
        self.add_loss(self.beta * commitment + codebook)
        return x + ops.stop_gradient(quantized - x)


@example
def vq_vae():
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 3, activation="relu", strides=2, padding="same")(inputs)
    x = layers.Conv2D(16, 3, activation="relu", strides=2, padding="same")(x)
    encoder = keras.Model(
        inputs, layers.Conv2D(8, 1, padding="same")(x), name="encoder"
    )
    latents = keras.Input((7, 7, 8))
    x = layers.Conv2DTranspose(16, 3, 2, "same", activation="relu")(latents)
    x = layers.Conv2DTranspose(8, 3, 2, "same", activation="relu")(x)
    x = layers.Conv2DTranspose(1, 3, padding="same")(x)
    decoder = keras.Model(latents, x, name="decoder")
    quantizer = VectorQuantizer(16, 8, name="vector_quantizer")
    image = keras.Input((28, 28, 1))
    outputs = decoder(quantizer(encoder(image)))
    return Specimen(keras.Model(image, outputs, name="vq_vae"), noise(28, 28, 1))


class PixelConv(layers.Layer):
    """A convolution that sees only pixels before its own."""

    def __init__(self, mask_type, **kwargs):
        super().__init__()
        self.mask_type = mask_type
        self.conv = layers.Conv2D(**kwargs)

    def build(self, input_shape):
        self.conv.build(input_shape)
        shape = ops.shape(self.conv.kernel)
        self.mask = np.zeros(shape=shape)
        self.mask[: shape[0] // 2, ...] = 1.0
        self.mask[shape[0] // 2, : shape[1] // 2, ...] = 1.0
        if self.mask_type == "B":
            self.mask[shape[0] // 2, shape[1] // 2, ...] = 1.0

    def call(self, inputs):
        self.conv.kernel.assign(self.conv.kernel * self.mask)
        return self.conv(inputs)


class PixelResidual(layers.Layer):
    """Three pixel convolutions and a shortcut."""

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.conv1 = layers.Conv2D(filters=filters, kernel_size=1, activation="relu")
        self.pixel_conv = PixelConv(
            mask_type="B",
            filters=filters // 2,
            kernel_size=3,
            activation="relu",
            padding="same",
        )
        self.conv2 = layers.Conv2D(filters=filters, kernel_size=1, activation="relu")

    def call(self, inputs):
        x = self.conv2(self.pixel_conv(self.conv1(inputs)))
        return keras.layers.add([inputs, x])


@example
def pixel_cnn():
    inputs = keras.Input(shape=(16, 16, 1))
    x = PixelConv(
        mask_type="A", filters=16, kernel_size=7, activation="relu", padding="same"
    )(inputs)
    x = PixelResidual(filters=16)(x)
    x = layers.Conv2D(filters=1, kernel_size=1, activation="sigmoid", padding="valid")(
        x
    )
    return Specimen(keras.Model(inputs, x), noise(16, 16, 1))


def _sinusoids(x):
    frequencies = ops.exp(ops.linspace(ops.log(1.0), ops.log(100.0), 8))
    angles = ops.cast(2.0 * np.pi * frequencies, "float32")
    return ops.concatenate([ops.sin(angles * x), ops.cos(angles * x)], axis=3)


@example
def diffusion_unet():
    def residual(x, width):
        skip = x if x.shape[3] == width else layers.Conv2D(width, kernel_size=1)(x)
        x = layers.BatchNormalization(center=False, scale=False)(x)
        x = layers.Conv2D(width, 3, padding="same", activation=keras.activations.swish)(
            x
        )
        x = layers.Conv2D(width, kernel_size=3, padding="same")(x)
        return layers.Add()([x, skip])

    images = keras.Input((16, 16, 3), name="images")
    variances = keras.Input((1, 1, 1), name="variances")
    e = layers.Lambda(_sinusoids, output_shape=(1, 1, 16))(variances)
    e = layers.UpSampling2D(size=16, interpolation="nearest")(e)
    x = layers.Concatenate()([layers.Conv2D(16, kernel_size=1)(images), e])
    skips = []
    for width in (16, 24):
        x = residual(x, width)
        skips.append(x)
        x = layers.AveragePooling2D(pool_size=2)(x)
    x = residual(x, 32)
    for width in (24, 16):
        x = layers.UpSampling2D(size=2, interpolation="bilinear")(x)
        x = residual(layers.Concatenate()([x, skips.pop()]), width)
    x = layers.Conv2D(3, kernel_size=1, kernel_initializer="zeros")(x)
    return Specimen(
        keras.Model([images, variances], x + images), [noise(16, 16, 3), noise(1, 1, 1)]
    )


@example
def super_resolution():
    inputs = keras.Input((24, 24, 1))
    options = {"activation": "relu", "padding": "same"}
    x = layers.Conv2D(16, 5, kernel_initializer="orthogonal", **options)(inputs)
    x = layers.Conv2D(16, 3, kernel_initializer="orthogonal", **options)(x)
    x = layers.Conv2D(9, 3, **options)(x)
    x = ops.reshape(x, (-1, 24, 24, 3, 3, 1))
    x = ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 72, 72, 1))
    return Specimen(keras.Model(inputs, x), noise(24, 24, 1))


@example
def residual_super_resolution():
    import tensorflow as tf

    class EnhancedModel(keras.Model):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.abs(y - self(x, training=True)))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(
                zip(gradients, self.trainable_variables, strict=True)
            )
            return {"absolute": loss}

    inputs = keras.Input((24, 24, 3))
    x = layers.Rescaling(scale=1.0 / 255)(inputs)
    x = skip = layers.Conv2D(16, 3, padding="same")(x)
    for _ in range(2):
        y = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
        x = layers.Add()([x, layers.Conv2D(16, 3, padding="same")(y)])
    x = layers.Add()([skip, layers.Conv2D(16, 3, padding="same")(x)])
    x = layers.Conv2D(16 * 4, 3, padding="same")(x)
    x = layers.Lambda(lambda t: tf.nn.depth_to_space(t, 2), output_shape=(48, 48, 16))(
        x
    )
    x = layers.Conv2D(3, 3, padding="same")(x)
    x = layers.Rescaling(scale=255)(x)
    return Specimen(
        EnhancedModel(inputs, x),
        (noise(24, 24, 3) * 64 + 128).clip(0, 255),
        compile={"optimizer": "adam"},
        targets=noise(48, 48, 3),
        logs=("absolute",),
    )


class ZeroDCE(keras.Model):
    """Curves that brighten a dark image, learned without targets."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        inputs = keras.Input((24, 24, 3))
        options = {"activation": "relu", "padding": "same"}
        conv1 = layers.Conv2D(8, (3, 3), **options)(inputs)
        conv2 = layers.Conv2D(8, (3, 3), **options)(conv1)
        both = layers.Concatenate(axis=-1)([conv1, conv2])
        curves = layers.Conv2D(12, 3, activation="tanh", padding="same")(both)
        self.dce_model = keras.Model(inputs, curves)

    def compile(self, learning_rate, **kwargs):
        super().compile(**kwargs)
        self.optimizer = keras.optimizers.Adam(learning_rate=learning_rate)
        self.tracker = keras.metrics.Mean(name="exposure_loss")

    def enhanced(self, data, output):
        x = data
        for start in range(0, 12, 3):
            x = x + output[:, :, :, start : start + 3] * (ops.square(x) - x)
        return x

    def call(self, data):
        return self.enhanced(data, self.dce_model(data))

    def train_step(self, data):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            x = self.enhanced(data, self.dce_model(data))
            loss = ops.mean(ops.square(ops.mean(x, axis=3) - 0.6))
        weights = self.dce_model.trainable_weights
        gradients = tape.gradient(loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self.tracker.update_state(loss)
        return {"exposure_loss": self.tracker.result()}


@example
def zero_dce():
    return Specimen(
        ZeroDCE(),
        noise(24, 24, 3),
        compile={"learning_rate": 1e-4},
        logs=("exposure_loss",),
    )


class RealNVP(keras.Model):
    """Invertible coupling layers."""

    def __init__(self, num_coupling_layers):
        super().__init__()
        self.num_coupling_layers = num_coupling_layers
        self.masks = np.array(
            [[0, 1], [1, 0]] * (num_coupling_layers // 2), dtype="float32"
        )
        self.loss_tracker = keras.metrics.Mean(name="likelihood")
        self.layers_list = [_coupling(2) for _ in range(num_coupling_layers)]

    @property
    def metrics(self):
        return [self.loss_tracker]

    def call(self, x, training=True):
        log_det = 0
        direction = -1 if training else 1
        for i in range(self.num_coupling_layers)[::direction]:
            masked = x * self.masks[i]
            reversed_mask = 1 - self.masks[i]
            s, t = self.layers_list[i](masked)
            s, t = s * reversed_mask, t * reversed_mask
            gate = (direction - 1) / 2
            x = (
                reversed_mask
                * (x * ops.exp(direction * s) + direction * t * ops.exp(gate * s))
                + masked
            )
            log_det = log_det + gate * ops.sum(s, axis=1)
        return x, log_det

    def log_loss(self, x):
        y, log_det = self(x)
        return -ops.mean(-0.5 * ops.sum(ops.square(y), axis=-1) + log_det)

    def train_step(self, data):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = self.log_loss(data)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_variables, strict=True)
        )
        self.loss_tracker.update_state(loss)
        return {"likelihood": self.loss_tracker.result()}


def _coupling(size):
    inputs = keras.Input((size,))
    s = t = inputs
    for _ in range(2):
        s = layers.Dense(16, activation="relu", kernel_regularizer="l2")(s)
        t = layers.Dense(16, activation="relu", kernel_regularizer="l2")(t)
    s = layers.Dense(size, activation="tanh")(s)
    return keras.Model(inputs, [s, layers.Dense(size)(t)])


@example
def real_nvp():
    return Specimen(
        RealNVP(4), noise(2), compile={"optimizer": "adam"}, logs=("likelihood",)
    )
