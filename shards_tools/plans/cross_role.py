"""The plan `cross_role`: P works x K images, the images of a work from different roles, every image in every pass.

So positives are what cross-role retrieval looks for: another role of the same work.
"""

import numpy as np

from shards_tools.errors import Error
from shards_tools.plans.draw import Draw
from shards_tools.plans.passes import epoch_of_pass
from shards_tools.plans.works import draw_works, fill_up, images_of_works, least_batches, positions_of_each


def cross_role_batches(labels: np.ndarray, roles: np.ndarray | None, draw: Draw) -> np.ndarray:
    """Positions into `labels`, int64 [num_batches, P * K]: P distinct works per batch, K images of each side by side.

    A pass holds every image at least once, and of a work with R roles no role gives more than ceil(K / R) images to a
    group: with at least K roles, K different ones. An image stands twice in a group only where its role has fewer than
    ceil(K / R) images.

    The price is a longer pass: a role with n images needs n / ceil(K / R) groups, and where these are more than the
    work's images fill, its other roles repeat, in proportion to their images. A work with more than 1/P of all groups
    makes the pass longer as in the plan `full`.

    Args:
        roles: of each image, one per label; roles of different works may share a number.
    """
    if roles is None or len(roles) != len(labels):
        raise Error(f"The plan cross_role needs the roles of {len(labels)} images, one each.")
    images_of_work = images_of_works(labels, draw)
    images_of_roles = [[images[role] for role in positions_of_each(roles[images])] for images in images_of_work]
    least_groups = np.array([_least_groups(images_of_role, draw.images_per_work) for images_of_role in images_of_roles])
    num_batches = least_batches(least_groups, draw.works_per_batch)

    def draw_pass(generator: np.random.Generator) -> np.ndarray:
        num_groups = fill_up(least_groups, num_batches, draw.works_per_batch, generator)
        works_BP = draw_works(num_groups, num_batches, draw.works_per_batch, generator)
        plan_BPK = np.empty((num_batches, draw.works_per_batch, draw.images_per_work), dtype=np.int64)
        for work, images_of_role in enumerate(images_of_roles):
            plan_BPK[works_BP == work] = _deal(images_of_role, int(num_groups[work]), draw.images_per_work, generator)
        return plan_BPK.reshape(num_batches, -1)

    return epoch_of_pass(draw_pass, num_batches, draw)


def _most_of_a_role(num_roles: int, group_size: int) -> int:
    """How many images of one role may stand in a group."""
    return -(-group_size // num_roles)


def _least_groups(images_of_role: list[np.ndarray], group_size: int) -> int:
    """The groups that a work needs for all of its images."""
    sizes = [len(images) for images in images_of_role]
    most = _most_of_a_role(len(sizes), group_size)
    return max(-(-sum(sizes) // group_size), -(-max(sizes) // most))


def _deal(
    images_of_role: list[np.ndarray], num_groups: int, group_size: int, generator: np.random.Generator
) -> np.ndarray:
    """The images of one work as [num_groups, K]; the roles meet by chance, and the images of each come in turn.

    What draws works for batches draws roles for groups. Where a role may come several times in a group it stands for
    as many, which share its places.
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
    """How many of `total` places each role fills: at least its size, at most `most`; the rest by drawing images."""
    places: np.ndarray = sizes.copy()
    while missing := total - int(places.sum()):
        open_roles = np.flatnonzero(places < most)
        drawn = generator.permutation(np.repeat(open_roles, sizes[open_roles]))[:missing]
        places = np.minimum(places + np.bincount(drawn, minlength=len(sizes)), most)
    return places
