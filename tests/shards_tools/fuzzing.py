"""Damage a folder of shards at random, and check that the readers reject it or read it correctly.

`python tests/shards_tools/fuzzing.py --minutes 10 --corpus tests/shards_tools/corpus` fuzzes for so long and keeps a
case for every other kind of answer; test_fuzz.py repeats the kept ones.
"""

import argparse
import copy
import hashlib
import io
import json
import random
import re
import shutil
import signal
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from shards_tools.sources.lsasrd import scan
from shards_tools.verify import verify

TARGETS = ("manifest.json", "manifest.npz", "shard-00000.tar", "value", "column", "array")
LONGEST_ANSWER_S = 20
Case = dict[str, Any]


class TooSlow(Exception):
    """The readers exceeded the time limit."""


def make_shards(folder: Path) -> Manifest:
    """A small five-fold set, the same on every machine."""
    seed = 0
    for fold in range(5):
        for role in (1, 2, 3):
            place = folder / "source" / "ASRDf" / str(fold) / f"JP000{fold}" / f"{role:04d}"
            place.mkdir(parents=True)
            for image in range(2):
                seed += 1
                pixels = np.random.default_rng(seed).integers(0, 256, (6, 7, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"JP000{fold}_{role:04d}_{image}.png")
    return build(scan(folder / "source"), folder / "shards")


def draw_case(generator: random.Random) -> Case:
    """A target and how to damage it, as numbers, so that a case is one line of JSON."""
    edits = [
        [generator.choice(("flip", "set", "cut", "repeat", "insert", "end")), generator.random(), generator.random()]
        for _ in range(generator.choice((1, 1, 1, 2, 4)))
    ]
    return {"target": generator.choice(TARGETS), "edits": edits}


def damage(folder: Path, case: Case) -> None:
    """Damage the shards in `folder` as the case says, and update the checksums that would reveal it."""
    target, edits = case["target"], case["edits"]
    if target == "value":
        _edit_head(folder, lambda head: _replace_values(head, edits))
    elif target in ("column", "array"):
        columns = folder / "manifest.npz"
        columns.write_bytes(_edit_zip(columns.read_bytes(), edits, _edit_array if target == "array" else edit_bytes))
        digest = hashlib.sha256(columns.read_bytes()).hexdigest()
        _edit_head(folder, lambda head: head["columns"].update(sha256=digest))
    else:
        (folder / target).write_bytes(edit_bytes((folder / target).read_bytes(), edits))


def answer(folder: Path, original: Manifest) -> str:
    """Return the readers' answer: the text of an Error, or "whole" if everything they return equals the original.

    AssertionError for a silent loss, TooSlow for a hang; any other exception is a crash.
    """
    signal.signal(signal.SIGALRM, _too_slow)
    signal.alarm(LONGEST_ANSWER_S)
    try:
        manifest = read_manifest(folder)
        assert manifest.num_images == original.num_images, "other images"  # the names have no checksum
        for name in ("work", "role", "split_code", "fold"):
            np.testing.assert_array_equal(getattr(manifest, name), getattr(original, name))
        for index in range(manifest.num_images):
            assert read_image(manifest, index) == read_image(original, index), "other bytes"
        verify(folder, "deep")
        said = "whole"
    except Error as refusal:
        said = str(refusal)
    finally:
        signal.alarm(0)
    assert "\n" not in said, "more than one line"
    return said


def kind_of(said: str, folder: Path) -> str:
    """Return the answer without the parts that differ from case to case."""
    said = re.sub(r"has schema .*?, this", "has schema S, this", said.replace(str(folder), ""))
    return re.sub(r"-?\d[\d,]*", "N", re.sub(r"/[^/]*\.tar", "/S.tar", said))[:90]


def _too_slow(*_: object) -> None:
    raise TooSlow


def edit_bytes(data: bytes, edits: list[list[Any]]) -> bytes:
    """Return the data after edits: what to do, where (0..1), and how much or with which byte (0..1)."""
    for kind, where, what in edits:
        at = int(where * len(data))
        length = int(what**4 * (len(data) - at)) + 1
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (1 << int(what * 8))]) + data[at + 1 :]
        elif kind == "set" and data:
            data = data[:at] + bytes([int(what * 256)]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + length :]
        elif kind == "repeat":
            data = data[: at + length] + data[at:]
        elif kind == "insert":
            data = data[:at] + random.Random(what).randbytes(length) + data[at:]
        else:
            data = data[:at]
    return data


