"""Crops and flips of uint8 images: image by image on a CPU, and of a whole batch on any device.

Of images with one shape, both forms give equal crops and flips, and resized crops that differ by at most one gray
level. The forms of a batch have as many launches as for one image and never wait for the device.

B batch, H height, W width, C channels; R rows and S columns of the result.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shards_tools.fits import resize
from trainables.recipes.images import Size


def crop_and_flip(
    images: np.ndarray | Sequence[np.ndarray],
    pad_px: int,
    flips_B: np.ndarray,
    corners_B2: np.ndarray,
    cut_BHWC: np.ndarray,
) -> np.ndarray:
    """Flip the images whose flip is set, then crop each from the image with a zero border of `pad_px` at top and left.

    The border is never allocated: the part of a crop inside the image is copied and the rest is set to zero.

    Args:
        images: HWC each, all of the same size.
        corners_B2: first row and column of each crop, counted from the border's corner.
        cut_BHWC: the crops are written here; its height and width are those of the crops.

    Returns:
        `cut_BHWC`.
    """
    height, width = images[0].shape[:2]
    for image, (flip, (top, left)) in enumerate(zip(flips_B, (corners_B2 - pad_px).tolist(), strict=True)):
        rows, place_rows = _overlap(top, cut_BHWC.shape[1], height)
        columns, place_columns = _overlap(left, cut_BHWC.shape[2], width)
        target_HWC = cut_BHWC[image]
        target_HWC[: place_rows.start] = target_HWC[place_rows.stop :] = 0
        target_HWC[:, : place_columns.start] = target_HWC[:, place_columns.stop :] = 0
        if flip:
            columns = slice(width - columns.stop, width - columns.start)
        source_HWC = images[image][rows, columns]
        target_HWC[place_rows, place_columns] = _mirrored(source_HWC) if flip else source_HWC
    return cut_BHWC


def crop_and_flip_batch(images_BHWC: Tensor, pad_px: int, flips_B: Tensor, corners_B2: Tensor, size: Size) -> Tensor:
    """Return the same crops as `crop_and_flip`; all tensors are on one device.

    Args:
        images_BHWC: uint8.
        pad_px: black pixels around each image.
        flips_B: whether to mirror an image before its crop.
        corners_B2: top and left of each crop in the padded image, in px.
        size: of the crops.
    """
    num_images, height, width = images_BHWC.shape[:3]
    device = images_BHWC.device
    tops_B1, lefts_B1 = (corners_B2[:, :, None] - pad_px).unbind(1)
    rows_BR = tops_B1 + torch.arange(size.height, device=device)
    columns_BS = lefts_B1 + torch.arange(size.width, device=device)
    columns_BS = torch.where(flips_B[:, None], width - 1 - columns_BS, columns_BS)
    rows_BR1, columns_B1S = rows_BR[:, :, None], columns_BS[:, None, :]
    batch_B11 = torch.arange(num_images, device=device)[:, None, None]
    cut_BRSC = images_BHWC[batch_B11, rows_BR1.clamp(0, height - 1), columns_B1S.clamp(0, width - 1)]
    if pad_px:
        inside_BRS = _within(rows_BR1, height) & _within(columns_B1S, width)
        cut_BRSC.mul_(inside_BRS[..., None])
    return cut_BRSC


def resized_crops(
    images: np.ndarray | Sequence[np.ndarray], boxes_B4: np.ndarray, flips_B: np.ndarray, cut_BHWC: np.ndarray
) -> np.ndarray:
    """Resize the box of each image (bilinear, antialiased) and flip it where its flip is set.

    Args:
        images: HWC each, of any sizes.
        boxes_B4: top, left, height and width in px.
        cut_BHWC: the results are written here; its height and width are theirs.

    Returns:
        `cut_BHWC`.
    """
    height, width = cut_BHWC.shape[1:3]
    for place, (image, (top, left, rows, columns), flip) in enumerate(zip(images, boxes_B4, flips_B, strict=True)):
        resized_HWC = resize(image[top : top + rows, left : left + columns], height, width)
        cut_BHWC[place] = _mirrored(resized_HWC) if flip else resized_HWC
    return cut_BHWC


def resized_crops_batch(images_BHWC: Tensor, boxes_B4: Tensor, flips_B: Tensor, size: Size) -> Tensor:
    """Return the crops of `resized_crops` as two products of matrices per image.

    A level differs by at most 1: PIL rounds between the two products too, and in an order that depends on its version.

    Args:
        images_BHWC: uint8.
        boxes_B4: top, left, height and width of each crop in px.
        flips_B: whether to mirror a crop.
        size: of the crops.
    """
    num_images, height, width = images_BHWC.shape[:3]
    tops_B, lefts_B, heights_B, widths_B = boxes_B4.unbind(1)
    with torch.autocast(images_BHWC.device.type, enabled=False):
        of_columns_BSW = _weights(lefts_B, widths_B, width, size.width, flips_B)
        of_rows_BRH = _weights(tops_B, heights_B, height, size.height, torch.zeros_like(flips_B))
        turned_BWX = images_BHWC.transpose(1, 2).reshape(num_images, width, -1).float()
        narrow_BSHC = torch.bmm(of_columns_BSW, turned_BWX).reshape(num_images, size.width, height, 3)
        narrow_BHX = narrow_BSHC.transpose(1, 2).reshape(num_images, height, -1)
        cut_BRX = torch.bmm(of_rows_BRH, narrow_BHX).add_(0.5).clamp_(0, 255)
    return cut_BRX.to(torch.uint8).reshape(num_images, *size, 3)


def _weights(starts_B: Tensor, extents_B: Tensor, length: int, size: int, mirrored_B: Tensor) -> Tensor:
    """Return PIL's weights of bilinear, antialiased resizing of one axis, [B, size, length].

    Args:
        starts_B: first pixel of each crop; `extents_B` its number of pixels.
        length: pixels of the whole images along the axis.
        mirrored_B: whether the result runs backwards.
    """
    steps_S = torch.arange(size, device=starts_B.device)
    steps_BS = torch.where(mirrored_B[:, None], size - 1 - steps_S, steps_S)
    scales_B1 = extents_B[:, None] / size
    centers_BS = (steps_BS + 0.5) * scales_B1
    pixels_BL = torch.arange(length, device=starts_B.device) - starts_B[:, None]
    distances_BSL = (pixels_BL[:, None] + 0.5 - centers_BS[:, :, None]).abs_()
    weights_BSL = (1 - distances_BSL.div_(scales_B1.clamp(min=1)[..., None])).clamp_(min=0)
    weights_BSL.mul_(_within(pixels_BL, extents_B[:, None])[:, None])
    return weights_BSL.div_(weights_BSL.sum(2, keepdim=True))


def _within(positions: Tensor, length: int | Tensor) -> Tensor:
    return (positions >= 0) & (positions < length)


def _overlap(start: int, length: int, size: int) -> tuple[slice, slice]:
    """Intersect a crop, which may begin or end outside 0..size, with the image.

    Returns:
        The crop's part inside the image, in coordinates of the image and in coordinates of the crop.
    """
    first, last = min(max(start, 0), size), min(max(start + length, 0), size)
    return slice(first, last), slice(first - start, last - start)


def _mirrored(image_HWC: np.ndarray) -> np.ndarray:
    # torch vectorizes flips of bytes and numpy's copy from a reversed view does not: 4 times as fast per batch. torch
    # needs writable memory; the copy of one image stays in the CPU cache.
    writeable_HWC = image_HWC if image_HWC.flags.writeable else image_HWC.copy()
    return torch.flip(torch.from_numpy(writeable_HWC), (1,)).numpy()
