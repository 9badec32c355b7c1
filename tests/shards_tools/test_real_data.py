"""Builds of real trees, compared with counts from a plain walk over the folders."""

import os
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shards_tools.build import build
from shards_tools.cache import decoded
from shards_tools.decode import decode
from shards_tools.fits import resize
from shards_tools.manifest import Duplicates, Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.sources.lsasrd import scan
from shards_tools.verify import verify

REAL_DATA = os.environ.get("SAKUGA_REAL_DATA", "")
pytestmark = pytest.mark.skipif(not REAL_DATA, reason="SAKUGA_REAL_DATA names no folder with real images")


def walk(tree: Path) -> Counter[tuple[str, str, str]]:
    """Count the images of each (part, work, role)."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for folder, _, files in os.walk(tree):
        if files:
            part, work, role = Path(folder).relative_to(tree).parts
            counts[part, work, role] = len(files)
    return counts


def counts_of(manifest: Manifest, indices: np.ndarray) -> Counter[tuple[str, str]]:
    roles = [manifest.roles[role].split("/") for role in manifest.role[indices]]
    return Counter((work, role) for work, role in roles)


def test_avatars_are_built_with_val_cut_by_role(tmp_path):
    build(scan(Path(REAL_DATA) / "avatars"), tmp_path / "shards")
    manifest = verify(tmp_path / "shards", "deep")
    walked = walk(Path(REAL_DATA) / "avatars/ASRD")
    assert manifest.num_images == sum(walked.values()) == 4_480
    assert len(manifest.works) == 14
    assert manifest.duplicates == Duplicates()
    assert manifest.fingerprint.startswith("eaa6a5b9"), "studies on these images are known by it"
    assert len(manifest.roles) == 14 * 40
    split = manifest.split()
    for part, indices in (("query", split.test_query), ("test", split.test_gallery)):
        expected = Counter({(work, role): n for (p, work, role), n in walked.items() if p == part})
        assert counts_of(manifest, indices) == expected
    in_train = [counts_of(manifest, indices) for indices in (split.train, split.val_query, split.val_gallery)]
    expected = Counter({(work, role): n for (part, work, role), n in walked.items() if part == "train"})
    assert in_train[0] + in_train[1] + in_train[2] == expected
    assert [Counter(work for work, _ in counts) for counts in in_train] == [
        dict.fromkeys((f"JP{work:04d}" for work in range(1, 9)), roles) for roles in (24, 6, 10)
    ]


def test_omniglot_is_built_with_five_folds(tmp_path):
    with tarfile.open(Path(REAL_DATA) / "omniglot.tar") as tar:
        tar.extractall(tmp_path / "omniglot", filter="data")
    build(scan(tmp_path / "omniglot"), tmp_path / "shards")
    manifest = verify(tmp_path / "shards", "full")
    walked = walk(tmp_path / "omniglot/ASRDf")
    assert manifest.num_images == sum(walked.values()) == 19_280
    assert (manifest.layout, len(manifest.works), len(manifest.roles)) == ("five-fold", 30, 964)
    assert manifest.duplicates == Duplicates(num_copies=1)
    assert manifest.fingerprint.startswith("2caa572c"), "studies on these images are known by it"
    for fold in range(5):
        split = manifest.split(fold)
        queries: Counter[tuple[str, str]] = Counter()
        gallery: Counter[tuple[str, str]] = Counter()
        of_work: dict[str, list[str]] = {}
        for part, work, role in walked:
            if part == str(fold):
                of_work.setdefault(work, []).append(role)
        for work, roles in of_work.items():
            roles.sort(key=int)
            for place, role in enumerate(roles):
                half = queries if place < len(roles) * 2 // 5 else gallery
                half[work, role] = walked[str(fold), work, role]
        assert counts_of(manifest, split.val_query) == queries
        assert counts_of(manifest, split.val_gallery) == gallery
        trained = {key: n for key, n in walked.items() if key[0] != str(fold)}
        assert len(split.train) == sum(trained.values())


def test_real_pixels_in_the_cache_are_those_of_the_files(tmp_path):
    source = scan(Path(REAL_DATA) / "avatars")
    build(source, tmp_path / "shards")
    pixels = decoded(read_manifest(tmp_path / "shards"), 48, 48, tmp_path / "cache")
    for index in range(0, len(source.images), 97):
        path = source.images[index].path
        np.testing.assert_array_equal(pixels[index], resize(decode(path.read_bytes(), str(path)), 48, 48))
