"""Students that become teachers."""

import keras

from tfcompress.core.kinds import BuiltModel, Each, Function, Integer, PlugIn, checked
from tfcompress.distillation.distiller import Distiller
from tfcompress.distillation.teachers import Teacher


@checked
def chain(
    teacher: PlugIn(Teacher),
    students: Each(
        BuiltModel() | Function("() that builds one"),
        "models to teach, at least one",
        least=1,
    ),
    train: Function("train(model)"),
    **arguments,
):
    """Trains each student on the one before it, and the first one on the teacher.

    If the students decrease in size, those in the middle act as teacher assistants: a
    small network learns more from a medium-sized one than from a large one.

    Args:
        teacher: what `Distiller` takes as a teacher.
        students: built Keras models, or functions that build one when it is needed,
            which saves memory.
        train: `train(distiller)` compiles and fits; called once for each student.
        **arguments: passed to each `Distiller`: `losses`, `weights`, `alpha`.

    Returns:
        A list of the trained students.

    Raises:
        ValueError: if there is no student, or one cannot learn from the one before it.

    Source: TAKD: Mirzadeh et al., "Improved Knowledge Distillation via Teacher
    Assistant" (2020).

    Example:
        >>> def network(width):
        ...     layers = keras.layers.Dense(width, "relu"), keras.layers.Dense(3)
        ...     return keras.Sequential([keras.Input((8,)), *layers])
        >>> def train(model):
        ...     model.compile("adam")
        ...     model.fit(np.ones((4, 8)), verbose=0)
        >>> students = [network(16), network(4)]
        >>> [s.count_params() for s in chain(network(64), students, train)]
        [195, 51]
    """
    trained = []
    for student in students:
        student = student if isinstance(student, keras.Model) else student()
        train(Distiller(student, teacher, **arguments))
        trained.append(student)
        teacher = student
    return trained


@checked
def born_again(
    build: Function("build() that makes a network"),
    train: Function("train(model)"),
    generations: Integer(1, 1000) = 3,
    **arguments,
):
    """Trains a network, then more of the same size, each on the one before it.

    Together they form a good ensemble: `tfc.distillation.Ensemble(models)`.

    Args:
        build: `build()` returns a new network with fresh weights.
        train: `train(model)` compiles and fits; called with the first network itself,
            then with a `Distiller` for each of the others.
        generations: number of networks that learn from another one, 1 to 1000.
        **arguments: passed to each `Distiller`: `losses`, `weights`, `alpha`.

    Returns:
        A list of the `generations + 1` trained networks.

    Raises:
        ValueError: if `generations` is below 1.

    Source: BAN: Furlanello et al., "Born Again Neural Networks" (2018), section 3.

    Example:
        >>> def build():
        ...     return keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
        >>> def train(model):
        ...     model.compile("adam", "mse")
        ...     model.fit(np.ones((4, 8)), np.ones((4, 3)), verbose=0)
        >>> len(born_again(build, train, generations=2))
        3
    """
    first = build()
    train(first)
    return [first, *chain(first, [build] * generations, train, **arguments)]
