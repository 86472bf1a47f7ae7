"""Updates of weights after each step of their optimizer."""

import keras

from tfcompress.core.optimizers import optimizer_of


class EachStep(keras.callbacks.Callback):
    """Updates weights after each step of their optimizer, inside its graph.

    Keras applies the constraint of a variable there, which costs next to nothing and
    works with `steps_per_execution` and any optimizer; this callback adds one to the
    weights while a model trains, after any existing one. A move does not pass through
    the optimizer, so neither momentum nor the scaling of Adam changes it ("decoupled").

    Subclasses define the updates in `_moves`.
    """

    def _moves(self):
        """`[(variable, move)]`, with `move(weight, learning_rate, step)` the new weight.

        Called when training begins. All three are tensors; `step` counts the optimizer's
        iterations from 0.
        """
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        """Starts updating weights; custom training loops call it themselves."""
        self._moved = [variable for variable, _ in self._moves()]
        for variable, move in self._moves():
            variable.constraint = _Moved(self, variable, move)
        # The function may have been traced without the moves.
        self.model.make_train_function(force=True)

    def on_train_end(self, logs=None):
        """Stops updating the weights."""
        for variable in self._moved:
            variable.constraint = _without(variable.constraint, self)
        self.model.train_function = None


class _Moved:
    """A constraint followed by a move."""

    def __init__(self, owner, variable, move):
        self.owner = owner
        self.optimizer = optimizer_of(owner.model, [variable])
        self.move = move
        # Interrupted training leaves moves in place; callbacks of one training share
        # their parameters.
        self.before = variable.constraint
        if isinstance(self.before, _Moved) and (
            self.before.owner is owner or self.before.owner.params is not owner.params
        ):
            self.before = self.before.before

    def __call__(self, variable):
        weight = keras.ops.convert_to_tensor(variable)
        if self.before is not None:
            weight = self.before(weight)
        # Constraints are also applied in steps that only accumulate gradients.
        rate = self.optimizer.learning_rate / (
            getattr(self.optimizer, "gradient_accumulation_steps", None) or 1
        )
        rate = keras.ops.cast(rate, weight.dtype)
        return self.move(weight, rate, self.optimizer.iterations)


def _without(constraint, owner):
    """A constraint without the move of a callback."""
    if not isinstance(constraint, _Moved):
        return constraint
    if constraint.owner is owner:
        return constraint.before
    constraint.before = _without(constraint.before, owner)
    return constraint


def pulled(weight, strength, target=0.0):
    """`argmin_v ½‖v - weight‖² + strength/2 ‖v - target‖²`, stable for any strength.

    >>> float(pulled(tf.constant(3.0), 2.0)), float(pulled(tf.constant(3.0), 1.0, 1.0))
    (1.0, 2.0)
    """
    return (weight + strength * target) / (1 + strength)
