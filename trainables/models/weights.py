"""Initial weights: timm's from the Hugging Face hub and its cache, or a file, read without executing code."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from timm.models import load_state_dict
from torch import Tensor, nn

from shards_tools.errors import Error, reason_of
from trainables.recipes.backbones import Backbone
from trainables.recipes.recipe import Recipe

log = logging.getLogger(__name__)

States = dict[str, Tensor]
BROKEN = (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError)  # raised by a damaged or missing file


@dataclass(frozen=True)
class LoadReport:
    """Which tensors of a file a network loaded, by name and shape."""

    source: str
    num_taken: int
    left_out: tuple[str, ...]  # of the file: unknown to the network, or of another shape
    fresh: tuple[str, ...]  # of the network: not in the file

    def __str__(self) -> str:
        text = f"Loaded {self.num_taken} tensors of {self.source}"
        for what, names in (("ignored", self.left_out), ("missing, kept at their initial values", self.fresh)):
            if names:
                more = f" and {len(names) - 5} more" if len(names) > 5 else ""
                text += f"; {what}: {', '.join(names[:5])}{more}"
        return f"{text}."


def load_pretrained(
    network: nn.Module, recipe: Recipe, shape: Backbone, clean: Callable[[States], States] = dict
) -> None:
    """Load the recipe's `weights_file` into the network, or the backbone's weights from the hub if it sets none.

    Args:
        clean: removes tensors that do not belong in the network.

    Raises:
        Error: the weights cannot be read or do not fit.
    """
    if recipe.weights_file is not None:
        take(network, file_weights(network, recipe.weights_file, clean), recipe.weights_file)
    else:
        take(network, clean(hub_weights(recipe.backbone, shape)), str(shape.pretrained_name))


def hub_weights(backbone: str, shape: Backbone) -> States:
    """Return timm's weights of a backbone, with timm's names.

    They are read together with their classifier, because loading is then strict: otherwise timm would accept a file
    that lacks weights.

    Raises:
        Error: timm has no such weights, or they cannot be read.
    """
    name = shape.pretrained_name
    if name is None or not shape.in_registry:
        raise Error(
            f"`backbone={backbone!r}` starts from {name or 'weights of your own'}, which no registry has. Set"
            " weights_file to a copy, or pretrained=false."
        )
    with readable(name, "the Hugging Face hub"):
        return dict(timm.create_model(name, pretrained=True).state_dict())


def file_weights(network: nn.Module, file: str, clean: Callable[[States], States] = dict) -> States:
    """Return the weights in a file (.safetensors, .pth, .npz), converted to the names and format of timm's `network`.

    Nothing in the file is executed: pickled objects other than tensors are rejected.

    Args:
        clean: removes tensors that do not belong in the network, before conversion.

    Raises:
        Error: the file is missing or damaged.
    """
    if not Path(file).is_file():
        raise Error(
            f"`weights_file={file}` does not exist. Use a .safetensors, .pth or .npz file, or a checkpoint's folder."
        )
    with readable(file, "the disk"):
        if file.endswith((".npz", ".npy")):
            network.load_pretrained(file)  # type: ignore[operator]
            return dict(network.state_dict())
        return converted(clean(_tensors(load_state_dict(file))), network)


def converted(states: States, network: nn.Module) -> States:
    """Convert weights in any format that timm's network understands to its names and position embedding size."""
    convert = getattr(sys.modules.get(type(network).__module__), "checkpoint_filter_fn", None)
    return _tensors(convert(states, network) if convert else states)


@contextmanager
def readable(name: str, place: str) -> Iterator[None]:
    """Turn an exception of a missing or damaged file inside the context into an Error that says so.

    Args:
        name: of the weights, for the message.
        place: where they are, for the message.

    Raises:
        Error: the code in the context raised one of BROKEN.
    """
    try:
        yield
    except BROKEN as failure:
        reason = reason_of(failure)
        raise Error(
            f"The weights {name} could not be read from {place} ({reason})."
            " Set weights_file to a local copy, or pretrained=false."
        ) from failure


def take(network: nn.Module, states: Mapping[str, Tensor], source: str) -> LoadReport:
    """Load the tensors that match by name and shape, and report the others.

    Raises:
        Error: fewer than half of the network's tensors match.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in states.items() if name in own and own[name].shape == value.shape}
    missing = sorted(own.keys() - fitting.keys())
    left_out = sorted(
        f"{name} {tuple(value.shape)}" + (f", not {tuple(own[name].shape)}" if name in own else "")
        for name, value in states.items()
        if name not in fitting
    )
    if 2 * len(fitting) < len(own):
        such = f"ignored: {left_out[0]}" if left_out else f"missing: {missing[0]}"
        raise Error(
            f"{source} does not fit this network: Loaded {len(fitting)} tensors of {len(own)}; {such}. Use the weights"
            " of this backbone."
        )
    report = LoadReport(source, len(fitting), tuple(left_out), tuple(missing))
    network.load_state_dict(fitting, strict=False)
    if left_out or missing:
        log.info("%s", report)
    return report


def _tensors(states: Mapping[str, Any]) -> States:
    if not states or not all(isinstance(value, Tensor) for value in states.values()):
        raise ValueError("it holds no table of tensors by name")
    return dict(states)
