"""Progress: a bar on a terminal, otherwise occasional lines, and nothing if the log is disabled."""

import io
import json
import logging
import sys
from types import SimpleNamespace

import pytest

from shards_tools import progress
from shards_tools.progress import LinesAbove
from tests.terminal_session import session


@pytest.fixture
def _read_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    # An earlier command may have called `show_log`, which hides the records from pytest.
    monkeypatch.setattr(logging.getLogger("shards_tools"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("shards_tools"), "handlers", [])
    caplog.set_level(logging.INFO, "shards_tools")


@pytest.mark.usefixtures("_read_log")
def test_without_a_terminal_there_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times = iter([0.0, 4.0, 12.0, 14.0, 40.0, 50.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with progress.progress("decoding", 6_000) as advance:
        for number in (1_000, 1_000, 1_000, 1_000, 2_000):
            advance(number)
    assert caplog.messages == [
        "decoding: 2,000 of 6,000 images, 167/s, 24 s left",
        "decoding: 4,000 of 6,000 images, 100/s, 20 s left",
    ]


@pytest.mark.usefixtures("_read_log")
def test_bytes_are_written_as_megabytes(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    times = iter([0.0, 10.0])
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with progress.progress("fetching", 40_000_000, "bytes") as advance:
        advance(10_000_000)
    assert caplog.messages == ["fetching: 10.0 of 40.0 MB, 1.0/s, 30 s left"]


def test_where_nobody_reads_the_log_nothing_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("shards_tools"), "level", logging.WARNING)
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    with progress.progress("decoding", 10) as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def test_lines_are_handed_on_whole() -> None:
    lines: list[str] = []
    print("one", "two", file=LinesAbove(io.StringIO(), lines.append))
    assert lines == ["one two"]


def test_commands_show_bars_on_a_terminal_and_leave_none(plain_tree, tmp_path) -> None:
    command = [sys.executable, "-m", "shards_tools"]
    with session([*command, "build", "lsasrd", str(plain_tree), "--out", str(tmp_path / "shards")]) as built:
        assert built.wait() == 0
    with session([*command, "verify", str(tmp_path / "shards"), "--level", "deep", "--json"]) as verified:
        assert verified.wait() == 0
    assert b"building:   0%|" in built.written
    assert b"reading:   0%|" in verified.written
    assert b"decoding:   0%|" in verified.written
    assert "%|" not in built.shown().text
    said, result = verified.shown().text.splitlines()
    assert said.endswith("48 images in 1 shards (deep).")
    assert json.loads(result)["whole"]
