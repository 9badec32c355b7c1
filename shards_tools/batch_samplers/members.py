"""Images grouped by a label, and random orders of each group, without a loop over the groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Partition:
    """The groups of images: of one work each, for example."""

    group: np.ndarray  # of each image, unsigned, 0..num_groups-1
    sizes: np.ndarray  # of each group, int64, at least 1

    @classmethod
    def of(cls, labels: np.ndarray) -> Partition:
        """Return a group for each distinct label, integers >= 0, in ascending order of the labels."""
        sizes = np.bincount(labels)
        is_used = sizes > 0
        group = np.cumsum(is_used) - 1
        return cls(group.astype(_unsigned(len(group)))[labels], sizes[is_used])

    def divided(self, labels: np.ndarray) -> Partition:
        """Return a group for each distinct label, integers >= 0, in each group, in ascending order of both."""
        order = stable_argsort(labels)
        order = order[stable_argsort(self.group[order])]
        is_first = (np.diff(self.group[order], prepend=-1) != 0) | (np.diff(labels[order], prepend=-1) != 0)
        starts = np.flatnonzero(is_first)
        group = np.empty(len(order), _unsigned(len(starts)))
        group[order] = np.cumsum(is_first) - 1
        return Partition(group, np.diff(starts, append=len(order)))

    def shuffled(self, generator: np.random.Generator) -> Members:
        """Return the images of each group in random order."""
        order = generator.permutation(np.arange(len(self.group), dtype=np.int32))
        return Members(order[stable_argsort(self.group[order])], self.sizes)


@dataclass(frozen=True, eq=False)
class Members:
    """The images of several groups: those of group i are `images[starts[i]:starts[i] + sizes[i]]`."""

    images: np.ndarray  # [num_images]
    sizes: np.ndarray  # [num_groups]

    @property
    def starts(self) -> np.ndarray:
        """Return the place in `images` of the first image of each group."""
        starts: np.ndarray = np.cumsum(self.sizes) - self.sizes
        return starts

    def at(self, groups: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Return the images at `places` of `groups`; after the last image of a group comes its first again."""
        images: np.ndarray = self.images[self.starts[groups] + places % self.sizes[groups]]
        return images

    def with_copies(self, num_copies: np.ndarray, generator: np.random.Generator) -> Members:
        """Append `num_copies[i]` copies of group i, each in a random order, as groups of their own."""
        sizes = np.repeat(self.sizes, num_copies)
        images = self.images[np.repeat(np.repeat(self.starts, num_copies), sizes) + numbered(sizes)]
        copies = Partition(np.repeat(np.arange(len(sizes)), sizes), sizes).shuffled(generator)
        return Members(np.concatenate([self.images, images[copies.images]]), np.concatenate([self.sizes, sizes]))


def stable_argsort(numbers: np.ndarray) -> np.ndarray:
    """Return the order that sorts integers >= 0, equal ones as they come.

    In time proportional to their number: numpy sorts 16 bits by counting, but more of them by comparisons.
    """
    order = np.argsort(numbers.astype(np.uint16), kind="stable")  # by the lowest 16 bits
    while numbers.dtype != np.uint16 and (numbers := numbers >> 16).any():
        order = order[np.argsort(numbers[order].astype(np.uint16), kind="stable")]
    return order


def numbered(counts: np.ndarray) -> np.ndarray:
    """Return 0, 1, ..., count - 1 for each of `counts`, one after another."""
    numbers: np.ndarray = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers


def _unsigned(bound: int) -> type[np.unsignedinteger]:
    """Return the smaller type that holds the numbers below `bound`."""
    return np.uint16 if bound <= 2**16 else np.uint32
