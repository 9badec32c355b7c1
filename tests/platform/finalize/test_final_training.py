"""`--final-train`: the best is trained once more on train and val; here trainings report by hand."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from platform.api import load_study
from platform.finalize.after_search import AfterSearch
from platform.finalize.final_training import FinalTraining
from platform.finalize.trainings import Trainings
from platform.protocol import command_for_test
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.runner import Start
from platform.tracking.journal import Journal
from platform.trial_record import TrialRecord
from shards_tools.errors import Error
from tests.platform.searches import changed
from tests.platform.trainings_by_hand import NUM_EPOCHS, report, run_to_the_end, search_by_hand
from trainables.training.trial_report import EarlyEnd, EndReason

NUM_TRIALS = 4
NO_TRACKER: Any = type("NoTracker", (), {"run_id": staticmethod(lambda owner: None)})


@pytest.fixture
def search(search_of: Callable[..., ResolvedSearch]) -> ResolvedSearch:
    options = ("--trials", NUM_TRIALS, "--pruner", "none", "--sampler", "random", "--concurrency", 1, "--seed", 7)
    return search_of(*options, "--final-train")


@pytest.fixture
def study(study: optuna.Study, search: ResolvedSearch, journal: Journal, tmp_path: Path) -> optuna.Study:
    """A search that is done; its best is trial 2."""
    search_by_hand(study, search, journal, lambda of, fold, seed: (0.3, 0.4, 0.6, 0.5)[of], tmp_path / "search")
    return study


@pytest.fixture
def start(
    study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal
) -> Callable[[], FinalTraining]:
    """The final training as a start of the search finds it."""

    def make() -> FinalTraining:
        final = FinalTraining(study, search, storage, journal)
        final.enlist()
        return final

    return make


def run(final: FinalTraining, place: Path) -> list[dict[str, Any]]:
    """Run all that is left of it: the configurations of what ran."""
    return run_to_the_end(final.make_trainings(), lambda config: 0.5, place)


def interrupted(final: FinalTraining, place: Path) -> None:
    """Report two epochs, and no more."""
    trainings = final.make_trainings()
    trainings.start("a")
    place.mkdir()
    for epoch in (1, 2):
        trainings.report("a", report(epoch, 0.5))
        trainings.checkpoint("a", str(place))


def make_best(study: optuna.Study) -> int:
    """Let another trial beat all."""
    study.add_trial(optuna.trial.create_trial(
        value=0.9, params=study.trials[3].params, distributions=study.trials[3].distributions,
        user_attrs={"metrics": {"mAP": 0.9}},
    ))  # fmt: skip
    return study.trials[-1].number


def test_the_best_is_trained_once_on_train_and_val_with_its_own_settings_and_seed(
    start: Callable[[], FinalTraining], study: optuna.Study, search: ResolvedSearch, tmp_path: Path
) -> None:
    (config,) = run(start(), tmp_path / "final")
    assert config["trained_on"] == ["train", "val"]
    assert config["settings"]["lr"] == study.trials[2].params["lr"]
    assert (config["seed"], config["fold"]) == (7, search.setup.fold)
    assert config["settings"].get("epochs", NUM_EPOCHS) == search.setup.longest_epochs
    own = search.setup.config(search.setup.recipe(study.trials[2]), search.resources)
    assert {key for key in own if own[key] != config[key]} == {"trained_on"}
    assert run(start(), tmp_path / "again") == [], "it is done"


def test_the_result_names_the_checkpoint_and_how_to_evaluate_it(
    start: Callable[[], FinalTraining], search: ResolvedSearch, tmp_path: Path
) -> None:
    final = start()
    assert final.as_json(NO_TRACKER) is None
    assert final.lines() == ["The final training is not done. Run the same command again to resume it."]
    run(final, tmp_path / "final")
    found = final.as_json(NO_TRACKER)
    assert found is not None
    assert (found["trial"], found["trained_on"]) == (2, ["train", "val"])
    assert Path(found["checkpoint"]).is_dir()
    words = ["python", "-m", "platform.evaluate", found["checkpoint"], "--data", search.setup.data, "--split", "test"]
    assert shlex.split(found["evaluate"]) == words
    assert found["evaluate"] in final.lines()[1]
    assert found["checkpoint"] in final.lines()[0]
    loaded = load_study(search.stores.study, runs=search.stores.runs).final
    assert loaded is not None
    assert (loaded.trial, loaded.checkpoint) == (2, found["checkpoint"])


def test_of_five_folds_the_kept_one_is_named_and_without_one_none(
    search_of: Callable[..., ResolvedSearch], five_folds: Path
) -> None:
    words = ("--data", five_folds, "--final-train")
    kept = search_of(*words, "--finalists", 1).setup.manifest
    assert (command_for_test("weights", kept) or "").endswith(f" weights --data {five_folds} --split val --fold 4")
    assert command_for_test("weights", search_of(*words).setup.manifest) is None


def test_an_interrupted_training_resumes_from_its_last_epoch(
    start: Callable[[], FinalTraining], tmp_path: Path
) -> None:
    interrupted(start(), tmp_path / "two epochs")
    (config,) = run(start(), tmp_path / "final")
    assert (config["attempt"], config["resume"]) == (2, [str(tmp_path / "two epochs")])


@pytest.mark.parametrize("is_done", [True, False])
def test_a_new_best_is_trained_in_place_of_the_earlier_one(
    is_done: bool, start: Callable[[], FinalTraining], study: optuna.Study, journal: Journal, tmp_path: Path
) -> None:
    run(start(), tmp_path / "first") if is_done else interrupted(start(), tmp_path / "first")
    best = make_best(study)
    final = start()
    assert final.done is None
    (config,) = run(final, tmp_path / "second")
    assert config["resume"] == []
    assert config["settings"]["lr"] == study.trials[3].params["lr"]
    assert final.done is not None
    assert TrialRecord(final.done).trained == best
    states = [trial.state for trial in final.trainings.trials]
    assert states == [TrialState.COMPLETE if is_done else TrialState.PRUNED, TrialState.COMPLETE]
    ends = {event["trial"]: event["state"] for event in journal.read()[0] if event["kind"] == "end"}
    assert ends["final-2"] == states[0].name
    assert [model["trial"] for model in final.models()] == [f"final-{best}"]


def test_mlflow_gets_a_run_of_its_own_with_the_losses(
    start: Callable[[], FinalTraining], search: ResolvedSearch, journal: Journal, tmp_path: Path
) -> None:
    run(start(), tmp_path / "final")
    events = [event for event in journal.read()[0] if event["trial"] == "final-2"]
    assert [event["kind"] for event in events] == ["trial", *["metrics"] * NUM_EPOCHS, "end"]
    assert events[0]["params"]["trained_on"] == events[0]["tags"]["trained_on"] == "train + val"
    assert events[0]["name"] == "trial 2, train + val"
    assert not {"sampler", "pruner"} & events[0]["tags"].keys()
    assert [event["values"]["loss"] for event in events[1:-1]] == [1.0] * NUM_EPOCHS
    assert events[-1]["state"] == "COMPLETE"


def test_a_lost_journal_gets_the_training_back(
    start: Callable[[], FinalTraining],
    study: optuna.Study,
    search: ResolvedSearch,
    storage: PatientStorage,
    tmp_path: Path,
) -> None:
    run(start(), tmp_path / "final")
    with Journal(tmp_path / "lost.jsonl") as journal:
        FinalTraining(study, search, storage, journal)
        events = journal.read()[0]
        assert [(event["kind"], event["trial"]) for event in events] == [
            (kind, "final-2") for kind in ("trial", "metrics", "end")
        ]
        FinalTraining(study, search, storage, journal)
        assert journal.read()[0] == events, "once"


def test_a_training_that_fails_is_named_and_retried(start: Callable[[], FinalTraining], tmp_path: Path) -> None:
    for reason in (EndReason.MISTAKE, EndReason.INFEASIBLE):
        final = start()
        trainings = final.make_trainings()
        trainings.start("a")
        trainings.end_early("a", EarlyEnd(reason, "The loss became NaN."))
        trainings.finish("a", died=False)
        assert trainings.over
        assert (final.as_json(NO_TRACKER), final.models(), final.lines()) == (None, [], [])
        assert str(final.failure) == (
            "--final-train: trial 2, train + val has ended early: The loss became NaN. Run the same command again to"
            " retry it."
        )
    final = start()
    run(final, tmp_path / "final")
    assert final.done is not None
    assert final.failure is None


def test_a_search_whose_final_training_fails_ends_with_its_reason(
    study: optuna.Study,
    search: ResolvedSearch,
    storage: PatientStorage,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: FinalTraining, trainings: Trainings, hours: float | None) -> None:
        trainings.start("a")
        trainings.end_early("a", EarlyEnd(EndReason.MISTAKE, "Its weights are gone."))
        trainings.finish("a", died=False)

    monkeypatch.setattr(FinalTraining, "run", fail)
    after = AfterSearch(study, search, storage, journal)
    after.run(lambda: None)
    with pytest.raises(Error, match=r"trial 2, train \+ val has ended early: Its weights are gone\. Run the same"):
        Start(summary={}, without_final=after.failure).raise_if_stopped()


def test_a_search_without_a_complete_trial_says_so_and_trains_nothing(
    search: ResolvedSearch, storage: PatientStorage, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    study = optuna.create_study(study_name="empty", storage=storage, direction="maximize")
    after = AfterSearch(study, search, storage, journal)
    after.run(lambda: pytest.fail("Ray starts"))
    assert "--final-train: no trial of study empty is complete" in capsys.readouterr().err
    assert (after.final_as_json(NO_TRACKER), after.lines(), after.failure) == (None, [], None)


def test_another_start_may_leave_the_option_out_or_add_it(
    study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Journal
) -> None:
    without = changed(search, final_train=False)
    assert without.identity() == search.identity()
    after = AfterSearch(study, without, storage, journal)
    after.run(lambda: pytest.fail("Ray starts"))
    assert after.final_as_json(NO_TRACKER) is None


def test_its_lines_show_the_loss_and_no_percent(
    start: Callable[[], FinalTraining], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(start(), tmp_path / "final")
    lines = [line for line in capsys.readouterr().err.splitlines() if "epoch" in line]
    assert len(lines) == NUM_EPOCHS
    assert lines[0].split() == ["trial", "2,", "train", "+", "val", "epoch", "1/4", "loss", "1.000", "9", "images/s"]
