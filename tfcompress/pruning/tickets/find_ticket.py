"""Prunes a network in rounds of training, and evaluates its masks."""

import numpy as np

from tfcompress.core.agreement import copy_model
from tfcompress.core.compress import compress
from tfcompress.core.data import Batches
from tfcompress.core.errors import refuse
from tfcompress.core.kinds import (
    BuiltModel,
    FilePath,
    Function,
    Integer,
    Number,
    OneOf,
    PlugIn,
    checked,
)
from tfcompress.core.nouns import Criterion, Pattern, Schedule, Scope
from tfcompress.core.rules import Rule, Rules, check_used, last_match
from tfcompress.pruning.callback import Pruning
from tfcompress.pruning.prune import Engine, masked_weights
from tfcompress.pruning.tickets.folder import Folder, digest
from tfcompress.pruning.tickets.setup import Setup
from tfcompress.pruning.tickets.state import (
    drop_masked,
    fraction_masked,
    masks_of,
    restore,
    snapshot,
)
from tfcompress.pruning.tickets.ticket import Ticket
from tfcompress.pruning.tickets.training import Training, Watch
from tfcompress.schedules import Scaled

_FRACTION = Number(0, below=1, meaning="the fraction of weights to remove")
_RATE = Number(0, 1, meaning="how fast, relative to other weights")


@checked
def find_ticket(
    model: BuiltModel(),
    train: Function("train(model, callbacks)"),
    sparsity: _FRACTION | PlugIn(Schedule),
    rounds: Integer(1) = 1,
    when: OneOf("after_training", "before_training") = "after_training",
    rewind: OneOf("init", "learning_rate", "none") | Integer(0) = "init",
    fine_tune: Function("fine_tune(model, callbacks)") = None,
    criterion: PlugIn(Criterion) = "magnitude",
    pattern: PlugIn(Pattern) = "weight",
    scope: PlugIn(Scope) = "local",
    rates: Rules(_RATE, "rates", "{'head': 0.5}", least=1) = None,
    data: Batches() = None,
    evaluate: Function("evaluate(model)") = None,
    folder: FilePath("a folder") = None,
    seed: Integer(0) = 0,
) -> Ticket:
    """Finds a sparse network that trains in isolation, and returns it as a `Ticket`.

    The network is trained; then, in each of `rounds` rounds, the same fraction of the
    remaining weights is removed, the others are reset according to `rewind`, and it is
    trained again. Removed weights never return. `tfcompress.pruning.tickets` describes
    when to use which variant.

    Args:
        model: a built Keras model, which is not changed. All its kernels are pruned; in
            a compressed model, those with a `Mask`. Compiled if a criterion needs the
            loss before any training.
        train: a function that compiles the given model and fits it with the given
            callbacks. If it has a parameter `first_step`, it receives the step to which
            weights were rewound, so that its schedules can start there; with a
            parameter `length`, it can be asked to train for that many times its usual
            epochs.
        sparsity: fraction of the weights to remove, in [0, 1). A schedule prunes gradually
            in one training instead.
        rounds: the number of pruning rounds; each removes a fraction
            `1 - (1 - sparsity)^(1 / rounds)` of what is left. 15 rounds of 20 % yield
            0.965.
        when: "after_training", or "before_training": all rounds at once, then a single
            training.
        rewind: the values with which remaining weights start the next training: "init",
            the initial ones; an integer, those after that many steps of the first
            training; "learning_rate", the current ones, with only the schedule starting
            again (Renda); "none", the current ones, trained by `fine_tune`. All other
            state of the model, such as statistics of batch normalization, is treated in
            the same way.
        fine_tune: `fine_tune(model, callbacks)` for rounds with `rewind="none"`.
        criterion: a `tfc.criteria` object or name.
        pattern: a `tfc.patterns` object or name; "filter" makes tickets of whole channels.
        scope: a `tfc.scopes` object or name.
        rates: `{pattern: factor}`, factors from 0 to 1, for weights that are pruned
            more slowly: the factor multiplies the fraction in each round. The lottery
            ticket has 0.5 for the output layer; 0 leaves a layer whole. With a
            schedule, it multiplies the sparsity.
        data: batches for criteria that need signals.
        evaluate: `evaluate(model) -> number` for the log, such as the error on held-out
            data. Controls that are not trained need it.
        folder: where each round is saved; an interrupted run resumes from there, with
            bit-identical results.
        seed: round k starts with `keras.utils.set_random_seed(seed + k)`.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if arguments are incompatible, if `train` does not train, changes
            masks or does not use the callbacks, or if the folder belongs to another run.

    Source: Frankle and Carbin, "The Lottery Ticket Hypothesis" (2019); Renda et al.,
    "Comparing Rewinding and Fine-tuning" (2020); Han et al., "Learning both Weights and
    Connections" (2015).

    Example:
        >>> x, y = np.random.normal(size=(64, 8)), np.arange(64) % 2
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"),
        ...     keras.layers.Dense(2, name="head")])
        >>> def train(model, callbacks):
        ...     loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        ...     model.compile("adam", loss)
        ...     model.fit(x, y, epochs=1, verbose=0, callbacks=callbacks)
        >>> ticket = tfc.pruning.tickets.find_ticket(model, train, 0.75, rounds=2,
        ...     rates={"head": 0.5})
        >>> [entry["kept"] for entry in ticket.log]
        [160, 88, 50]
        >>> control = ticket.control("reinitialize")
        >>> tfc.report(control.model).sparsity == tfc.report(ticket.model).sparsity
        True
    """
    _check(sparsity, rounds, when, rewind, fine_tune)
    engine = Engine(criterion, pattern, scope, may_return=False)
    setup = Setup(model, _masked(model), Training(train, evaluate, seed), engine, data)
    run = _Run(setup, sparsity, rounds, rewind, fine_tune, rates or {})
    if folder is not None:
        arguments = {
            "sparsity": sparsity,
            "rounds": rounds,
            "when": when,
            "rewind": rewind,
            "criterion": engine.criterion,
            "pattern": engine.pattern,
            "scope": engine.scope,
            "rates": {str(key): value for key, value in run.rates.items()},
            "seed": seed,
            "shapes": {path: np.shape(a) for path, a in run.initial.items()},
            "initial": digest(run.initial),
        }
        run.folder = Folder(folder, arguments, model)
    if isinstance(sparsity, Schedule):
        run.prune_gradually()
    elif when == "before_training":
        run.prune_first()
    else:
        run.prune_in_rounds()
    return run.ticket()


