"""The images and labels of an epoch's batches, and whether two epochs have the same."""

import numpy as np

from trainables.data.batches import EpochBatches


def contents_of(data, recipe, first=0, workers=1, **ranks):
    batches = EpochBatches(data, recipe, seed=3, epoch=2, **ranks).start(first, workers)
    return [(batch.images.numpy(), batch.labels.numpy()) for batch in batches]


def assert_same_contents(first, second):
    for (images, works), (other_images, other_works) in zip(first, second, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(works, other_works)
