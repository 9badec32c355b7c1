"""The first step of every model: normalize uint8 images on the device, then erase.

B batch, H height, W width, C channels.
"""

import math

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing
from torch import Tensor, nn

from trainables.recipes.recipe import Recipe

TIMM_MODES = {"pixel": "pixel", "constant": "const"}
# of AGW's and LSASRD's random erasing
AREA = (0.02, 0.4)  # fraction of the image
ASPECT = (0.3, 1 / 0.3)  # height / width, uniform and not log-uniform
# what the code writes into normalized pixels: ImageNet's mean color, as if the pixels were not normalized
FILL = (0.485, 0.456, 0.406)
MAX_TRIES = 100


class InputStep(nn.Module):
    """Normalizes uint8 images and, in training mode, erases a rectangle of some, in the papers' order."""

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        # not persistent: the recipe has them
        self.register_buffer("mean", torch.tensor(recipe.pixel_mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(recipe.pixel_std) * 255, persistent=False)
        self.erase_probability = recipe.erase_probability
        self.erase_fill = recipe.erase_fill
        self.channels_last = recipe.channels_last
        self._room: Tensor | None = None

    def forward(self, images_BHWC: Tensor) -> Tensor:
        """Return float images, B x C x H x W."""
        # as few passes over float pixels as possible: on a CPU they cost more than all earlier steps
        pixels_BCHW = self._room_for(images_BHWC).copy_(images_BHWC.permute(0, 3, 1, 2))
        pixels_BCHW = pixels_BCHW.sub_(self.mean[:, None, None]).div_(self.std[:, None, None])
        if self.training and self.erase_probability > 0:
            return self._erase(pixels_BCHW)
        return pixels_BCHW

    def _erase(self, pixels_BCHW: Tensor) -> Tensor:
        if self.erase_fill == "agw":
            return erase_as_agw(pixels_BCHW, self.erase_probability)
        # as imported by TransReID: one rectangle of 2 to 33 % of the area
        device, mode = str(pixels_BCHW.device), TIMM_MODES[self.erase_fill]
        erase = RandomErasing(self.erase_probability, mode=mode, max_count=1, device=device)  # type: ignore[no-untyped-call]
        erased_BCHW: Tensor = erase(pixels_BCHW)
        return erased_BCHW

    def _room_for(self, images_BHWC: Tensor) -> Tensor:
        """Return memory for the float pixels; when training on a CPU, the last batch's memory is reused.

        Fresh memory costs three times as much as all operations on it. autograd raises an error if a backward pass
        needs overwritten pixels.
        """
        batch, height, width, channels = images_BHWC.shape
        shape, device = (batch, channels, height, width), images_BHWC.device
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        if not self.training or device.type != "cpu" or torch.is_inference_mode_enabled():
            return torch.empty(shape, device=device, memory_format=order)
        if self._room is None or self._room.shape != shape:
            self._room = torch.empty(shape, memory_format=order)
        return self._room


def erase_as_agw(pixels_BCHW: Tensor, probability: float) -> Tensor:
    """Erase one rectangle of each chosen image in place, using numpy's global random state.

    Zhong et al. 2020 (arXiv 1708.04896) as in AGW's code: a rectangle that does not fit is sampled again, and a
    rectangle must be smaller than the image in both dimensions.
    """
    height, width = pixels_BCHW.shape[2:]
    fill_C11 = pixels_BCHW.new_tensor(FILL)[:, None, None]
    for image_CHW in pixels_BCHW:
        if np.random.random() >= probability:
            continue
        for _ in range(MAX_TRIES):
            area, aspect = np.random.uniform(*AREA) * height * width, np.random.uniform(*ASPECT)
            rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if rows < height and columns < width:
                top, left = np.random.randint(0, height - rows + 1), np.random.randint(0, width - columns + 1)
                image_CHW[:, top : top + rows, left : left + columns] = fill_C11
                break
    return pixels_BCHW
