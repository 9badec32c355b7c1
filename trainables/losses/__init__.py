"""The losses, one thing per file; a recipe says which and how much of each."""

from trainables.losses.total import Losses

__all__ = ["Losses"]
