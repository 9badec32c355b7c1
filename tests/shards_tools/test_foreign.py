"""timm and open_clip read the shards unchanged."""

import gc
import io
import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards_tools import build as building
from shards_tools import writer
from shards_tools.build import build
from shards_tools.manifest import Manifest
from shards_tools.reader import read_image
from shards_tools.sources.lsasrd import scan

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("open_webdataset")]


@pytest.fixture
def shards(five_fold_tree, tmp_path, monkeypatch) -> Manifest:
    """105 images in several shards."""
    monkeypatch.setattr(writer, "MAX_SHARD_BYTES", 20_000)
    manifest = build(scan(five_fold_tree), tmp_path / "shards")
    assert len(manifest.shards) > 2
    return manifest


def samples_of(manifest: Manifest) -> Counter:
    """(pixels by PIL, work id) of every image, by the manifest."""
    images = [Image.open(io.BytesIO(read_image(manifest, index))).convert("RGB") for index in range(105)]
    return Counter((image.tobytes(), int(work)) for image, work in zip(images, manifest.work, strict=True))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the shards open
@pytest.mark.parametrize("num_workers", [1, 2])
def test_timm_reads_every_sample_once(shards, num_workers):
    pytest.importorskip("webdataset")
    reader_wds = pytest.importorskip("timm.data.readers.reader_wds")
    read: Counter = Counter()
    for worker in range(num_workers):
        reader = reader_wds.ReaderWds(str(shards.store.folder), split="all")
        reader.global_num_workers, reader.worker_id = num_workers, worker
        reader.num_workers = num_workers
        assert reader.num_samples == 105
        read += Counter((image.tobytes(), target) for image, target in reader)
    gc.collect()
    assert read == samples_of(shards)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_timm_trains_on_an_epoch_of_every_sample(shards):
    pytest.importorskip("webdataset")
    reader_wds = pytest.importorskip("timm.data.readers.reader_wds")
    reader = reader_wds.ReaderWds(str(shards.store.folder), split="all", is_training=True, batch_size=15)
    assert len(reader) == 105
    assert Counter((image.tobytes(), target) for image, target in reader) == samples_of(shards)
    gc.collect()


def test_timms_only_split_names_every_shard_and_its_length(shards):
    reader_wds = pytest.importorskip("timm.data.readers.reader_wds")
    info = json.loads((shards.store.folder / "_info.json").read_text())
    assert info["splits"].keys() == {"all"}, "a shard mixes the splits, so none is called train"
    split = reader_wds._parse_split_info("all", info)
    assert dict(zip(split.filenames, split.shard_lengths, strict=True)) == {
        s.name: s.num_samples for s in shards.shards
    }


def test_open_clip_counts_every_sample(shards):
    """open_clip is not installed; this restates the lines of its `get_dataset_size` (open_clip_train/data.py)."""
    shards_list = [str(file) for file in sorted(shards.store.folder.glob("*.tar"))]
    with open(os.path.join(os.path.dirname(shards_list[0]), "sizes.json")) as file:
        sizes = json.load(file)
    assert sum(int(sizes[os.path.basename(shard)]) for shard in shards_list) == 105
    assert [sizes[shard.name] for shard in shards.shards] == np.bincount(shards.shard).tolist()


def test_both_files_stand_before_the_manifest(five_fold_tree, tmp_path, monkeypatch):
    found: list[str] = []
    write = building.write_manifest

    def look_and_write(manifest: Manifest, folder: Path) -> None:
        found.extend(os.listdir(folder))
        write(manifest, folder)

    monkeypatch.setattr(building, "write_manifest", look_and_write)
    build(scan(five_fold_tree), tmp_path / "shards")
    assert {"_info.json", "sizes.json"} < set(found)
    assert "manifest.json" not in found
