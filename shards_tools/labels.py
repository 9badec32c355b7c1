"""Convert the labels of a source to columns: work id, role id, split, fold and tags of every image."""

from collections.abc import Sequence

import numpy as np

from shards_tools.manifest import Tags
from shards_tools.sources.source import Source
from shards_tools.splits import (
    MIN_ROLES_TO_DIVIDE,
    MIN_WORKS_TO_HOLD_OUT,
    TRAIN,
    VAL,
    VAL_QUERY,
    cut_classes,
    cut_identities,
    cut_val,
)

NEEDED_FOR_VAL = {  # in train, by layout
    "plain": f"works of at least {MIN_ROLES_TO_DIVIDE} roles, or {MIN_WORKS_TO_HOLD_OUT} works and at least 3 of them"
    " with two roles",
    "identities": "at least 3 identities with two images",
    "classes": "a class with at least 2 images, or 3 if test is taken from train too",
}


def roles_of(source: Source) -> tuple[str, ...]:
    """Return the role names, index = role id: sorted, or the works in their order if the data has no roles."""
    roles = {image.role for image in source.images}
    return source.works if roles == set(source.works) else tuple(sorted(roles))


def label_columns(source: Source, roles: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the label columns, with val (or val and test) taken from train if the source or the layout requires it.

    Args:
        roles: all role names, index = role id.

    Returns:
        The columns `work`, `role`, `split_code` and `fold` by name, in the order of the source's images.
    """
    work_ids = {name: number for number, name in enumerate(source.works)}
    role_ids = {name: number for number, name in enumerate(roles)}
    columns: dict[str, np.ndarray] = {
        "work": np.array([work_ids[image.work] for image in source.images], dtype=np.int32),
        "role": np.array([role_ids[image.role] for image in source.images], dtype=np.int32),
        "split_code": np.array([image.split_code for image in source.images], dtype=np.int8),
        "fold": np.array([image.fold for image in source.images], dtype=np.int8),
    }
    train = columns["split_code"] == TRAIN
    if source.cut:
        columns["split_code"][train] = cut_classes(columns["work"][train], source.cut)
    elif source.layout == "identities":
        columns["split_code"][train] = cut_identities(columns["work"][train])
    elif source.layout == "plain":
        in_train = [np.unique(columns["role"][train & (columns["work"] == work)]) for work in range(len(source.works))]
        for role, code in cut_val([roles for roles in in_train if len(roles)]).items():
            columns["split_code"][train & (columns["role"] == role)] = code
    return columns


def note_splits(source: Source, split_codes: np.ndarray) -> list[str]:
    """Return a note if the source has no train, or if val could not be taken from it.

    Args:
        split_codes: of every image, from `label_columns`.
    """
    if all(image.split_code != TRAIN for image in source.images):
        return ["the source has no train, so these shards are only for evaluation"]
    taken = VAL in source.cut if source.layout == "classes" else source.layout in NEEDED_FOR_VAL
    if not taken or np.isin(split_codes, (VAL, VAL_QUERY)).any():
        return []
    return [f"val could not be taken from train: this needs {NEEDED_FOR_VAL[source.layout]}"]


def collect_tags(tags_of_images: Sequence[Sequence[str]]) -> Tags | None:
    """Collect the tags of all images; return None if no image has any."""
    ids: dict[str, int] = {}
    flat = [ids.setdefault(tag, len(ids)) for tags in tags_of_images for tag in tags]
    if not flat:
        return None
    starts = np.cumsum([0, *map(len, tags_of_images)], dtype=np.int64)
    return Tags(tuple(ids), starts, np.array(flat, dtype=np.int32))
