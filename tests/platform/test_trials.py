"""The books of one start: attempts, reports and endings, told by hand where Tune would tell them."""

import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from platform.budgets import gpu_hours
from platform.checkpoints import folder_of_bucket
from platform.resolved_search import ResolvedSearch
from platform.terminal.lines import Display
from platform.tracking.journal import Journal
from platform.trials import MAX_ATTEMPTS_WITHOUT_PROGRESS, Trials
from tests.platform.searches import changed, met
from trainables.training.trial_report import TrialReport

NUM_EPOCHS = 4


@pytest.fixture
def trials(study: optuna.Study, search: ResolvedSearch, journal: Journal) -> Trials:
    return next_start(study, changed(search, concurrency=2), journal)


def next_start(study: optuna.Study, search: ResolvedSearch, journal: Journal) -> Trials:
    return Trials(study, search, journal, Display(study, search.goal))


def epoch(step: int, value: float = 0.5, **more: float) -> TrialReport:
    metrics = {"epoch": step, "mAP": value, "loss": 1.0, "images_per_second": 9.0, "time": time.time()}
    return TrialReport(metrics={**metrics, **more})


def interrupt(*_: object) -> None:
    raise InterruptedError


def run_to_the_end(trials: Trials, attempt: str) -> None:
    for step in range(1, NUM_EPOCHS + 1):
        if not trials.report(attempt, epoch(step)):
            break
    trials.finish(attempt, died=False)


def test_no_more_attempts_run_than_there_is_room_for(trials: Trials) -> None:
    configs = [trials.start(f"attempt {number}") for number in range(3)]
    assert [config is None for config in configs] == [False, False, True]


