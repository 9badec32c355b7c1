"""The batch sampler `shuffle`: all images in random order, regardless of work; for recipes without a triplet loss."""

import numpy as np

from shards_tools.batch_samplers.epoch_params import EpochParams
from shards_tools.batch_samplers.passes import epoch_of_pass
from shards_tools.batch_samplers.works import check_sizes
from shards_tools.errors import Error


def shuffle_batches(labels: np.ndarray, roles: np.ndarray | None, params: EpochParams) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K], with no image twice in a pass.

    An incomplete last batch is dropped, as in the papers' code: a pass lacks fewer than P * K images, different ones in
    each pass. P and K only set the batch size: a batch may contain any works.
    """
    check_sizes(labels, params)
    num_batches = len(labels) // params.batch_size
    if num_batches == 0:
        raise Error(
            f"{len(labels)} training images do not fill one batch of {params.works_per_batch} works x"
            f" {params.images_per_work} images. Lower works_per_batch or images_per_work."
        )

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(len(labels))[: num_batches * params.batch_size].reshape(num_batches, -1)

    return epoch_of_pass(draw_pass, num_batches, params)