class _Run:
    """The rounds of a search so far."""

    def __init__(self, setup, sparsity, rounds, rewind, fine_tune, rates):
        self.setup, self.sparsity, self.rounds = setup, sparsity, rounds
        self.rewind, self.fine_tune, self.rates = rewind, fine_tune, rates
        self.model = copy_model(setup.template)
        self.initial = snapshot(setup.template)
        self.folder, self.log = None, []
        # The values to rewind to, and those when weights were first scored.
        self.rewound = self.scored = self.initial
        self._by_rate = self._rates_found()

    def prune_in_rounds(self):
        """Trains, and then repeatedly prunes, rewinds and trains."""
        if self._resume():
            self.scored = self.folder.load(0)["values"]
        for number in range(len(self.log), self.rounds + 1):
            self.setup.training.seed_round(number)
            if number == 0:
                self._train_dense()
            else:
                self._train_pruned(number)

    def prune_first(self):
        """Prunes the untrained network in rounds, and then trains it."""
        if self._resume():
            return
        self.setup.training.seed_round(0)
        for number in range(1, self.rounds + 1):
            self._prune(number)
        self._note(0, self._train())

    def prune_gradually(self):
        """Prunes while the network is trained."""
        if self._resume():
            return
        self.setup.training.seed_round(0)
        engine = self.setup.engine
        names = {weight.ref.variable.name for weight in masked_weights(self.model)}
        schedules = {f".*/{name}": self.sparsity for name in sorted(names)}
        for pattern, rate in self.rates.items():
            schedules[pattern] = Scaled(self.sparsity, rate)
        pruning = Pruning(
            schedules, engine.criterion, engine.pattern, engine.scope, self.setup.data
        )
        log = self._train(callbacks=[pruning])
        drop_masked(self.model)
        self._note(0, log)

    def ticket(self):
        """The result as a `Ticket`."""
        return Ticket(
            self.model,
            masks_of(self.model),
            self.rewound,
            self.initial,
            self.log,
            self.setup,
            self.scored,
        )

    def _train_dense(self):
        step = self.rewind if isinstance(self.rewind, int) and self.rewind else None
        watch = Watch(self.model, step)
        log = self._train(watch=watch)
        if step and watch.values is None:
            refuse(
                "find_ticket(rewind)",
                step,
                f"a step of the first training, which has {watch.steps}",
            )
        self.scored = snapshot(self.model)
        self.rewound = watch.values if step else self.initial
        self._note(0, log)

    def _train_pruned(self, number):
        self._prune(number)
        if self.rewind in ("learning_rate", "none"):
            self.rewound = snapshot(self.model)
        else:
            restore(self.model, self.rewound, masks_of(self.model))
        fine_tune = self.fine_tune if self.rewind == "none" else None
        first_step = self.rewind if isinstance(self.rewind, int) else 0
        self._note(number, self._train(train=fine_tune, first_step=first_step))

    def _train(self, **options):
        return self.setup.training.run(self.model, **options)

    def _prune(self, number):
        parts = [
            (1 - (1 - rate * self._rate) ** number, weights)
            for rate, weights in self._by_rate
            if rate
        ]
        self.setup.engine.prune(
            self.setup.with_loss(self.model), parts, self.setup.data, self.model
        )
        drop_masked(self.model)

    @property
    def _rate(self):
        """The fraction of remaining weights that is removed in each round."""
        return 1 - (1 - self.sparsity) ** (1 / self.rounds)

    def _rates_found(self):
        """`[(rate, weights)]`."""
        rules = [Rule(pattern, rate) for pattern, rate in self.rates.items()]
        found = {}
        weights = masked_weights(self.model)
        for weight in weights:
            rule = last_match(rules, weight.ref)
            found.setdefault(rule.value if rule else 1, []).append(weight)
        check_used(rules, [weight.ref for weight in weights])
        return list(found.items())

    def _note(self, number, log):
        """Logs a round, and saves it if there is a folder."""
        masks = masks_of(self.model)
        entry = {
            "round": number,
            "sparsity": fraction_masked(masks),
            "kept": int(sum(np.count_nonzero(mask) for mask in masks.values())),
        }
        self.log.append(entry | log)
        if self.folder:
            part = {"values": snapshot(self.model), "masks": masks}
            self.folder.save(number, part | {"rewound": self.rewound}, self.log)

    def _resume(self):
        """Resumes from the folder; returns whether it contains anything."""
        self.log = self.folder.logs() if self.folder else []
        if not self.log:
            return False
        last = self.folder.load(len(self.log) - 1)
        self.rewound = last["rewound"]
        restore(self.model, last["values"], last["masks"])
        return True


def _masked(model):
    """A copy of a model that has masks."""
    if masked_weights(model):
        return copy_model(model)
    return compress(model, {".*": "mask"})


def _check(sparsity, rounds, when, rewind, fine_tune):
    """Raises for incompatible arguments."""
    is_gradual = isinstance(sparsity, Schedule)
    is_once = is_gradual or when == "before_training"
    clashes = {
        "rounds": (rounds, is_gradual and rounds > 1, "1 with a schedule as sparsity"),
        "when": (
            when,
            is_gradual and when == "before_training",
            "'after_training', the default, with a schedule as sparsity",
        ),
        "rewind": (
            rewind,
            is_once and rewind not in ("init", 0),
            "'init' if the network is trained only once",
        ),
        "fine_tune": (
            fine_tune,
            (fine_tune is None) == (rewind == "none"),
            "a function with rewind='none', and none without",
        ),
    }
    for name, (value, is_wrong, expected) in clashes.items():
        if is_wrong:
            refuse(f"find_ticket({name})", value, expected)
