"""Batches of a training whose images stream: as many on every rank, every image, and the same after a stop."""

import numpy as np
import pytest

from shards_tools.errors import Error
from shards_tools.streaming.images import StreamedImages
from tests.shards_tools.ranks import every_rank
from tests.trainables.data.batch_contents import assert_same_contents, contents_of
from trainables.data.batches import EpochBatches, TrainingSet

PLAIN = {"flip_probability": 0.0, "pad_px": 0, "works_per_batch": 6, "images_per_work": 2}


@pytest.fixture(scope="module")
def data(manifest):
    """Images at 24 px, which of them to train on, their works and their roles."""
    split = manifest.split(0)
    labels = np.unique(manifest.work[split.train], return_inverse=True)[1].astype(np.int64)
    return TrainingSet(StreamedImages(manifest, 24, 24), split.train, labels, manifest.role[split.train])


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_every_rank_has_as_many_batches_and_together_they_hold_every_image(data, small_recipe, world, workers):
    recipe = small_recipe(**PLAIN)
    ranks = every_rank(
        lambda rank, longest: contents_of(data, recipe, rank=rank, world=world, workers=workers, longest=longest), world
    )
    assert len({len(batches) for batches in ranks}) == 1
    seen = {image.tobytes() for batches in ranks for images, _ in batches for image in images}
    assert seen == {image.tobytes() for image in data.images[data.indices]}
    assert all(len(labels) == 12 // world for batches in ranks for _, labels in batches)


def test_ranks_that_cannot_share_the_works_of_a_batch_are_refused(data, small_recipe):
    with pytest.raises(Error, match="4 ranks that stream cannot share batches of 6 works"):
        EpochBatches(data, small_recipe(**PLAIN), seed=0, epoch=1, rank=0, world=4)


@pytest.mark.parametrize("batch_sampler", ["full", "papers", "cross_role"])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_resumed_at_any_batch_goes_on_as_it_would_have(data, small_recipe, batch_sampler, workers):
    recipe = small_recipe(batch_sampler=batch_sampler)
    whole = contents_of(data, recipe, workers=0)
    for first in range(0, len(whole) + 1, 3):
        assert_same_contents(contents_of(data, recipe, workers=workers, first=first), whole[first:])
