"""The plan `shuffle`: all images in random order, whatever their works; for recipes without a triplet term."""

import numpy as np

from shards_tools.errors import Error
from shards_tools.plans.draw import Draw
from shards_tools.plans.passes import epoch_of_pass
from shards_tools.plans.works import check_sizes


def shuffle_batches(labels: np.ndarray, roles: np.ndarray | None, draw: Draw) -> np.ndarray:
    """Positions into `labels`, int64 [num_batches, P * K]: no image twice in a pass.

    The last batch is left out where it is not full, as in the papers' code, so that a pass lacks fewer than P * K
    images, others each time. P and K only say how large a batch is: it may hold any works.
    """
    check_sizes(labels, draw)
    num_batches = len(labels) // draw.batch_size
    if num_batches == 0:
        raise Error(
            f"{len(labels)} images to train on do not fill one batch of {draw.works_per_batch} works x"
            f" {draw.images_per_work} images. Set works_per_batch or images_per_work lower."
        )

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(len(labels))[: num_batches * draw.batch_size].reshape(num_batches, -1)

    return epoch_of_pass(draw_pass, num_batches, draw)
