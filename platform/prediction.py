"""Answers questions about pictures with a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from platform.gallery import open_gallery
from platform.terminal.console import table_console
from shards_tools.command import command_line, say
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from trainables.data.pictures import find_pictures
from trainables.inference.prediction import Predictor, distances_of_pairs, nearest, top_classes
from trainables.inference.verification import (
    ASKED,
    VERIFICATION_NAME,
    Verification,
    measure,
    read_verification,
    write_verification,
)
from trainables.training.checkpoint_store import fetched, send

SHOWN_RATES = (0.1, 0.01, 0.001, 0.0001)


def answer(
    place: str,
    *,
    shards: str | None,
    pair: Sequence[Path] | None,
    false_accept_rate: float,
    pictures: Sequence[Path],
    gallery: str | None,
    top: int,
) -> dict[str, Any]:
    """Answer questions about pictures with a checkpoint.

    Args:
        place: the checkpoint's folder or address.
        shards: measure the thresholds for pairs on these, and store them with the checkpoint.
        pair: two pictures that may be from the same work.
        false_accept_rate: the fraction of pairs of different works that may be accepted as the same work.
        pictures: files or folders.
        gallery: where to search for the nearest pictures; None: answer with the checkpoint's own classes.
        top: answers per picture.

    Returns:
        The JSON of `platform.predict`: `checkpoint`, and the answers that were requested: `verification` (as
        `calibrate`), `pair` (as `compare`) and `pictures` (as `answers_about`).

    Raises:
        Error: a file cannot be read, or the checkpoint cannot answer.
    """
    found: dict[str, Any] = {"checkpoint": place}
    with fetched(place, ASKED) as checkpoint:
        if shards:
            found["verification"] = calibrate(checkpoint, shards)
            send(checkpoint, place, [VERIFICATION_NAME])
        if pair:
            found["pair"] = compare(checkpoint, thresholds(checkpoint, place), pair, false_accept_rate)
        if pictures:
            found["pictures"] = answers_about(checkpoint, pictures, gallery, top)
    return found


def calibrate(checkpoint: Path, shards: str) -> dict[str, Any]:
    """Measure, print and store the checkpoint's thresholds.

    Args:
        checkpoint: the checkpoint's folder.
        shards: the data; their validation split is used.

    Returns:
        The measurement as `table_of`, with `points`: the threshold and both error rates, as fractions, for each of
        SHOWN_RATES that enough pairs were measured for.
    """
    found = measure(checkpoint, read_manifest(shards))
    write_verification(checkpoint, found)
    table = Table("false accepts %", "threshold", "false rejects %", title="When two pictures count as the same work")
    shown = [found.at_rate(rate) for rate in SHOWN_RATES if rate >= 1 / found.num_different]
    for point in shown:
        table.add_row(
            f"{100 * point.false_accept_rate:.3g}", f"{point.threshold:.4g}", f"{100 * point.false_reject_rate:.1f}"
        )
    table_console().print(table)
    say(
        f"{found.num_same:,} pairs of the same work, {found.num_different:,} of different works; area under the curve"
        f" {found.area:.3f}"
    )
    if found.num_works_trained:
        say(
            f"{found.num_works_trained} of the {found.num_works} works were in the training set. Expect more errors on"
            " new works."
        )
    return {**table_of(found), "points": [vars(point) for point in shown]}


def table_of(found: Verification) -> dict[str, Any]:
    """Return the measurement without the points of its curve."""
    return {key: value for key, value in vars(found).items() if key != "points"}


def thresholds(checkpoint: Path, place: str) -> Verification:
    """Return the stored thresholds of a checkpoint.

    Args:
        checkpoint: the local folder of the checkpoint.
        place: the checkpoint as the user named it.

    Raises:
        Error: its thresholds have not been measured.
    """
    known = read_verification(checkpoint)
    if known is None:
        raise Error(
            f"{place} has no thresholds for comparing pictures. Measure them once on works or identities:"
            f" {command_line('platform.predict', place, '--calibrate', 'SHARDS')}"
        )
    return known


def compare(checkpoint: Path, known: Verification, pair: Sequence[Path], false_accept_rate: float) -> dict[str, Any]:
    """Compare two pictures, and print whether they are from the same work.

    Args:
        checkpoint: its local folder.
        known: the thresholds that were measured for the checkpoint.
        pair: two pictures.
        false_accept_rate: the fraction of pairs of different works that may be accepted as the same work.

    Returns:
        `pictures`, their `distance` (Euclidean, 0..2) and whether they are from the `same_work`; the `threshold` below
        which pairs are, and its measured `false_accept_rate` and `false_reject_rate`, as fractions.

    Raises:
        Error: a picture cannot be read, or too few pairs were measured for the rate.
    """
    predictor, point = Predictor(checkpoint), known.at_rate(false_accept_rate)
    inputs = predictor.of_files(pair)
    first, second = predictor.features(inputs, 2)
    if inputs.errors:
        raise Error(inputs.errors[min(inputs.errors)])
    distance = float(distances_of_pairs(first[None], second[None])[0])
    same = distance < point.threshold
    say(
        f"{'The same work' if same else 'Different works'}: distance {distance:.4g}, threshold {point.threshold:.4g}."
        f" This threshold accepts {100 * point.false_accept_rate:.3g} % of the pairs of different works and rejects"
        f" {100 * point.false_reject_rate:.3g} % of the pairs of the same work."
    )
    return {"pictures": [str(picture) for picture in pair], "distance": distance, "same_work": same, **vars(point)}


def answers_about(checkpoint: Path, places: Sequence[Path], gallery: str | None, top: int) -> list[dict[str, Any]]:
    """Find the nearest pictures of a gallery or, without a gallery, the likeliest classes.

    Args:
        checkpoint: its local folder.
        places: pictures, or folders of them.
        gallery: shards, or a folder of pictures; None: the checkpoint's own classes.
        top: answers per picture, best first; fewer if there are fewer images or classes.

    Returns:
        One entry per picture, in the order of `find_pictures`: `picture`, and `nearest` or `classes`, or `error` if the
        picture cannot be read. `nearest` lists `image`, `distance` (Euclidean, 0..2) and, if known, `work` and `role`.
        `classes` lists `class` and `probability`.

    Raises:
        Error: no picture or the gallery cannot be read, or the checkpoint cannot answer.
    """
    predictor, (files, others) = Predictor(checkpoint), find_pictures(places)
    if others:
        say(f"skipped {len(others):,} files that are not pictures, such as {others[0]}")
    inputs = predictor.of_files(files)
    what = "classes" if gallery is None else "nearest"
    if gallery is None:
        _, probabilities_NC = predictor.predict(inputs, len(files))
        ranked = top_classes(probabilities_NC, predictor.info.works, top)
        answers = [[{"class": name, "probability": chance} for name, chance in row] for row in ranked]
    else:
        known = open_gallery(gallery, predictor)
        found = nearest(predictor.features(inputs, len(files)), known.features_GD, top)
        answers = [
            [{**known.entry(place), "distance": float(distance)} for place, distance in zip(*row, strict=True)]
            for row in zip(*found, strict=True)
        ]
    if len(inputs.errors) == len(files):
        raise Error(inputs.errors[0])
    entries = [{"picture": str(file), what: row} for file, row in zip(files, answers, strict=True)]
    for place, message in inputs.errors.items():
        entries[place] = {"picture": str(files[place]), "error": message}
    return entries