def test_no_more_trials_are_asked_for_than_are_wanted(
    study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    trials = next_start(study, changed(search, trials=1, concurrency=4), journal)
    assert trials.start("a") is not None
    assert trials.start("b") is None
    run_to_the_end(trials, "a")
    assert trials.done
    assert len(study.get_trials(states=(TrialState.COMPLETE,))) == 1


def test_what_an_attempt_says_after_its_end_is_dropped(trials: Trials, study: optuna.Study) -> None:
    trials.start("old")
    trials.report("old", epoch(1, 0.1))
    trials.finish("old", died=True)
    trials.start("new")
    assert not trials.report("old", epoch(2, 0.9))
    trials.checkpoint("old", "/a/checkpoint/of/the/old/one")
    assert study.trials[0].intermediate_values == {1: 0.1}
    assert "checkpoint" not in study.trials[0].user_attrs


def test_an_epoch_that_is_reported_again_changes_nothing(trials: Trials, study: optuna.Study, journal: Journal) -> None:
    trials.start("a")
    trials.report("a", epoch(1, 0.1))
    size = journal.size()
    assert trials.report("a", epoch(1, 0.7))
    assert study.trials[0].intermediate_values == {1: 0.1}
    assert journal.size() == size


def test_the_next_attempt_starts_from_the_noted_checkpoint(trials: Trials, study: optuna.Study, tmp_path: Path) -> None:
    first = trials.start("a")
    assert first is not None
    assert first["resume"] == []
    trials.report("a", epoch(1))
    trials.checkpoint("a", str(tmp_path))
    trials.finish("a", died=True)
    second = trials.start("b")
    assert second is not None
    assert (second["trial"], second["attempt"], second["resume"]) == (first["trial"], 2, [str(tmp_path)])


def test_a_checkpoint_that_is_gone_means_a_fresh_training(trials: Trials, tmp_path: Path) -> None:
    trials.start("a")
    trials.checkpoint("a", str(tmp_path / "gone"))
    trials.finish("a", died=True)
    second = trials.start("b")
    assert second is not None
    assert second["resume"] == []


def test_a_trial_that_dies_again_and_again_in_one_epoch_has_failed(trials: Trials, study: optuna.Study) -> None:
    for number in range(MAX_ATTEMPTS_WITHOUT_PROGRESS):
        assert study.trials[0].state != TrialState.FAIL
        trials.start(f"attempt {number}")
        trials.finish(f"attempt {number}", died=True)
    assert study.trials[0].state == TrialState.FAIL
    assert study.trials[0].user_attrs["reason"].startswith("Its process died 3 times in epoch 1. If memory ran out, ")


def test_a_death_after_progress_counts_from_one_again(trials: Trials, study: optuna.Study) -> None:
    for number in range(NUM_EPOCHS):
        trials.start(f"attempt {number}")
        if number:
            trials.report(f"attempt {number}", epoch(number))
        trials.finish(f"attempt {number}", died=True)
    assert study.trials[0].state == TrialState.RUNNING


def test_an_objective_that_is_not_a_number_fails_the_trial(trials: Trials, study: optuna.Study) -> None:
    trials.start("a")
    assert not trials.report("a", epoch(1, float("nan")))
    trials.finish("a", died=False)
    assert (study.trials[0].state, study.trials[0].user_attrs["reason"]) == (TrialState.FAIL, "mAP is nan")


def test_a_running_trial_is_gone_on_with_though_enough_have_finished(
    trials: Trials, study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    trials.start("a")
    trials.start("b")
    run_to_the_end(trials, "b")
    smaller = next_start(study, changed(search, trials=1), journal)
    assert not smaller.done
    config = smaller.start("c")
    assert config is not None
    assert config["trial"] == 0
    assert smaller.start("d") is None
    run_to_the_end(smaller, "c")
    assert smaller.done
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}


def test_a_trial_that_was_to_be_pruned_when_its_driver_was_killed_is_pruned_by_the_next(
    trials: Trials, study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    trials.start("a")
    trials.report("a", epoch(1, 0.1))
    optuna.Trial(study, study.trials[0]._trial_id).set_user_attr("pruned_at", 1)
    next_start(study, search, journal)
    assert study.trials[0].state == TrialState.PRUNED


@pytest.mark.parametrize(("pruned_at", "num_kept"), [(NUM_EPOCHS, 0), (None, 1)], ids=["pruned", "complete"])
def test_no_checkpoint_is_left_by_a_start_that_is_killed_once_the_end_is_stored(
    trials: Trials, study: optuna.Study, monkeypatch: pytest.MonkeyPatch, pruned_at: int | None, num_kept: int
) -> None:
    trials.start("a")
    folders = [trials.stores.folder / f"start-001/trial-0000-1/checkpoint_{number:06d}" for number in (2, 3)]
    for folder in folders:
        folder.mkdir(parents=True)
    for step in range(1, NUM_EPOCHS + 1):
        trials.report("a", epoch(step))
    trials.checkpoint("a", str(folders[-1]))
    optuna.Trial(study, study.trials[0]._trial_id).set_user_attr("pruned_at", pruned_at)
    monkeypatch.setattr(trials.failed, "count", interrupt)  # the first call after `Study.tell`
    with pytest.raises(InterruptedError):
        trials.finish("a", died=False)
    assert study.trials[0].state.is_finished()
    assert sum(folder.exists() for folder in folders) == num_kept


def test_a_checkpoint_within_an_epoch_is_kept_and_is_no_step(
    trials: Trials, study: optuna.Study, tmp_path: Path
) -> None:
    trials.start("a")
    assert trials.report("a", TrialReport())
    trials.checkpoint("a", str(tmp_path))
    trials.finish("a", died=True)
    assert study.trials[0].intermediate_values == {}
    again = trials.start("b")
    assert again is not None
    assert again["resume"] == [str(tmp_path)]


def test_how_a_trial_reads_its_images_is_noted_once(trials: Trials, study: optuna.Study, journal: Journal) -> None:
    config = trials.start("a")
    assert config is not None
    assert config["reading"] == "auto"
    for step in (1, 2):
        trials.report("a", replace(epoch(step), reading="offset"))
    assert study.trials[0].user_attrs["reading"] == "offset"
    tags = [event for event in journal.read()[0] if event["kind"] == "tag"]
    assert [(event["trial"], event["key"], event["value"]) for event in tags] == [(0, "reading", "offset")]


def ended_by(study: optuna.Study, search: ResolvedSearch, journal: Journal, values: list[float]) -> int:
    """Runs trials of these values to their end, one at a time, until none is started; how many there were."""
    trials = next_start(study, changed(search, concurrency=1, pruner="none", trials=99), journal)
    for number, value in enumerate(values):
        if trials.start(f"attempt {number}") is None:
            return number
        for step in range(1, NUM_EPOCHS + 1):
            trials.report(f"attempt {number}", epoch(step, value))
        trials.finish(f"attempt {number}", died=False)
    return len(values)


def test_no_trial_is_started_once_the_target_is_reached(
    study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    study.pruner = optuna.pruners.NopPruner()
    search = changed(search, target=0.6)
    assert ended_by(study, search, journal, [0.5, 0.59, 0.6, 0.9]) == 3
    assert met(study, search) == "trial 2 has reached --target 0.6"
    assert met(study, changed(search, target=0.7)) is None


def test_no_trial_is_started_once_patience_is_over(
    study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    study.pruner = optuna.pruners.NopPruner()
    search = changed(search, patience=3)
    assert ended_by(study, search, journal, [0.5, 0.4, 0.6, 0.6, 0.5, 0.55, 0.9]) == 6
    assert "since trial 2 were no better" in str(met(study, search))


def test_hours_of_gpus_are_counted_over_starts_and_end_a_trial_in_its_middle(
    study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    """Two GPUs for each trial, half an hour an epoch: one hour of GPUs each."""
    search = changed(search, gpus_per_rank=1.0, ranks_per_trial=2, gpu_hours=6.0, concurrency=1)
    for number, steps in enumerate(((1, 2), (3, 4))):
        trials = next_start(study, search, journal)
        assert trials.start(f"attempt {number}") is not None
        for step in steps:
            trials.report(f"attempt {number}", epoch(step, seconds=1800.0))
        assert not trials.stopping
        if step == NUM_EPOCHS:
            trials.finish(f"attempt {number}", died=False)
    assert gpu_hours(study, search.resources.gpus_per_trial) == 4.0
    trials.start("attempt 2")
    for step in (1, 2):
        trials.report("attempt 2", epoch(step, seconds=1800.0))
    assert trials.stopping
    assert next_start(study, search, journal).done
    assert not next_start(study, changed(search, gpu_hours=7.0), journal).done


def test_after_ctrl_c_attempts_finish_their_epoch_and_no_other_begins(trials: Trials, study: optuna.Study) -> None:
    trials.start("a")
    trials.report("a", epoch(1))
    trials.interrupted = True
    assert not trials.ends_now
    assert trials.done
    assert not trials.report("a", epoch(2))
    trials.finish("a", died=False)
    assert trials.ends_now
    assert study.trials[0].state == TrialState.RUNNING
    assert list(study.trials[0].intermediate_values) == [1, 2]


def test_after_ctrl_c_twice_nothing_is_waited_for(trials: Trials) -> None:
    trials.start("a")
    trials.interrupted = trials.hurried = True
    assert trials.ends_now


def test_attempts_of_a_study_have_folders_of_their_own_in_the_bucket(
    study: optuna.Study, search: ResolvedSearch, journal: Journal
) -> None:
    in_bucket = changed(search, checkpoints="s3://bucket/kept", concurrency=2)
    configs = [next_start(study, in_bucket, journal).start("a") for _ in range(2)]
    first, second = (config["bucket"] for config in configs if config)
    own = folder_of_bucket(study, "s3://bucket/kept")
    assert own is not None
    assert own.startswith(f"s3://bucket/kept/{search.stores.study}-")
    assert (first, second) == (f"{own}/trial-0000/attempt-1", f"{own}/trial-0000/attempt-2")
    assert folder_of_bucket(optuna.create_study(study_name=search.stores.study), "s3://bucket/kept") != own


def test_a_rung_that_a_killed_start_did_not_reach_gets_the_value_of_its_epoch(
    study: optuna.Study, search: ResolvedSearch, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next_start(study, search, journal)
    first.start("killed")
    first.report("killed", epoch(1, 0.1))
    monkeypatch.setattr("platform.trials.should_stop", lambda *_: False)  # dies before the pruner is asked
    first.report("killed", epoch(2, 0.2))
    monkeypatch.undo()
    again = next_start(study, search, journal)
    again.start("resumed")
    again.report("resumed", epoch(2, 0.2))
    again.report("resumed", epoch(3, 0.9))
    trial = study.get_trials()[0]
    assert trial.system_attrs["completed_rung_0"] == 0.2
