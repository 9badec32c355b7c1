"""Random erasing (Zhong et al. 2020, arXiv 1708.04896): one rectangle of each chosen image of a batch is filled.

The rectangles are sampled on the host, by either of two laws. Filling them takes a few launches on a GPU, whatever the
batch size.

B batch, C channels, H height, W width.
"""

import math
import random

import numpy as np
import torch
from torch import Tensor

from trainables.device import to_device

TIMM_AREA = (0.02, 1 / 3)  # fractions of the image
TIMM_ASPECT = (0.3, 1 / 0.3)  # height / width, log-uniform
TIMM_TRIES = 10
AGW_AREA = (0.02, 0.4)
AGW_ASPECT = (0.3, 1 / 0.3)  # uniform
AGW_TRIES = 100

Box = tuple[int, int, int, int]  # top, bottom, left, right in px; bottom and right are excluded
NO_BOX: Box = (0, 0, 0, 0)


def timm_boxes(num_images: int, height: int, width: int, probability: float) -> list[Box]:
    """Sample the rectangles of timm's RandomErasing, as TransReID uses it, from Python's global random state."""
    return [_timm_box(height, width) if random.random() <= probability else NO_BOX for _ in range(num_images)]


def _timm_box(height: int, width: int) -> Box:
    aspects = math.log(TIMM_ASPECT[0]), math.log(TIMM_ASPECT[1])
    for _ in range(TIMM_TRIES):
        area, aspect = random.uniform(*TIMM_AREA) * height * width, math.exp(random.uniform(*aspects))
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if rows < height and columns < width:
            return _placed(rows, columns, random.randint(0, height - rows), random.randint(0, width - columns))
    return NO_BOX


def agw_boxes(num_images: int, height: int, width: int, probability: float) -> list[Box]:
    """Sample the rectangles of AGW's code, from numpy's global random state."""
    return [_agw_box(height, width) if np.random.random() < probability else NO_BOX for _ in range(num_images)]


def _agw_box(height: int, width: int) -> Box:
    for _ in range(AGW_TRIES):
        area, aspect = np.random.uniform(*AGW_AREA) * height * width, np.random.uniform(*AGW_ASPECT)
        rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if rows < height and columns < width:
            top, left = np.random.randint(0, height - rows + 1), np.random.randint(0, width - columns + 1)
            return _placed(rows, columns, top, left)
    return NO_BOX


def _placed(rows: int, columns: int, top: int, left: int) -> Box:
    return top, top + rows, left, left + columns


def fill(pixels_BCHW: Tensor, boxes: list[Box], color_C11: Tensor | None) -> Tensor:
    """Fill a rectangle of each image in place.

    Args:
        pixels_BCHW: normalized.
        boxes: one per image.
        color_C11: the color to fill with; None: normal noise.

    Returns:
        `pixels_BCHW`.
    """
    if pixels_BCHW.device.type == "cpu":
        _fill_each(pixels_BCHW, boxes, color_C11)
    else:
        _fill_at_once(pixels_BCHW, boxes, color_C11)
    return pixels_BCHW


def _fill_each(pixels_BCHW: Tensor, boxes: list[Box], color_C11: Tensor | None) -> None:
    """Fill one rectangle after the other, and no other pixel: on a CPU every pixel costs."""
    for image_CHW, (top, bottom, left, right) in zip(pixels_BCHW, boxes, strict=True):
        if top < bottom:
            box_CHW = image_CHW[:, top:bottom, left:right]
            # into fresh memory, as timm does: filling a view would draw other numbers
            box_CHW.copy_(torch.empty(box_CHW.shape).normal_() if color_C11 is None else color_C11)


def _fill_at_once(pixels_BCHW: Tensor, boxes: list[Box], color_C11: Tensor | None) -> None:
    """Fill all rectangles through a mask: on a GPU every launch costs."""
    device = pixels_BCHW.device
    top, bottom, left, right = to_device(torch.tensor(boxes), device).T[:, :, None]
    rows_H = torch.arange(pixels_BCHW.shape[2], device=device)
    columns_W = torch.arange(pixels_BCHW.shape[3], device=device)
    rows_BH = (rows_H >= top) & (rows_H < bottom)
    columns_BW = (columns_W >= left) & (columns_W < right)
    inside_B1HW = rows_BH[:, None, :, None] & columns_BW[:, None, None, :]
    color = torch.randn_like(pixels_BCHW) if color_C11 is None else color_C11
    torch.where(inside_B1HW, color, pixels_BCHW, out=pixels_BCHW)
