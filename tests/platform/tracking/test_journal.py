"""The journal keeps every event, whole lines only, and an epoch once."""

import json
from pathlib import Path
from typing import Any

import pytest

from platform.tracking.journal import Journal, Owner, SentOffset, owner_of, owner_of_final, tag_of
from shards_tools.errors import Error


def begun(trial: Owner) -> dict[str, Any]:
    """The fields of the event that a trial starts with."""
    return {"trial": trial, "name": "row", "params": {"lr": 0.1}, "tags": {}, "time": 1.0}


def test_what_was_appended_is_read_back_in_order(journal: Journal) -> None:
    journal.append("trial", **begun(0))
    journal.append("end", trial=0, state="COMPLETE", reason="", time=2.0)
    events, offset = journal.read()
    assert [event["kind"] for event in events] == ["trial", "end"]
    assert offset == journal.size()


def test_reading_goes_on_behind_the_offset(journal: Journal) -> None:
    journal.append("trial", **begun(0))
    _, offset = journal.read()
    journal.append("trial", **begun(1))
    events, end = journal.read(offset)
    assert [event["trial"] for event in events] == [1]
    assert journal.read(end) == ([], end)


@pytest.mark.parametrize("max_bytes", [1, 100, 250, 10_000])
def test_a_limit_of_bytes_cuts_the_reading_into_whole_lines(journal: Journal, max_bytes: int) -> None:
    for trial in range(5):
        journal.append("trial", **begun(trial))
    found, offset = [], 0
    while offset < journal.size():
        events, after = journal.read(offset, max_bytes)
        assert len(events) == 1 or after - offset <= max_bytes
        found, offset = found + events, after
    assert found == journal.read()[0]
    assert [event["trial"] for event in found] == list(range(5))


def test_a_line_under_way_is_read_once_it_is_complete(journal: Journal) -> None:
    journal.append("trial", **begun(0))
    end = journal.size()
    with journal.path.open("ab") as file:
        file.write(b'{"kind": "metr')
    assert journal.read(max_bytes=1)[1] == journal.read()[1] == end
    assert journal.read(end, max_bytes=4) == ([], end)


def test_the_owners_before_an_offset_are_those_of_the_lines_before_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for trial in (0, owner_of_final(0), 1, 0):  # the last starts again
            journal.append("trial", **begun(trial))
            journal.append("metrics", trial=trial, step=1, time=1.0, values={})
        journal.append("end", trial=1, state="FAIL", reason="", time=2.0)
        with Journal(path) as again:
            for offset in range(journal.size() + 1):
                assert journal.owners_before(offset) == again.owners_before(offset) == begun_before(path, offset)
            assert journal.unended == again.unended == {0, owner_of_final(0)}


def begun_before(path: Path, offset: int) -> set[Owner]:
    """The trials that start in the lines which begin before a byte, read line by line."""
    owners, place = set(), 0
    for line in path.read_bytes().splitlines(keepends=True):
        event = json.loads(line)
        if place < offset and event["kind"] == "trial":
            owners.add(event["trial"])
        place += len(line)
    return owners


def test_an_epoch_is_written_once_even_by_another_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as first:
        first.append("metrics", trial=3, step=1, time=1.0, values={"mAP": 0.5})
    with Journal(path) as second:
        second.append("metrics", trial=3, step=1, time=9.0, values={"mAP": 0.5})
        second.append("metrics", trial=3, step=2, time=9.0, values={"mAP": 0.6})
        events, _ = second.read()
    assert [(event["step"], event["time"]) for event in events] == [(1, 1.0), (2, 9.0)]


def test_a_line_that_a_killed_process_left_torn_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("trial", **begun(0))
    path.write_bytes(path.read_bytes() + b'{"kind": "metr')
    with Journal(path) as journal:
        journal.append("end", trial=0, state="COMPLETE", reason="", time=2.0)
        events, _ = journal.read()
    assert [event["kind"] for event in events] == ["trial", "end"]


