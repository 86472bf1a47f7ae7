"""What all plug-ins share: a configuration, copying and a name for look-up."""

import inspect
import re

import keras

from tfcompress.core.errors import did_you_mean, shown
from tfcompress.core.kinds import checked, is_declared


class Plugin:
    """An object that is fully described by the arguments of its constructor.

    A subclass stores each constructor argument in an attribute of the same name;
    the configuration, copies, equality and the printed form follow from that. Direct
    subclasses are the nouns; their subclasses are the plug-ins, which `get` finds.
    Arguments are checked by the kinds that annotate them (`core/kinds.py`).

    Attributes:
        registered: `{name: class}` of a noun's own plug-ins.
        stands_for: types of values that stand for this plug-in with one argument, such
            as a number in place of a constant schedule.
        package: the name under which Keras registers the plug-ins of a noun.
    """

    package = "tfcompress"
    registered = None
    stands_for = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if Plugin in cls.__bases__:
            cls.registered = {}
        own = vars(cls).get("__init__")
        if own is not None and is_declared(own):
            cls.__init__ = checked(own)

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
        """The constructor's arguments, serializable by `keras.saving`."""
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
        """The plug-in of a noun for a name, a class, a configuration or an object.

        Args:
            identifier: an object, which is returned unchanged; a class; the name of a
                class, `"n_of_m"` or `"NOfM"`; `{name: arguments}`; or the result of
                `keras.saving.serialize_keras_object`.

        Raises:
            ValueError: if there is no such plug-in, or it does not take these
                arguments.
        """
        if isinstance(identifier, cls):
            return identifier
        if isinstance(identifier, type) and issubclass(identifier, cls):
            return identifier()
        if isinstance(identifier, dict) and "class_name" in identifier:
            return keras.saving.deserialize_keras_object(identifier)
        for known in cls.registered.values():
            if isinstance(identifier, vars(known).get("stands_for", ())):
                return known(identifier)
        name, arguments = identifier, {}
        if isinstance(identifier, dict) and len(identifier) == 1:
            ((name, arguments),) = identifier.items()
        found = _find(cls, name) if isinstance(arguments, dict) else None
        if found is None:
            raise ValueError(_unknown(cls, identifier))
        return _make(found, name, arguments)

    def clone(self):
        """A new object with the same arguments and no state."""
        return type(self).from_config(self.get_config())

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash(repr(self))

    def __repr__(self):
        values = {name: getattr(self, name) for name in self.arguments()}
        # The first argument is always shown, others if they are not the default.
        shown = [
            f"{name}={values[name]!r}"
            for position, (name, default) in enumerate(self.arguments().items())
            if position == 0 or values[name] != default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def register(noun, *classes):
    """Registers plug-ins of a noun, so that they can be loaded from `.keras` files.

    Each room registers its own plug-ins, so that no room depends on those above it.

    Args:
        noun: the base class of the plug-ins.
        *classes: the plug-ins.
    """
    for cls in classes:
        noun.registered[snake_case(cls.__name__)] = cls
        keras.saving.register_keras_serializable(noun.package)(cls)


def _find(noun, name):
    """The class with a name: a registered one, otherwise the user's most recent one."""
    if not isinstance(name, str):
        return None
    known = [*noun.registered.values(), *reversed(_subclasses(noun))]
    key = _key(name)
    return next((cls for cls in known if _key(cls.__name__) == key), None)


def _subclasses(cls):
    return [found for sub in cls.__subclasses__() for found in (sub, *_subclasses(sub))]


def _key(name):
    # So that "rigl", "rig_l" and "RigL" are the same name.
    return name.replace("_", "").lower()


def _unknown(noun, identifier):
    kind = snake_case(noun.__name__).replace("_", " ")
    return (
        f"Unknown {kind} {shown(identifier)}: expected a {noun.__name__} object, or a "
        f"name or {{name: arguments}} with one of {sorted(noun.registered)}."
        f"{did_you_mean(str(identifier), noun.registered)}"
    )


def _make(cls, name, arguments):
    known = cls.arguments()
    unknown = sorted(map(str, set(arguments) - set(known)))
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


def snake_case(name):
    """The string under which a class is found.

    >>> snake_case("ErdosRenyi"), snake_case("NOfM"), snake_case("L1")
    ('erdos_renyi', 'n_of_m', 'l1')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
