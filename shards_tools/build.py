"""Build a folder of shards and its manifest from a scanned source."""

import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.assignment import BOX_BYTES_PER_PX, BOX_NOTE, make_shard
from shards_tools.conversion import ON_WHITE, Conversion
from shards_tools.duplicates import find_duplicates, find_leaks
from shards_tools.errors import Error
from shards_tools.folders import build_locked
from shards_tools.keys import Keys
from shards_tools.labels import collect_tags, label_columns, note_splits, roles_of
from shards_tools.manifest import TRAINED_ON, Manifest, Shard, fingerprint
from shards_tools.manifest_file import write_manifest
from shards_tools.parallel import in_processes, num_cpus
from shards_tools.picture_limits import MAX_PIXELS
from shards_tools.problems import BadPictures, Problem, write_report
from shards_tools.progress import progress
from shards_tools.rewriting import rewrite_changed
from shards_tools.selection import Selection, notes_on, select, unreadable
from shards_tools.sources.source import Source, SourceImage, problem_of
from shards_tools.stores.local import LocalStore
from shards_tools.writer import blocks_in_shards, write_indexes

log = logging.getLogger(__name__)

ON_ERROR = ("stop", "skip")
PLACE_TYPES = {"offset": "i8", "size": "i8", "sha256": "S64", "height": "i4", "width": "i4"}
IMAGES_PER_PROCESS = 2_000  # starting a process takes 0.2 s; in that time a running one writes half as many
PNG_GROWTH = {".webp": 8, ".avif": 6, ".gif": 1.4}  # bytes of the stored PNG per byte of the file, for drawn faces
LEFT_OVER = re.compile(r"shard-(\d{5,})\.(tar|json)")


@dataclass(frozen=True)
class BuildOptions:
    """What a build does about images that are broken, missing, on two sides or transparent."""

    on_error: str = "stop"  # one of ON_ERROR
    allow_duplicates: bool = False  # accept the same image in two folds, or in two of train, val and test
    drop_duplicates_from: str | None = None  # one of SPLITS: leave out its copies of such images
    conversion: Conversion = ON_WHITE


def build(source: Source, out: Path, options: BuildOptions = BuildOptions()) -> Manifest:
    """Write the source's images as shards into the new folder `out`.

    Every image is decoded once, so that broken ones are reported now and not in the middle of a search. The bytes of a
    JPEG or PNG are stored unchanged unless it has a box or the conversion changes its pixels.

    Images that are broken, missing or on two sides are listed in `report_of(out)`. After the Error about them, a build
    with other options reuses the shards; after any other Error nothing is left in `out`. A build that was killed or
    interrupted resumes when it is started again.

    Raises:
        BadPictures: the source has such images, and the options do not say what to do about them.
        Error: the source or `out` cannot be used.
    """
    made: list[tuple[Manifest, Sequence[Problem]]] = []
    report = report_of(out)

    def fill(room: Path, lock: int) -> None:
        made.append(write_shards(source, room, options, held=(lock,)))

    try:
        build_locked(out, fill, resumed=True)
    except BadPictures as found:
        write_report(found.problems, report)
        raise BadPictures(found.problems, report) from None
    manifest, problems = made[0]
    if problems:
        write_report(problems, report)
    else:
        report.unlink(missing_ok=True)
    return replace(manifest, store=LocalStore(Path(out)))


def report_of(out: Path) -> Path:
    """Return the CSV file, next to the shards, that lists the images that a build left out or stopped at."""
    absolute = Path(os.path.abspath(out))
    return absolute.with_name(f"{absolute.name}-problems.csv")


def write_shards(
    source: Source, folder: Path, options: BuildOptions = BuildOptions(), *, held: Sequence[int] = ()
) -> tuple[Manifest, Sequence[Problem]]:
    """Write the shards and the manifest of the source into `folder`.

    Args:
        source: as scanned.
        folder: an empty folder, or one that an unfinished call left.
        options: what to do about images that cannot be used.
        held: file descriptors that the worker processes keep open, such as the folder's lock.

    Returns:
        The manifest, and the images that were left out.

    Raises:
        BadPictures: as `build` does.
    """
    _refuse_contradictions(source, options)
    missing, sizes, times = unreadable(source)
    there = select(source, missing)
    columns = label_columns(there.source, roles_of(there.source))
    written = _write_images(there.source.images, columns, sizes[there.kept], times[there.kept], folder, options, held)
    selected = _select(there, columns["sha256"], written.broken, options)
    labels = label_columns(selected.source, roles_of(selected.source))
    keys = [image.key for image in selected.source.images]
    places = {name: columns[name][selected.kept] for name in ("shard", *PLACE_TYPES)}
    works = columns["work"][selected.kept], labels["work"]
    shards, places = rewrite_changed(written.shards, places, works, keys, folder, held)
    problems = (*there.problems, *selected.problems)
    manifest = _manifest_of(selected.source, folder, shards, {**labels, **places}, options.conversion, problems)
    write_indexes(shards, folder)
    write_manifest(manifest, folder)
    for record in folder.glob("shard-*.json"):
        record.unlink()
    return manifest, problems


def _manifest_of(
    source: Source,
    folder: Path,
    shards: Sequence[Shard],
    columns: dict[str, np.ndarray],
    conversion: Conversion,
    left_out: Sequence[Problem],
) -> Manifest:
    roles = roles_of(source)
    tags = collect_tags([image.tags for image in source.images])
    pairs = np.array(source.pairs, dtype=np.int64).reshape(-1, 2)
    box_notes = [BOX_NOTE] if any(image.box for image in source.images) else []
    return Manifest(
        store=LocalStore(folder),
        source=source.name,
        layout=source.layout,
        works=source.works,
        roles=roles,
        shards=tuple(shards),
        keys=Keys.of([image.key for image in source.images]),
        fingerprint=fingerprint(source.works, roles, columns, tags, pairs),
        duplicates=find_duplicates(source.images, columns["sha256"]),
        notes=(*source.notes, *note_splits(source, columns["split_code"]), *box_notes, *notes_on(left_out)),
        tags=tags,
        pairs=pairs,
        test_fold=None,  # a search may change these two
        trained_on=TRAINED_ON,
        conversion=conversion,
        **columns,
    )


