"""The batch sampler `cross_role`: P works x K images, with different roles per work and every image in every pass.

So the positives are those of cross-role retrieval: other roles of the same work.
"""

from dataclasses import dataclass

import numpy as np

from shards_tools.batch_samplers.epochs import EpochParams
from shards_tools.batch_samplers.members import Partition, numbered, stable_argsort
from shards_tools.batch_samplers.rows import draw_rows
from shards_tools.batch_samplers.works import batches_of_groups, partition_into_works
from shards_tools.errors import Error


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
    groups = _Groups.of(partition_into_works(labels, params), np.asarray(roles), params.images_per_work)
    return batches_of_groups(groups.least(), groups.deal, params)


@dataclass(frozen=True, eq=False)
class _Groups:
    """The groups of K images of all works; the roles of the first work come first."""

    roles: Partition
    work_of_role: np.ndarray  # ascending
    size: int  # of a group, K
    most: np.ndarray  # of each work, how many images of one role a group may contain

    @classmethod
    def of(cls, works: Partition, role_of_image: np.ndarray, size: int) -> "_Groups":
        roles = works.divided(role_of_image)
        work_of_role = np.empty(len(roles.sizes), np.int64)
        work_of_role[roles.group] = works.group
        return cls(roles, work_of_role, size, -(-size // np.bincount(work_of_role)))

    def least(self) -> np.ndarray:
        """Return the number of groups that each work needs for all of its images."""
        num_images = np.bincount(self.work_of_role, self.roles.sizes).astype(np.int64)
        least: np.ndarray = -(-num_images // self.size)
        np.maximum.at(least, self.work_of_role, -(-self.roles.sizes // self.most[self.work_of_role]))
        return least

    def deal(self, num_groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return `num_groups[w]` groups of each work w, [sum of num_groups, K].

        The roles of each group are drawn as the works of each batch are, and each role's images come in turn. A role
        that may occur several times in a group counts as that many roles, which share its places.
        """
        places = self._places(num_groups, generator)
        most = self.most[self.work_of_role]
        role_of_share = np.repeat(np.arange(len(places)), most)
        shares = (places[role_of_share] + numbered(most)) // most[role_of_share]  # each at most num_groups
        role_of_share, shares = role_of_share[shares > 0], shares[shares > 0]
        rows = draw_rows(shares, self.size, generator, self.work_of_role[role_of_share])
        role = role_of_share[rows].ravel()
        images = self.roles.shuffled(generator)
        groups = np.empty(len(role), np.int64)
        order = stable_argsort(role)
        groups[order] = images.at(role[order], numbered(places))
        return groups.reshape(-1, self.size)

    def _places(self, num_groups: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return how many places each role fills: at least its size, at most `most` per group, the rest at random."""
        places: np.ndarray = self.roles.sizes.copy()
        limits = (self.most * num_groups)[self.work_of_role]
        while (missing := num_groups * self.size - np.bincount(self.work_of_role, places).astype(np.int64)).any():
            is_open = (places < limits) & (missing > 0)[self.work_of_role]
            tickets = np.repeat(np.arange(len(places)), np.where(is_open, self.roles.sizes, 0))
            tickets = generator.permutation(tickets)
            tickets = tickets[stable_argsort(self.work_of_role[tickets])]  # those of a work together, in random order
            of_work = self.work_of_role[tickets]
            drawn = tickets[numbered(np.bincount(of_work, minlength=len(missing))) < missing[of_work]]
            places = np.minimum(places + np.bincount(drawn, minlength=len(places)), limits)
        return places
