"""Any model of timm's, named `timm/NAME`: what its config says, at which sizes it works, and the model itself.

B batch, D width.
"""

import difflib
import logging
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, is_model
from torch import nn

from shards_tools.errors import Error, reason_of
from trainables.models.weights import from_hub
from trainables.recipes.backbones import TIMM, TimmModel
from trainables.recipes.images import Size

log = logging.getLogger(__name__)


@cache
def timm_backbone(name: str) -> TimmModel:
    """Return what timm's config says about `timm/NAME`.

    Raises:
        Error: timm has no such model or no such weights, or the model cannot be used.
    """
    model = name.removeprefix(TIMM)
    try:
        config = get_pretrained_cfg(model) if is_model(model) else None
    except RuntimeError:  # an unknown tag
        config = None
    if config is None:
        # a wrong tag is compared with the tags of its model
        known = timm.list_pretrained(f"{model.partition('.')[0]}.*") or timm.list_models()
        nearest = difflib.get_close_matches(model, known, n=1, cutoff=0.5)
        hint = f" Did you mean {TIMM}{nearest[0]}?" if nearest else ""
        raise Error(f"{name!r} is not a model of timm {timm.__version__}.{hint} timm.list_models() lists them all.")
    channels, height, width = config.input_size
    if channels != 3:
        raise Error(f"{name} reads images of {channels} channels, not RGB images. Use another model.")
    return TimmModel(
        width=_width(name, model, Size(height, width), None),
        pretrained_name=model if config.has_weights else None,
        size=(height, width),
        fixed_size=bool(config.fixed_input_size),
        pixel_mean=_of_channels(config.mean),
        pixel_std=_of_channels(config.std),
    )


def _of_channels(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def check_size(name: str, size: Size) -> None:
    """Refuse an image size at which `timm/NAME` cannot be built or gives no feature; it is tried without memory.

    Args:
        size: of the images.

    Raises:
        Error: the model does not take this size.
    """
    shape = timm_backbone(name)
    if size != shape.size:
        _width(name, name.removeprefix(TIMM), size, shape)


def build_timm_model(name: str, size: Size, *, drop_path: float = 0.0, pretrained: bool = False) -> nn.Module:
    """Return the model without its classifier, for images of this size.

    Args:
        drop_path: stochastic depth of the last block, used where the model has it.
        pretrained: load the weights that the name stands for; timm fits them to the size.

    Raises:
        Error: the weights cannot be read.
    """
    model, shape = name.removeprefix(TIMM), timm_backbone(name)
    arguments = _size_arguments(shape, size)
    if drop_path and not _takes(model, drop_path_rate=drop_path):
        log.info("%s has no stochastic depth: drop_path=%s is not used.", name, drop_path)
    elif drop_path:
        arguments["drop_path_rate"] = drop_path
    if not pretrained:
        return _without_classifier(model, arguments)
    with from_hub(name):
        # with its own classifier, which is strict: without it timm would take a file that lacks weights
        return _without_classifier(model, {**arguments, "pretrained": True})


def _size_arguments(shape: TimmModel | None, size: Size) -> dict[str, Any]:
    resized = shape is not None and shape.fixed_size and size != shape.size
    # some models take only an integer, so square images are given as one
    return {"img_size": size.height if size.height == size.width else tuple(size)} if resized else {}


def _without_classifier(model: str, arguments: dict[str, Any]) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old names of models
        network: nn.Module = timm.create_model(model, **arguments)
    network.reset_classifier(0)  # type: ignore[operator]
    return network


@cache
def _takes(model: str, **arguments: Any) -> bool:
    """Return whether the model's constructor has these arguments."""
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            _without_classifier(model, arguments)
    except TypeError:
        return False
    return True


@cache
def _width(name: str, model: str, size: Size, shape: TimmModel | None) -> int:
    """Return the width of the model's feature at this image size, found without memory.

    Args:
        shape: of the model; None: `size` is its native size.
    """
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]), torch.inference_mode():
            network = _without_classifier(model, _size_arguments(shape, size)).eval()
            features_BD = network(torch.empty(2, 3, *size))
            batch, width = features_BD.shape
    except Exception as failure:  # models refuse sizes in many ways
        reason = reason_of(failure)
        if shape is None:
            raise Error(f"{name} gives no feature ({reason}). Use another model.") from failure
        native = f"image_size={Size(*shape.size)}, the size it was made for"
        raise Error(f"{name} does not take images of {size} px ({reason}). Set {native}.") from failure
    assert batch == 2
    return int(width)
