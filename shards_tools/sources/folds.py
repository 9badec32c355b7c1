"""Split an LSASRD tree of the plain layout into five folds by work."""

from dataclasses import replace

from shards_tools.errors import Error
from shards_tools.manifest import NUM_FOLDS
from shards_tools.sources.source import Source
from shards_tools.splits import TRAIN, draw_folds

MIN_WORKS = 2 * NUM_FOLDS["five-fold"]  # in a fold with one work there is nothing to distinguish it from


def cut_into_folds(source: Source, seed: int) -> Source:
    """Return the plain source with train, query and test merged and split into five random folds of whole works."""
    if source.name != "lsasrd":
        raise Error(f"--five-fold is only for lsasrd, but the source is {source.name}. Remove --five-fold.")
    if source.layout == "five-fold":
        raise Error("--five-fold is for a plain tree, but this tree already has five folds. Remove --five-fold.")
    if len(source.works) < MIN_WORKS:
        raise Error(
            f"--five-fold needs at least {MIN_WORKS} works, but there are {len(source.works)}. Remove --five-fold."
        )
    folds = dict(zip(source.works, draw_folds(len(source.works), NUM_FOLDS["five-fold"], seed).tolist(), strict=True))
    images = [replace(image, split_code=TRAIN, fold=folds[image.work]) for image in source.images]
    images.sort(key=lambda image: (image.fold, image.role))
    note = f"a plain tree was split into five folds by work, seed {seed}; the published folds differ"
    return replace(source, layout="five-fold", images=tuple(images), notes=(*source.notes, note))
