"""Images per CPU-second of the augmentation on a CPU, compared with torchvision image by image.

One thread, batches of 64, interleaved in one run, medians of ratios. The peers are torchvision's functionals on tensors
for jitter, crops and flips, and on PIL images for resized crops, which torchvision's tensors take as planes. The forms
for a GPU run on the CPU too, to show why a CPU does not use them. Run: python benchmarks/augmentation.py [--seconds S].
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as torchvision

from trainables.data.augmentation import Augmentation, AugmentParams, augment_batch, augment_pictures
from trainables.data.batches import BufferPool
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override

BATCH = 64
OFF = {"pad_px": 0, "flip_probability": 0.0, "enlarge_px": 0, "crop_area": None}
JITTER = {f"jitter_{kind}": 0.3 for kind in ("brightness", "contrast", "saturation", "hue")}
NO_JITTER = dict.fromkeys(JITTER, 0.0)
ADJUST = (
    torchvision.adjust_brightness,
    torchvision.adjust_contrast,
    torchvision.adjust_saturation,
    torchvision.adjust_hue,
)


@dataclass(frozen=True)
class Case:
    """One augmentation of images of one size, by ours and by torchvision."""

    name: str
    recipe: Recipe
    peer: Callable[[Tensor, AugmentParams, Recipe], None]


def jitter(images_BHWC: Tensor, params: AugmentParams, recipe: Recipe) -> None:
    """Adjust the colors of each image in its own order."""
    assert params.factors_B4 is not None
    assert params.orders_B4 is not None
    for image_CHW, factors, order in zip(
        images_BHWC.permute(0, 3, 1, 2), params.factors_B4.tolist(), params.orders_B4.tolist(), strict=True
    ):
        changed_CHW = image_CHW
        for kind in order:
            changed_CHW = ADJUST[kind](changed_CHW, factors[kind])
        image_CHW.copy_(changed_CHW)


def crop(images_BHWC: Tensor, params: AugmentParams, recipe: Recipe) -> None:
    """Flip, pad and crop each image."""
    assert params.flips_B is not None
    assert params.corners_B2 is not None
    size, cut_BHWC = recipe.size, torch.empty_like(images_BHWC)
    for image, (flip, (top, left)) in enumerate(zip(params.flips_B.tolist(), params.corners_B2.tolist(), strict=True)):
        image_CHW = images_BHWC[image].permute(2, 0, 1)
        image_CHW = torchvision.horizontal_flip(image_CHW) if flip else image_CHW
        padded_CHW = torchvision.pad(image_CHW, [recipe.pad_px])
        cut_BHWC[image] = torchvision.crop(padded_CHW, top, left, *size).permute(1, 2, 0)


def resized_crop(images_BHWC: Tensor, params: AugmentParams, recipe: Recipe) -> None:
    """Crop, resize and flip each image with PIL."""
    assert params.flips_B is not None
    assert params.boxes_B4 is not None
    size = list(recipe.size)
    cut_BHWC = np.empty((len(images_BHWC), *size, 3), np.uint8)
    for image, (flip, box) in enumerate(zip(params.flips_B.tolist(), params.boxes_B4.tolist(), strict=True)):
        picture = torchvision.resized_crop(Image.fromarray(images_BHWC[image].numpy()), *box, size=size)
        cut_BHWC[image] = np.asarray(torchvision.horizontal_flip(picture) if flip else picture)


def cases() -> list[Case]:
    """Return what is measured."""
    recipe = get_recipe("transreid-vit-base")

    def changed(**values: object) -> Recipe:
        return override(recipe, {"pretrained": False, **NO_JITTER, **OFF, **values})

    crops = {"pad_px": 10, "flip_probability": 0.5}
    resized = {"crop_area": (0.08, 1.0), "flip_probability": 0.5}
    return [
        Case("jitter, 128 px", changed(image_size=128, **JITTER), jitter),
        Case("jitter, 224 px", changed(image_size=224, **JITTER), jitter),
        Case("crops and flips, 256 px", changed(image_size=256, **crops), crop),
        Case("resized crops, 224 px", changed(image_size=224, **resized), resized_crop),
    ]


def images_per_cpu_second(work: Callable[[], object]) -> float:
    """Run the work on one batch; return images per CPU-second of this process."""
    before = time.process_time()
    work()
    return BATCH / (time.process_time() - before)


def measure(case: Case, seconds: float) -> None:
    """Run the three forms in turn for this long and print their speeds and ratios."""
    recipe, pool = case.recipe, BufferPool()
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *recipe.size, 3), np.uint8)
    sizes = np.full((BATCH, 2), recipe.size)
    augmentation = Augmentation(recipe, (1000, BATCH), slice(0, BATCH), seed=0, epoch=1)
    rounds: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    while len(rounds) < 3 or (time.perf_counter() < end and len(rounds) < 1000):
        params = augmentation.sample(len(rounds), sizes)
        copies = [torch.from_numpy(images.copy()) for _ in range(2)]
        forms: dict[str, Callable[[], object]] = {
            "torchvision": partial(case.peer, copies[0], params, recipe),
            "ours": partial(augment_pictures, images, params, recipe, pool.allocate),
            "as on a GPU": partial(augment_batch, copies[1], params, recipe),
        }
        rounds.append({name: images_per_cpu_second(work) for name, work in forms.items()})
    for name in rounds[0]:
        ratios = [speeds[name] / speeds["torchvision"] for speeds in rounds]
        speed, ratio = statistics.median(speeds[name] for speeds in rounds), statistics.median(ratios)
        spread = f"({min(ratios):.2f} to {max(ratios):.2f}, {len(rounds)} rounds)"
        print(f"{case.name:26}{name:13}{speed:8.0f} images/CPU-s {ratio:6.2f} x torchvision {spread}")


def main() -> None:
    """Print the ratios of every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="in which the measurements end (default 60)")
    seconds = parser.parse_args().seconds
    torch.set_num_threads(1)
    measured = cases()
    for case in measured:
        measure(case, seconds / len(measured))


if __name__ == "__main__":
    main()
