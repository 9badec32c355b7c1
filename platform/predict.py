"""Ask a checkpoint about pictures: are two from the same work, what is nearest, or which class does each show?"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from platform.gallery import open_gallery
from shards_tools.command import Parser, positive_int, print_json, run, say
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.plugins import add_code_options, load_plugins
from trainables.pictures import find_pictures
from trainables.places import fetched, send
from trainables.prediction import Predictor, distances_of_pairs, nearest, top_classes
from trainables.verification import (
    ASKED,
    USUAL_RATE,
    VERIFICATION_NAME,
    Verification,
    measure,
    read_verification,
    write_verification,
)

SHOWN_RATES = (0.1, 0.01, 0.001, 0.0001)

EXAMPLE = """examples:
  python -m platform.predict CHECKPOINT --calibrate shards/lsasrd             once, for --pair
  python -m platform.predict CHECKPOINT --pair one.jpg other.jpg
  python -m platform.predict CHECKPOINT pictures/ --nearest shards/lsasrd --top 3
  python -m platform.predict CHECKPOINT face.png                              the classes it was trained on
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the answer, or one JSON object with --json."""
    options = parser().parse_args(arguments)
    refuse_what_does_not_go_together(options)
    load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    place = options.checkpoint
    answer: dict[str, Any] = {"checkpoint": place}
    with fetched(place, ASKED) as checkpoint:
        if options.calibrate:
            answer["verification"] = calibrate(checkpoint, options.calibrate)
            send(checkpoint, place, [VERIFICATION_NAME])
        if options.pair:
            known = thresholds(checkpoint, place)
            answer["pair"] = compare(checkpoint, known, options.pair, options.false_accept_rate)
        if options.pictures:
            answer["pictures"] = answers_about(checkpoint, options.pictures, options.nearest, options.top)
            show(answer["pictures"])
    if options.json:
        print_json(answer)


def parser() -> Parser:
    """The command line."""
    arguments = Parser(prog="python -m platform.predict", description=__doc__, epilog=EXAMPLE)
    add = arguments.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a folder that a training has written, or s3://, gs://")
    add("pictures", type=Path, nargs="*", metavar="PICTURE", help="JPEG or PNG files, or folders of them")
    add("--pair", type=Path, nargs=2, metavar=("A", "B"), help="are these two pictures from the same work?")
    add("--calibrate", metavar="SHARDS", help="measure the thresholds of --pair on the validation split, and keep them")
    add(
        "--false-accept-rate",
        type=fraction,
        default=USUAL_RATE,
        metavar="F",
        help=f"of pairs of different works, how many may pass for one; default: {USUAL_RATE}",
    )
    add("--nearest", metavar="GALLERY", help="shards, or a folder WORK/ROLE/IMAGE, CLASS/IMAGE or of images alone")
    add("--top", type=positive_int, default=5, metavar="K", help="how many are shown of each picture; default: 5")
    add_code_options(arguments)
    add("--json", action="store_true", help="print one JSON object as the last line of standard output")
    return arguments


def fraction(text: str) -> float:
    """The argument as a number between 0 and 1."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return number


def refuse_what_does_not_go_together(options: argparse.Namespace) -> None:
    """Error where nothing is asked, or two things at once."""
    if options.pair and options.pictures:
        raise Error(f"{options.pictures[0]}: --pair takes its two pictures alone. Ask about others without --pair.")
    if options.nearest and not options.pictures:
        raise Error(f"--nearest {options.nearest} needs pictures to look for. Name files or a folder of them.")
    if not (options.pair or options.pictures or options.calibrate):
        raise Error("There is nothing to predict. Name pictures, --pair A B or --calibrate SHARDS; see --help.")