def _edit_array(data: bytes, edits: list[list[Any]]) -> bytes:
    """Return the .npy file with other values, another type, another shape, or a wrong header."""
    array = np.load(io.BytesIO(data))
    for kind, where, what in edits:
        if kind == "flip" and array.size and array.dtype.kind == "i":
            array.flat[int(where * array.size)] = int((what - 0.5) * 2 ** (8 * array.itemsize - 1) * 1.9)
        elif kind == "set" and array.size and array.dtype.kind == "i":
            array.flat[int(where * array.size)] += int(what * 9) - 4
        elif kind == "cut":
            array = array[: int(where * array.size)]
        elif kind == "repeat":
            array = np.resize(array, int(array.size * (1 + what * 3)))
        elif kind == "insert":
            array = array.reshape(-1, 1) if what < 0.5 else array.astype(("U9", "S3", "S1")[int(where * 3)])
    file = io.BytesIO()
    np.save(file, array)
    saved = file.getvalue()
    if any(kind == "end" for kind, *_ in edits):
        saved = re.sub(rb"'shape': \((\d+)", lambda match: b"'shape': (" + b"9" * len(match[1]), saved)
    return saved


def _edit_zip(data: bytes, edits: list[list[Any]], edit: Callable[[bytes, list[list[Any]]], bytes]) -> bytes:
    """Return the zip file with one member edited, removed or compressed."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = list(members)[int(edits[0][1] * 997) % len(members)]
    members[chosen] = edit(members[chosen], edits)
    if edits[0][2] > 0.97:
        del members[chosen]
    file = io.BytesIO()
    packing = zipfile.ZIP_DEFLATED if edits[0][2] < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


STRANGE_VALUES = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**400,
    0.5,
    "",
    "../x",
    "a\nb",
    "\ud800",
    [],
    {},
    [[]],
    {"a": 1},
)


def _replace_values(head: dict[str, Any], edits: list[list[Any]]) -> None:
    for _, where, what in edits:
        holder: Any = head
        path = random.Random(where)
        while True:
            keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not keys:
                break
            key = path.choice(keys)
            if isinstance(holder[key], dict | list) and holder[key] and path.random() < 0.8:
                holder = holder[key]
                continue
            holder[key] = copy.deepcopy(STRANGE_VALUES[int(what * len(STRANGE_VALUES))])
            break


def _edit_head(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    head = json.loads((folder / "manifest.json").read_text())
    edit(head)
    (folder / "manifest.json").write_text(json.dumps(head))


def main() -> None:
    """Fuzz for some minutes, count each kind of answer, and keep the first case of each."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, required=True)
    options = parser.parse_args()
    options.corpus.mkdir(exist_ok=True)
    generator, answers = random.Random(options.seed), Counter[str]()
    end = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory() as room:
        original = make_shards(Path(room))
        while time.monotonic() < end:
            case, folder = draw_case(generator), Path(room) / "damaged"
            shutil.copytree(Path(room) / "shards", folder)
            damage(folder, case)
            try:
                kind = f"{case['target']}: {kind_of(answer(folder, original), folder)}"
            except Exception as failure:
                kind = f"{case['target']}: {type(failure).__name__} {failure}"[:120]
                print("FOUND", kind, json.dumps(case))
            answers[kind] += 1
            if answers[kind] == 1:
                name = hashlib.sha256(json.dumps(case).encode()).hexdigest()[:12]
                (options.corpus / f"{name}.json").write_text(json.dumps(case) + "\n")
            shutil.rmtree(folder)
    print(f"{answers.total():,} cases in {options.minutes:g} minutes")
    for kind, count in answers.most_common():
        print(f"{count:9,}  {kind}")


if __name__ == "__main__":
    main()
