"""The best third of a search goes to other folds: which trials, in what order, and how they are ranked.

What trainings report is told by hand; test_folds_killed.py runs the command.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy.stats import wilcoxon

from platform.finalize.after_search import AfterSearch
from platform.finalize.cross_validation import Folds, best_third
from platform.fixed_trials import training_of
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.study import chosen_trial, open_study
from platform.tracking.journal import Journal
from shards_tools.errors import Error
from tests.platform.trainings_by_hand import Value, lucky_third, run_to_the_end, search_by_hand
from trainables.training.trial_report import EarlyEnd, EndReason

NUM_TRIALS = 6


@pytest.fixture
def search(search_of: Callable[..., ResolvedSearch], five_folds: Path) -> ResolvedSearch:
    options = ("--data", five_folds, "--trials", NUM_TRIALS, "--pruner", "none", "--sampler", "random")
    return search_of(*options, "--folds", 3, "--concurrency", 1)


@pytest.fixture
def study(study: optuna.Study, search: ResolvedSearch, journal: Journal, tmp_path: Path) -> optuna.Study:
    """A search that is done."""
    search_by_hand(study, search, journal, lucky_third, tmp_path / "search")
    return study


@pytest.fixture
def go_on(study: optuna.Study, storage: PatientStorage, journal: Journal, tmp_path: Path) -> Callable[..., list[Any]]:
    """One start of the folds of a search, to its end; the configs of the trainings that it ran."""

    def start(search: ResolvedSearch, value: Value = lucky_third) -> list[Any]:
        folds = Folds(study, search, storage, journal)
        folds.enlist()
        trainings = folds.make_trainings()
        of = lambda config: training_of(folds.trainings.trials[config["trial"]]).of  # noqa: E731
        told = lambda config: value(of(config), config["fold"], config["seed"])  # noqa: E731
        return run_to_the_end(trainings, told, tmp_path / "trainings")

    return start


def candidates(storage: PatientStorage, search: ResolvedSearch) -> dict[int, FrozenTrial]:
    study = optuna.load_study(study_name=f"{search.stores.study}-folds", storage=storage)
    return {trial.user_attrs["trial"]: trial for trial in study.trials}


def test_the_best_third_goes_on_and_the_best_paper_row_with_it() -> None:
    study = optuna.create_study(direction="maximize")
    rows = {0: "paper one", 1: "paper two", 5: "hand-set"}
    for number, result in enumerate([0.1, 0.2, 0.8, 0.5, 0.9, 0.3, 0.4]):
        row = {"baseline": rows[number]} if number in rows else {}
        study.add_trial(create_trial(value=result, user_attrs=row))
    study.add_trial(create_trial(value=0.99, state=TrialState.PRUNED))
    assert [trial.number for trial in best_third(study)] == [4, 2, 3, 1]  # a third of seven is three


def test_of_few_trials_two_go_on() -> None:
    study = optuna.create_study(direction="maximize")
    for result in (0.1, 0.2, 0.3):
        study.add_trial(create_trial(value=result))
    assert [trial.number for trial in best_third(study)] == [2, 1]


def test_every_candidate_is_trained_once_on_each_other_fold_with_the_studys_seed(
    go_on: Callable[..., list[Any]], search: ResolvedSearch, study: optuna.Study
) -> None:
    configs = go_on(search)
    assert [(config["fold"], config["seed"]) for config in configs] == [(1, 0), (2, 0)] * 3
    settings = [config["settings"]["lr"] for config in configs[::2]]
    assert settings == [study.trials[number].params["lr"] for number in (3, 2, 0)]  # the best first, then the row
    assert go_on(search) == []


def test_the_ranking_is_by_the_mean_over_folds(
    go_on: Callable[..., list[Any]],
    search: ResolvedSearch,
    study: optuna.Study,
    storage: PatientStorage,
    journal: Journal,
) -> None:
    go_on(search)
    expected = {of: [lucky_third(of, fold, 0) for fold in range(3)] for of in (3, 2, 0)}
    found = candidates(storage, search)
    assert {of: list(found[of].intermediate_values.values()) for of in found} == expected
    assert {of: found[of].values[0] for of in found} == pytest.approx(
        {of: statistics.fmean(values) for of, values in expected.items()}
    )
    after = AfterSearch(study, search, storage, journal)
    after.run(lambda: None)
    best = chosen_trial(study)
    assert best is not None
    assert best.number == 2
    assert [entry["trial"] for entry in after.as_json()["folds"]] == [2, 3, 0]
    assert [entry["std"] for entry in after.as_json()["folds"]] == pytest.approx(
        [statistics.stdev(expected[of]) for of in (2, 3, 0)]
    )


def test_checkpoints_of_other_folds_go_and_that_of_the_search_stays(
    go_on: Callable[..., list[Any]], search: ResolvedSearch, study: optuna.Study, storage: PatientStorage
) -> None:
    go_on(search)
    trainings = optuna.load_study(study_name=f"{search.stores.study}-fold-trainings", storage=storage).trials
    assert not any(Path(training.user_attrs["checkpoint"]).exists() for training in trainings)
    assert all(Path(study.trials[number].user_attrs["checkpoint"]).exists() for number in (3, 2, 0))


def test_mlflow_is_told_each_fold_and_the_mean_on_the_run_of_the_searchs_trial(
    go_on: Callable[..., list[Any]], search: ResolvedSearch, journal: Journal
) -> None:
    go_on(search)
    told = [event for event in journal.read()[0] if event.get("part")]
    assert {event["kind"] for event in told} == {"metrics"}
    assert {event["trial"] for event in told} == {3, 2, 0}
    of_best = [event for event in told if event["trial"] == 2]
    fold = [(event["step"], event["values"]["fold_1_mAP"]) for event in of_best if event["part"] == "fold_1"]
    assert fold == [(epoch, pytest.approx(0.49 * epoch / 4)) for epoch in (1, 2, 3, 4)]
    mean = next(event["values"] for event in of_best if event["part"] == "folds")
    values = [0.5, 0.49, 0.48]
    assert mean["mean_mAP"] == pytest.approx(statistics.fmean(values))
    assert mean["std_mAP"] == pytest.approx(statistics.stdev(values))
    assert mean["mean_cmc_1"] == pytest.approx(statistics.fmean(values) / 2)


def test_a_candidate_that_is_worse_on_four_folds_is_spared_the_fifth_but_no_baseline_is(
    go_on: Callable[..., list[Any]],
    search_of: Callable[..., ResolvedSearch],
    five_folds: Path,
    storage: PatientStorage,
    search: ResolvedSearch,
) -> None:
    five = search_of(
        *("--data", five_folds, "--trials", NUM_TRIALS, "--pruner", "none", "--sampler", "random"),
        *("--folds", 5, "--concurrency", 1),
    )
    steady = lambda of, fold, seed: {0: 0.30, 2: 0.4, 3: 0.6}[of] - 0.01 * fold  # noqa: E731
    go_on(five, lambda of, fold, seed: lucky_third(of, 0, 0) if fold == 0 else steady(of, fold, seed))
    found = candidates(storage, five)
    assert {of: (found[of].state.name, len(found[of].intermediate_values)) for of in found} == {
        3: ("COMPLETE", 5),
        2: ("PRUNED", 4),
        0: ("COMPLETE", 5),
    }
    differences = [found[2].intermediate_values[fold] - found[3].intermediate_values[fold] for fold in range(4)]
    assert wilcoxon(differences, alternative="less").pvalue < 0.1
    assert found[2].user_attrs["reason"] == "worse on 4 folds than the best candidate"


def test_a_training_that_fails_ends_its_candidate_and_the_next_start_tries_it_again(
    study: optuna.Study,
    search: ResolvedSearch,
    storage: PatientStorage,
    journal: Journal,
    go_on: Callable[..., list[Any]],
) -> None:
    folds = Folds(study, search, storage, journal)
    folds.enlist()
    trainings = folds.make_trainings()
    trainings.start("a")
    trainings.end_early("a", EarlyEnd(EndReason.MISTAKE, "a broken disk"))
    trainings.finish("a", died=False)
    failed = candidates(storage, search)[3]
    assert (failed.state, failed.user_attrs["reason"]) == (TrialState.FAIL, "fold 1: a broken disk")
    configs = go_on(search)
    assert len(configs) == 6
    assert candidates(storage, search)[3].state == TrialState.COMPLETE


def test_more_folds_go_on_with_what_is_known(
    go_on: Callable[..., list[Any]],
    search: ResolvedSearch,
    search_of: Callable[..., ResolvedSearch],
    five_folds: Path,
    storage: PatientStorage,
) -> None:
    go_on(search)
    more = search_of(
        *("--data", five_folds, "--trials", NUM_TRIALS, "--pruner", "none", "--sampler", "random"),
        *("--folds", 4, "--concurrency", 1),
    )
    assert [config["fold"] for config in go_on(more)] == [3] * 3
    found = candidates(storage, more)
    assert found[2].values[0] == pytest.approx(statistics.fmean(lucky_third(2, fold, 0) for fold in range(4)))


def test_fewer_folds_than_the_study_has_gone_to_are_refused(
    go_on: Callable[..., list[Any]],
    search: ResolvedSearch,
    search_of: Callable[..., ResolvedSearch],
    five_folds: Path,
    study: optuna.Study,
    storage: PatientStorage,
    journal: Journal,
) -> None:
    go_on(search)
    fewer = search_of("--data", five_folds, "--trials", NUM_TRIALS, "--folds", 2)
    with pytest.raises(
        Error, match=r"--folds 2: the best trials of study .* were trained on 3 folds\. Give at least 3"
    ):
        AfterSearch(study, fewer, storage, journal)


def test_a_search_of_somebody_under_the_name_of_the_folds_is_not_touched(
    search_of: Callable[..., ResolvedSearch],
    search: ResolvedSearch,
    study: optuna.Study,
    storage: PatientStorage,
    journal: Journal,
) -> None:
    open_study(search_of("--study", f"{search.stores.study}-folds"), storage)
    with pytest.raises(Error, match="is a search of its own"):
        Folds(study, search, storage, journal)


def test_more_folds_than_there_are_are_refused(search_of: Callable[..., ResolvedSearch], five_folds: Path) -> None:
    with pytest.raises(Error, match=r"--folds 2: .* has 1 fold"):
        search_of("--folds", 2)
    with pytest.raises(Error, match=r"--folds 6: .* has 5 folds\. Give at most 5"):
        search_of("--data", five_folds, "--folds", 6)
    with pytest.raises(Error, match=r"5 folds, of which --finalists keeps fold 4 for the test\. Give at most 4"):
        search_of("--data", five_folds, "--folds", 5, "--finalists", 1)


def test_what_is_over_a_limit_does_not_go_on_unless_it_is_the_paper_row() -> None:
    study = optuna.create_study(direction="maximize")
    for number, result in enumerate([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]):
        trial = study.ask()
        trial.set_constraint("num_parameters", 0.1 if number in (0, 5) else -0.1)
        if number == 5:
            trial.set_user_attr("baseline", "paper one")
        study.tell(trial, result)
    assert [trial.number for trial in best_third(study)] == [1, 2, 5]


@pytest.mark.parametrize("option", [("--folds", 2), ("--finalists", 1)])
def test_folds_and_finalists_are_ranked_by_one_objective(
    search_of: Callable[..., ResolvedSearch], five_folds: Path, option: tuple[str, int]
) -> None:
    with pytest.raises(Error, match=f"{option[0]} ranks trials by one objective, and --objective names mAP, cmc_1"):
        search_of("--data", five_folds, *option, "--objective", "mAP", "cmc_1")
