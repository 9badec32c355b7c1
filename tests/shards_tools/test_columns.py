"""Large manifests are mapped into memory: the same images, checks and errors as with small ones."""

import hashlib
import io
import json
import pickle  # noqa: TID251 - read back is only what this test wrote
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from shards_tools import columns as columns_module
from shards_tools import manifest_file
from shards_tools.columns import parts
from shards_tools.errors import Error
from shards_tools.images import open_images
from shards_tools.manifest import COLUMN_TYPES, Manifest, Tags, fingerprint
from shards_tools.manifest_file import read_manifest, write_manifest
from tests.shards_tools.test_hostile_manifests import rewrite

SAVES = {"np.savez": np.savez, "np.savez_compressed": np.savez_compressed}


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is large enough to be mapped, and checked in parts of seven images."""
    monkeypatch.setattr(columns_module, "MAPPED_BYTES", 0)
    monkeypatch.setattr(columns_module, "PART", 7)


def is_mapped(folder: Path) -> bool:
    return str(folder / "manifest.npz") in Path("/proc/self/maps").read_text()


def replace_columns(folder: Path, content: bytes) -> None:
    """Write other columns, with their checksum."""
    (folder / "manifest.npz").write_bytes(content)
    head = json.loads((folder / "manifest.json").read_text())
    head["columns"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(head))


def assert_equal(found: Manifest, expected: Manifest) -> None:
    assert found.keys.tolist() == expected.keys.tolist()
    for name in COLUMN_TYPES:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.fingerprint == expected.fingerprint


def with_tags_and_pairs(manifest: Manifest) -> Manifest:
    starts = np.minimum(np.arange(manifest.num_images + 1), 20)
    tags = Tags(("red", "bläu"), starts, (np.arange(20) % 2).astype(np.int32))
    pairs = np.array([[0, 1], [5, 2]] * 8)
    columns = {name: getattr(manifest, name) for name in COLUMN_TYPES}
    digest = fingerprint(manifest.works, manifest.roles, columns, tags, pairs)
    return replace(manifest, tags=tags, pairs=pairs, fingerprint=digest)


@pytest.mark.usefixtures("mapped")
def test_a_mapped_manifest_equals_the_one_that_was_written(plain: Manifest) -> None:
    whole = with_tags_and_pairs(plain)
    write_manifest(whole, plain.store.folder)
    again = read_manifest(plain.store.folder)
    assert is_mapped(plain.store.folder)
    assert_equal(again, whole)
    assert [again.tags.of(index) for index in range(48)] == [whole.tags.of(index) for index in range(48)]
    np.testing.assert_array_equal(again.pairs, whole.pairs)


def test_a_small_file_is_read_and_not_mapped(plain: Manifest) -> None:
    manifest = read_manifest(plain.store.folder)
    assert manifest.num_images == 48
    assert not is_mapped(plain.store.folder)


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("reading", ["offset", "decoded"])
def test_random_pictures_are_read_with_a_mapped_manifest(
    plain: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path / "cache"))
    indices = np.random.default_rng(0).permutation(plain.num_images)[:16]
    expected = open_images(plain, 9, 7, "offset")[indices]
    manifest = read_manifest(plain.store.folder)
    np.testing.assert_array_equal(open_images(manifest, 9, 7, reading, threads=2)[indices], expected)
    assert is_mapped(plain.store.folder)


@pytest.mark.usefixtures("mapped")
def test_a_mapped_manifest_is_pickled_with_its_values(plain: Manifest) -> None:
    pickled = pickle.dumps(read_manifest(plain.store.folder))
    (plain.store.folder / "manifest.npz").unlink()
    assert_equal(pickle.loads(pickled), plain)


@pytest.mark.usefixtures("mapped")
def test_a_mapped_manifest_can_be_written_over_its_own_file(plain: Manifest) -> None:
    folder = plain.store.folder
    before = (folder / "manifest.npz").read_bytes()
    manifest = read_manifest(folder)
    write_manifest(manifest, folder)
    assert (folder / "manifest.npz").read_bytes() == before
    assert_equal(manifest, plain)


def test_columns_that_are_read_cannot_be_changed(plain: Manifest) -> None:
    with pytest.raises(ValueError, match="read-only"):
        read_manifest(plain.store.folder).work[0] = 1


def test_every_column_of_a_written_file_is_aligned(plain: Manifest) -> None:
    write_manifest(with_tags_and_pairs(plain), plain.store.folder)
    manifest = read_manifest(plain.store.folder)
    arrays = [manifest.pairs, manifest.tags.starts, manifest.tags.ids, *(getattr(manifest, n) for n in COLUMN_TYPES)]
    addresses = [array.__array_interface__["data"][0] for array in arrays]
    assert len({address % 64 for address in addresses}) == 1  # the file itself starts anywhere


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("smallest", [0, 2**26])
def test_columns_that_numpy_wrote_are_read(
    plain: Manifest, monkeypatch: pytest.MonkeyPatch, save: str, smallest: int
) -> None:
    monkeypatch.setattr(columns_module, "MAPPED_BYTES", smallest)
    folder = plain.store.folder
    write_manifest(with_tags_and_pairs(plain), folder)
    with np.load(folder / "manifest.npz") as file:
        columns = {name: file[name] for name in file.files}
    columns["pairs"] = np.asfortranarray(columns["pairs"])
    content = io.BytesIO()
    SAVES[save](content, **columns)
    replace_columns(folder, content.getvalue())
    again = read_manifest(folder)
    assert_equal(again, with_tags_and_pairs(plain))
    np.testing.assert_array_equal(again.pairs, with_tags_and_pairs(plain).pairs)


def test_compressed_columns_that_need_much_memory_are_refused(plain: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "MAX_UNPACKED_BYTES", 1_000)
    with np.load(plain.store.folder / "manifest.npz") as file:
        columns = {name: file[name] for name in file.files}
    content = io.BytesIO()
    np.savez_compressed(content, **columns)
    replace_columns(plain.store.folder, content.getvalue())
    with pytest.raises(Error, match="the columns are compressed and too large"):
        read_manifest(plain.store.folder)


def longer(npy: bytes) -> bytes:
    return npy.replace(b"(48,)", b"(49,)")


def negative(npy: bytes) -> bytes:
    return npy.replace(b"(48,), } ", b"(-48,), }")


def version_3(npy: bytes) -> bytes:
    return npy.replace(b"NUMPY\1", b"NUMPY\3")


@pytest.mark.parametrize("smallest", [0, 2**26])
@pytest.mark.parametrize(
    ("edit", "reason"),
    [(longer, "does not hold its array"), (negative, "does not hold its array"), (version_3, "version 3.0 of npy")],
)
def test_a_header_that_reaches_beyond_its_column_is_refused(
    plain: Manifest, monkeypatch: pytest.MonkeyPatch, edit: Callable[[bytes], bytes], reason: str, smallest: int
) -> None:
    monkeypatch.setattr(columns_module, "MAPPED_BYTES", smallest)
    content = io.BytesIO()
    with zipfile.ZipFile(plain.store.folder / "manifest.npz") as before, zipfile.ZipFile(content, "w") as after:
        for name in before.namelist():
            npy = before.read(name)
            edited = edit(npy) if name == "size.npy" else npy
            assert (edited != npy) == (name == "size.npy")
            after.writestr(name, edited)
    replace_columns(plain.store.folder, content.getvalue())
    with pytest.raises(Error, match=rf"its parts contradict each other .*{reason}"):
        read_manifest(plain.store.folder)


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("place", [0, 0.2, 0.5, 0.9, 1])
def test_a_flipped_byte_of_mapped_columns_is_found_by_the_checksum(plain: Manifest, place: float) -> None:
    path = plain.store.folder / "manifest.npz"
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)
    with pytest.raises(Error, match=r"manifest\.npz is damaged: its checksum differs"):
        read_manifest(plain.store.folder)


@pytest.mark.usefixtures("mapped")
def test_mapped_columns_that_cannot_be_opened_are_named(plain: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(columns_module, "os", SimpleNamespace(pread=refuse, SEEK_CUR=1))
    with pytest.raises(Error, match=r"manifest\.npz cannot be read: Input/output error"):
        read_manifest(plain.store.folder)


def test_columns_that_exceed_the_available_memory_are_refused(plain: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1_000))
    with pytest.raises(Error, match=r"manifest\.npz needs .* GB of memory, but .* available"):
        read_manifest(plain.store.folder)


def test_names_too_long_to_be_read_are_refused_when_they_are_written(
    plain: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest_file, "MAX_HEAD_BYTES", 500)
    other = replace(plain, keys=type(plain.keys).of([f"k{number}" for number in range(48)]))
    with pytest.raises(Error, match=r"manifest\.json would have [\d,]+ bytes, but at most 500 are read"):
        write_manifest(other, plain.store.folder)
    monkeypatch.undo()
    assert_equal(read_manifest(plain.store.folder), plain)


@pytest.mark.parametrize("size", [1, 7, 48, 1_000])
def test_the_fingerprint_does_not_depend_on_the_size_of_the_parts(
    plain: Manifest, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    whole = with_tags_and_pairs(plain)
    columns = {name: getattr(whole, name) for name in COLUMN_TYPES}
    monkeypatch.setattr(columns_module, "PART", size)
    assert fingerprint(whole.works, whole.roles, columns, whole.tags, whole.pairs) == whole.fingerprint


def test_parts_cover_every_index_once_and_are_released_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "PART", 4)
    released: list[str] = []
    found = [np.arange(10)[part].tolist() for part in parts(10, lambda: released.append("part"))]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(released) == 3
    assert list(parts(0)) == []


LAST: dict[str, tuple[object, str]] = {
    "keys": (b"a b", "a key is not visible ASCII"),
    "shard": (7, "shard is from 0 to 7"),
    "work": (-1, "work is from -1 to"),
    "role": (99, "role is from 0 to 99"),
    "split_code": (9, "split_code is from"),
    "fold": (0, "fold is from -1 to 0"),
    "height": (0, "height is from 0 to"),
    "width": (20_000_000, "an image has more than"),
    "size": (10**9, "an image is not inside its shard"),
    "offset": (-1, "an image is not inside its shard"),
    "pairs": ([0, 48], "a pair has an image that does not exist"),
    "tag_ids": (2, "an image has a tag that does not exist"),
    "tag_starts": (3, "the tags are those of other images"),
}


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("name", LAST)
def test_an_impossible_value_of_the_last_image_is_found(plain: Manifest, name: str) -> None:
    write_manifest(with_tags_and_pairs(plain), plain.store.folder)
    value, reason = LAST[name]
    rewrite(plain.store.folder, lambda columns, _: columns[name].__setitem__(-1, value))
    with pytest.raises(Error, match=reason):
        read_manifest(plain.store.folder)


def test_a_key_may_have_the_first_and_the_last_visible_character(plain: Manifest) -> None:
    rewrite(plain.store.folder, lambda columns, _: columns["keys"].__setitem__(3, b"!~"))
    assert read_manifest(plain.store.folder).keys[3] == "!~"


@pytest.mark.usefixtures("mapped")
def test_tags_that_go_backward_between_two_parts_are_found(plain: Manifest) -> None:
    write_manifest(with_tags_and_pairs(plain), plain.store.folder)
    rewrite(plain.store.folder, lambda columns, _: columns["tag_starts"].__setitem__(7, 3))
    with pytest.raises(Error, match="an image has a tag that does not exist"):
        read_manifest(plain.store.folder)
