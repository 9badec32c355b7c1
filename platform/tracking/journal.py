"""The journal of a study: the events to send to MLflow, one JSON object per line.

Each event is written here before the study is updated in Optuna's database, so after a kill the study has nothing that
the journal lacks. Sent events are kept, so that the whole journal can be sent to another MLflow store.
"""

import json
import os
import threading
from collections.abc import Mapping, Set
from pathlib import Path
from types import NoneType
from typing import Any, Protocol

from shards_tools.command import say
from shards_tools.folders import refuse_link, write_durably
from shards_tools.records import parse_object

Event = dict[str, Any]
NUMBER = (int, float)
# Fields of the events of each kind -> their types; events may have more.
FIELDS: dict[str, dict[str, Any]] = {
    "trial": {"trial": (int, str), "name": str, "params": dict, "tags": dict, "time": NUMBER},
    "metrics": {"trial": (int, str), "step": int, "values": dict, "time": NUMBER},
    "tag": {"trial": (int, str), "key": str, "value": str, "time": NUMBER},
    "end": {"trial": (int, str), "state": str, "reason": str, "time": NUMBER},
    "study": {"trial": (int, NoneType), "metrics": dict, "tags": dict, "checkpoint": (str, NoneType), "time": NUMBER},
}
NUMBERS = {"metrics": "values", "study": "metrics"}  # kind -> the field whose values are numbers
STATES = ("COMPLETE", "PRUNED", "FAIL")
Owner = int | str  # of a run in MLflow: the number of a trial, or `owner_of_final` for its final training
OF_FINAL = "final-"


def owner_of_final(number: int | str) -> str:
    """Return the owner of the run of the final training of trial `number`."""
    return f"{OF_FINAL}{number}"


def tag_of(owner: Owner) -> tuple[str, str]:
    """Return the name and the value of the tag by which the run of `owner` is found."""
    return ("trial", str(owner)) if isinstance(owner, int) else ("final_of", owner.removeprefix(OF_FINAL))


def owner_of(tags: Mapping[str, str]) -> Owner | None:
    """Return the owner of the run with these tags; None for the study's own run."""
    if "trial" in tags:
        return int(tags["trial"])
    return owner_of_final(tags["final_of"]) if "final_of" in tags else None


class Book(Protocol):
    """The interface to which trials write their events."""

    def append(self, kind: str, **fields: Any) -> None:
        """Append one event."""


