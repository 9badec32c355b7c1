"""Tags of images: for each image a list of words, as DAFull has them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Tags:
    """The tags of image i are `names[ids[starts[i]:starts[i + 1]]]`, in the order in which the source lists them."""

    names: tuple[str, ...]  # in the order in which they are first seen
    starts: np.ndarray  # int64 [num_images + 1]
    ids: np.ndarray  # int32, places in `names`

    def of(self, index: int) -> list[str]:
        """The tags of image number `index`."""
        return [self.names[tag] for tag in self.ids[self.starts[index] : self.starts[index + 1]]]


def collect_tags(tags_of_images: Sequence[Sequence[str]]) -> Tags | None:
    """The tags of all images, in their order; None where no image has any."""
    ids: dict[str, int] = {}
    flat = [ids.setdefault(tag, len(ids)) for tags in tags_of_images for tag in tags]
    if not flat:
        return None
    starts = np.cumsum([0, *map(len, tags_of_images)], dtype=np.int64)
    return Tags(tuple(ids), starts, np.array(flat, dtype=np.int32))
