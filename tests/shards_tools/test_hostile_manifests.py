"""A stranger's manifest whose checksums are right and whose values are impossible is refused by every reader."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards_tools import columns as columns_module
from shards_tools.errors import Error
from shards_tools.manifest import Manifest, Tags, fingerprint
from shards_tools.manifest_file import read_manifest
from shards_tools.verify import LEVELS, verify

Columns = dict[str, np.ndarray]
Head = dict[str, Any]
LARGEST = 2**63 - 1


def rewrite(folder: Path, edit: Callable[[Columns, Head], object]) -> None:
    """Edit both files of a manifest, and make checksum and fingerprint those of the result where that is possible."""
    head = json.loads((folder / "manifest.json").read_text())
    with np.load(folder / "manifest.npz") as file:
        columns = {name: file[name] for name in file.files}
    edit(columns, head)
    content = io.BytesIO()
    np.savez(content, **columns)
    (folder / "manifest.npz").write_bytes(content.getvalue())
    head["columns"]["sha256"] = hashlib.sha256(content.getvalue()).hexdigest()
    if head["fingerprint"] and isinstance(head["works"], list):
        names = map(bytes.decode, columns["tag_names"].tolist()) if "tag_names" in columns else ()
        tags = Tags(tuple(names), columns["tag_starts"], columns["tag_ids"]) if "tag_names" in columns else None
        labels = tuple(head["works"]), tuple(head["roles"])
        head["fingerprint"] = fingerprint(*labels, columns, tags, columns.get("pairs"))
    (folder / "manifest.json").write_text(json.dumps(head))


def values(**numbers: int) -> Callable[[Columns, Head], None]:
    """Set values of the first image."""

    def edit(columns: Columns, head: Head) -> None:
        for name, number in numbers.items():
            columns[name][0] = number

    return edit


def all_values(**numbers: int) -> Callable[[Columns, Head], None]:
    def edit(columns: Columns, head: Head) -> None:
        for name, number in numbers.items():
            columns[name][:] = number

    return edit


def as_type(kind: str, *names: str) -> Callable[[Columns, Head], None]:
    return lambda columns, head: columns.update({name: columns[name].astype(kind) for name in names})


def added(**columns: np.ndarray) -> Callable[[Columns, Head], None]:
    return lambda before, head: before.update(columns)


def entries(**changes: Any) -> Callable[[Columns, Head], None]:
    return lambda columns, head: head.update(changes)


def first_shard(**changes: Any) -> Callable[[Columns, Head], None]:
    return lambda columns, head: head["shards"][0].update(changes)


def sizes_as_floats(columns: Columns, head: Head) -> None:
    head["shards"] = [{**shard, "num_bytes": float(shard["num_bytes"])} for shard in head["shards"]]


def twice_the_shards(columns: Columns, head: Head) -> None:
    head["shards"] += [{**shard, "num_samples": 0} for shard in head["shards"]]


def many_works(columns: Columns, head: Head) -> None:
    head["works"] += [f"WORK{number}" for number in range(1_000)]


def no_images(columns: Columns, head: Head) -> None:
    columns.update({name: column[:0] for name, column in columns.items()})
    head["num_images"] = 0
    head["shards"] = [{**shard, "num_samples": 0} for shard in head["shards"]]


def long_key(columns: Columns, head: Head) -> None:
    columns["keys"] = columns["keys"].astype("S5000")
    columns["keys"][0] = b"x" * 5000


def tags(kind: str = "i4", starts: int = 0, ids: int = 0) -> Callable[[Columns, Head], None]:
    def edit(columns: Columns, head: Head) -> None:
        num = len(columns["keys"])
        columns["tag_names"] = np.array([b"red", b"blue"])
        columns["tag_starts"] = np.arange(num + 1).astype(kind if kind != "i4" else "i8")
        columns["tag_starts"][1] += starts
        columns["tag_ids"] = np.full(num, ids).astype(kind)

    return edit


def pairs(array: np.ndarray) -> Callable[[Columns, Head], None]:
    return added(pairs=array)


HOSTILE: dict[str, Callable[[Columns, Head], object]] = {
    "an offset that wraps": values(offset=LARGEST - 9, size=100),
    "a size that wraps": values(offset=1, size=LARGEST),
    "a negative offset": values(offset=-LARGEST),
    "offsets as floats": as_type("f8", "offset", "size"),
    "sizes of shards as floats": sizes_as_floats,
    "num_images as a float": lambda columns, head: head.update(num_images=float(head["num_images"])),
    "a height of 0": values(height=0),
    "a height of -1": values(height=-1),
    "a height of 2^31": values(height=2**31 - 1),
    "a width of -2^31": values(width=-(2**31)),
    "all heights and widths of 2^31": all_values(height=2**31 - 1, width=2**31 - 1),
    "all heights and widths negative": all_values(height=-10, width=-10),
    "more pixels than are decoded": all_values(height=9_000, width=9_000),
    "more pixels than bytes can hold": all_values(height=8_000, width=8_000),
    "split code -1": values(split_code=-1),
    "split code 7": values(split_code=7),
    "split code 127": values(split_code=127),
    "fold 0 without folds": values(fold=0),
    "fold 127": values(fold=127),
    "fold -128": values(fold=-128),
    "a shard of 0 bytes": first_shard(num_bytes=0),
    "a shard of 10^30 bytes": first_shard(num_bytes=10**30),
    "a shard of no bytes": first_shard(num_bytes=None),
    "a shard of True images": first_shard(num_samples=True),
    "a shard without a checksum": first_shard(sha256=""),
    "a shard whose checksum is a path": first_shard(sha256="../" * 21 + "x"),
    "a shard with a key more": first_shard(more=1),
    "a shard's name with a line": first_shard(name="shard-00000.tar\n"),
    "two shards of a name": twice_the_shards,
    "more works than images": many_works,
    "a work that is a number": lambda columns, head: head["works"].__setitem__(0, 1),
    "a role that is nothing": lambda columns, head: head["roles"].__setitem__(0, None),
    "a work with half a character": lambda columns, head: head["works"].__setitem__(0, "\ud800"),
    "no images": no_images,
    "keys as Python objects": as_type("O", "keys"),
    "keys as text": as_type("U", "keys"),
    "a key with a space": lambda columns, head: columns["keys"].__setitem__(0, b"a b"),
    "a key with a byte above ASCII": lambda columns, head: columns["keys"].__setitem__(0, b"a\x80"),
    "a key with a control character": lambda columns, head: columns["keys"].__setitem__(0, b"a\x7f"),
    "a key that starts with a newline": lambda columns, head: columns["keys"].__setitem__(0, b"\na"),
    "a key more": lambda columns, head: columns.update(keys=np.append(columns["keys"], b"x")),
    "no sizes": lambda columns, head: columns.pop("size"),
    "a key without characters": lambda columns, head: columns["keys"].__setitem__(0, b""),
    "a key of 5,000 characters": long_key,
    "notes as numbers": entries(notes=[1]),
    "notes as text": entries(notes="abc"),
    "a count of copies as a float": entries(duplicates={"num_copies": 1.5}),
    "pairs of copies as text": entries(duplicates={"pairs": "ab"}),
    "copies of nothing": entries(duplicates={"pairs": [["a"]]}),
    "copies with half a character": entries(duplicates={"pairs": [["\ud800", "x"]]}),
    "a background that is a number": entries(conversion={"background": 1}),
    "a background that is no color": entries(conversion={"background": "nice"}),
    "a source that is a number": entries(source=1),
    "pairs of floats": pairs(np.zeros((2, 2))),
    "pairs of large numbers": pairs(np.full((2, 2), 2**64 - 1, np.uint64)),
    "pairs of truth values": pairs(np.zeros((2, 2), "?")),
    "pairs of four": pairs(np.zeros((2, 4), np.int64)),
    "tags as floats": tags("f8"),
    "tags as truth values": tags("?"),
    "tags that do not exist": tags(ids=2),
    "negative tags": tags(ids=-1),
    "tags that go backward": tags(starts=1_000),
}


def test_the_manifest_that_is_edited_is_whole(plain: Manifest) -> None:
    for edit in (entries(), tags(), pairs(np.zeros((2, 2), np.int64))):
        rewrite(plain.store.folder, edit)
        assert verify(plain.store.folder, "deep").num_images == plain.num_images


@pytest.mark.parametrize("name", HOSTILE)
def test_an_impossible_value_is_refused_in_one_line(
    name: str, plain: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plain.store.folder
    rewrite(folder, HOSTILE[name])

    def read_mapped(folder: Path) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(columns_module, "MAPPED_BYTES", 0)
            patched.setattr(columns_module, "PART", 5)
            read_manifest(folder)

    answers = set()
    readers = (read_manifest, read_mapped, *(lambda folder, level=level: verify(folder, level) for level in LEVELS))
    for read in readers:
        with pytest.raises(
            Error, match=r"manifest\.json is damaged: (its parts contradict each other \(|it holds)"
        ) as no:
            read(folder)
        answers.add(str(no.value))
    (answer,) = answers
    assert "\n" not in answer
    assert len(answer) < 500


@pytest.mark.parametrize("fold", [-1, 5, 127])
def test_a_fold_that_does_not_exist_is_refused(fold: int, five_fold: Manifest) -> None:
    rewrite(five_fold.store.folder, values(fold=fold))
    with pytest.raises(Error, match=f"fold is from .*{fold}"):
        read_manifest(five_fold.store.folder)


@pytest.mark.parametrize("role", ["", "JP0001", "JP0001/x", "JP0001/1/2", f"JP0001/{'9' * 5_000}", "/", "JP0001/ 1"])
def test_a_role_without_a_number_is_refused_where_folds_take_the_first_ones(role: str, five_fold: Manifest) -> None:
    """Python converts no number of more than 4,300 digits."""
    rewrite(five_fold.store.folder, lambda columns, head: head["roles"].__setitem__(0, role))
    with pytest.raises(Error, match="a role is not WORK/NUMBER"):
        read_manifest(five_fold.store.folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["an offset that wraps", "all heights and widths of 2^31", "sizes of shards as floats"]
)
def test_every_command_refuses_it_with_exit_code_2(name: str, plain: Manifest, tmp_path: Path) -> None:
    folder = plain.store.folder
    rewrite(folder, HOSTILE[name])
    for words in (
        ["shards_tools", "verify", folder],
        ["shards_tools", "show", folder],
        ["trainables.train", "--recipe", "transreid-tiny", "--data", folder, "--out", tmp_path / "out"],
        ["platform.search", "--space", "transreid", "--data", folder, "--runs", tmp_path / "runs", "--dry-run"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *map(str, words)], capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 2, done.stderr
        assert "manifest.json is damaged: its parts contradict each other" in done.stderr
        assert "Traceback" not in done.stderr
