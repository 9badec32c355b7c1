"""Rewrite the shards of a build that hold images which its manifest does not list, or other labels than it."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.assignment import rewrite_shard
from shards_tools.manifest import Shard
from shards_tools.parallel import in_processes, num_cpus
from shards_tools.progress import progress

Columns = dict[str, np.ndarray]


def rewrite_changed(
    shards: Sequence[Shard],
    places: Columns,
    works: tuple[np.ndarray, np.ndarray],
    keys: Sequence[str],
    folder: Path,
    held: Sequence[int] = (),
) -> tuple[list[Shard], Columns]:
    """Make the shards hold the images of the manifest and no others; images are copied, not decoded again.

    Args:
        shards: as written; image i is in number `places["shard"][i]`. An empty one is removed.
        places: the columns of the manifest's images that depend on the shards, among them `shard`, `offset`, `size`.
        works: the work id of each image as written in the shards, and in the manifest.
        keys: of the images.
        folder: of the shards.
        held: file descriptors that the worker processes keep open.

    Returns:
        The shards and the columns of the manifest.
    """
    order = np.lexsort((places["offset"], places["shard"]))
    members = np.split(order, np.searchsorted(places["shard"][order], np.arange(1, len(shards))))
    written, labels = works
    stale = [
        number
        for number, own in enumerate(members)
        if len(own) and (len(own) < shards[number].num_samples or (written[own] != labels[own]).any())
    ]
    columns, made = {**places, "offset": places["offset"].copy()}, dict(enumerate(shards))
    jobs = _jobs(stale, members, shards, places, labels, keys, folder)
    with (
        progress("rewriting", sum(len(members[number]) for number in stale)) as advance,
        closing(in_processes(rewrite_shard, jobs, max(1, min(num_cpus(), len(stale))), held)) as done,
    ):
        for place, rewritten in done:
            number = stale[place]
            made[number] = Shard(**rewritten["shard"])
            columns["offset"][members[number]] = rewritten["offsets"]
            advance(len(members[number]))
    for number, own in enumerate(members):
        if not len(own):
            (folder / made.pop(number).name).unlink()
    columns["shard"] = np.searchsorted(list(made), places["shard"]).astype(np.int32)
    return list(made.values()), columns


def _jobs(
    stale: Sequence[int],
    members: Sequence[np.ndarray],
    shards: Sequence[Shard],
    places: Columns,
    labels: np.ndarray,
    keys: Sequence[str],
    folder: Path,
) -> Iterator[dict[str, Any]]:
    for number in stale:
        columns = (labels[members[number]], places["offset"][members[number]], places["size"][members[number]])
        rows = zip(members[number].tolist(), *(column.tolist() for column in columns), strict=True)
        yield {"path": str(folder / shards[number].name), "rows": [(keys[index], *known) for index, *known in rows]}
