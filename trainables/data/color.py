"""Color jitter of batches, with the pixels of torchvision's ColorJitter on uint8 images.

torchvision adjusts brightness, contrast, saturation and hue in random order and truncates to whole gray levels after
each. Here the levels are whole numbers in float32, one plane per channel, and every formula rounds as torchvision's
does, so the pixels are equal.

B batch, H height, W width, C channels; S steps of adjustment.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)  # in the order of JITTERS
TINY = 1e-3  # below every nonzero difference of two levels, as fractions
NUMBERS = (0.2989, 1 / 255, 1 / 6, 0.5, 1, 2, 6, 128, 255.999, 256, 384, 512, 640, 896)  # constants of the formulas


def sample_colors(
    num_images: int, strengths: Sequence[float], random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Sample factors of brightness, contrast, saturation and hue, and the order in which they are applied.

    Args:
        strengths: of the four, as in torchvision's ColorJitter; 0 turns one off.

    Returns:
        Factors, float64, and orders, int64, [B, 4] each. An order lists the kinds as positions in `strengths`.
    """
    middles = np.array([1.0, 1.0, 1.0, 0.0])
    lowest = np.maximum(middles - strengths, [0.0, 0.0, 0.0, -0.5])
    factors = random.uniform(lowest, middles + strengths, (num_images, len(middles)))
    orders = random.permuted(np.tile(np.arange(len(middles)), (num_images, 1)), axis=1)
    return factors, orders


@torch.inference_mode()
def jitter_one_by_one(images_BHWC: Tensor, strengths: Sequence[float], factors_B4: Tensor, orders_B4: Tensor) -> None:
    """Apply torchvision's ColorJitter to images in place, one after the other: the form for a CPU and its cache.

    Args:
        images_BHWC: uint8 RGB.
        strengths: of brightness, contrast, saturation and hue; a kind with strength 0 is skipped.
        factors_B4: from `sample_colors`, on the device of the images; `orders_B4` likewise.
    """
    planes = _Planes((1, *images_BHWC.shape[1:3]), images_BHWC.device)
    ratios, rests = factors_B4.float().ravel().unbind(), (1 - factors_B4).float().ravel().unbind()
    for image, order in enumerate(orders_B4.tolist()):
        planes.load(images_BHWC[image : image + 1])
        for kind in order:
            if strengths[kind] > 0:
                place = image * len(order) + kind
                planes.adjust(kind, ratios[place], rests[place])
        planes.store(images_BHWC[image : image + 1])


@torch.inference_mode()
def jitter_at_once(images_BHWC: Tensor, strengths: Sequence[float], factors_B4: Tensor, orders_B4: Tensor) -> None:
    """Jitter as `jitter_one_by_one`, but the whole batch with the launches of one image: the form for a GPU.

    Brightness, contrast and saturation blend an image with black, its mean gray and its gray image. So three blends,
    the hue and three blends cover every order: blends that an image does not need leave it as it is.
    """
    planes = _Planes(images_BHWC.shape[:3], images_BHWC.device)
    planes.load(images_BHWC)
    kinds_BS, ratios_BS = _steps(factors_B4, orders_B4)
    rests_BS, ratios_BS = (1 - ratios_BS).float(), ratios_BS.float()
    with_gray_BS, with_mean_BS = (kinds_BS == SATURATION).float(), (kinds_BS == CONTRAST).float()
    for step in range(kinds_BS.shape[1]):
        if step == 3 and strengths[HUE] > 0:
            planes.turn_hue(factors_B4[:, HUE, None, None].float())
        gray_BHW = planes.gray()
        mean_B11 = gray_BHW.mean((1, 2), keepdim=True).mul_(with_mean_BS[:, step, None, None])
        other_BHW = gray_BHW.mul_(with_gray_BS[:, step, None, None]).add_(mean_B11)
        planes.blend(other_BHW, ratios_BS[:, step, None, None], rests_BS[:, step, None, None])
    planes.store(images_BHWC)


def _steps(factors_B4: Tensor, orders_B4: Tensor) -> tuple[Tensor, Tensor]:
    """Return the kind and the factor of each image's blends: three before the hue, three after it.

    A blend that belongs to the other side of the hue has the factor 1, which changes nothing.
    """
    is_hue_B4 = orders_B4 == HUE
    after_hue_B4 = is_hue_B4.cumsum(1) > 0
    belongs_BS = torch.cat((~after_hue_B4[:, :3], (after_hue_B4 & ~is_hue_B4)[:, 1:]), dim=1)
    kinds_BS = torch.cat((orders_B4[:, :3], orders_B4[:, 1:]), dim=1)
    return kinds_BS, torch.where(belongs_BS, factors_B4.gather(1, kinds_BS), 1.0)


