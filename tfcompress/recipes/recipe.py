"""A list of steps from a model to a file, in Python or YAML."""

import contextlib
import dataclasses
import inspect
import math
import pathlib

import keras
import tensorflow as tf
import yaml

from tfcompress import callbacks as own_callbacks
from tfcompress.core.compress import compress, strip
from tfcompress.core.data import Data, first_rows
from tfcompress.core.errors import shown
from tfcompress.core.files import write_atomically
from tfcompress.core.kinds import (
    VERBOSE,
    Anything,
    BuiltModel,
    Converted,
    Each,
    FilePath,
    Flag,
    Integer,
    Mapping,
    Number,
    OneOf,
    PlugIn,
    Text,
    bind,
    checked,
)
from tfcompress.core.plugin import did_you_mean, snake_case
from tfcompress.core.warn import warn
from tfcompress.distillation import Distiller
from tfcompress.distillation.teachers import Teacher
from tfcompress.export import export_tflite
from tfcompress.factorization import factorize
from tfcompress.measuring.fit_check import fit_check
from tfcompress.measuring.scores import own_loss
from tfcompress.pruning.channels.prune_channels import prune_channels
from tfcompress.pruning.channels.shrink import shrink
from tfcompress.pruning.solvers.prune_weights import prune_weights
from tfcompress.quantization.post_training.equalize import equalize
from tfcompress.quantization.post_training.quantize_weights import quantize_weights
from tfcompress.quantization.quantize_activations import quantize_activations
from tfcompress.recipes.deep_compression import deep_compression
from tfcompress.recipes.objective import LOSS, objective
from tfcompress.rewrites.apply import apply

_BATCH_SIZE = 64
_NUM_SAMPLES = 2048
_NUM_CORRECTED = 1024
_MOST_VALUES = 10_000
_FOLDER = pathlib.Path(__file__).with_name("files")
_NAMES = tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))
# Names the model that the recipe is run on as the teacher.
ORIGINAL = "original"


@dataclasses.dataclass(frozen=True)
class RecipeResult:
    """The result of a recipe.

    Attributes:
        model: the model after the last step.
        exports: the `ExportResult` of each export.
        history: the training history of each fit, `{metric: values per epoch}`.
    """

    model: keras.Model
    exports: tuple
    history: tuple


