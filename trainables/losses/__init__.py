"""The losses, one file per system; LOSSES is the registry."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from trainables.losses import transreid

# system -> (model outputs, works_B, recipe) -> losses by name; "loss" is the one that is minimised
LOSSES: dict[str, Callable[[dict[str, list[Tensor]], Tensor, Any], dict[str, Tensor]]] = {
    "transreid": transreid.transreid_losses,
}
