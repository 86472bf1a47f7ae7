"""usage: tfcompress compress MODEL RECIPE OUTPUT [flags]

Runs a recipe on a model (.keras, .h5 or SavedModel) and writes the result as a plain
.keras file; files exported by the recipe are written next to it. RECIPE is a name listed
by 'tfcompress recipes', or a YAML file. A recipe that trains needs data.

Example:
  tfcompress compress model.keras half_the_file small.keras

  cat > recipe.yaml <<END
  steps:
    - compress: {rules: {".*": [mask, {uniform: {bits: 8}}]}}
    - fit: {epochs: 2, pruning: {schedule: {constant: {sparsity: 0.8}}}}
    - strip
    - export: {path: small.tflite, precision: int8}
  END
  tfcompress compress model.keras recipe.yaml small.keras --data train.npz
"""

import pathlib
import sys

from absl import flags

from . import data, models

SUMMARY = "run a recipe on a model"
ARGUMENTS = 3


def define(values):
    """Flags of the command."""
    models.define(values)
    data.define(values)
    flags.DEFINE_bool("quiet", False, "No progress bars.", values)


def main(values, model_path, recipe, output):
    """Runs the recipe, saves the model and reports its weights."""
    from tfcompress.core.compress import strip
    from tfcompress.core.files import check_writable
    from tfcompress.measuring.report import report

    if pathlib.Path(output).suffix != ".keras":
        raise ValueError(f"OUTPUT {output!r}: expected a name that ends in .keras.")
    check_writable(output)
    result = read(recipe).run(
        models.load(values, model_path),
        data.load(values, "train"),
        folder=pathlib.Path(output).parent,
        verbose=0 if values.quiet or values.json or sys.stdout is None else 1,
    )
    plain = strip(result.model)
    save_model(plain, output)
    return report(plain)


def read(recipe):
    """The recipe with a name, or from a YAML file."""
    from tfcompress.recipes.recipe import Recipe

    is_file = pathlib.Path(recipe).suffix or pathlib.Path(recipe).is_file()
    return Recipe.from_yaml(recipe) if is_file else Recipe.named(recipe)


def save_model(model, path):
    """Saves a `.keras` file that is complete or absent, see `replacing`."""
    from tfcompress.core.files import replacing

    with replacing(path) as temporary:
        model.save(temporary)