class Recipe:
    """Steps that are run in sequence.

    Each step is a name, or `{name: arguments}`:

    - `compress`: `rules` (pattern: transforms), `skip`
    - `quantize_activations`: `ranges`, `momentum`; with `samples: true`, the ranges are
      measured on the first 2,048 inputs immediately instead of during training
    - `equalize`
    - `rewrite`: `rewrite`, the name of a `tfc.rewrites` plug-in
    - `factorize`: `rewrite`, `where`
    - `prune_channels`: `ratio` or a target, `criterion`, `scope`, `round_to`, `ignore`;
      batch norms are recalibrated on the data; with `reconstruct: true`, the layers that
      read cut channels are fitted to the first 1,024 inputs
    - `prune_weights`: `sparsity`, `solver`, `pattern`, `scope`, `bits`, and
      `quantize_weights`: `bits`, `rounding`, `scales`; both correct each layer on the
      first 1,024 inputs of the data, without training
    - `fit`: `epochs`, `batch_size`, `learning_rate`, and `decay: cosine`, with which it
      decays to zero; `loss`, by default the one that the model is compiled with (and its
      metrics), otherwise for each output cross entropy or the mean squared error,
      depending on the data; `callbacks`, a list of names or `{name: arguments}`, those of
      `tfc.callbacks` (`pruning` or `Pruning`) and of `keras.callbacks` (`EarlyStopping`);
      `pruning` and `channel_pruning`, the arguments of these two without a list; and
      `distillation`, those of `tfc.distillation.Distiller`
    - `deep_compression`: the arguments of `tfc.recipes.deep_compression`
    - `shrink`
    - `strip`
    - `export`: `path`, `precision`, `profile`, `sparse`, `codec`
    - `fit_check`: `chips`; warns if the last exported file is too big for any of them

    Transforms, schedules and so on are names or `{name: arguments}`. `teacher: original`,
    in `distillation` and in `deep_compression`, is the model that the recipe is run on.

    Args:
        steps: list of steps.
        description: what the recipe does, in one line.

    Raises:
        ValueError: if a step is not known or its arguments are wrong. Errors that depend
            on the model and the data are raised by `run`.

    Example:
        >>> recipe = Recipe([{"compress": {"rules": {".*": "mask"}}}, "strip"])
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> recipe.run(model).model.count_params()
        10
    """

    @checked
    def __init__(
        self,
        steps: Each(Anything("a step"), "steps, at least one", least=1),
        description: Text() = "",
    ):
        self.description = description
        self.steps = [_step(step) for step in steps]
        for position, (name, arguments) in enumerate(self.steps, start=1):
            with _named_step(position, name):
                bind(_signature(name), name, (), arguments)

    @classmethod
    @checked
    def named(cls, name: OneOf(*_NAMES)) -> "Recipe":
        """A recipe that comes with the package.

        Args:
            name: one of `Recipe.names()`.

        Raises:
            ValueError: if there is no recipe with that name.

        Example:
            >>> Recipe.named("half_the_file").steps
            [('export', {'path': 'half_the_file.tflite', 'precision': 'dynamic'})]
        """
        return cls.from_yaml(cls.file(name))

    @staticmethod
    @checked
    def file(name: OneOf(*_NAMES)) -> pathlib.Path:
        """The path of the YAML file of a recipe that comes with the package.

        Args:
            name: one of `Recipe.names()`.

        Raises:
            ValueError: if there is no recipe with that name.

        Example:
            >>> Recipe.file("binary").name
            'binary.yaml'
        """
        return _FOLDER / f"{name}.yaml"

    @staticmethod
    def names() -> tuple:
        """The names of the recipes that come with the package.

        Example:
            >>> "smallest_download" in Recipe.names()
            True
        """
        return _NAMES

    @classmethod
    @checked
    def from_yaml(cls, path: FilePath("a YAML file")) -> "Recipe":
        """Reads a YAML file with a list `steps:` and an optional line `description:`.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not YAML or not a recipe; the message names the step.
        """
        path = pathlib.Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"No recipe {str(path)!r}; expected a YAML file.")
        try:
            content = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            place = getattr(error, "problem_mark", None)
            where = f" at line {place.line + 1}" if place else ""
            raise ValueError(
                f"{path.name} is not valid YAML{where}: "
                f"{getattr(error, 'problem', None) or error}. Expected 'steps:' with a "
                "list under it."
            ) from error
        if _num_values(content) > _MOST_VALUES:
            raise ValueError(
                f"{path.name} is not a recipe: its anchors expand to more "
                f"than {_MOST_VALUES} values. Write the steps out."
            )
        if not isinstance(content, dict) or "steps" not in content:
            raise ValueError(
                f"{path.name} is not a recipe: expected 'steps:' with a list under it."
            )
        try:
            return cls(content["steps"], content.get("description", ""))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path.name}: {error}") from error

    @checked
    def to_yaml(self, path: FilePath("the YAML file to write")):
        """Writes the recipe as YAML.

        Raises:
            ValueError: if the path cannot be written.
            OSError: if the disk is full; an earlier file stays intact.
        """
        steps = [
            {name: arguments} if arguments else name for name, arguments in self.steps
        ]
        content = {"description": self.description} if self.description else {}
        content["steps"] = steps
        write_atomically(path, yaml.safe_dump(content, sort_keys=False))

    @checked
    def run(
        self,
        model: BuiltModel(),
        data: Data(or_dataset=True) = None,
        folder: FilePath() = ".",
        validation_data: Data(or_dataset=True) = None,
        verbose: VERBOSE = 0,
    ) -> RecipeResult:
        """Runs all steps.

        Args:
            model: a built Keras model, which is not changed.
            data: `(x, y)` to train on, whose first inputs also serve as samples; with
                several outputs, `y` is a list or a dictionary. Or a dataset of batches of
                them, which is never held in memory as a whole.
            folder: folder that export paths are relative to.
            validation_data: the same, evaluated for the training history.
            verbose: as in `model.fit`.

        Returns:
            A `RecipeResult`.

        Raises:
            ValueError: if a step cannot be run; the message names it.
        """
        state = _Run(model, data, pathlib.Path(folder), validation_data, verbose)
        for position, (name, arguments) in enumerate(self.steps, start=1):
            with _named_step(position, name):
                getattr(state, name)(**arguments)
        return RecipeResult(state.model, tuple(state.exports), tuple(state.histories))


def _given(callback):
    return Converted(
        lambda arguments: _callback({callback: arguments}),
        f"arguments of {callback} by name",
        keep=True,
    )


