"""What a new journal says of a study that another machine has begun."""

from pathlib import Path

import optuna
from optuna.trial import TrialState

from platform.fixed_trials import leave_out
from platform.resolved_search import ResolvedSearch
from platform.terminal.lines import Display
from platform.tracking.events import rebuild
from platform.tracking.journal import Journal
from platform.trials import Trials
from trainables.training.trial_report import TrialReport


def test_a_new_journal_is_told_of_every_trial_but_what_waits(
    study: optuna.Study, search: ResolvedSearch, journal: Journal, tmp_path: Path
) -> None:
    trials = Trials(study, search, journal, Display(study, search.goal))
    for name, num_epochs in (("complete", 4), ("runs", 2)):
        assert trials.start(name) is not None
        for step in range(1, num_epochs + 1):
            values = {"mAP": 0.1 * step, "loss": 1.0, "seconds": 2.0, "images_per_second": 9.0}
            trials.report(name, TrialReport(metrics={"epoch": step, "time": 100.0 + step, **values}))
        if num_epochs == 4:
            trials.finish(name, died=False)
    study.enqueue_trial({"lr": 1e-3, "erase_probability": 0.0})
    with Journal(tmp_path / "new.jsonl") as new:
        rebuild(study, search.setup, search.method, new)
        told, _ = new.read()
        rebuild(study, search.setup, search.method, new)
        assert new.read()[0] == told
    before, _ = journal.read()
    last = {event["trial"]: event for event in before if event["kind"] == "metrics"}
    expected = []
    for number, state in ((0, TrialState.COMPLETE), (1, TrialState.RUNNING)):
        expected.append(next(event for event in before if event["kind"] == "trial" and event["trial"] == number))
        expected.append(last[number])
        if state == TrialState.COMPLETE:
            expected.append(next(event for event in before if event["kind"] == "end"))
    assert [without_time(event) for event in told] == [without_time(event) for event in expected]
    assert all(event["time"] > 1e9 for event in told)


def test_a_training_that_was_left_out_is_not_told(
    study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    study.enqueue_trial({"lr": 1e-3, "erase_probability": 0.0})
    leave_out(study, study.get_trials(states=(TrialState.WAITING,)))
    rebuild(study, search.setup, search.method, journal)
    assert journal.read()[0] == []


def test_a_trial_that_was_asked_for_and_got_no_suggestion_is_left_to_the_next_attempt(
    study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    """The driver was killed between the two; no event of it was written yet."""
    study.ask()
    rebuild(study, search.setup, search.method, journal)
    assert journal.read()[0] == []
    config = Trials(study, search, journal, Display(study, search.goal)).start("a")
    assert config is not None
    assert (
        [(event["kind"], event["trial"]) for event in journal.read()[0]]
        == [("trial", config["trial"])]
        == [("trial", 0)]
    )


def without_time(event: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in event.items() if key != "time"}
