"""Damaged manifests, columns and shards are rejected in one line or read correctly: no crash, hang or silent loss."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shards_tools.manifest import Manifest
from tests.shards_tools.fuzzing import answer, damage, draw_case, make_shards

CASES = sorted((Path(__file__).parent / "corpus").glob("*.json"))
NUM_DRAWN = 400


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The undamaged shards."""
    return make_shards(tmp_path_factory.mktemp("fuzz"))


@pytest.fixture
def copy(original: Manifest, tmp_path: Path) -> Iterator[Path]:
    """A copy of them to damage."""
    shutil.copytree(original.store.folder, tmp_path / "copy")
    yield tmp_path / "copy"
    shutil.rmtree(tmp_path / "copy")


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_a_kept_case_is_refused_or_read_as_it_was(file, copy, original):
    damage(copy, json.loads(file.read_text()))
    answer(copy, original)


def test_drawn_cases_are_refused_or_read_as_they_were(tmp_path, original):
    generator, refused = random.Random(1), 0
    for number in range(NUM_DRAWN):
        folder = tmp_path / str(number)
        shutil.copytree(original.store.folder, folder)
        damage(folder, draw_case(generator))
        refused += answer(folder, original) != "whole"
    assert refused > NUM_DRAWN / 2, "the damage does no harm"


def test_the_corpus_is_there():
    assert len(CASES) >= 20
