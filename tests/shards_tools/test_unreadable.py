"""Whatever keeps shards from being read is Unreadable: a search then waits for them instead of failing its trials."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shards_tools.errors import Unreadable
from shards_tools.manifest_file import COLUMNS_NAME, JSON_NAME, read_manifest
from shards_tools.reader import read_image


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def zeroed(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


@pytest.fixture
def copy(shards: Path, tmp_path: Path) -> Path:
    return shutil.copytree(shards, tmp_path / "shards")


@pytest.mark.parametrize("harm", [Path.unlink, truncated, zeroed])
def test_a_shard_that_is_harmed_after_it_was_opened_cannot_be_read(copy: Path, harm: Callable[[Path], None]) -> None:
    manifest = read_manifest(copy)
    harm(copy / manifest.shards[manifest.shard[0]].name)
    with pytest.raises(Unreadable, match=r"cannot be read|ends after|is damaged"):
        read_image(manifest, 0)


@pytest.mark.parametrize("harm", [Path.unlink, truncated])
@pytest.mark.parametrize("name", [JSON_NAME, COLUMNS_NAME, "*.tar"])
def test_a_set_with_a_harmed_file_cannot_be_opened(copy: Path, name: str, harm: Callable[[Path], None]) -> None:
    harm(min(copy.glob(name)))
    with pytest.raises(Unreadable, match=r"has no manifest|is missing|is damaged"):
        read_manifest(copy)
