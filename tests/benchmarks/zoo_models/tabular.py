"""Models for tables, graphs and recommendations."""

import keras
import numpy as np
from keras import layers, ops

from zoo_models import NUM_SAMPLES, Specimen, example, noise, words


@example
def wide_and_deep():
    inputs = {
        "age": keras.Input((1,), name="age"),
        "hours": keras.Input((1,), name="hours"),
        "education": keras.Input((1,), name="education", dtype="int32"),
        "occupation": keras.Input((1,), name="occupation", dtype="int32"),
    }
    one_hot = [
        layers.CategoryEncoding(6, "one_hot")(inputs["education"]),
        layers.CategoryEncoding(9, "one_hot")(inputs["occupation"]),
    ]
    embedded = [
        layers.Flatten()(layers.Embedding(6, 4)(inputs["education"])),
        layers.Flatten()(layers.Embedding(9, 4)(inputs["occupation"])),
    ]
    wide = layers.concatenate([*one_hot, inputs["age"], inputs["hours"]])
    wide = layers.BatchNormalization()(wide)
    deep = layers.concatenate([*embedded, inputs["age"], inputs["hours"]])
    for units in (24, 24):
        deep = layers.Dense(units)(deep)
        deep = layers.ReLU()(layers.BatchNormalization()(deep))
        deep = layers.Dropout(0.1)(deep)
    merged = layers.concatenate([wide, deep])
    outputs = layers.Dense(units=3, activation="softmax")(merged)
    table = {
        "age": noise(1),
        "hours": noise(1),
        "education": words(1, 6),
        "occupation": words(1, 9),
    }
    return Specimen(keras.Model(inputs=inputs, outputs=outputs), table)


@example
def structured_features():
    age = keras.Input((1,), name="age")
    thal = keras.Input((1,), name="thal", dtype="int64")
    zone = keras.Input((1,), name="zone", dtype="int64")
    normalizer = layers.Normalization()
    normalizer.adapt(40 + 10 * noise(1))
    lookup = layers.IntegerLookup(vocabulary=[1, 3, 5, 7], output_mode="one_hot")
    hashed = layers.Hashing(num_bins=8, output_mode="one_hot")
    bins = layers.Discretization(
        bin_boundaries=[30.0, 40.0, 50.0], output_mode="one_hot"
    )
    x = layers.concatenate([normalizer(age), bins(age), lookup(thal), hashed(zone)])
    x = layers.Dropout(0.5)(layers.Dense(32, activation="relu")(x))
    outputs = layers.Dense(1, activation="sigmoid")(x)
    rows = [
        40 + 10 * noise(1),
        words(1, 8).astype("int64"),
        words(1, 90).astype("int64"),
    ]
    return Specimen(keras.Model([age, thal, zone], outputs), rows)


@example
def string_features():
    city = keras.Input((1,), name="city", dtype="string")
    size = keras.Input((1,), name="size")
    lookup = layers.StringLookup(vocabulary=["oslo", "rome", "kyiv"])
    vectors = layers.Flatten()(layers.Embedding(4, 8)(lookup(city)))
    x = layers.Dense(16, activation="relu")(layers.concatenate([vectors, size]))
    cities = np.array(["oslo", "rome", "kyiv", "bonn"] * (NUM_SAMPLES // 4))[:, None]
    return Specimen(
        keras.Model([city, size], layers.Dense(1)(x)),
        [cities, noise(1)],
    )


@example
def tab_transformer():
    number = keras.Input((3,), name="numeric")
    kinds = keras.Input((4,), name="categorical", dtype="int32")
    columns = [layers.Embedding(10, 16)(kinds[:, i]) for i in range(4)]
    x = ops.stack(columns, axis=1)
    positions = layers.Embedding(4, 16)(ops.arange(start=0, stop=4, step=1))
    x = x + positions
    for _ in range(2):
        attention = layers.MultiHeadAttention(2, key_dim=16, dropout=0.1)(x, x)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([attention, x]))
        y = layers.Dense(16, activation="gelu")(x)
        x = layers.LayerNormalization(epsilon=1e-6)(layers.Add()([y, x]))
    x = layers.Flatten()(x)
    x = layers.concatenate([x, layers.LayerNormalization(epsilon=1e-6)(number)])
    for units in (32, 16):
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.2)(layers.Dense(units, activation="selu")(x))
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return Specimen(keras.Model([number, kinds], outputs), [noise(3), words(4, 10)])


