"""The batch sampler `shuffle`: all images in random order, regardless of work; for recipes without a triplet loss."""

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams, epoch_of_pass
from shards_tools.batch_samplers.works import refuse_part_of_a_batch


def shuffle_batches(labels: np.ndarray, roles: np.ndarray | None, params: EpochParams) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K], with no image twice in a pass.

    An incomplete last batch is dropped, as in the papers' code: a pass lacks fewer than P * K images, different ones in
    each pass. P and K only set the batch size: a batch may contain any works.

    Raises:
        Error: the images do not fill one batch.
    """
    refuse_part_of_a_batch(labels, params)
    num_batches = len(labels) // params.batch_size

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(len(labels))[: num_batches * params.batch_size].reshape(num_batches, -1)

    return epoch_of_pass(draw_pass, num_batches, params)
