"""The plan `balanced`: every work equally often, however few images it has; for recipes without a triplet term."""

import numpy as np

from shards_tools.plans.draw import Draw
from shards_tools.plans.passes import epoch_of_pass
from shards_tools.plans.works import check_sizes, positions_of_each


def balanced_batches(labels: np.ndarray, roles: np.ndarray | None, draw: Draw) -> np.ndarray:
    """Positions into `labels`, int64 [num_batches, P * K]: in a pass, no work comes more than once more than another.

    The works come in rounds, each of them once in a round, in an order drawn for it; a work's images come in turn, in
    an order drawn for the pass. A pass has as many batches as hold all images once, the last one full. It does not
    hold every image: of a work with more images than there are rounds the rest is missing, another one each time, and
    the images of small works repeat, in one batch too where it holds more than a round. P and K only say how large a
    batch is.
    """
    check_sizes(labels, draw)
    images_of_work = positions_of_each(np.asarray(labels))
    num_batches = -(-len(labels) // draw.batch_size)

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        num_rounds = -(-num_batches * draw.batch_size // len(images_of_work))
        rounds = [generator.permutation(len(images_of_work)) for _ in range(num_rounds)]
        works = np.concatenate(rounds)[: num_batches * draw.batch_size]
        plan = np.empty(len(works), dtype=np.int64)
        for places in positions_of_each(works):
            images = images_of_work[works[places[0]]]
            plan[places] = np.resize(generator.permutation(images), len(places))
        return plan.reshape(num_batches, draw.batch_size)

    return epoch_of_pass(draw_pass, num_batches, draw)
