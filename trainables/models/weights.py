"""Initial weights: timm's from the Hugging Face hub and its cache, or a file, read without executing code."""

import copy
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn

from shards_tools.errors import Error, listed, reason_of
from trainables.models.positions import Resize, fit_positions, resize_as_timm
from trainables.models.weight_files import States, read_grid, read_tables
from trainables.models.weight_names import prefixes, unwrapped, with_timm_names
from trainables.recipes.backbones import Backbone
from trainables.recipes.recipe import Recipe

log = logging.getLogger(__name__)

Clean = Callable[[States], States]  # removes tensors that do not belong in the network
FitPositions = Callable[[States, nn.Module], tuple[States, str]]  # as `fit_positions`
BROKEN = (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError)  # raised by damaged or missing weights
AVERAGES = ("ema", "teacher")  # in the keys of averaged weights, which are preferred to the trained ones


@dataclass(frozen=True)
class Fitted:
    """Weights under the names of a network."""

    states: States
    where: str = ""  # the keys and the prefix under which the file has them
    resized: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # tensors next to them, with other prefixes


@dataclass(frozen=True)
class LoadReport:
    """Which tensors of a file a network loaded, by name and shape."""

    source: str
    num_taken: int
    left_out: tuple[str, ...]  # of the file: unknown to the network, or of another shape
    fresh: tuple[str, ...]  # of the network: not in the file
    where: str = ""  # the keys and the prefix under which the file has them
    resized: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"Loaded {self.num_taken} tensors of {self.source}"
        text += f", named after `{self.where}`" if self.where else ""
        kinds = (
            ("resized", self.resized),
            ("ignored", self.left_out),
            ("missing, kept at their initial values", self.fresh),
        )
        for what, names in kinds:
            if names:
                text += f"; {what}: {listed(names, 5)}"
        return f"{text}."


def load_pretrained(
    network: nn.Module, recipe: Recipe, shape: Backbone, clean: Clean = dict, resize: Resize = resize_as_timm
) -> None:
    """Load the recipe's `weights_file` into the network, or the backbone's weights from the hub if it sets none.

    Args:
        clean: removes tensors that do not belong in the network.
        resize: resizes position embeddings.

    Raises:
        Error: the weights cannot be read or do not fit.
    """
    if recipe.weights_file is not None:
        load_file(network, recipe.weights_file, clean, resize)
    else:
        load_states(network, hub_weights(recipe.backbone, shape), str(shape.pretrained_name), clean, resize)


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
    with from_hub(name):
        return dict(timm.create_model(name, pretrained=True).state_dict())


def load_file(network: nn.Module, file: str, clean: Clean = dict, resize: Resize = resize_as_timm) -> LoadReport:
    """Load a file of weights (of torch, .safetensors or .npz) into the network, and log what was loaded.

    Names of other programs, nested keys and prefixes are recognized; see docs/guide/recipes.md. Nothing in the file is
    executed.

    Args:
        network: of timm, or with timm's names.
        file: its path; the content decides the format, except for .npz.
        clean: removes tensors that do not belong in the network.
        resize: resizes position embeddings.

    Raises:
        Error: the file is missing or damaged, or does not fit.
    """
    if not Path(file).is_file():
        raise Error(
            f"`weights_file={file}` does not exist. Use a .safetensors, .pth or .npz file, or a checkpoint's folder."
        )
    is_numpy = file.endswith((".npz", ".npy"))
    try:
        tables = {"": _numpy_weights(network, file)} if is_numpy else read_tables(file)
        grid = read_grid(file)
    except Error:
        raise
    except Exception as failure:  # a damaged file raises nearly anything
        raise Error(
            f"The weights {file} could not be read from the disk ({reason_of(failure)}). Copy the file again, or use"
            " another one."
        ) from failure
    return _load(network, tables, file, clean, partial(fit_positions, resize=resize, stored=grid))


def load_states(
    network: nn.Module, states: States, source: str, clean: Clean = dict, resize: Resize = resize_as_timm
) -> LoadReport:
    """Load weights into the network, and log what was loaded.

    Args:
        network: of timm, or with timm's names.
        states: the tensors by name.
        source: where they are from, for messages.
        clean: removes tensors that do not belong in the network.
        resize: resizes position embeddings.

    Raises:
        Error: they do not fit.
    """
    return _load(network, {"": states}, source, clean, partial(fit_positions, resize=resize))


@contextmanager
def from_hub(name: str) -> Iterator[None]:
    """Turn an exception of missing or damaged weights on the Hugging Face hub into an Error that says so.

    Args:
        name: of the weights, for the message.

    Raises:
        Error: the code in the context raised one of BROKEN.
    """
    try:
        yield
    except BROKEN as failure:
        raise Error(
            f"The weights {name} could not be read from the Hugging Face hub ({reason_of(failure)})."
            " Set weights_file to a local copy, or pretrained=false."
        ) from failure


