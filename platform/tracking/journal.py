"""The journal of a study: what MLflow is to be told, one JSON line per event, on disk before Optuna hears of it.

Written before Optuna's database, so that whatever the study remembers stands here too, and kept whole, so that it
can be sent again to another MLflow store.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any, Protocol

Event = dict[str, Any]


class Book(Protocol):
    """What trials are written to."""

    def append(self, kind: str, **fields: Any) -> None:
        """Write one event."""


class Journal:
    """An append-only file of events. An epoch or a state of the study that it holds already is not written again.

    A trial may have several series of epochs: its own, and one for each `part`, such as another fold.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.appended = threading.Event()
        _cut_torn_line(path)
        events, _ = self.read()
        self._epochs = {_epoch(event) for event in events if event["kind"] == "metrics"}
        states = [event for event in events if event["kind"] == "study"]
        self._state = {key: value for key, value in states[-1].items() if key not in ("kind", "time")} if states else {}
        # Unbuffered: what could not be written must not come back when the file is closed.
        self._file = path.open("ab", buffering=0)

    def append(self, kind: str, **fields: Any) -> None:
        """Write one event; it survives the death of this process from here on."""
        if kind == "metrics":
            epoch = _epoch(fields)
            if epoch in self._epochs:
                return
            self._write(kind, fields)
            self._epochs.add(epoch)
        elif kind == "study":
            state = {key: value for key, value in fields.items() if key != "time"}
            if state == self._state:
                return
            self._write(kind, fields)
            self._state = state
        else:
            self._write(kind, fields)
        self.appended.set()

    def _write(self, kind: str, fields: Event) -> None:
        """Write one whole line, or none."""
        line = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        end = self.size()
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError:
            os.truncate(self.path, end)
            raise

    def read(self, offset: int = 0, limit: int | None = None) -> tuple[list[Event], int]:
        """At most `limit` whole events from the byte `offset` on, all for None, and the offset behind them."""
        if not self.path.exists():
            return [], 0
        with self.path.open("rb") as file:
            file.seek(offset)
            lines: list[bytes] = []
            for line in file:
                if not line.endswith(b"\n") or len(lines) == limit:
                    break
                lines.append(line)
        return [json.loads(line) for line in lines], offset + sum(map(len, lines))

    def size(self) -> int:
        """Bytes written so far."""
        return os.path.getsize(self.path)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _epoch(event: Event) -> tuple[int, int, str]:
    return event["trial"], event["step"], event.get("part", "")


def _cut_torn_line(path: Path) -> None:
    """Drop a last line that a killed process did not finish."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
