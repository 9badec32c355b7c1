"""A training resumes from its newest checkpoint whose files are intact."""

import shutil
from pathlib import Path

import pytest

from shards_tools.manifest import Manifest
from trainables.training.loop import train
from trainables.training.resume import newest_intact


@pytest.fixture
def two(small_recipe, manifest: Manifest, tmp_path: Path) -> list[str]:
    """The checkpoints of two epochs, the newest first."""
    saved: list[Path] = []

    def save(report, write) -> None:
        saved.append(tmp_path / f"epoch-{len(saved) + 1}")
        write(saved[-1])

    train(small_recipe(epochs=2), manifest, report=save)
    return [str(folder) for folder in reversed(saved)]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def zero(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def test_without_damage_it_is_the_newest(two: list[str]) -> None:
    with newest_intact(two) as (folder, notice):
        assert (str(folder), notice) == (two[0], "")
    with newest_intact([]) as (folder, notice):
        assert (folder, notice) == (None, "")


@pytest.mark.parametrize("damage", [cut, zero, Path.unlink])
@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "checkpoint.json"])
def test_a_damaged_one_is_passed_over_and_named(name: str, damage, two: list[str]) -> None:
    damage(Path(two[0]) / name)
    with newest_intact(two) as (folder, notice):
        assert str(folder) == two[1]
        assert notice == f"{two[0]} is damaged, so the trial resumes from an earlier checkpoint."
    damage(Path(two[1]) / name)
    with newest_intact(two) as (folder, notice):
        assert folder is None
        assert notice == f"{two[0]} is damaged, and so is the one before: the trial starts from its first epoch."


def test_one_that_is_gone_is_passed_over(two: list[str]) -> None:
    shutil.rmtree(two[0])
    with newest_intact(two) as (folder, _):
        assert str(folder) == two[1]