def _refuse_contradictions(source: Source, options: BuildOptions) -> None:
    if options.drop_duplicates_from and options.allow_duplicates:
        raise Error("--allow-duplicates keeps what --drop-duplicates-from leaves out. Remove one of the two options.")
    if options.drop_duplicates_from and source.layout == "five-fold":
        raise Error(
            f"--drop-duplicates-from {options.drop_duplicates_from} names a split, but this source has five folds."
            " Use --on-error skip, which keeps the copy in the lowest fold."
        )


def _select(there: Selection, sha256: np.ndarray, broken: Mapping[int, Problem], options: BuildOptions) -> Selection:
    """Return the images that the manifest lists."""
    source = replace(there.source, missing=())  # `there` has them already
    intact = np.array([index for index in range(len(source.images)) if index not in broken], np.int64)
    images = [source.images[index] for index in intact.tolist()]
    dropped: dict[int, Problem] = {}
    leaking: dict[int, Problem] = {}
    if not options.allow_duplicates:
        found = find_leaks(images, sha256[intact], options.drop_duplicates_from)
        dropped, leaking = ({int(intact[place]): problem for place, problem in part.items()} for part in found)
    left_out = {**broken, **dropped, **leaking}
    if options.on_error == "stop" and (there.problems or broken or leaking):
        raise BadPictures((*there.problems, *(left_out[index] for index in sorted(left_out))))
    return select(source, left_out)


@dataclass(frozen=True)
class _Written:
    shards: list[Shard]
    broken: dict[int, Problem]  # by the image's index


def _write_images(
    images: Sequence[SourceImage],
    columns: dict[str, np.ndarray],
    sizes: np.ndarray,
    times: np.ndarray,
    folder: Path,
    options: BuildOptions,
    held: Sequence[int],
) -> _Written:
    """Write every image into its shard and add the columns of its position, checksum and size.

    The shard of each image is decided before the first byte is written, so it does not depend on the number of
    processes, nor on what is done about broken images.
    """
    group = columns["role"].astype(np.int64) * 256 + columns["split_code"]
    members = list(blocks_in_shards(group, _expected_bytes(images, sizes)))
    _clear_strangers(folder, len(members))
    columns["shard"] = np.empty(len(images), dtype=np.int32)
    columns.update({name: np.empty(len(images), dtype=kind) for name, kind in PLACE_TYPES.items()})
    shards: dict[int, Shard] = {}
    broken: dict[int, Problem] = {}
    num_processes = max(1, min(num_cpus(), len(members), len(images) // IMAGES_PER_PROCESS))
    jobs = _jobs(images, columns["work"], sizes, times, members, folder, options.conversion)
    num_taken_over = 0
    with (
        progress("building", len(images)) as advance,
        closing(in_processes(make_shard, jobs, num_processes, held)) as done,
    ):
        for number, made in done:
            shards[number] = Shard(**made["shard"])
            columns["shard"][members[number]] = number
            for name, values in zip(PLACE_TYPES, zip(*made["places"], strict=True), strict=True):
                columns[name][members[number]] = values
            for place, reason in made["broken"]:
                index = int(members[number][place])
                broken[index] = problem_of(images[index], "broken", reason)
            num_taken_over += made["taken_over"]
            advance(len(members[number]))
    if num_taken_over:
        log.info("reused %s of %s shards from an unfinished build", f"{num_taken_over:,}", f"{len(members):,}")
    return _Written([shards[number] for number in range(len(members))], broken)


def _expected_bytes(images: Sequence[SourceImage], sizes: np.ndarray) -> np.ndarray:
    """Return the bytes of each image in its shard: the file's size, or an estimate from its suffix or its box."""
    sizes = sizes.copy()
    for index, image in enumerate(images):
        if image.box is None:
            sizes[index] *= PNG_GROWTH.get(image.path.suffix.lower(), 1)
        else:
            left, top, right, bottom = image.box
            area = min(max(1, (right - left) * (bottom - top)), MAX_PIXELS)
            sizes[index] = math.ceil(area * BOX_BYTES_PER_PX)
    return sizes


def _jobs(
    images: Sequence[SourceImage],
    work: np.ndarray,
    sizes: np.ndarray,
    times: np.ndarray,
    members: Sequence[np.ndarray],
    folder: Path,
    conversion: Conversion,
) -> Iterator[dict[str, Any]]:
    """Yield the jobs of `make_shard` lazily: all of them together would be larger than the manifest."""
    for number, indices in enumerate(members):
        labels, num_bytes, changed = (column[indices].tolist() for column in (work, sizes, times))
        rows = [
            (os.path.abspath(images[index].path), images[index].key, *known, images[index].box)
            for index, *known in zip(indices.tolist(), labels, num_bytes, changed, strict=True)
        ]
        yield {"path": str(folder / f"shard-{number:05d}.tar"), "rows": rows, "conversion": asdict(conversion)}


def _clear_strangers(folder: Path, num_shards: int) -> None:
    """Remove every entry that an unfinished call cannot have left as one of these shards."""
    for entry in folder.iterdir():
        named = LEFT_OVER.fullmatch(entry.name)
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif named is None or int(named[1]) >= num_shards or entry.is_symlink():
            entry.unlink()
