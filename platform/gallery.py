"""The gallery that pictures are compared with: the images of shards, or of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards_tools.errors import Error
from shards_tools.manifest_file import JSON_NAME, read_manifest
from shards_tools.sources.split_names import split_of
from trainables.data.pictures import find_pictures
from trainables.data.reading import Inputs
from trainables.inference.prediction import Predictor


@dataclass(frozen=True)
class Gallery:
    """Images with their names, and with their works and roles if these are known."""

    inputs: Inputs
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
    files = find_pictures([folder])
    parts = [file.relative_to(folder).parts[:-1] for file in files]
    deep = [file for file, names in zip(files, parts, strict=True) if len(names) > 2]
    if deep:
        raise Error(f"{deep[0]} is nested deeper than WORK/ROLE/IMAGE in {folder}. Name a folder further down.")
    if split := next((name for names in parts for name in names if split_of(name)), None):
        raise Error(f"{folder} holds the split {split}, which is no work or class. Name a folder further down.")
    works = [names[0] if names else None for names in parts]
    roles = ["/".join(names) if len(names) == 2 else None for names in parts]
    return Gallery(predictor.of_files(files), [str(file) for file in files], works, roles)


def _of_shards(address: str, predictor: Predictor) -> Gallery:
    manifest = read_manifest(address)
    has_roles = manifest.layout in ("plain", "five-fold")
    works = [manifest.works[work] for work in manifest.work]
    roles = [manifest.roles[role] if has_roles else None for role in manifest.role]
    return Gallery(predictor.of_shards(manifest), np.asarray(manifest.keys).tolist(), works, roles)
