"""Five folds by works, for an LSASRD tree that comes in the plain layout."""

from dataclasses import replace

from shards_tools.errors import Error
from shards_tools.manifest import NUM_FOLDS
from shards_tools.sources.source import Source
from shards_tools.splits import TRAIN, draw_folds

MIN_WORKS = 2 * NUM_FOLDS["five-fold"]  # a fold of one work has no other to tell it from


def cut_into_folds(source: Source, seed: int) -> Source:
    """The plain source with train, query and test together in five folds of whole works, drawn from the seed."""
    if source.name != "lsasrd":
        raise Error(f"--five-fold cuts the works of lsasrd; {source.name} has splits of its own. Leave the option out.")
    if source.layout == "five-fold":
        raise Error("--five-fold is for a plain tree, but this one has its five folds. Leave the option out.")
    if len(source.works) < MIN_WORKS:
        raise Error(f"--five-fold needs {MIN_WORKS} works or more, but there are {len(source.works)}. Leave it out.")
    folds = dict(zip(source.works, draw_folds(len(source.works), NUM_FOLDS["five-fold"], seed).tolist(), strict=True))
    images = [replace(image, split_code=TRAIN, fold=folds[image.work]) for image in source.images]
    images.sort(key=lambda image: (image.fold, image.role))
    note = f"five folds were cut from a plain tree by works, seed {seed}; published folds are others"
    return replace(source, layout="five-fold", images=tuple(images), notes=(*source.notes, note))
