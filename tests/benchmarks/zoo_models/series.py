"""Models of time series, sound and signals."""

import keras
import numpy as np
from keras import layers, ops

from zoo_models import Specimen, example, noise


@example
def timeseries_transformer():
    inputs = keras.Input(shape=(40, 1))
    x = inputs
    for _ in range(2):
        y = layers.MultiHeadAttention(key_dim=16, num_heads=2, dropout=0.1)(x, x)
        y = layers.Dropout(0.1)(y)
        y = layers.LayerNormalization(epsilon=1e-6)(y)
        res = y + x
        y = layers.Conv1D(filters=4, kernel_size=1, activation="relu")(res)
        y = layers.Dropout(0.1)(y)
        y = layers.Conv1D(filters=inputs.shape[-1], kernel_size=1)(y)
        x = layers.LayerNormalization(epsilon=1e-6)(y) + res
    x = layers.GlobalAveragePooling1D(data_format="channels_last")(x)
    x = layers.Dropout(0.4)(layers.Dense(32, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    return Specimen(model, noise(40, 1).cumsum(1))


@example
def timeseries_convolution():
    inputs = keras.layers.Input((40, 1))
    x = inputs
    for _ in range(3):
        x = layers.Conv1D(filters=16, kernel_size=3, padding="same")(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    return Specimen(model, noise(40, 1))


@example
def weather_lstm():
    inputs = keras.layers.Input(shape=(20, 7))
    x = keras.layers.LSTM(32)(inputs)
    return Specimen(keras.Model(inputs, layers.Dense(1)(x)), noise(20, 7))


@example
def anomaly_autoencoder():
    model = keras.Sequential(
        [
            layers.Input(shape=(32, 1)),
            layers.Conv1D(16, 7, padding="same", strides=2, activation="relu"),
            layers.Dropout(rate=0.2),
            layers.Conv1D(8, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(8, 7, padding="same", strides=2, activation="relu"),
            layers.Dropout(rate=0.2),
            layers.Conv1DTranspose(16, 7, padding="same", strides=2, activation="relu"),
            layers.Conv1DTranspose(filters=1, kernel_size=7, padding="same"),
        ]
    )
    return Specimen(model, noise(32, 1))


@example
def speaker_recognition():
    def block(x, filters, conv_num):
        s = layers.Conv1D(filters, 1, padding="same")(x)
        for _ in range(conv_num - 1):
            x = layers.Conv1D(filters, 3, padding="same")(x)
            x = layers.Activation("relu")(x)
        x = layers.Conv1D(filters, 3, padding="same")(x)
        x = layers.Activation("relu")(layers.Add()([x, s]))
        return layers.MaxPool1D(pool_size=2, strides=2)(x)

    inputs = layers.Input(shape=(64, 1), name="input")
    x = block(block(inputs, 8, 2), 16, 3)
    x = layers.AveragePooling1D(pool_size=3, strides=3)(x)
    x = layers.Dense(32, activation="relu")(layers.Flatten()(x))
    outputs = layers.Dense(5, activation="softmax", name="output")(x)
    return Specimen(keras.Model(inputs, outputs), noise(64, 1))


@example
def speech_spectrogram():
    inputs = keras.Input((1024,))
    x = layers.MelSpectrogram(
        num_mel_bins=16, sequence_stride=128, fft_length=256, sampling_rate=8000
    )(inputs)
    x = layers.Reshape((*x.shape[1:], 1))(x)
    x = layers.Normalization(mean=0.0, variance=100.0)(x)
    x = layers.Conv2D(16, 3, activation="relu", padding="same")(x)
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))
    return Specimen(keras.Model(inputs, layers.Dense(8)(x)), noise(1024))


@example
def wavenet():
    inputs = keras.Input((64, 1))
    x = layers.Conv1D(16, 2, padding="causal")(inputs)
    skips = []
    for rate in (1, 2, 4):
        filtered = layers.Conv1D(
            16, 2, padding="causal", dilation_rate=rate, activation="tanh"
        )(x)
        gate = layers.Conv1D(
            16, 2, padding="causal", dilation_rate=rate, activation="sigmoid"
        )(x)
        z = layers.Multiply()([filtered, gate])
        skips.append(layers.Conv1D(24, 1)(z))
        x = layers.Add()([x, layers.Conv1D(16, 1)(z)])
    x = layers.Activation("relu")(layers.Add()(skips))
    x = layers.Conv1D(24, 1, activation="relu")(x)
    outputs = layers.Conv1D(32, 1, activation="softmax")(x)
    return Specimen(keras.Model(inputs, outputs), noise(64, 1))


class ResidualBlock(layers.Layer):
    """Two causal convolutions and a shortcut."""

    def __init__(self, filters, dilation_rate, dropout=0.1):
        super().__init__()
        options = {"padding": "causal", "dilation_rate": dilation_rate}
        self.conv1 = layers.Conv1D(filters, 3, **options)
        self.conv2 = layers.Conv1D(filters, 3, **options)
        self.dropout1 = layers.SpatialDropout1D(dropout)
        self.dropout2 = layers.SpatialDropout1D(dropout)
        self.filters = filters
        self.shortcut = None

    def build(self, input_shape):
        if input_shape[-1] != self.filters:
            self.shortcut = layers.Conv1D(self.filters, 1)
        super().build(input_shape)

    def call(self, x, training=None):
        y = self.dropout1(ops.relu(self.conv1(x)), training=training)
        y = self.dropout2(ops.relu(self.conv2(y)), training=training)
        skip = self.shortcut(x) if self.shortcut else x
        return ops.relu(y + skip)


class TemporalNetwork(keras.Model):
    """A stack of such blocks."""

    def __init__(self, num_outputs, widths=(12, 16, 16)):
        super().__init__()
        self.blocks = [ResidualBlock(width, 2**i) for i, width in enumerate(widths)]
        self.head = layers.Dense(num_outputs)

    def call(self, inputs, training=None):
        x = inputs
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(x[:, -1, :])


@example
def temporal_convolution():
    return Specimen(TemporalNetwork(3), noise(40, 4))


class GraphConv(layers.Layer):
    """Means of neighbors along a fixed adjacency."""

    def __init__(self, in_feat, out_feat, adjacency, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.adjacency = adjacency
        self.weight = self.add_weight(
            shape=(in_feat, out_feat), initializer="glorot_uniform", trainable=True
        )
        self.activation = layers.Activation(activation)

    def call(self, features):
        gathered = ops.einsum("nm,mbtf->nbtf", self.adjacency, features)
        nodes = ops.matmul(features, self.weight)
        around = ops.matmul(gathered, self.weight)
        return self.activation(ops.concatenate([nodes, around], axis=-1))


class LSTMGC(layers.Layer):
    """A graph convolution, then an LSTM for each node."""

    def __init__(self, in_feat, out_feat, lstm_units, length, adjacency, **kwargs):
        super().__init__(**kwargs)
        self.graph_conv = GraphConv(in_feat, out_feat, adjacency, "relu")
        self.lstm = layers.LSTM(lstm_units, activation="relu")
        self.dense = layers.Dense(length)

    def call(self, inputs):
        inputs = ops.transpose(inputs, [2, 0, 1, 3])
        made = self.graph_conv(inputs)
        shape = ops.shape(made)
        x = ops.reshape(made, (shape[0] * shape[1], shape[2], shape[3]))
        x = self.dense(self.lstm(x))
        return ops.transpose(ops.reshape(x, (shape[0], shape[1], -1)), [1, 2, 0])


@example
def traffic_forecasting():
    adjacency = (noise(5, count=5) > 0).astype("float32")
    inputs = layers.Input((6, 5, 1))
    outputs = LSTMGC(1, 8, 16, 3, adjacency / adjacency.sum(1, keepdims=True))(inputs)
    return Specimen(keras.Model(inputs, outputs), noise(6, 5, 1))


@example
def eeg_network():
    inputs = keras.Input((8, 64, 1))
    x = layers.Conv2D(8, (1, 16), padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(
        (8, 1),
        use_bias=False,
        depth_multiplier=2,
        depthwise_constraint=keras.constraints.MaxNorm(1.0),
    )(x)
    x = layers.Activation("elu")(layers.BatchNormalization()(x))
    x = layers.SpatialDropout2D(0.25)(layers.AveragePooling2D((1, 4))(x))
    x = layers.SeparableConv2D(16, (1, 8), use_bias=False, padding="same")(x)
    x = layers.Activation("elu")(layers.BatchNormalization()(x))
    x = layers.Flatten()(layers.AveragePooling2D((1, 4))(x))
    x = layers.Dense(4, kernel_constraint=keras.constraints.MaxNorm(0.25))(x)
    return Specimen(
        keras.Model(inputs, layers.Activation("softmax")(x)), noise(8, 64, 1)
    )


def _pinball(quantile):
    def loss(y_true, y_pred):
        error = y_true - y_pred
        return ops.mean(ops.maximum(quantile * error, (quantile - 1) * error), axis=-1)

    return loss


@example
def quantile_forecast():
    inputs = keras.Input((24, 3))
    x = layers.GRU(16)(inputs)
    x = layers.Dense(16, activation="selu", kernel_initializer="lecun_normal")(x)
    x = layers.AlphaDropout(0.1)(x)
    heads = {name: layers.Dense(4, name=name)(x) for name in ("low", "median", "high")}
    losses = {"low": _pinball(0.1), "median": _pinball(0.5), "high": _pinball(0.9)}
    targets = noise(4)
    return Specimen(
        keras.Model(inputs, heads),
        noise(24, 3),
        compile={"optimizer": "adam", "loss": losses},
        targets=dict.fromkeys(heads, targets),
    )


class MinimalCell(layers.Layer):
    """A recurrent cell with one gate."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = units

    def build(self, input_shape):
        size = input_shape[-1]
        self.kernel = self.add_weight(shape=(size, 2 * self.units), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, 2 * self.units), name="recurrent_kernel"
        )

    def call(self, inputs, states):
        previous = states[0]
        mixed = ops.matmul(inputs, self.kernel)
        mixed = mixed + ops.matmul(previous, self.recurrent_kernel)
        gate, candidate = ops.split(mixed, 2, axis=-1)
        gate = ops.sigmoid(gate)
        output = gate * previous + (1 - gate) * ops.tanh(candidate)
        return output, [output]


@example
def custom_recurrent_cell():
    inputs = keras.Input((12, 6))
    x = layers.RNN(MinimalCell(16), return_sequences=True)(inputs)
    x = layers.RNN([layers.GRUCell(12), layers.LSTMCell(12)])(x)
    return Specimen(keras.Model(inputs, layers.Dense(2)(x)), noise(12, 6))


@example
def masking_lstm():
    model = keras.Sequential(
        [
            keras.Input((12, 6)),
            layers.Masking(mask_value=0.0),
            layers.LSTM(16, return_sequences=True, recurrent_dropout=0.1),
            layers.TimeDistributed(layers.Dense(8, activation="relu")),
            layers.SimpleRNN(8),
            layers.Dense(2),
        ]
    )
    inputs = noise(12, 6)
    inputs[:, 9:] = 0
    return Specimen(model, inputs)


@example
def atari_q_network():
    model = keras.Sequential(
        [
            keras.Input((4, 36, 36)),
            layers.Permute((2, 3, 1)),
            layers.Conv2D(8, 8, strides=4, activation="relu"),
            layers.Conv2D(16, 4, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(4, activation="linear"),
        ]
    )
    return Specimen(model, np.abs(noise(4, 36, 36)))
