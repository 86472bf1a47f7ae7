"""What every plug-in shares: a configuration, a copy and a name to ask for it by."""

import difflib
import inspect
import re

import keras


class Plugin:
    """An object that is fully described by the arguments of its constructor.

    A subclass stores each constructor argument in an attribute of the same name;
    the configuration, the copy, equality and the printed form follow from that.
    """

    @classmethod
    def arguments(cls):
        """`{name: default}` of the constructor's arguments, in order."""
        return {
            parameter.name: parameter.default
            for parameter in list(inspect.signature(cls.__init__).parameters.values())[
                1:
            ]
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }

    def get_config(self):
        """The constructor's arguments, ready for `keras.saving`."""
        return {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in self.arguments()
        }

    @classmethod
    def from_config(cls, config):
        """Builds the object that `get_config` described."""
        return cls(
            **{
                name: keras.saving.deserialize_keras_object(v)
                for name, v in config.items()
            }
        )

    @classmethod
    def get(cls, identifier):
        """The plug-in for a name, a class, a configuration or an object."""
        return cls.registry(identifier)

    def clone(self):
        """A fresh object with the same arguments and no state."""
        return type(self).from_config(self.get_config())

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash(repr(self))

    def __repr__(self):
        values = {name: getattr(self, name) for name in self.arguments()}
        # The first argument says what it is; others count where they are unusual.
        shown = [
            f"{name}={values[name]!r}"
            for position, (name, default) in enumerate(self.arguments().items())
            if position == 0 or values[name] != default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def snake_case(name):
    """The string under which a class is found.

    >>> snake_case("ErdosRenyi"), snake_case("NOfM"), snake_case("L1")
    ('erdos_renyi', 'n_of_m', 'l1')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class Registry:
    """All plug-ins of one noun; calling it turns a name into an object.

    Args:
        noun: the base class of the plug-ins.
        *classes: every plug-in, each of which becomes loadable from `.keras` files.
    """

    def __init__(self, noun, *classes):
        self.noun = noun
        noun.registry = self
        self.classes = {snake_case(cls.__name__): cls for cls in classes}
        for cls in classes:
            keras.saving.register_keras_serializable("tfcompress")(cls)

    def __iter__(self):
        return iter(self.classes.values())

    def __call__(self, identifier):
        """The object for a name, `{name: arguments}`, a class, a config or an object."""
        if isinstance(identifier, self.noun):
            return identifier
        if isinstance(identifier, type) and issubclass(identifier, self.noun):
            return identifier()
        if isinstance(identifier, dict) and "class_name" in identifier:
            return keras.saving.deserialize_keras_object(identifier)
        if isinstance(identifier, str) and identifier in self.classes:
            return self._make(identifier, {})
        if isinstance(identifier, dict) and len(identifier) == 1:
            ((name, arguments),) = identifier.items()
            if name in self.classes and isinstance(arguments, dict):
                return self._make(name, arguments)
        kind = snake_case(self.noun.__name__).replace("_", " ")
        raise ValueError(
            f"Unknown {kind} {identifier!r}: expected a {self.noun.__name__} object, or "
            f"a name or {{name: arguments}} with one of {sorted(self.classes)}."
            f"{did_you_mean(str(identifier), self.classes)}"
        )

    def _make(self, name, arguments):
        cls = self.classes[name]
        known = cls.arguments()
        unknown = sorted(set(arguments) - set(known))
        missing = [
            n for n, default in known.items()
            if default is inspect.Parameter.empty and n not in arguments
        ]  # fmt: skip
        if unknown or missing:
            raise ValueError(
                f"{name} takes {', '.join(known)}"
                + (f"; unknown: {', '.join(unknown)}" if unknown else "")
                + (f"; missing: {', '.join(missing)}" if missing else "")
                + "."
            )
        return cls(**arguments)


def did_you_mean(word, known):
    """A closing sentence that names the nearest known words, or nothing.

    >>> did_you_mean("magnitud", ["magnitude", "taylor"])
    " Did you mean 'magnitude'?"
    """
    near = difflib.get_close_matches(word, list(known), n=3)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