class GatedLinearUnit(layers.Layer):
    """A linear layer times a gate."""

    def __init__(self, units):
        super().__init__()
        self.linear = layers.Dense(units)
        self.sigmoid = layers.Dense(units, activation="sigmoid")

    def call(self, inputs):
        return self.linear(inputs) * self.sigmoid(inputs)


class GatedResidualNetwork(layers.Layer):
    """Two dense layers that a gate may skip."""

    def __init__(self, units, dropout_rate):
        super().__init__()
        self.units = units
        self.elu_dense = layers.Dense(units, activation="elu")
        self.linear_dense = layers.Dense(units)
        self.dropout = layers.Dropout(dropout_rate)
        self.gated_linear_unit = GatedLinearUnit(units)
        self.layer_norm = layers.LayerNormalization()
        self.project = layers.Dense(units)

    def call(self, inputs):
        x = self.dropout(self.linear_dense(self.elu_dense(inputs)))
        if inputs.shape[-1] != self.units:
            inputs = self.project(inputs)
        return self.layer_norm(inputs + self.gated_linear_unit(x))


class VariableSelection(layers.Layer):
    """Weights features based on all of them."""

    def __init__(self, num_features, units, dropout_rate):
        super().__init__()
        self.units = units
        self.grns = [
            GatedResidualNetwork(units, dropout_rate) for _ in range(num_features)
        ]
        self.grn_concat = GatedResidualNetwork(units, dropout_rate)
        self.softmax = layers.Dense(units=num_features, activation="softmax")

    def call(self, inputs):
        v = self.grn_concat(layers.concatenate(inputs))
        v = ops.expand_dims(self.softmax(v), axis=-1)
        x = [grn(each) for grn, each in zip(self.grns, inputs, strict=True)]
        x = ops.stack(x, axis=1)
        return ops.squeeze(ops.matmul(ops.transpose(v, axes=[0, 2, 1]), x), axis=1)


@example
def gated_residual_network():
    inputs = [keras.Input((1,), name=f"feature_{i}") for i in range(3)]
    encoded = [layers.Dense(units=16)(each) for each in inputs]
    x = VariableSelection(3, 16, 0.1)(encoded)
    outputs = layers.Dense(units=2, activation="softmax")(x)
    return Specimen(keras.Model(inputs, outputs), [noise(1), noise(1) ** 2, -noise(1)])


class RecommenderNet(keras.Model):
    """Products of user and movie embeddings."""

    def __init__(self, num_users, num_movies, embedding_size, **kwargs):
        super().__init__(**kwargs)
        options = {
            "embeddings_initializer": "he_normal",
            "embeddings_regularizer": keras.regularizers.l2(1e-6),
        }
        self.user_embedding = layers.Embedding(num_users, embedding_size, **options)
        self.user_bias = layers.Embedding(num_users, 1)
        self.movie_embedding = layers.Embedding(num_movies, embedding_size, **options)
        self.movie_bias = layers.Embedding(num_movies, 1)

    def call(self, inputs):
        user_vector = self.user_embedding(inputs[:, 0])
        movie_vector = self.movie_embedding(inputs[:, 1])
        product = ops.sum(user_vector * movie_vector, axis=1, keepdims=True)
        x = product + self.user_bias(inputs[:, 0]) + self.movie_bias(inputs[:, 1])
        return ops.nn.sigmoid(x)


@example
def recommender():
    return Specimen(RecommenderNet(50, 60, 16), words(2, 50))


