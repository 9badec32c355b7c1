"""The plan `shuffle`: all images in random order, regardless of work; for recipes without a triplet loss."""

import numpy as np

from shards_tools.errors import Error
from shards_tools.plans.draw import Draw
from shards_tools.plans.passes import epoch_of_pass
from shards_tools.plans.works import check_sizes


def shuffle_batches(labels: np.ndarray, roles: np.ndarray | None, draw: Draw) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K], with no image twice in a pass.

    An incomplete last batch is dropped, as in the papers' code: a pass lacks fewer than P * K images, different ones in
    each pass. P and K only set the batch size: a batch may contain any works.
    """
    check_sizes(labels, draw)
    num_batches = len(labels) // draw.batch_size
    if num_batches == 0:
        raise Error(
            f"{len(labels)} training images do not fill one batch of {draw.works_per_batch} works x"
            f" {draw.images_per_work} images. Lower works_per_batch or images_per_work."
        )

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(len(labels))[: num_batches * draw.batch_size].reshape(num_batches, -1)

    return epoch_of_pass(draw_pass, num_batches, draw)