def calibrate(checkpoint: Path, shards: str) -> dict[str, Any]:
    """Measure and keep the checkpoint's thresholds: what was measured, and the usual points of it."""
    found = measure(checkpoint, read_manifest(shards))
    write_verification(checkpoint, found)
    table = Table("false accepts %", "threshold", "false rejects %", title="When two pictures pass for one work")
    shown = [found.at_rate(rate) for rate in SHOWN_RATES if rate >= 1 / found.num_different]
    for point in shown:
        table.add_row(
            f"{100 * point.false_accept_rate:.3g}", f"{point.threshold:.4g}", f"{100 * point.false_reject_rate:.1f}"
        )
    Console(stderr=True).print(table)
    say(f"{found.num_same:,} pairs of one work, {found.num_different:,} of two; area under the curve {found.area:.3f}")
    if found.num_works_trained:
        say(f"{found.num_works_trained} of the {found.num_works} works were trained on: others will do worse.")
    return {**table_of(found), "points": [vars(point) for point in shown]}


def table_of(found: Verification) -> dict[str, Any]:
    """What was measured, without its points."""
    return {key: value for key, value in vars(found).items() if key != "points"}


def thresholds(checkpoint: Path, place: str) -> Verification:
    """What was measured of the checkpoint, which lies at `place`; Error where nothing was."""
    known = read_verification(checkpoint)
    if known is None:
        raise Error(
            f"{place} has no thresholds to compare pictures by. Measure them once on works or identities:"
            f" python -m platform.predict {place} --calibrate SHARDS."
        )
    return known


def compare(checkpoint: Path, known: Verification, pair: Sequence[Path], false_accept_rate: float) -> dict[str, Any]:
    """Whether two pictures pass for one work."""
    predictor, point = Predictor(checkpoint), known.at_rate(false_accept_rate)
    first, second = predictor.features(predictor.of_files(pair), 2)
    distance = float(distances_of_pairs(first[None], second[None])[0])
    same = distance < point.threshold
    say(
        f"{'The same work' if same else 'Different works'}: the pictures are {distance:.4g} apart, and below"
        f" {point.threshold:.4g} two pass for one work. So do {100 * point.false_accept_rate:.3g} % of the pairs of"
        f" different works, while {100 * point.false_reject_rate:.3g} % of the pairs of one work do not."
    )
    return {"pictures": [str(picture) for picture in pair], "distance": distance, "same_work": same, **vars(point)}


def answers_about(checkpoint: Path, places: Sequence[Path], gallery: str | None, top: int) -> list[dict[str, Any]]:
    """Return one entry per picture: its nearest in the gallery or, without a gallery, its likeliest classes."""
    predictor, files = Predictor(checkpoint), find_pictures(places)
    inputs = predictor.of_files(files)
    what = "classes" if gallery is None else "nearest"
    if gallery is None:
        ranked = top_classes(predictor.probabilities(inputs, len(files)), predictor.info.works, top)
        answers = [[{"class": name, "probability": chance} for name, chance in row] for row in ranked]
    else:
        known = open_gallery(gallery, predictor)
        features_GD = predictor.features(known.inputs, len(known.images))
        found = nearest(predictor.features(inputs, len(files)), features_GD, top)
        answers = [
            [{**known.entry(place), "distance": float(distance)} for place, distance in zip(*row, strict=True)]
            for row in zip(*found, strict=True)
        ]
    return [{"picture": str(file), what: row} for file, row in zip(files, answers, strict=True)]


def show(entries: Sequence[dict[str, Any]]) -> None:
    """Print a table with one line per answer, under the picture it is about."""
    answers = [entry.get("nearest") or entry["classes"] for entry in entries]
    table = Table("picture", *answers[0][0])
    for column in table.columns:
        column.overflow = "fold"
    for entry, row in zip(entries, answers, strict=True):
        for place, answer in enumerate(row):
            cells = [f"{value:.4g}" if isinstance(value, float) else value for value in answer.values()]
            table.add_row(entry["picture"] if place == 0 else "", *cells)
    Console(stderr=True).print(table)


if __name__ == "__main__":
    run(main)