class Journal:
    """An append-only file of events that skips epochs and study states which it already has.

    Lines that a crash of the machine or a disk has damaged are skipped: MLflow lacks their events.

    A trial has one series of epochs for its own training and one more for each `part`, such as another fold.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._owner_file = path.with_suffix(".study")
        self.appended = threading.Event()
        self._begun: dict[Owner, int] = {}  # that have started -> the offset of the line that says so
        self._ended: set[Owner] = set()
        self._epochs: set[tuple[Owner, int, str]] = set()
        self._state: Event = {}  # of the study
        self._scan()
        # Unbuffered: otherwise closing the file would retry writes that failed.
        self._file = open(path, "ab", buffering=0, opener=refuse_link)  # noqa: SIM115  closed by `__exit__`

    @property
    def owners(self) -> Set[Owner]:
        """The owners of the runs whose trials have started."""
        return self._begun.keys()

    @property
    def unended(self) -> set[Owner]:
        """The owners of the runs whose trials have started and never ended."""
        return {*self._begun} - self._ended

    @property
    def owner(self) -> str:
        """The ID of the study that the events belong to; empty for a journal that has none yet."""
        return self._owner_file.read_text() if self._owner_file.exists() else ""

    @owner.setter
    def owner(self, study_id: str) -> None:
        write_durably(self._owner_file, study_id.encode())

    def append(self, kind: str, **fields: Any) -> None:
        """Append one event; once this returns, the event survives a crash of this process.

        Args:
            kind: `trial`, `metrics`, `tag`, `end` or `study`. A `metrics` event whose trial, step and part are already
                in the journal is skipped, and so is a `study` event that equals the last one except for its time.

        Raises:
            OSError: the event cannot be written; the journal is unchanged.
        """
        is_known = kind == "metrics" and _epoch_key(fields) in self._epochs
        if is_known or (kind == "study" and _state(fields) == self._state):
            return
        self._note({"kind": kind, **fields}, self._write(kind, fields))
        self.appended.set()

    def _scan(self) -> None:
        """Read the file once, if it exists, and remove the last line if a killed process left it incomplete."""
        if not self.path.exists():
            return
        offset, damaged = 0, 0
        with open(self.path, "r+b", opener=refuse_link) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                event = _event(line)
                if event:
                    self._note(event, offset)
                damaged += event is None
                offset += len(line)
            if offset < self.size():
                file.truncate(offset)
        if damaged:
            say(f"{self.path}: MLflow does not get the events of damaged lines, {damaged:,} in number.")

    def _note(self, event: Event, offset: int) -> None:
        """Remember what later events are compared with; the line of the event starts at `offset`."""
        if event["kind"] == "metrics":
            self._epochs.add(_epoch_key(event))
        elif event["kind"] == "study":
            self._state = _state(event)
        elif event["kind"] == "trial":
            self._begun.setdefault(event["trial"], offset)
        elif event["kind"] == "end":
            self._ended.add(event["trial"])

    def _write(self, kind: str, fields: Event) -> int:
        """Write a whole line and return its offset; if that fails, remove what was written of it and raise."""
        line = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        if not _event(line):
            raise ValueError(f"not an event: {line!r:.300}")
        end = self.size()
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            os.truncate(self.path, end)
            raise
        os.fsync(self._file.fileno())
        return end

    def read(self, offset: int = 0, max_bytes: int | None = None) -> tuple[list[Event], int]:
        """Return the events from the byte `offset` on, and the offset after the last of them.

        Args:
            max_bytes: read no more lines than fit, but at least one; None: no limit.
        """
        if not self.path.exists():
            return [], 0
        with self.path.open("rb") as file:
            file.seek(offset)
            text = file.read(-1 if max_bytes is None else max_bytes)
            if max_bytes is not None and b"\n" not in text:
                text += file.readline()
        text = text[: text.rfind(b"\n") + 1]  # without a line that is not complete yet
        return [event for line in text.splitlines() if (event := _event(line))], offset + len(text)

    def valid_offset(self, offset: int) -> int:
        """Return `offset` if a line ends there, else 0: the file may have been lost and written again."""
        if not 0 < offset <= self.size():
            return 0
        with self.path.open("rb") as file:
            file.seek(offset - 1)
            return offset if file.read(1) == b"\n" else 0

    def owners_before(self, offset: int) -> set[Owner]:
        """Return the owners of the runs whose trials have started before the byte `offset`."""
        begun = self._begun.copy()  # another thread appends
        return {owner for owner, line in begun.items() if line < offset}

    def size(self) -> int:
        """Return the number of bytes written so far."""
        return os.path.getsize(self.path)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class SentOffset:
    """The file that says how many bytes of a journal a store has.

    Args:
        path: the file.
        store: the address of the store, without a password.
    """

    def __init__(self, path: Path, store: str) -> None:
        self._path, self._store = path, store

    def load(self) -> int:
        """Return the number of bytes; 0 for a store at another address, and if the file is missing or damaged."""
        try:
            sent = parse_object(self._path.read_bytes())
            return int(sent["offset"]) if sent["uri"] == self._store else 0
        except (FileNotFoundError, ValueError, LookupError, TypeError, OverflowError):
            return 0

    def save(self, offset: int) -> None:
        """Store the number of bytes."""
        write_durably(self._path, json.dumps({"uri": self._store, "offset": offset}).encode())


def _event(line: bytes) -> Event | None:
    """Return the event of a line, or None if the line is damaged."""
    try:
        event = parse_object(line)
    except ValueError:
        return None
    kind = str(event.get("kind"))
    fields = FIELDS.get(kind)
    if fields is None or not fields.keys() <= event.keys():
        return None
    if not all(isinstance(event[name], types) for name, types in fields.items()):
        return None
    numbers = event[NUMBERS[kind]] if kind in NUMBERS else {}
    fits = event.get("state", STATES[0]) in STATES and all(isinstance(number, NUMBER) for number in numbers.values())
    return event if fits else None


def _epoch_key(event: Event) -> tuple[Owner, int, str]:
    return event["trial"], event["step"], event.get("part", "")


def _state(event: Event) -> Event:
    """Return the state of the study in an event, without its time."""
    return {key: value for key, value in event.items() if key not in ("kind", "time")}
