"""The answers of a model, computed slowly from the rules."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from platform.evaluation import Asked
from trainables.device import Device


@dataclass(frozen=True)
class Ranked:
    """A query and its gallery without junk, from near to far, as places in the manifest."""

    query: int
    gallery: list[int]
    is_right: list[bool]

    @property
    def average_precision(self) -> float:
        """The mean precision at the right images."""
        places = [place for place, right in enumerate(self.is_right, 1) if right]
        return sum(count / place for count, place in enumerate(places, 1)) / len(places)


def ranked_by_hand(asked: Asked) -> Iterator[Ranked]:
    """One query after the other, those without a right image left out."""
    manifest, evaluation = asked.evaluation.manifest, asked.evaluation
    everything = [*evaluation.query.tolist(), *evaluation.gallery.tolist()]
    with torch.inference_mode():
        found = asked.model.embed(*asked.inputs.at(everything, Device("cpu"))).double()
    features = dict(zip(everything, found, strict=True))
    for query in evaluation.query.tolist():
        gallery = [image for image in evaluation.gallery.tolist() if manifest.role[image] != manifest.role[query]]
        gallery.sort(key=lambda image: float((features[query] - features[image]).square().sum()))
        is_right = [bool(manifest.work[image] == manifest.work[query]) for image in gallery]
        if any(is_right):
            yield Ranked(query, gallery, is_right)
