"""Tags of images: a list of words per image, as in DAFull."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Tags:
    """The tags of image i are `names[ids[starts[i]:starts[i + 1]]]`, in the source's order."""

    names: tuple[str, ...]  # in the order of their first use
    starts: np.ndarray  # int64 [num_images + 1]
    ids: np.ndarray  # int32, indices into `names`

    def of(self, index: int) -> list[str]:
        """Return the tags of image number `index`."""
        return [self.names[tag] for tag in self.ids[self.starts[index] : self.starts[index + 1]]]


def collect_tags(tags_of_images: Sequence[Sequence[str]]) -> Tags | None:
    """Collect the tags of all images; return None if no image has any."""
    ids: dict[str, int] = {}
    flat = [ids.setdefault(tag, len(ids)) for tags in tags_of_images for tag in tags]
    if not flat:
        return None
    starts = np.cumsum([0, *map(len, tags_of_images)], dtype=np.int64)
    return Tags(tuple(ids), starts, np.array(flat, dtype=np.int32))