class TwoTower(keras.Model):
    """A tower for queries and one for candidates."""

    def __init__(self, width=16):
        super().__init__()
        self.query = keras.Sequential(
            [layers.Embedding(40, width), layers.Dense(width, activation="relu")]
        )
        self.candidate = keras.Sequential(
            [layers.Embedding(40, width), layers.Dense(width, activation="relu")]
        )

    def call(self, features):
        user = self.query(features["user"])
        item = self.candidate(features["item"])
        return ops.matmul(user, ops.transpose(item))


def in_batch_loss(_, scores):
    """Every other item of the batch is a negative."""
    right = ops.arange(ops.shape(scores)[0])
    return keras.losses.sparse_categorical_crossentropy(right, scores, from_logits=True)


@example
def two_tower_retrieval():
    features = {"item": words(1, 40)[:, 0], "user": words(1, 40)[::-1, 0].copy()}
    compile = {"optimizer": keras.optimizers.SGD(1e-3), "loss": in_batch_loss}
    return Specimen(TwoTower(), features, compile, np.zeros(len(features["item"])))


@example
def deep_and_cross():
    inputs = keras.Input((12,))
    x0 = layers.LayerNormalization()(inputs)
    cross = x0
    for _ in range(3):
        x = layers.Dense(12)(cross)
        cross = x0 * x + cross
    deep = x0
    for units in (24, 16):
        deep = layers.Dense(units)(deep)
        deep = layers.ReLU()(layers.BatchNormalization()(deep))
    merged = layers.concatenate([layers.BatchNormalization()(cross), deep])
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(merged))
    return Specimen(model, noise(12))


class NeuralDecisionTree(keras.Model):
    """A tree with soft decisions."""

    def __init__(self, depth, num_features, used_features_rate, num_classes):
        super().__init__()
        self.depth = depth
        self.num_leaves = 2**depth
        self.num_classes = num_classes
        used = int(num_features * used_features_rate)
        chosen = np.random.default_rng(0).choice(num_features, used, replace=False)
        self.used_features_mask = np.eye(num_features)[chosen].astype("float32")
        self.pi = self.add_weight(
            initializer="random_normal",
            shape=[self.num_leaves, num_classes],
            dtype="float32",
            trainable=True,
        )
        self.decision_fn = layers.Dense(
            units=self.num_leaves, activation="sigmoid", name="decision"
        )

    def call(self, features):
        batch = ops.shape(features)[0]
        mask = ops.transpose(ops.convert_to_tensor(self.used_features_mask))
        decisions = ops.expand_dims(
            self.decision_fn(ops.matmul(features, mask)), axis=2
        )
        decisions = ops.concatenate([decisions, 1 - decisions], axis=2)
        mu = ops.ones([batch, 1, 1])
        begin, end = 1, 2
        for level in range(self.depth):
            mu = ops.reshape(mu, [batch, -1, 1])
            mu = ops.tile(mu, (1, 1, 2)) * decisions[:, begin:end, :]
            begin, end = end, end + 2 ** (level + 1)
        mu = ops.reshape(mu, [batch, self.num_leaves])
        return ops.matmul(mu, keras.activations.softmax(self.pi))


@example
def neural_decision_tree():
    inputs = keras.Input((10,))
    x = layers.BatchNormalization()(inputs)
    outputs = NeuralDecisionTree(3, 10, 0.8, 3)(x)
    return Specimen(keras.Model(inputs, outputs), noise(10))


class GraphAttention(layers.Layer):
    """Attention along a fixed list of edges."""

    def __init__(self, units, edges, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.edges = edges

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units),
            trainable=True,
            initializer="glorot_uniform",
            name="kernel",
        )
        self.kernel_attention = self.add_weight(
            shape=(self.units * 2, 1),
            trainable=True,
            initializer="glorot_uniform",
            name="kernel_attention",
        )
        self.built = True

    def call(self, nodes):
        made = ops.matmul(nodes, self.kernel)
        source = ops.take(made, self.edges[:, 0], axis=1)
        target = ops.take(made, self.edges[:, 1], axis=1)
        pairs = ops.concatenate([source, target], axis=-1)
        scores = ops.leaky_relu(ops.matmul(pairs, self.kernel_attention))
        scores = ops.exp(ops.clip(ops.squeeze(scores, -1), -2, 2))
        member = ops.one_hot(self.edges[:, 0], nodes.shape[1])
        total = ops.matmul(scores, member)
        weights = scores / ops.take(total, self.edges[:, 0], axis=1)
        return ops.einsum("be,bef,en->bnf", weights, target, member)


