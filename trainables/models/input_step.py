"""The first step of every model: normalize uint8 images on the device, then erase.

B batch, H height, W width, C channels.
"""

import torch
from torch import Tensor, nn

from trainables.models.erasing import agw_boxes, fill, timm_boxes
from trainables.recipes.recipe import Recipe

# The colors that `erase_fill` writes into normalized pixels. AGW's code writes ImageNet's mean color, as if the pixels
# were not normalized.
COLORS = {"constant": (0.0, 0.0, 0.0), "agw": (0.485, 0.456, 0.406)}


class InputStep(nn.Module):
    """Normalizes uint8 images and, in training mode, erases a rectangle of some, in the papers' order."""

    mean: Tensor
    std: Tensor
    color: Tensor | None  # None: noise

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        # not persistent: the recipe has them
        self.register_buffer("mean", torch.tensor(recipe.pixel_mean) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(recipe.pixel_std) * 255, persistent=False)
        color = COLORS.get(recipe.erase_fill)
        color_C11 = None if color is None else torch.tensor(color)[:, None, None]
        self.register_buffer("color", color_C11, persistent=False)
        self.erase_probability = recipe.erase_probability
        self.erase_fill = recipe.erase_fill
        self.channels_last = recipe.channels_last
        self._memory: Tensor | None = None

    def forward(self, images_BHWC: Tensor) -> Tensor:
        """Return float images, B x C x H x W."""
        # as few passes over float pixels as possible: on a CPU they cost more than all earlier steps
        pixels_BCHW = self._memory_for(images_BHWC).copy_(images_BHWC.permute(0, 3, 1, 2))
        pixels_BCHW = pixels_BCHW.sub_(self.mean[:, None, None]).div_(self.std[:, None, None])
        if self.training and self.erase_probability > 0:
            return self._erase(pixels_BCHW)
        return pixels_BCHW

    def _erase(self, pixels_BCHW: Tensor) -> Tensor:
        boxes = agw_boxes if self.erase_fill == "agw" else timm_boxes
        batch, _, height, width = pixels_BCHW.shape
        return fill(pixels_BCHW, boxes(batch, height, width, self.erase_probability), self.color)

    def _memory_for(self, images_BHWC: Tensor) -> Tensor:
        """Return memory for the float pixels; when training on a CPU, the last batch's memory is reused.

        Fresh memory costs three times as much as all operations on it. autograd raises an error if a backward pass
        needs overwritten pixels.
        """
        batch, height, width, channels = images_BHWC.shape
        shape, device = (batch, channels, height, width), images_BHWC.device
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        if not self.training or device.type != "cpu" or torch.is_inference_mode_enabled():
            return torch.empty(shape, device=device, memory_format=order)
        if self._memory is None or self._memory.shape != shape:
            self._memory = torch.empty(shape, memory_format=order)
        return self._memory