class _Planes:
    """The channels of some images as float32 planes with levels 0..255, adjusted in place.

    On a CPU a call of torch takes as long as its arithmetic on a small plane. Hence the views and the constants are
    made once: torch converts a Python number on every call. `torch.where` and comparisons are slow there.
    """

    def __init__(self, shape_BHW: tuple[int, ...], device: torch.device) -> None:
        memory = torch.empty((11, *shape_BHW), device=device)
        self._channels_CBHW, self._levels_CBHW, self._upper_CBHW = memory[:3], memory[3:6], memory[6:9]
        self._red, self._green, self._blue, self._highest, self._lowest, self._middle, *self._scratch = memory.unbind()
        self._channels_BHWC = self._channels_CBHW.permute(1, 2, 3, 0)
        self._whole_BHWC = torch.empty((*shape_BHW, 3), dtype=torch.int32, device=device)
        self._numbers = {number: torch.tensor(number, dtype=torch.float32, device="cpu") for number in NUMBERS}

    def load(self, images_BHWC: Tensor) -> None:
        self._channels_BHWC.copy_(images_BHWC)

    def store(self, images_BHWC: Tensor) -> None:
        # twice as fast on a CPU as without the whole numbers in between
        images_BHWC.copy_(self._whole_BHWC.copy_(self._channels_BHWC))

    def adjust(self, kind: int, ratio: Tensor, rest: Tensor) -> None:
        """Adjust one kind by its factor `ratio`; `rest` is 1 - ratio, rounded once."""
        if kind == HUE:
            self.turn_hue(ratio)
        elif kind == BRIGHTNESS:
            self._channels_CBHW.mul_(ratio).clamp_(0, 255).floor_()
        else:
            gray_BHW = self.gray()
            self.blend(gray_BHW if kind == SATURATION else gray_BHW.mean((1, 2), keepdim=True), ratio, rest)

    def blend(self, other_BHW: Tensor, ratio: Tensor, rest: Tensor) -> None:
        self._channels_CBHW.mul_(ratio).addcmul_(other_BHW, rest).clamp_(0, 255).floor_()

    def gray(self) -> Tensor:
        """Return the gray images, which the next call overwrites."""
        gray_BHW = torch.mul(self._red, self._numbers[0.2989], out=self._scratch[0])
        return gray_BHW.add_(self._green, alpha=0.587).add_(self._blue, alpha=0.114).floor_()

    def turn_hue(self, turns: Tensor) -> None:
        """Turn the hue by a fraction of the color circle.

        It moves the highest and the lowest level of a pixel to other channels and gives the third channel a new level.
        `torch.lerp` with a weight of exactly 0 or 1 selects one of two planes.
        """
        number = self._numbers
        saturation, sixths, a, b, c = self._scratch
        highest, lowest, middle = self._highest, self._lowest, self._middle
        self._channels_CBHW.mul_(number[1 / 255])
        torch.maximum(torch.maximum(self._red, self._green, out=highest), self._blue, out=highest)
        torch.minimum(torch.minimum(self._red, self._green, out=lowest), self._blue, out=lowest)
        spread = torch.sub(highest, lowest, out=middle)
        torch.div(spread, torch.clamp(highest, min=TINY, out=a), out=saturation)
        torch.sub(highest, self._channels_CBHW, out=self._channels_CBHW).div_(spread.clamp_(min=TINY))
        self._hue_in_sixths()
        sixths.mul_(number[1 / 6]).add_(number[1]).frac_().add_(turns)
        sixths.sub_(torch.floor(sixths, out=a)).mul_(number[6])
        sector = torch.floor(sixths, out=a)  # 0..5, or 6 for 0
        part = sixths.frac_().mul_(saturation)
        is_odd = torch.mul(sector, number[0.5], out=b).frac_().mul_(number[2])
        rising = torch.sub(part, saturation.sub_(number[1]), out=c)
        falling = torch.sub(number[1], part, out=part)
        torch.lerp(rising, falling, is_odd, out=middle).mul_(highest)
        self._levels_CBHW.mul_(number[255.999]).floor_()
        self._place_levels(sector)

    def _hue_in_sixths(self) -> None:
        """Write the hue, -1..5: 0 is red, 2 green, 4 blue.

        The channels hold how far each is below the highest, as a fraction of the distance to the lowest.
        """
        _, sixths, a, b, other = self._scratch
        red, green, blue = self._red, self._green, self._blue
        not_red = torch.ceil(red, out=a)  # 1 unless red is the highest
        is_blue = torch.ceil(green, out=b).mul_(not_red)
        torch.lerp(blue, torch.lerp(red, green, is_blue, out=other), not_red, out=sixths)
        torch.lerp(green, torch.lerp(blue, red, is_blue, out=other), not_red, out=other)
        sixths.add_(not_red.add_(is_blue), alpha=2).sub_(other)

    def _place_levels(self, sector: Tensor) -> None:
        """Write the highest, lowest and middle level of each pixel to the channels that they have in the sector."""
        number = self._numbers
        # 512 where a channel takes the highest level, 256 where the middle one, 0 where the lowest
        sector.mul_(number[256])
        torch.sub(sector, number[640], out=self._red).abs_().sub_(number[128])
        for channel, opposite in ((self._green, 384), (self._blue, 896)):
            torch.sub(number[640], torch.sub(sector, number[opposite], out=channel).abs_(), out=channel)
        self._channels_CBHW.clamp_(0, 512)
        # a bound that lies beyond all levels leaves the middle level as it is
        upper_CBHW = torch.add(self._channels_CBHW, self._lowest, out=self._upper_CBHW)
        lower_CBHW = self._channels_CBHW.add_(self._highest.sub_(number[512]))
        torch.clamp(self._middle, lower_CBHW, upper_CBHW, out=self._channels_CBHW)