@example
def graph_attention():
    edges = np.stack([np.arange(12) % 6, np.arange(12) * 5 % 6], 1)
    inputs = keras.Input((6, 8))
    x = layers.Dense(16, activation="relu")(inputs)
    heads = [GraphAttention(8, edges)(x) for _ in range(2)]
    x = ops.relu(ops.concatenate(heads, axis=-1)) + x
    return Specimen(keras.Model(inputs, layers.Dense(3)(x)), noise(6, 8))


def _ffn(units, rate, name=None):
    parts = []
    for size in units:
        parts.append(layers.BatchNormalization())
        parts.append(layers.Dropout(rate))
        parts.append(layers.Dense(size, activation=keras.activations.gelu))
    return keras.Sequential(parts, name=name)


class GraphConvLayer(layers.Layer):
    """Prepares, sums and combines the messages of neighbors."""

    def __init__(self, hidden_units, dropout_rate=0.2, normalize=True, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.normalize = normalize
        self.ffn_prepare = _ffn(hidden_units, dropout_rate)
        self.update_fn = _ffn(hidden_units, dropout_rate)

    def call(self, inputs):
        nodes, adjacency = inputs
        messages = ops.matmul(adjacency, self.ffn_prepare(nodes))
        return self.update_fn(ops.concatenate([nodes, messages], axis=-1))


class GNNNodeClassifier(keras.Model):
    """Classifies nodes of a graph that is passed with the nodes."""

    def __init__(self, num_classes, hidden_units, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.preprocess = _ffn(hidden_units, 0.1, name="preprocess")
        self.conv1 = GraphConvLayer(hidden_units, 0.1, name="graph_conv1")
        self.conv2 = GraphConvLayer(hidden_units, 0.1, name="graph_conv2")
        self.compute_logits = layers.Dense(units=num_classes, name="logits")

    def call(self, inputs):
        nodes, adjacency = inputs
        x = self.preprocess(nodes)
        x = self.conv1((x, adjacency)) + x
        x = self.conv2((x, adjacency)) + x
        return self.compute_logits(x)


@example
def graph_node_classifier():
    adjacency = (noise(6, 6) > 0).astype("float32")
    return Specimen(GNNNodeClassifier(3, [16, 16]), (noise(6, 8), adjacency))


@example
def actor_critic():
    inputs = layers.Input(shape=(4,))
    common = layers.Dense(32, activation="relu")(inputs)
    action = layers.Dense(2, activation="softmax")(common)
    critic = layers.Dense(1)(common)
    return Specimen(keras.Model(inputs=inputs, outputs=[action, critic]), noise(4))


@example
def ddpg_critic():
    state = layers.Input(shape=(3,), name="state")
    state_out = layers.Dense(16, activation="relu")(state)
    state_out = layers.Dense(32, activation="relu")(state_out)
    action = layers.Input(shape=(1,), name="action")
    action_out = layers.Dense(32, activation="relu")(action)
    x = layers.Concatenate()([state_out, action_out])
    x = layers.Dense(64, activation="relu")(x)
    model = keras.Model([state, action], layers.Dense(1)(x))
    return Specimen(model, [noise(3), noise(1)])


class QREmbedding(layers.Layer):
    """Embeddings composed of those of a quotient and a remainder."""

    def __init__(self, vocabulary, embedding_dim, num_buckets, name=None):
        super().__init__(name=name)
        self.num_buckets = num_buckets
        self.q_embeddings = layers.Embedding(num_buckets, embedding_dim)
        self.r_embeddings = layers.Embedding(num_buckets, embedding_dim)

    def call(self, index):
        quotient = ops.floor_divide(index, self.num_buckets)
        remainder = ops.mod(index, self.num_buckets)
        return self.q_embeddings(quotient) * self.r_embeddings(remainder)


@example
def quotient_remainder_embeddings():
    user = layers.Input(name="user", shape=(), dtype="int32")
    movie = layers.Input(name="movie", shape=(), dtype="int32")
    user_vector = QREmbedding(64, 16, 8, name="user_embedding")(user)
    movie_vector = QREmbedding(64, 16, 8, name="movie_embedding")(movie)
    x = layers.Dot(axes=1)([user_vector, movie_vector])
    outputs = keras.activations.sigmoid(x)
    return Specimen(
        keras.Model([user, movie], outputs), [words(1, 64)[:, 0], words(1, 60)[:, 0]]
    )


class LogisticEndpoint(layers.Layer):
    """Adds its own loss when targets are given."""

    def __init__(self, name=None):
        super().__init__(name=name)
        self.loss_fn = keras.losses.BinaryCrossentropy(from_logits=True)

    def call(self, targets, logits, sample_weights=None):
        self.add_loss(self.loss_fn(targets, logits, sample_weights))
        return ops.softmax(logits)


@example
def logistic_endpoint():
    inputs = keras.Input((3,), name="inputs")
    targets = keras.Input((10,), name="targets")
    logits = layers.Dense(10)(inputs)
    predictions = LogisticEndpoint(name="predictions")(targets, logits)
    return Specimen(
        keras.Model([inputs, targets], predictions),
        [noise(3), (noise(10) > 0).astype("float32")],
        compile={"optimizer": "adam"},
    )


class Antirectifier(layers.Layer):
    """Both halves of centered inputs, with a trained scale."""

    def __init__(self, initializer="he_normal", **kwargs):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            shape=(input_shape[-1] * 2, 24), initializer=self.initializer, name="kernel"
        )

    def call(self, inputs):
        centred = inputs - ops.mean(inputs, axis=-1, keepdims=True)
        both = ops.concatenate([ops.relu(centred), ops.relu(-centred)], axis=-1)
        return ops.matmul(both, self.kernel)


@example
def antirectifier_mlp():
    model = keras.Sequential(
        [
            keras.Input(shape=(20,)),
            layers.Dense(24),
            Antirectifier(),
            layers.Dense(24),
            Antirectifier(),
            layers.Dense(10),
        ]
    )
    return Specimen(model, noise(20))


class Linear(layers.Layer):
    """A dense layer as in the first tutorial."""

    def __init__(self, units=32):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer="random_normal",
            trainable=True,
        )
        self.b = self.add_weight(
            shape=(self.units,), initializer="random_normal", trainable=True
        )

    def call(self, inputs):
        return ops.matmul(inputs, self.w) + self.b


class MLPBlock(layers.Layer):
    """Three of them, with an activity loss."""

    def __init__(self):
        super().__init__()
        self.linear_1 = Linear(24)
        self.linear_2 = Linear(24)
        self.linear_3 = Linear(1)

    def call(self, inputs):
        x = ops.relu(self.linear_1(inputs))
        x = ops.relu(self.linear_2(x))
        self.add_loss(1e-2 * ops.mean(ops.square(x)))
        return self.linear_3(x)


class Tutorial(keras.Model):
    """A model without arguments."""

    def __init__(self):
        super().__init__()
        self.block = MLPBlock()
        self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")

    def call(self, inputs):
        return self.block(inputs) * self.scale


@example
def tutorial_mlp():
    return Specimen(Tutorial(), noise(12))


@example
def fraud_detection():
    model = keras.Sequential(
        [
            keras.Input(shape=(29,)),
            layers.Dense(64, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    compile_arguments = {
        "optimizer": keras.optimizers.Adam(1e-2),
        "loss": "binary_crossentropy",
        "metrics": [keras.metrics.FalseNegatives(name="fn"), keras.metrics.Recall()],
    }
    labels = (noise(1) > 0).astype("float32")
    return Specimen(model, noise(29), compile=compile_arguments, targets=labels)
