"""Shards are complete or absent, equal for equal input, readable by webdataset, and match their manifest."""

import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from shards_tools import writer
from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from shards_tools.sources.lsasrd import scan


def bytes_of(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of at most 20 kB, so that a small tree fills several."""
    monkeypatch.setattr(writer, "MAX_SHARD_BYTES", 20_000)


@pytest.mark.parametrize("tree", ["plain_tree", "five_fold_tree"])
def test_the_same_input_gives_the_same_bytes(tree, request, tmp_path, small_shards):
    source = request.getfixturevalue(tree)
    moved = shutil.copytree(source, tmp_path / "elsewhere")
    for file in moved.rglob("*"):
        os.utime(file, (1, 1))
    first = build(scan(source), tmp_path / "first")
    second = build(scan(moved), tmp_path / "second")
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")
    assert len(first.shards) > 2
    assert first.fingerprint == second.fingerprint


def test_the_fingerprint_tells_other_images_and_other_labels(plain_tree, plain, tmp_path, make_picture):
    role = plain_tree / "ASRD/train/JP0001/0001"
    image = next(role.glob("*.jpg"))
    before = image.read_bytes()
    image.write_bytes(make_picture(999, "JPEG"))
    changed = build(scan(plain_tree), tmp_path / "changed")
    image.write_bytes(before)
    for file in role.iterdir():
        file.rename(role / file.name.replace("_0001_", "_0099_"))
    role.rename(role.parent / "0099")
    renamed = build(scan(plain_tree), tmp_path / "renamed")
    assert len({plain.fingerprint, changed.fingerprint, renamed.fingerprint}) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the shards open
def test_webdataset_reads_the_shards(plain_tree, tmp_path, small_shards, open_webdataset):
    wds = pytest.importorskip("webdataset")
    built = build(scan(plain_tree), tmp_path / "shards")
    urls = [str(tmp_path / "shards" / shard.name) for shard in built.shards]
    pipeline = wds.DataPipeline(wds.SimpleShardList(urls), wds.tarfile_to_samples())
    samples = {sample["__key__"]: sample for sample in pipeline}
    gc.collect()
    assert sorted(samples) == sorted(built.keys)
    for image in scan(plain_tree).images:
        sample = samples[image.key]
        assert sample[image.path.suffix[1:]] == image.path.read_bytes()
        assert built.works[int(sample["cls"])] == image.work


def test_the_manifest_is_true_to_the_tree_and_to_the_tars(five_fold_tree, tmp_path, small_shards):
    source = scan(five_fold_tree)
    build(source, tmp_path / "shards")
    manifest = read_manifest(tmp_path / "shards")
    assert manifest.works == tuple(sorted(manifest.works))
    assert manifest.roles == tuple(sorted(manifest.roles))
    members = {}
    for shard in manifest.shards:
        with tarfile.open(manifest.store.folder / shard.name) as tar:
            members |= {member.name.split(".")[0]: member for member in tar if not member.name.endswith(".cls")}
    for index, image in enumerate(source.images):
        data = read_image(manifest, index)
        assert data == image.path.read_bytes()
        assert manifest.sha256[index].decode() == hashlib.sha256(data).hexdigest()
        assert manifest.keys[index] == image.key
        assert manifest.works[manifest.work[index]] == image.work
        assert manifest.roles[manifest.role[index]] == image.role
        assert manifest.fold[index] == image.fold
        assert (manifest.height[index], manifest.width[index]) == (10, 12)
        member = members[image.key]
        assert (member.offset_data, member.size) == (manifest.offset[index], manifest.size[index])
        assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)


def test_images_of_a_role_stand_in_blocks_of_at_most_sixteen(plant, tmp_path):
    manifest = build(scan(plant({"train": {f"JP{n:04d}": (1, 2) for n in range(5)}}, 35)), tmp_path / "shards")
    in_tar = manifest.role[np.lexsort((manifest.offset, manifest.shard))]
    starts = np.flatnonzero(np.diff(in_tar, prepend=-1, append=-1))
    lengths = np.diff(starts)
    assert lengths.min() >= 3  # 35 = 16 + 16 + 3; adjacent blocks of one role may join
    assert len(starts) - 1 > 20
    assert (np.diff(in_tar) < 0).any(), "blocks are shuffled"


def test_shards_are_of_equal_shares_below_the_limit():
    size = np.random.default_rng(0).integers(5_000, 60_000, 20_000)
    group = np.repeat(np.arange(2_000), 10)
    shards = list(writer.blocks_in_shards(group, size))
    assert sorted(np.concatenate(shards).tolist()) == list(range(20_000))
    in_mb = np.array([size[shard].sum() / 2**20 for shard in shards])
    assert in_mb.min() > 32
    assert in_mb.max() < 65


def test_a_full_folder_is_not_built_into(plain_tree, plain, tmp_path):
    before = bytes_of(tmp_path / "shards")
    with pytest.raises(Error, match="shards exists and is not empty"):
        build(scan(plain_tree), tmp_path / "shards")
    assert bytes_of(tmp_path / "shards") == before


def test_a_killed_build_leaves_no_shards(plant, tmp_path):
    tree = plant({"train": {f"JP{n:04d}": range(40) for n in range(10)}}, 10)
    command = [sys.executable, "-m", "shards_tools", "build", "lsasrd", str(tree), "--out", str(tmp_path / "shards")]
    building = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob(".shards.building/*.tar")):
        assert building.poll() is None
        time.sleep(0.002)
    os.kill(building.pid, signal.SIGKILL)
    building.wait()
    assert not (tmp_path / "shards").exists()
    assert subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    assert read_manifest(tmp_path / "shards").num_images == 4_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards", "source"]
