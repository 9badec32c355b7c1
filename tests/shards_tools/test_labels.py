"""Notes on splits that are missing, and could not be taken from train."""

from pathlib import Path

import numpy as np
import pytest

from shards_tools.labels import label_columns, note_splits, roles_of
from shards_tools.sources import Source, SourceImage
from shards_tools.splits import SPLIT_NAMES, TEST_GALLERY, TEST_QUERY, TRAIN, VAL


def source_of(layout: str, roles: list[str], code: int = TRAIN, cut: tuple[int, ...] = ()) -> Source:
    """Return a source with one image per role; a name without a slash is a work that has no roles."""
    images = [SourceImage(Path(f"{n}.jpg"), str(n), role.split("/")[0], role, code) for n, role in enumerate(roles)]
    return Source("folder", layout, tuple(dict.fromkeys(image.work for image in images)), tuple(images), cut=cut)


def notes(source: Source) -> str:
    codes = label_columns(source, roles_of(source))["split_code"]
    assert {SPLIT_NAMES[code] for code in np.unique(codes)} <= {"train", "test_query", "test_gallery", "test"}
    return "; ".join(note_splits(source, codes))


@pytest.mark.parametrize(
    ("source", "needed"),
    [
        (source_of("plain", ["a/1", "a/2", "b/1", "b/2"]), "works of at least 3 roles, or 20 works and at least 3"),
        (source_of("plain", [f"work{n:02d}/1" for n in range(30)]), "works of at least 3 roles, or 20 works and at"),
        (source_of("identities", ["1", "1", "2", "2"]), "at least 3 identities with two images"),
        (source_of("identities", ["1", "2", "3", "4"]), "at least 3 identities with two images"),
        (source_of("classes", ["a", "b"], cut=(VAL,)), "a class with at least 2 images"),
    ],
)
def test_a_val_that_cannot_be_taken_is_explained(source, needed):
    assert notes(source).startswith(f"val could not be taken from train: this needs {needed}")


@pytest.mark.parametrize("code", [TEST_QUERY, TEST_GALLERY])
def test_a_source_without_train_is_only_for_evaluation(code):
    source = source_of("plain", ["a/1", "a/2", "b/1"], code)
    assert notes(source) == "the source has no train, so these shards are only for evaluation"


@pytest.mark.parametrize(
    "source",
    [
        source_of("plain", ["a/1", "a/2", "a/3"]),
        source_of("identities", ["1", "1", "2", "2", "3", "3"]),
        source_of("classes", ["a", "a"], cut=(VAL,)),
        source_of("five-fold", ["a/1", "b/1"]),
    ],
)
def test_a_val_that_can_be_taken_needs_no_note(source):
    codes = label_columns(source, roles_of(source))["split_code"]
    assert note_splits(source, codes) == []
