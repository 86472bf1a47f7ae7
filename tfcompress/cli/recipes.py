"""usage: tfcompress recipes [NAME] [flags]

Lists the recipes that come with the package, or prints one of them as YAML. A recipe can
be run by its name, or edited first.

Example:
  tfcompress recipes
  tfcompress recipes half_the_file > mine.yaml
  tfcompress compress model.keras mine.yaml small.keras
"""

import dataclasses

SUMMARY = "list recipes, or print one"
ARGUMENTS = 0
MORE = True


@dataclasses.dataclass(frozen=True)
class _List:
    recipes: dict

    def to_dict(self):
        return self.recipes

    def __str__(self):
        width = max(map(len, self.recipes))
        return "\n".join(f"{n:{width}s}  {text}" for n, text in self.recipes.items())


@dataclasses.dataclass(frozen=True)
class _Printed:
    name: str
    recipe: object
    text: str

    def to_dict(self):
        steps = [{name: arguments} for name, arguments in self.recipe.steps]
        about = self.recipe.description
        return {"name": self.name, "description": about, "steps": steps}

    def __str__(self):
        return self.text


def define(values):
    """Flags of the command."""


def main(values, *names):
    """The list of recipes, or one of them."""
    from tfcompress.recipes.recipe import Recipe

    if len(names) > 1:
        raise ValueError(f"Got {len(names)} names: expected at most one recipe.")
    if not names:
        return _List({name: Recipe.named(name).description for name in Recipe.names()})
    (name,) = names
    return _Printed(name, Recipe.named(name), Recipe.file(name).read_text().rstrip())
