"""The distance thresholds of a checkpoint below which two images count as same-work, measured on a split.

They are saved in the checkpoint as `verification.json`.
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from pathlib import Path

import numpy as np

from shards_tools.errors import Error
from shards_tools.folders import write_durably
from shards_tools.manifest import DISTRACTOR, Manifest
from shards_tools.records import parse_object, record
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import extract_features
from trainables.evaluation.evaluation import Evaluation
from trainables.metrics.verification import PairCounts, Point, count_pairs
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import EVALUATED, CheckpointInfo, refuse_trained_split

VERIFICATION_NAME = "verification.json"
ASKED = (*EVALUATED, VERIFICATION_NAME)  # the files of a checkpoint that predictions need
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The content of `verification.json`."""

    data: str  # fingerprint
    fold: int
    split: str
    num_images: int
    num_works: int
    num_works_trained: int  # of these; if not 0, rates on unseen works will be worse
    num_same: int  # pairs of one work, in two roles if there are roles
    num_different: int
    area: float  # under the ROC curve
    points: tuple[Point, ...]  # from the lowest threshold to the highest

    def __post_init__(self) -> None:
        numbers = [number for point in self.points for number in vars(point).values()]
        if self.num_same < 1 or self.num_different < 1 or not numbers or not all(map(math.isfinite, numbers)):
            raise ValueError("a number of pairs or a rate is not possible")

    def at_rate(self, false_accept_rate: float) -> Point:
        """Return the highest measured threshold whose false accept rate is at most this.

        Raises:
            Error: the rate is too low for the number of pairs, or not below 1.
        """
        fitting = [point for point in self.points if point.false_accept_rate <= false_accept_rate]
        least = max(1 / self.num_different, self.points[0].false_accept_rate)
        if not (least <= false_accept_rate < 1):
            raise Error(
                f"A false accept rate of {false_accept_rate:g} cannot be told from {self.num_different:,} pairs of"
                f" different works. Use a rate of at least {_rounded_up(least):g} and below 1."
            )
        return fitting[-1]


def count_split(
    checkpoint: Path, manifest: Manifest, *, split: str = "val", fold: int | None = None
) -> tuple[PairCounts, Evaluation, CheckpointInfo]:
    """Count all pairs of a split's images by a checkpoint's features.

    Args:
        fold: None: the fold that the checkpoint was validated on.

    Returns:
        The counts, the split, and the content of `checkpoint.json`.

    Raises:
        Error: the split has no pairs.
    """
    device = Device()
    model, info = load_model(checkpoint, device.torch_device)
    evaluation = Evaluation(manifest, split, info.fold if fold is None else fold)
    refuse_trained_split(info, evaluation)
    _refuse_what_has_no_pairs(evaluation)
    images = labeled_images(evaluation)
    inputs = evaluation_inputs(info.recipe, manifest, info.vocabulary, "auto", threads=info.num_threads)
    features_ND = extract_features(model, inputs, images, device).cpu().numpy()
    # identities have no roles: every pair of theirs counts
    roles = manifest.role[images] if manifest.layout != "identities" else np.arange(len(images))
    return count_pairs(features_ND, manifest.work[images], roles), evaluation, info


def measure(checkpoint: Path, manifest: Manifest, *, split: str = "val", fold: int | None = None) -> Verification:
    """Measure the thresholds of a checkpoint on a split.

    Args:
        fold: None: the fold that the checkpoint was validated on.

    Raises:
        Error: the split has no pairs.
    """
    counts, evaluation, info = count_split(checkpoint, manifest, split=split, fold=fold)
    images = labeled_images(evaluation)
    works = {manifest.works[work] for work in np.unique(manifest.work[images])}
    return Verification(
        data=manifest.fingerprint,
        fold=evaluation.fold,
        split=split,
        num_images=len(images),
        num_works=len(works),
        num_works_trained=len(works & set(info.works)),
        num_same=counts.num_same,
        num_different=counts.num_different,
        area=counts.area,
        points=counts.curve(),
    )


def write_verification(checkpoint: Path, verification: Verification) -> None:
    """Save the thresholds in the checkpoint.

    Raises:
        Error: the checkpoint's folder cannot be written.
    """
    text = json.dumps({"format": FORMAT, **dataclasses.asdict(verification)}, indent=1) + "\n"
    try:
        write_durably(checkpoint / VERIFICATION_NAME, text.encode())
    except OSError as failure:
        raise Error(
            f"{checkpoint / VERIFICATION_NAME} cannot be written ({failure.strerror}). Copy the checkpoint to a"
            " writable folder."
        ) from failure


def read_verification(checkpoint: Path) -> Verification | None:
    """Return the thresholds of a checkpoint, or None if they were not measured.

    Raises:
        Error: the file is damaged.
    """
    file = checkpoint / VERIFICATION_NAME
    if not file.is_file():
        return None
    try:
        values = parse_object(file.read_bytes())
        if values.pop("format", None) != FORMAT:
            raise ValueError("it has another format")
        return record(Verification, values)
    except ValueError as failure:
        raise Error(
            f"{file} is damaged ({failure}). Delete it, and measure again with --calibrate SHARDS."
        ) from failure


def labeled_images(evaluation: Evaluation) -> np.ndarray:
    """Return the images of the split without distractors, of which nobody knows which are of one work."""
    manifest, images = evaluation.manifest, evaluation.images
    if DISTRACTOR not in manifest.works:
        return images
    labeled: np.ndarray = images[manifest.work[images] != manifest.works.index(DISTRACTOR)]
    return labeled


def _rounded_up(rate: float) -> float:
    """Return two digits of a rate; a user who copies them is not refused again."""
    return float(Context(prec=2, rounding=ROUND_CEILING).create_decimal(str(rate)))


def _refuse_what_has_no_pairs(evaluation: Evaluation) -> None:
    manifest, split = evaluation.manifest, evaluation.split
    if not evaluation.ranks:
        raise Error(
            f"{manifest.store} holds classes, but thresholds for pairs are measured on works or identities. Use"
            " `platform.predict CHECKPOINT PICTURE` to classify a picture."
        )
    works = manifest.work[labeled_images(evaluation)]
    evaluation.chance()  # raises Error if no image has a positive
    if len(np.unique(works)) < 2:
        raise Error(f"{manifest.store}: {split} has only one work. Build the shards with more works.")
