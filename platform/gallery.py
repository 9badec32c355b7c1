"""The gallery that pictures are compared with: features of the images of shards, or of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.manifest_file import JSON_NAME, read_manifest
from shards_tools.sources.split_names import split_of
from trainables.data.pictures import find_pictures
from trainables.inference.prediction import Predictor
from trainables.metrics.cross_role import Floats


@dataclass(frozen=True)
class Gallery:
    """Images with their features and names, and with their works and roles if these are known."""

    features_GD: Floats
    images: Sequence[str]
    works: Sequence[str | None]
    roles: Sequence[str | None]

    def entry(self, place: int) -> dict[str, str | None]:
        """Return the name, the work and the role of one image, without the fields that are unknown."""
        known = {"image": self.images[place], "work": self.works[place], "role": self.roles[place]}
        return {key: value for key, value in known.items() if key == "image" or value is not None}


def open_gallery(address: str, predictor: Predictor) -> Gallery:
    """Open shards, or a folder with WORK/ROLE/IMAGE, CLASS/IMAGE or only images.

    Raises:
        Error: the address cannot be read, or an image is nested too deep.
    """
    folder = Path(address)
    if "://" in address or (folder / JSON_NAME).is_file():
        return _of_shards(address, predictor)
    files, _ = find_pictures([folder])
    parts = [file.relative_to(folder).parts[:-1] for file in files]
    deep = [file for file, names in zip(files, parts, strict=True) if len(names) > 2]
    if deep:
        raise Error(f"{deep[0]} is nested deeper than WORK/ROLE/IMAGE in {folder}. Name a folder further down.")
    if split := next((name for names in parts for name in names if split_of(name)), None):
        raise Error(f"{folder} holds the split {split}, which is not a work or class. Name a folder further down.")
    works = [names[0] if names else None for names in parts]
    roles = ["/".join(names) if len(names) == 2 else None for names in parts]
    inputs = predictor.of_files(files)
    features_GD = predictor.features(inputs, len(files))
    read = [place for place in range(len(files)) if place not in inputs.errors]
    if not read:
        raise Error(inputs.errors[0])
    if inputs.errors:
        say(f"left out {len(inputs.errors):,} pictures of the gallery: {inputs.errors[min(inputs.errors)]}")
    names = [str(files[place]) for place in read]
    return Gallery(features_GD[read], names, [works[place] for place in read], [roles[place] for place in read])


def _of_shards(address: str, predictor: Predictor) -> Gallery:
    manifest = read_manifest(address)
    works = [manifest.works[work] for work in manifest.work]
    roles = [manifest.roles[role] if manifest.has_roles else None for role in manifest.role]
    features_GD = predictor.features(predictor.of_shards(manifest), manifest.num_images)
    return Gallery(features_GD, manifest.keys.tolist(), works, roles)
