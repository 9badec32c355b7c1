"""Batches that are augmented on the device beside those that the loader augments."""

import numpy as np
import pytest
import torch

from trainables.data.augmentation import augment
from trainables.data.batches import EpochBatches, TrainingSet
from trainables.data.reading import training_images
from trainables.device import Device

JITTER = {"jitter_brightness": 0.2, "jitter_hue": 0.1, "enlarge_px": 0}
LABELS = np.repeat(np.arange(6), 12)
PIXELS = np.random.default_rng(0).integers(0, 256, (100, 24, 24, 3), dtype=np.uint8)
DATA = TrainingSet(PIXELS, np.arange(100)[-len(LABELS) :], LABELS, np.arange(len(LABELS)) // 2)


def on_device(data, recipe, **settings):
    """The batches of an epoch whose images the training augments; a list of the allocated shapes grows with them."""
    shapes = []

    def allocate(shape):
        shapes.append(shape)
        return torch.empty(shape, dtype=torch.uint8)

    settings = {"seed": 3, "epoch": 2, "augment_on": "device", "allocate": allocate, **settings}
    return EpochBatches(data, recipe, **settings), shapes


def data_of(recipe, manifest, reading):
    split = manifest.split(0)
    labels = np.unique(manifest.work[split.train], return_inverse=True)[1]
    return TrainingSet(training_images(recipe, manifest, reading), split.train, labels, manifest.role[split.train])


@pytest.mark.parametrize("changes", [{}, {"crop_area": (0.3, 1.0), "pad_px": 0, "enlarge_px": 0}])
@pytest.mark.parametrize("reading", ["decoded", "offset", "stream"])
def test_batches_augmented_on_the_device_are_those_of_the_loader(small_recipe, manifest, reading, changes):
    recipe = small_recipe(**{**JITTER, "enlarge_px": 2, **changes})
    data = data_of(recipe, manifest, reading)
    expected = list(EpochBatches(data, recipe, seed=3, epoch=2).start())
    batches, shapes = on_device(data, recipe)
    raw = list(batches.start())
    assert len(raw) == len(expected) == len(shapes)
    for batch, other in zip(raw, expected, strict=True):
        assert other.params is None
        assert batch.images.shape == shapes[0]
        assert torch.equal(batch.labels, other.labels)
        assert torch.equal(augment(batch.images, batch.params, recipe), other.images)


@pytest.mark.parametrize("jitter", [{}, JITTER])
def test_images_of_different_sizes_reach_the_device_cropped_but_not_jittered(small_recipe, mixed_sizes, jitter):
    changes = {"crop_area": (0.5, 1.0), "pad_px": 0, "works_per_batch": 2, "images_per_work": 2}
    recipe = small_recipe(**{**jitter, **changes})
    data = data_of(recipe, mixed_sizes, "auto")
    batch = next(on_device(data, recipe)[0].start(workers=0))
    expected = next(EpochBatches(data, recipe, seed=3, epoch=2).start(workers=0)).images
    assert batch.images.shape == (4, 24, 24, 3)
    if jitter:
        assert not torch.equal(batch.images, expected)
        assert torch.equal(augment(batch.images, batch.params, recipe), expected)
    else:
        assert batch.params is None
        assert torch.equal(batch.images, expected)


def test_micro_batches_and_ranks_take_their_part_of_the_params_along(small_recipe):
    recipe = small_recipe(**JITTER)
    expected = list(EpochBatches(DATA, recipe, seed=3, epoch=2).start())
    whole = list(on_device(DATA, recipe)[0].start())
    ranks = [list(on_device(DATA, recipe, rank=rank, world=2)[0].start()) for rank in range(2)]
    for parts in (
        [batch.split(5) for batch in whole],
        list(zip(*ranks, strict=True)),
        [[batch.to(Device("cpu"))] for batch in whole],
    ):
        images = [torch.cat([augment(part.images, part.params, recipe) for part in batch]).numpy() for batch in parts]
        np.testing.assert_array_equal(images, [batch.images.numpy() for batch in expected])


def test_the_loader_writes_augmented_batches_to_the_given_memory(small_recipe):
    held = torch.empty((16, 24, 24, 3), dtype=torch.uint8)
    batches = EpochBatches(DATA, small_recipe(), seed=3, epoch=2, allocate=lambda shape: held)
    for batch in batches.start(workers=0):
        assert batch.images.data_ptr() == held.data_ptr()