def take(network: nn.Module, states: Mapping[str, Tensor], source: str, fitted: Fitted | None = None) -> LoadReport:
    """Load the tensors that match by name and shape, and report the others.

    Args:
        fitted: how a file's weights became `states`, for the report.

    Raises:
        Error: fewer than half of the network's tensors match, or values are not finite.
    """
    fitted = fitted or Fitted(dict(states))
    own = network.state_dict()
    fitting = {name: value for name, value in states.items() if name in own and _matches(own[name], value)}
    missing = sorted(own.keys() - fitting.keys())
    left_out = sorted(_misfit(name, value, own) for name, value in states.items() if name not in fitting)
    left_out += fitted.others
    if 2 * len(fitting) < len(own):
        such = f"ignored: {left_out[0]}" if left_out else f"missing: {missing[0]}"
        raise Error(
            f"{source} does not fit this network: Loaded {len(fitting)} tensors of {len(own)}; {such}. Use the weights"
            " of this backbone."
        )
    for name, value in fitting.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise Error(f"{source} has values in {name} that are not finite. Use weights of an earlier epoch.")
    report = LoadReport(source, len(fitting), tuple(left_out), tuple(missing), fitted.where, fitted.resized)
    network.load_state_dict(fitting, strict=False)
    log.info("%s", report)
    return report


def _load(network: nn.Module, tables: dict[str, States], source: str, clean: Clean, fit: FitPositions) -> LoadReport:
    """Load the table and prefix with the most names of the network; ties go to averages, then to short prefixes."""
    own = network.state_dict().keys()
    best, most, refusal = Fitted({}), (-1, False), None
    for path, table in tables.items():
        plain = unwrapped(table)
        for prefix in prefixes(plain):
            try:
                fitted = _fitted(network, plain, prefix, path, clean, fit)
            except Error as reason:
                refusal = refusal or reason
                continue
            except Exception:  # timm's converters assume that the prefix is right
                continue
            score = len(own & fitted.states.keys()), any(word in f"{path}{prefix}" for word in AVERAGES)
            if score > most:
                best, most = fitted, score
    if refusal is not None and 2 * most[0] < len(own):
        raise Error(f"{source} {refusal}") from refusal
    return take(network, best.states, source, best)


def _fitted(network: nn.Module, table: States, prefix: str, path: str, clean: Clean, fit: FitPositions) -> Fitted:
    """Return the tensors with this prefix under the network's names, with position embeddings of its size."""
    inside = {name[len(prefix) :]: value for name, value in table.items() if name.startswith(prefix)}
    named = clean(with_timm_names(inside, getattr(network, "reg_token", None) is not None))
    sized, resizing = fit(named, network)
    convert = getattr(sys.modules.get(type(network).__module__), "checkpoint_filter_fn", None)
    states: States = dict(convert(dict(sized), network)) if convert else sized
    resized = [resizing] if resizing else []
    for name, value in states.items():
        if name in sized and sized[name].shape != value.shape:
            resized.append(f"{name} from {tuple(sized[name].shape)} to {tuple(value.shape)}")
    others = sorted(f"{path}{name}" for name in table if not name.startswith(prefix))
    return Fitted(states, f"{path}{prefix}", tuple(resized), tuple(others))


def _numpy_weights(network: nn.Module, file: str) -> States:
    """Return the weights in a .npz file of the authors of ViT, as timm reads it, at their own position grid."""
    if not hasattr(network, "load_pretrained"):
        raise Error(f"{file} has names of JAX, which only vision transformers read. Use a .safetensors or .pth file.")
    blank: Any = copy.deepcopy(network)
    with np.load(file) as arrays:
        shapes = [arrays[name].shape for name in arrays if name.endswith("pos_embedding")]
    if shapes and getattr(blank, "cls_token", None) is not None:
        blank.pos_embed = nn.Parameter(torch.empty(shapes[0]))  # of this shape, timm does not resize them
    with torch.no_grad():
        for value in blank.state_dict().values():
            if value.is_floating_point():
                value.fill_(torch.nan)
    blank.load_pretrained(file)
    return {name: value for name, value in blank.state_dict().items() if not value.isnan().any()}


def _matches(own: Tensor, value: Tensor) -> bool:
    """Return whether a tensor has the shape and the kind of numbers of the network's: quantized weights do not."""
    return own.shape == value.shape and own.is_floating_point() == value.is_floating_point()


def _misfit(name: str, value: Tensor, own: Mapping[str, Tensor]) -> str:
    if name not in own:
        return f"{name} {tuple(value.shape)}"
    if own[name].shape == value.shape:
        return f"{name} {value.dtype}, not {own[name].dtype}"
    return f"{name} {tuple(value.shape)}, not {tuple(own[name].shape)}"
