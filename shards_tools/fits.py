"""Resize images of any shape to a fixed size."""

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image


def resize(
    image: np.ndarray, height: int, width: int, resampling: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Resize an image, antialiased.

    Args:
        image: uint8 [H, W, 3].
        height: of the result in px; `width` likewise.
        resampling: PIL's filter.

    Returns:
        uint8 [height, width, 3]; the same array if it has this size already.
    """
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), resampling))


def cover(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize the uint8 image [H, W, 3] to cover height x width px with its aspect ratio kept, and crop the center.

    This is PaddleClas's rule for square targets: the short side is resized exactly, the long side is rounded.
    """
    scale = max(height / image.shape[0], width / image.shape[1])
    rows, columns = (max(round(side * scale), least) for side, least in zip(image.shape, (height, width), strict=False))
    whole = resize(image, rows, columns)
    top, left = (rows - height) // 2, (columns - width) // 2
    return whole[top : top + height, left : left + width]


# how an image of any shape is resized to a fixed size; an image of that size stays as it is
FITS: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "stretch": resize,
    "bicubic": partial(resize, resampling=Image.Resampling.BICUBIC),
    "cover": cover,
}