def test_the_same_state_of_the_study_is_written_once(journal: Journal) -> None:
    journal.append("study", trial=None, metrics={}, tags={"complete": 2}, checkpoint="", time=1.0)
    journal.append("study", trial=None, metrics={}, tags={"complete": 2}, checkpoint="", time=2.0)
    journal.append("study", trial=None, metrics={}, tags={"complete": 3}, checkpoint="", time=3.0)
    events, _ = journal.read()
    assert [event["tags"]["complete"] for event in events] == [2, 3]


@pytest.mark.parametrize("owner", [7, owner_of_final(7)])
def test_a_run_is_found_by_its_tag_and_the_final_training_of_a_trial_is_not_the_trial(owner: Owner) -> None:
    tags = dict([tag_of(owner)])
    assert owner_of({**tags, "state": "COMPLETE"}) == owner
    assert ("trial" in tags) == (owner == 7), "runs with the tag `trial` are the trials of the study"
    assert owner_of({"state": "COMPLETE"}) is None


def test_a_journal_knows_which_runs_have_started_also_when_it_is_opened_again(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal:
        assert journal.owners == set()
        for owner in (0, owner_of_final(0)):
            journal.append("trial", **begun(owner))
        assert journal.owners == {0, "final-0"}
    with Journal(tmp_path / "journal.jsonl") as again:
        assert again.owners == {0, "final-0"}


DAMAGED = (
    b"\x00" * 40,
    b'{"kind": "metrics", "trial": 0}',
    b'{"kind": "metrics", "trial": 0, "step": 2, "time": 1.0, "values": {"mAP": "high"}}',
    b'{"kind": "end", "trial": 0, "state": "LOST", "reason": "", "time": 1.0}',
    b'{"kind": "unknown", "trial": 0}',
    b'{"kind": "trial", "trial": 0, "name": "row", "params": {"lr": 0.1}, "tags": {}, "ti',
    b"[" * 100_000,
    b"\xff\xfe",
    b"{}",
    b'{"trial": 0}',
    b'{"kind": "study", "trial": 0, "metrics": {"mAP": "x"}, "tags": {}, "checkpoint": null, "time": 1.0}',
    b'{"kind": [], "trial": 0}',
)


def test_what_would_be_read_as_damaged_is_not_written(journal: Journal) -> None:
    with pytest.raises(ValueError, match="not an event"):
        journal.append("end", trial=0, state="LOST", reason="", time=1.0)
    assert journal.size() == 0


def test_damaged_lines_are_reported_once_and_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("trial", **begun(0))
        journal.append("metrics", trial=0, step=1, time=1.0, values={"mAP": 0.5})
    first, last = path.read_bytes().splitlines()
    more = b'{"values": [1], "metrics": 2, ' + first[1:]  # fields that events of this kind do not have
    path.write_bytes(b"\n".join([more, *DAMAGED, last, b""]))
    with Journal(path) as journal:
        events, offset = journal.read()
        assert [event["kind"] for event in events] == ["trial", "metrics"]
        assert offset == journal.size()
        journal.append("metrics", trial=0, step=1, time=9.0, values={"mAP": 0.5})  # known
        assert journal.size() == offset
    assert capsys.readouterr().err == f"{path}: MLflow does not get the events of damaged lines, 12 in number.\n"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"uri": "x"}', '{"uri": "x", "offset": "many"}', "\x00" * 30, "NaN"])
def test_a_damaged_offset_counts_as_nothing_sent(text: str, tmp_path: Path) -> None:
    (tmp_path / "sent.json").write_text(text)
    assert SentOffset(tmp_path / "sent.json", "x").load() == 0


def test_a_link_in_place_of_the_journal_is_refused_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("without an end of line")
    (tmp_path / "journal.jsonl").symlink_to(tmp_path / "precious")
    with pytest.raises(Error, match=r"journal\.jsonl is a link to .*Remove the link"):
        Journal(tmp_path / "journal.jsonl")
    assert (tmp_path / "precious").read_text() == "without an end of line"
