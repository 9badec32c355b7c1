"""The advice of errors about folds and test splits fits the data."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from platform.protocol import checked_folds, with_test_fold
from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.sources import SOURCES

Plant = Callable[..., Manifest]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """`plant(source, names)` builds shards of one small picture per path."""

    def write(source: str, names: list[str]) -> Manifest:
        for number, name in enumerate(names):
            (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 9, 99)).save(tmp_path / "source" / name)
        return build(SOURCES[source](tmp_path / "source"), tmp_path / "shards")

    return write


def test_five_folds_are_suggested_where_the_source_has_them(plant: Plant) -> None:
    works = plant("lsasrd", [f"train/a/{role}/a_{role}_0.png" for role in (1, 2, 3)])
    with pytest.raises(Error, match=r"--folds 2: .* has 1 fold. Leave the option out, or build with --five-fold"):
        checked_folds(2, works)


def test_other_data_are_only_told_to_leave_the_option_out(plant: Plant) -> None:
    classes = plant("folder", [f"train/{name}/{number}.png" for name in "ab" for number in range(3)])
    with pytest.raises(Error, match=r"has 1 fold\. Leave the option out\.$"):
        checked_folds(2, classes)
    with pytest.raises(
        Error, match=r"--finalists 3: .* has no test split\. Leave the option out, or build shards with"
    ):
        with_test_fold(classes, 3)


def test_identities_are_not_called_works(plant: Plant, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(8)]
    (tmp_path / "source").mkdir()
    for split, rows in (("train", "0 0 1 1 2 2"), ("query", "7"), ("gallery", "8")):
        listed = [names.pop() for _ in rows.split()]
        text = "".join(f"{name} {label}\n" for name, label in zip(listed, rows.split(), strict=True))
        (tmp_path / "source" / f"{split}.txt").write_text(text)
    manifest = plant("list", [f"{number}.png" for number in range(8)])
    with pytest.raises(Error, match="no test query has an image of its identity in the gallery") as mistake:
        with_test_fold(manifest, 3)
    assert "work" not in str(mistake.value).replace(str(tmp_path), "")
    assert "role" not in str(mistake.value).replace(str(tmp_path), "")
