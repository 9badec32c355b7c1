"""The batch sampler `cross_role`: P works x K images, with different roles per work and every image in every pass.

So the positives are those of cross-role retrieval: other roles of the same work.
"""

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.works import batches_of_groups, draw_works, images_of_works
from shards_tools.errors import Error
from shards_tools.splits import positions_of_each


def cross_role_batches(labels: np.ndarray, roles: np.ndarray | None, params: EpochParams) -> np.ndarray:
    """Return positions in `labels`, int64 [num_batches, P * K]: P distinct works per batch, K adjacent images of each.

    A pass contains every image at least once. In a group of a work with R roles, each role has at most ceil(K / R)
    images: K different roles if R >= K. A group repeats an image only if its role has fewer than ceil(K / R) images.

    The pass is longer than that of `full`: a role with n images needs n / ceil(K / R) groups, and if the work's images
    do not fill these, its other roles repeat, in proportion to their images. A work with more than 1/P of all groups
    makes the pass longer, as in `full`.

    Args:
        roles: the role of each image; roles of different works may have the same number.

    Raises:
        Error: there are no roles, no images, or fewer than P works.
    """
    if roles is None or len(roles) != len(labels):
        raise Error(f"batch_sampler=cross_role needs the roles of {len(labels)} images. Pass one role per label.")
    images_of_work = images_of_works(labels, params)
    images_of_roles = [[images[role] for role in positions_of_each(roles[images])] for images in images_of_work]
    least_groups = np.array(
        [_least_groups(images_of_role, params.images_per_work) for images_of_role in images_of_roles]
    )

    def deal(work: int, num_groups: int, generator: np.random.Generator) -> np.ndarray:
        return _deal(images_of_roles[work], num_groups, params.images_per_work, generator)

    return batches_of_groups(least_groups, deal, params)


def _most_of_a_role(num_roles: int, group_size: int) -> int:
    """Return how many images of one role a group may contain."""
    return -(-group_size // num_roles)


def _least_groups(images_of_role: list[np.ndarray], group_size: int) -> int:
    """Return the number of groups that a work needs for all of its images."""
    sizes = [len(images) for images in images_of_role]
    most = _most_of_a_role(len(sizes), group_size)
    return max(-(-sum(sizes) // group_size), -(-max(sizes) // most))


def _deal(
    images_of_role: list[np.ndarray], num_groups: int, group_size: int, generator: np.random.Generator
) -> np.ndarray:
    """Return the images of one work as [num_groups, K]; roles are combined at random, and each role's images in turn.

    `draw_works` draws the roles of each group as it draws the works of each batch. A role that may occur several times
    in a group counts as that many roles, which share its positions.
    """
    most = _most_of_a_role(len(images_of_role), group_size)
    sizes = np.array([len(images) for images in images_of_role])
    places = _share_places(sizes, num_groups * most, num_groups * group_size, generator)
    shares = (places[:, None] + np.arange(most)) // most  # [R, most]: each at most num_groups
    role_of_share = np.repeat(np.arange(len(sizes)), most)[shares.ravel() > 0]
    drawn = draw_works(shares[shares > 0], num_groups, group_size, generator)
    groups = np.empty((num_groups, group_size), dtype=np.int64)
    for role, images in enumerate(images_of_role):
        groups[role_of_share[drawn] == role] = np.resize(generator.permutation(images), places[role])
    return groups


def _share_places(sizes: np.ndarray, most: int, total: int, generator: np.random.Generator) -> np.ndarray:
    """Return how many of `total` positions each role fills: at least its size, at most `most`, the rest at random."""
    places: np.ndarray = sizes.copy()
    while missing := total - int(places.sum()):
        open_roles = np.flatnonzero(places < most)
        drawn = generator.permutation(np.repeat(open_roles, sizes[open_roles]))[:missing]
        places = np.minimum(places + np.bincount(drawn, minlength=len(sizes)), most)
    return places
