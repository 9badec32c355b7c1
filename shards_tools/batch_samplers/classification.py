"""The batch samplers of recipes without a triplet loss: P and K only set the batch size."""

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams, epoch_of_pass
from shards_tools.batch_samplers.members import Partition
from shards_tools.batch_samplers.works import check_sizes, refuse_part_of_a_batch


def shuffle_batches(labels: np.ndarray, roles: np.ndarray | None, params: EpochParams) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K]: all images in random order, none twice in a pass.

    An incomplete last batch is dropped, as in the papers' code: a pass lacks fewer than P * K images, different ones in
    each pass. A batch may contain any works.

    Raises:
        Error: the images do not fill one batch.
    """
    refuse_part_of_a_batch(labels, params)
    num_batches = len(labels) // params.batch_size

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        return generator.permutation(len(labels))[: num_batches * params.batch_size].reshape(num_batches, -1)

    return epoch_of_pass(draw_pass, num_batches, params)


def balanced_batches(labels: np.ndarray, roles: np.ndarray | None, params: EpochParams) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K], in which works differ by at most one occurrence.

    Each round contains every work once, in random order. The images of a work are used in turn, in an order that is
    random for each pass. A pass has as many batches as are needed to hold all images once, and the last one is full.
    A pass does not contain every image: a work with more images than rounds skips the rest, different ones in each
    pass. The images of small works repeat, even within a batch if it spans more than one round.

    Raises:
        Error: there are no images.
    """
    check_sizes(labels, params)
    works = Partition.of(np.asarray(labels))
    num_works, num_batches = len(works.sizes), -(-len(labels) // params.batch_size)
    num_places = num_batches * params.batch_size

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        rounds = np.tile(np.arange(num_works), (-(-num_places // num_works), 1))
        work = generator.permuted(rounds, axis=1).ravel()[:num_places]
        images = works.shuffled(generator).at(work, np.arange(num_places) // num_works)
        return images.astype(np.int64).reshape(num_batches, params.batch_size)

    return epoch_of_pass(draw_pass, num_batches, params)
