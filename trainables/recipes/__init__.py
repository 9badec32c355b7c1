"""The recipes, one file per system, and their `registry`. Importing them needs no torch."""

from trainables.recipes.registry import (
    FAMILIES,
    RECIPES,
    get_recipe,
    printed_numbers,
    recipe_from_dict,
    register_recipe,
)

__all__ = ["FAMILIES", "RECIPES", "get_recipe", "printed_numbers", "recipe_from_dict", "register_recipe"]
