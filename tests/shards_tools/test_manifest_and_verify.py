"""Each level of verify finds and names the damage that it promises to find."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards_tools import verify as verify_module
from shards_tools import writer
from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.manifest import COLUMN_TYPES, Duplicates, fingerprint
from shards_tools.manifest_file import read_manifest, write_manifest
from shards_tools.reader import read_image
from shards_tools.sources.lsasrd import scan
from shards_tools.verify import LEVELS, verify


def refused(folder: Path, level: str) -> str:
    with pytest.raises(Error) as mistake:
        verify(folder, level)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def edit(folder: Path, **entries: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def shard_of(folder: Path) -> Path:
    return next(folder.glob("*.tar"))


def test_what_was_built_is_read_back(plain):
    again = read_manifest(plain.store.folder)
    for name in ("keys", *COLUMN_TYPES):
        np.testing.assert_array_equal(getattr(again, name), getattr(plain, name))
    for name in ("source", "layout", "works", "roles", "shards", "fingerprint"):
        assert getattr(again, name) == getattr(plain, name)


@pytest.mark.parametrize("level", LEVELS)
def test_whole_shards_pass(plain, level):
    assert verify(plain.store.folder, level).num_images == 48


@pytest.mark.parametrize("level", LEVELS)
def test_shards_without_a_manifest_are_none(plain, level):
    (plain.store.folder / "manifest.json").unlink()
    assert "has no manifest.json" in refused(plain.store.folder, level)
    assert "python -m shards_tools build" in refused(plain.store.folder, level)
    assert "is not a folder" in refused(plain.store.folder / "nowhere", level)


@pytest.mark.parametrize("level", LEVELS)
def test_a_truncated_or_missing_shard_is_named(plain, level):
    shard = shard_of(plain.store.folder)
    shard.write_bytes(shard.read_bytes()[:-512])
    assert f"{shard} is damaged: it holds" in refused(plain.store.folder, level)
    shard.unlink()
    assert f"{shard} is missing" in refused(plain.store.folder, level)


@pytest.mark.parametrize("level", LEVELS)
def test_one_flipped_byte_of_the_columns_is_found(plain, level):
    path = plain.store.folder / "manifest.npz"
    flip(path, path.stat().st_size // 2)
    assert f"{path} is damaged" in refused(plain.store.folder, level)
    path.unlink()
    assert f"{path} is missing" in refused(plain.store.folder, level)


def test_one_flipped_byte_of_a_shard_is_found_by_full(plain):
    shard = shard_of(plain.store.folder)
    for place in (0, 700, shard.stat().st_size - 1):  # a header, an image, the end mark
        flip(shard, place)
        verify(plain.store.folder, "quick")
        assert f"{shard} is damaged: its checksum" in refused(plain.store.folder, "full")
        flip(shard, place)


def test_a_flipped_byte_of_an_image_is_found_when_it_is_read(plain):
    index = 17
    flip(shard_of(plain.store.folder), int(plain.offset[index]) + 40)
    with pytest.raises(Error, match=f"sample {plain.keys[index]} is wrong"):
        read_image(plain, index)


def test_deep_compares_sizes_with_the_pixels(plain):
    plain.height[5] += 1
    write_manifest(plain, plain.store.folder)
    verify(plain.store.folder, "full")
    assert f"Sample {plain.keys[5]} in" in refused(plain.store.folder, "deep")
    assert "has 12 x 10 px, but the manifest says 12 x 11" in refused(plain.store.folder, "deep")


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ({"schema": 99}, "has schema 99, but this version reads schema 1"),
        ({"works": ["A", "B", "C"]}, "its parts contradict each other"),
        ({"works": ["A"]}, "its parts contradict each other"),
        ({"works": 7}, "its parts contradict each other"),
        ({"layout": "round"}, "its parts contradict each other"),
        ({"num_images": 47}, "its parts contradict each other"),
        ({"fingerprint": "0" * 64}, "its parts contradict each other"),
        ({"shards": []}, "its parts contradict each other"),
        ({"duplicates": 7}, "its parts contradict each other"),
        ({"duplicates": {"copies": 7}}, "its parts contradict each other"),
        ({"columns": {}}, "its parts contradict each other"),
    ],
)
def test_a_changed_manifest_is_refused(plain, entries, complaint):
    edit(plain.store.folder, **entries)
    assert complaint in refused(plain.store.folder, "quick")


@pytest.mark.parametrize(
    ("column", "value"), [("offset", 10**6), ("offset", -1), ("size", 0), ("shard", 1), ("work", 3)]
)
def test_a_place_or_label_out_of_bounds_is_refused(plain, column, value):
    getattr(plain, column)[7] = value
    columns = {name: getattr(plain, name) for name in COLUMN_TYPES}
    damaged = replace(plain, fingerprint=fingerprint(plain.works, plain.roles, columns))
    write_manifest(damaged, plain.store.folder)
    assert "its parts contradict each other" in refused(plain.store.folder, "quick")


def test_a_manifest_of_before_duplicates_were_counted_is_read(plain):
    path = plain.store.folder / "manifest.json"
    head = json.loads(path.read_text())
    del head["duplicates"]
    path.write_text(json.dumps(head))
    assert read_manifest(plain.store.folder).duplicates == Duplicates()


def test_a_manifest_that_is_no_json_is_refused(plain):
    path = plain.store.folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert "it is not JSON" in refused(plain.store.folder, "quick")
    path.write_text("[]")
    assert "has schema None" in refused(plain.store.folder, "quick")


def test_a_shard_name_never_leads_out_of_the_folder(plain):
    shards = json.loads((plain.store.folder / "manifest.json").read_text())["shards"]
    edit(plain.store.folder, shards=[shards[0] | {"name": "../shard-00000.tar"}])
    assert "its parts contradict each other" in refused(plain.store.folder, "quick")


@pytest.mark.parametrize("column", ["work", "role", "split_code", "fold", "sha256"])
def test_the_fingerprint_covers_every_label_and_image(plain, column):
    columns = {name: getattr(plain, name).copy() for name in COLUMN_TYPES}
    assert fingerprint(plain.works, plain.roles, columns) == plain.fingerprint
    columns[column][3] = columns[column][-1] if column != "fold" else 2
    assert fingerprint(plain.works, plain.roles, columns) != plain.fingerprint


def test_deep_names_the_first_damage_in_the_order_of_the_shards(plant, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MAX_SHARD_BYTES", 20_000)
    monkeypatch.setattr(verify_module, "num_cpus", lambda: 4)
    manifest = build(scan(plant({"train": {f"JP{n:04d}": range(5) for n in range(4)}}, 5)), tmp_path / "shards")
    places = list(zip(manifest.shard.tolist(), manifest.offset.tolist(), strict=True))
    in_order = sorted(range(len(places)), key=places.__getitem__)
    first, second = in_order[10], in_order[60]
    for index in (first, second):
        manifest.height[index] += 1
    write_manifest(manifest, tmp_path / "shards")
    for _ in range(5):
        assert f"Sample {manifest.keys[first]} in" in refused(tmp_path / "shards", "deep")
