"""What both sides of peers.py share: networks, data, training, and how lines are counted.

Peers import this in their own environments, with tf_keras or Keras 3. A program is a
function `program(task, path)` that makes a file of `task.model`. It runs twice: once to
write the file, once to time its training steps.
"""

import ast
import contextlib
import inspect
import json
import sys
import textwrap
import time

import harness
import mnist_lenet
import numpy as np

BATCH_SIZE = 128
_TIMED_STEPS, _ROUNDS = 20, 5


class Task:
    """What a program is given; training as it should be.

    Attributes:
        keras: `keras` or `tf_keras`; None for tools that take files.
        samples: typical inputs.
        float_file: path of the float32 `.tflite` file of the network.
    """

    def __init__(self, keras, settings, model=None):
        self.keras, self.settings = keras, settings
        self.float_file = settings["float_file"]
        self.num_fits = 0
        if keras:
            keras.utils.set_random_seed(settings["seed"])
        data = np.load(settings["data"])
        self.images, self.labels = data["images"], data["labels"]
        self.samples = self._scaled(self.images[: settings["num_samples"]])
        self._model = model

    @property
    def model(self):
        """A new copy of the network, with its weights."""
        if self._model is not None:
            copy = self.keras.models.clone_model(self._model)
            copy.set_weights(self._model.get_weights())
            return copy
        if self.settings["network"] == "binary":
            return self.binary(self.keras.layers.Conv2D)
        return self._with_weights(mnist_lenet.build(self.keras, "lenet_5"))

    def binary(self, convolution):
        """The network of `build_binary`, with its first weights."""
        return self._with_weights(build_binary(self.keras, convolution))

    def _with_weights(self, model):
        weights = np.load(self.settings["weights"])
        model.set_weights([weights[str(i)] for i in range(len(weights.files))])
        return model

    def steps(self, epochs):
        """Training steps in this many epochs."""
        return epochs * (len(self.images) // BATCH_SIZE)

    def fit(self, model, epochs, *callbacks):
        """Compiles and trains: Adam, its rate along a cosine, the same batches for all."""
        self.num_fits += 1
        self.compile(model, self.steps(epochs))
        model.fit(
            self.batches(self.steps(epochs)),
            epochs=epochs,
            steps_per_epoch=self.steps(1),
            verbose=0,
            callbacks=list(callbacks),
        )

    def compile(self, model, num_steps):
        """With the loss, and a learning rate that falls to zero in that many steps."""
        keras = self.keras
        rate = keras.optimizers.schedules.CosineDecay(
            self.settings["learning_rate"], num_steps
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss)

    def batches(self, num_steps):
        """The first batches, in an order that depends on the seed only."""
        import tensorflow as tf

        images, labels = tf.constant(self.images), tf.constant(self.labels)
        order = _order(len(self.images), num_steps, self.settings["seed"])
        options = tf.data.Options()
        # The autotuner can delay the end of an epoch by as long as the epoch itself.
        options.autotune.enabled = False
        return (
            tf.data.Dataset.from_tensor_slices(order)
            .map(lambda some: (tf.gather(images, some), tf.gather(labels, some)))
            .map(lambda some, labels: (self._scaled(some), labels))
            .prefetch(2)
            .with_options(options)
        )

    def _scaled(self, images):
        is_array = isinstance(images, np.ndarray)
        if is_array:
            return (images * np.float32(self.settings["scale"])).astype("float32")
        import tensorflow as tf

        return tf.cast(images, tf.float32) * self.settings["scale"]


class Timed(Exception):
    """All trainings of a program have been timed."""


class Stopwatch(Task):
    """Times steps of training in place of training, then ends the program.

    Attributes:
        times: `(epochs, step time relative to that of the plain network)` of each `fit`.
    """

    def __init__(self, num_timed, *arguments):
        super().__init__(*arguments)
        self.num_timed, self.times = num_timed, []

    def fit(self, model, epochs, *callbacks):
        is_quick = self.settings["is_quick"]
        num_steps = 1 if is_quick else _TIMED_STEPS
        plain = self.model
        for one in (plain, model):
            self.compile(one, self.steps(epochs))
        batches = self.batches(num_steps)
        run = {
            "plain": lambda: plain.fit(batches, verbose=0),
            "compressed": lambda: model.fit(
                batches, verbose=0, callbacks=list(callbacks)
            ),
        }
        times = harness.interleaved(run, 1 if is_quick else _ROUNDS)
        ratio = harness.ratio(times["compressed"], times["plain"])
        self.times.append((epochs, ratio))
        if len(self.times) == self.num_timed:
            raise Timed


def build_binary(keras, convolution=None):
    """A convolution, three that can be binary, and a dense layer.

    Args:
        keras: `keras` or `tf_keras`.
        convolution: called like `Conv2D` for those that can be binary; a layer or a list
            of layers.
    """
    layers = keras.layers
    convolution = convolution or layers.Conv2D
    stack = [
        layers.Input((28, 28, 1)),
        layers.Conv2D(32, 3, use_bias=False, name="first"),
        layers.MaxPooling2D(),
        layers.BatchNormalization(),
    ]
    for number, filters in enumerate((64, 64, 128), 1):
        made = convolution(filters, 3, use_bias=False, name=f"binary{number}")
        stack += made if isinstance(made, list) else [made]
        stack.append(layers.BatchNormalization())
    stack += [layers.GlobalAveragePooling2D(), layers.Dense(10, name="last")]
    return keras.Sequential(stack)


def _order(count, num_steps, seed):
    """Numbers of images in batches; every epoch sees whole batches only."""
    generator = np.random.default_rng(seed)
    per_epoch = count // BATCH_SIZE
    epochs = [
        generator.permutation(count)[: per_epoch * BATCH_SIZE]
        for _ in range(-(-num_steps // per_epoch))
    ]
    return np.concatenate(epochs).reshape(-1, BATCH_SIZE)[:num_steps]


def answer(program, keras, settings, path, model=None):
    """Runs a program: `{"lines", "seconds", "step", "title"}`, or `{"title", "error"}`.

    Args:
        program: the function.
        keras: `keras` or `tf_keras`; None if the tool needs neither.
        settings: see `peer_lab.Lab`.
        path: of the file to write.
        model: the trained network, if the weights alone do not say what it is.
    """
    title = program.__doc__.partition("\n")[0].rstrip(".")
    arguments = keras, settings, model
    start = time.perf_counter()
    try:
        # The output is for the answer alone.
        with contextlib.redirect_stdout(sys.stderr):
            task = Task(*arguments)
            program(task, path)
            seconds = time.perf_counter() - start
            step = _step_time(program, path, task.num_fits, arguments)
    # Whatever a tool cannot do here is a line of the table.
    except Exception as error:
        if settings["is_quick"]:
            raise
        return {"title": title, "error": first_line(error)}
    lines = len(source_lines(program))
    return {"title": title, "lines": lines, "seconds": seconds, "step": step}


def _step_time(program, path, num_fits, arguments):
    """Relative to the plain network, weighted by epochs; None without training."""
    if not num_fits:
        return None
    watch = Stopwatch(num_fits, *arguments)
    with contextlib.suppress(Timed):
        program(watch, path)
    epochs = sum(epochs for epochs, _ in watch.times)
    return sum(epochs * ratio for epochs, ratio in watch.times) / epochs


def first_line(error):
    """The type of an error and the first line of its message."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


def source_lines(function):
    """Lines of code of a function and of those that it calls in the same module.

    Blank lines, comments, docstrings and the `def` itself do not count.

    >>> def example(task, path):
    ...     "Adds."
    ...     # One of two.
    ...     one = 1
    ...
    ...     return one + 1
    >>> source_lines(example)
    ['one = 1', 'return one + 1']
    """
    lines, seen, todo = [], set(), [function]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        text = textwrap.dedent(inspect.getsource(one))
        tree = ast.parse(text).body[0]
        lines += _body_lines(tree, text.splitlines())
        todo += _called(tree, one)
    return lines


def _body_lines(tree, text):
    has_docstring = ast.get_docstring(tree) is not None
    body = tree.body[1:] if has_docstring else tree.body
    lines = [line.strip() for line in text[body[0].lineno - 1 : body[-1].end_lineno]]
    return [line for line in lines if line and not line.startswith("#")]


def _called(tree, function):
    """Functions of the same module whose names occur."""
    names = dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name))
    known = [function.__globals__.get(name) for name in names]
    return [
        one
        for one in known
        if inspect.isfunction(one) and one.__module__ == function.__module__
    ]


def main(programs, keras, tool):
    """Answers the task in the first argument as JSON: `[settings, {program: path}]`."""
    settings, paths = json.loads(sys.argv[1])
    answers = []
    for name, path in paths.items():
        harness.progress(f"  {tool}, {name}")
        answers.append(answer(programs[name], keras, settings, path))
    print(json.dumps([{"tool": tool, **found} for found in answers]))
