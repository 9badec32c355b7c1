"""The journal keeps every event, whole lines only, and an epoch once."""

from pathlib import Path

import pytest

from platform.tracking.journal import Journal, Owner, owner_of, owner_of_final, tag_of


def test_what_was_appended_is_read_back_in_order(journal: Journal) -> None:
    journal.append("trial", trial=0)
    journal.append("end", trial=0)
    events, offset = journal.read()
    assert [event["kind"] for event in events] == ["trial", "end"]
    assert offset == journal.size()


def test_reading_goes_on_behind_the_offset(journal: Journal) -> None:
    journal.append("trial", trial=0)
    _, offset = journal.read()
    journal.append("trial", trial=1)
    events, end = journal.read(offset)
    assert [event["trial"] for event in events] == [1]
    assert journal.read(end) == ([], end)


def test_a_limit_cuts_the_reading_in_two(journal: Journal) -> None:
    for trial in range(3):
        journal.append("trial", trial=trial)
    first, offset = journal.read(limit=2)
    rest, _ = journal.read(offset, limit=2)
    assert [event["trial"] for event in first + rest] == [0, 1, 2]
    assert len(first) == 2


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
    path.write_bytes(b'{"kind": "trial", "trial": 0}\n{"kind": "metr')
    with Journal(path) as journal:
        journal.append("end", trial=0)
        events, _ = journal.read()
    assert [event["kind"] for event in events] == ["trial", "end"]


def test_the_same_state_of_the_study_is_written_once(journal: Journal) -> None:
    journal.append("study", tags={"complete": 2}, time=1.0)
    journal.append("study", tags={"complete": 2}, time=2.0)
    journal.append("study", tags={"complete": 3}, time=3.0)
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
            journal.append("trial", trial=owner)
        assert journal.owners == {0, "final-0"}
    with Journal(tmp_path / "journal.jsonl") as again:
        assert again.owners == {0, "final-0"}
