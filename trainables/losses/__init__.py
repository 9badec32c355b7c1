"""The losses that a recipe chooses and weights, by their names in `registry`."""