class _Run:
    """The state of a run; each public method is a step."""

    def __init__(self, model, data, folder, validation_data, verbose):
        self.model = model
        self._given = model
        self.exports = []
        self.histories = []
        self._data = data
        self._folder = folder
        self._validation_data = validation_data
        self._verbose = verbose

    def compress(self, rules, skip=()):
        self.model = compress(self.model, rules, skip)

    def quantize_activations(self, samples=False, **arguments):
        if samples and self._data is None:
            raise ValueError("samples needs data: pass (x, y).")
        inputs = self._inputs(_NUM_SAMPLES) if samples else None
        self.model = quantize_activations(self.model, samples=inputs, **arguments)

    def equalize(self):
        self.model = equalize(self.model)

    def rewrite(self, rewrite):
        self.model = apply(self.model, rewrite)

    def factorize(self, rewrite="svd", where=".*"):
        self.model = factorize(self.model, rewrite, where, verbose=self._verbose)

    def prune_channels(self, reconstruct=False, **arguments):
        if reconstruct and self._data is None:
            raise ValueError("reconstruct needs data: pass (x, y).")
        if reconstruct:
            arguments["reconstruct"] = self._inputs(_NUM_CORRECTED)
        batches = None
        if self._data is not None:
            some = self._some(_NUM_SAMPLES)
            count = len(keras.tree.flatten(some[0])[0])
            batches = [
                _rows(some, slice(start, start + _BATCH_SIZE))
                for start in range(0, count, _BATCH_SIZE)
            ]
        self.model = prune_channels(self.model, data=batches, **arguments)

    def prune_weights(self, sparsity, **arguments):
        samples = self._inputs(_NUM_CORRECTED)
        self.model = prune_weights(self.model, sparsity, samples, **arguments)

    def quantize_weights(self, bits=8, **arguments):
        samples = self._inputs(_NUM_CORRECTED)
        self.model = quantize_weights(self.model, bits, samples, **arguments)

    def _inputs(self, count):
        """The first inputs of the data; None without data."""
        return None if self._data is None else self._some(count)[0]

    def _some(self, count):
        """The first rows of the data, `(x, y)`."""
        if isinstance(self._data, tf.data.Dataset):
            return first_rows(self._data, count)
        return _rows(tuple(self._data), slice(count))

    def shrink(self):
        self.model = shrink(self.model)

    def fit(
        self,
        epochs: Integer(1) = 1,
        batch_size: Integer(1) = 64,
        learning_rate: Number(0) = 1e-3,
        decay: OneOf("cosine", None) = None,
        loss: LOSS = None,
        pruning: _given("pruning") = None,
        channel_pruning: _given("channel_pruning") = None,
        distillation: Mapping(
            Text(), Anything("a value"), "arguments of Distiller by name"
        ) = None,
        callbacks: Each(
            Converted(lambda item: _callback(item), "a callback", keep=True),
            "names of callbacks or {name: arguments}",
        ) = (),
    ):
        if self._data is None:
            raise ValueError("training needs data: pass (x, y).")
        short = {"pruning": pruning, "channel_pruning": channel_pruning}
        callbacks = [
            *(_callback({name: given}) for name, given in short.items() if given),
            *map(_callback, callbacks),
        ]
        x, y = self._some(_NUM_SAMPLES)
        if y is None and distillation is None and not self.model.losses:
            raise ValueError("training needs targets, but the data has x and no y.")
        learner = self.model
        if distillation is not None:
            learner = Distiller(self.model, **self._with_teacher(distillation))
        # Copies may be compiled for an earlier training.
        aim = objective(self._given, x, y, loss)
        if decay:
            steps = epochs * num_batches(self._data, batch_size)
            learning_rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        aim.compile(learner, keras.optimizers.Adam(learning_rate))
        history = learner.fit(
            **_fed(self._data, aim, batch_size),
            epochs=epochs,
            callbacks=callbacks,
            validation_data=_compared(self._validation_data, aim),
            verbose=self._verbose,
        )
        self.histories.append(history.history)

    def deep_compression(self, path=None, **arguments):
        if self._data is None:
            raise ValueError("training needs data: pass (x, y).")
        # Copies may have no loss, or that of another training.
        arguments.setdefault("loss", own_loss(self._given))
        made = deep_compression(
            self.model,
            self._data,
            path and self._folder / path,
            validation_data=self._validation_data,
            verbose=self._verbose,
            **self._with_teacher(arguments),
        )
        self.model = made.model
        self.histories += made.history.values()
        if made.export:
            self.exports.append(made.export)

    def _with_teacher(self, arguments):
        """Arguments in which the name of the given model is replaced by that model."""
        if arguments.get("teacher") != ORIGINAL:
            return arguments
        return {**arguments, "teacher": self._given}

    def strip(self):
        self.model = strip(self.model)

    def fit_check(self, **arguments):
        if not self.exports:
            raise ValueError("fit_check needs a file: put it after an export.")
        found = fit_check(self.exports[-1].path, **arguments)
        if not all(row.fits for row in found.rows):
            # An error would discard a trained model.
            warn(f"The recipe did not reach its goal.\n{found}")

    def export(
        self, path, precision="float32", profile="custom", sparse="auto", codec=None
    ):
        samples = self._inputs(_NUM_SAMPLES)
        self.exports.append(
            export_tflite(
                self.model,
                self._folder / path,
                precision,
                samples,
                profile,
                sparse=sparse,
                codec=codec,
            )
        )


def _rows(data, chosen):
    return keras.tree.map_structure(
        lambda part: None if part is None else part[chosen], data
    )


def _fed(data, aim, batch_size):
    """Arguments of `fit`."""
    if isinstance(data, tf.data.Dataset):
        return {"x": data, "shuffle": False}
    return {"x": data[0], "y": aim.ordered(data[1]), "batch_size": batch_size}


def num_batches(data, batch_size):
    """Number of steps per epoch.

    Raises:
        ValueError: if the length of a dataset is not known.
    """
    if not isinstance(data, tf.data.Dataset):
        return math.ceil(len(keras.tree.flatten(data[0])[0]) / batch_size)
    if int(data.cardinality()) < 1:
        raise ValueError(
            "A learning rate that decays to zero needs a dataset of known length: set it "
            "with dataset.apply(tf.data.experimental.assert_cardinality(batches))."
        )
    return int(data.cardinality())


def _compared(data, aim):
    """Validation data of `fit`."""
    if data is None or isinstance(data, tf.data.Dataset):
        return data
    return data[0], aim.ordered(data[1])


# Arguments that a recipe passes itself.
_OWN = ("self", "model", "data", "validation_data", "samples", "verbose", "verify")
# Arguments that request the recipe's data or model: kind and default.
_ASKED = {
    ("prune_channels", "reconstruct"): (Flag(), False),
    ("quantize_activations", "samples"): (Flag(), False),
    ("deep_compression", "teacher"): (OneOf(ORIGINAL) | PlugIn(Teacher), None),
}
_FUNCTIONS = {
    "compress": compress,
    "quantize_activations": quantize_activations,
    "equalize": equalize,
    "rewrite": apply,
    "factorize": factorize,
    "prune_channels": prune_channels,
    "prune_weights": prune_weights,
    "quantize_weights": quantize_weights,
    "shrink": shrink,
    "fit": _Run.fit,
    "deep_compression": deep_compression,
    "strip": strip,
    "export": export_tflite,
    "fit_check": fit_check,
}


def _signature(step):
    """The signature of a step, from the function that implements it."""
    signature = inspect.signature(_FUNCTIONS[step])
    kept = [
        _asked(step, parameter)
        for name, parameter in signature.parameters.items()
        if name not in _OWN or (step, name) in _ASKED
    ]
    return signature.replace(parameters=kept)


def _asked(step, parameter):
    key = step, parameter.name
    if key not in _ASKED:
        return parameter
    kind, default = _ASKED[key]
    return parameter.replace(annotation=kind, default=default)


@contextlib.contextmanager
def _named_step(position, name):
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"Step {position} of the recipe ({name}): {error}") from error


STEPS = tuple(name for name in vars(_Run) if not name.startswith("_"))


def _num_values(content, known=None):
    """Number of values in nested lists and dictionaries; shared ones count repeatedly.

    A structure that contains itself has infinitely many.
    """
    known = {} if known is None else known
    if not isinstance(content, (dict, list)):
        return 1
    if id(content) not in known:
        known[id(content)] = math.inf
        parts = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_num_values(part, known) for part in parts)
    return known[id(content)]


def _step(step):
    name, arguments = _named("Step", step)
    if name not in STEPS:
        raise ValueError(
            f"Unknown step {name!r}: expected one of {', '.join(STEPS)}."
            f"{did_you_mean(str(name), STEPS)}"
        )
    return name, arguments


def _named(kind, item):
    """The name and the arguments of a name or `{name: arguments}`."""
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        raise ValueError(
            f"{kind} {shown(item)}: expected a name, or one name with arguments."
        )
    ((name, arguments),) = item.items()
    if not isinstance(arguments, (dict, type(None))):
        raise ValueError(
            f"{kind} {name!r}: expected arguments by name, got {shown(arguments)}."
        )
    return name, arguments or {}


def _callback(item):
    """Our callback by its class or in snake case, or one of Keras by its class."""
    name, arguments = _named("Callback", item)
    known = _known_callbacks()
    if name not in known:
        raise ValueError(
            f"Unknown callback {name!r}: expected one of {', '.join(known)}."
            f"{did_you_mean(str(name), known)}"
        )
    try:
        return known[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Callback {name!r}: {error}") from error


def _known_callbacks():
    own = {name: getattr(own_callbacks, name) for name in own_callbacks.__all__}
    theirs = {
        name: cls
        for name, cls in vars(keras.callbacks).items()
        if isinstance(cls, type) and issubclass(cls, keras.callbacks.Callback)
    }
    return {snake_case(name): cls for name, cls in own.items()} | theirs | own
