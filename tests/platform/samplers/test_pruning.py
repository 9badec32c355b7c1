"""Who is asked to stop, and when: decisions of the study's own pruner, with the rows by hand protected."""

import optuna
import pytest

from platform.samplers.pruning import make_pruner, rungs_of, should_stop
from platform.samplers.registry import PRUNERS

NUM_EPOCHS = 9


@pytest.fixture
def study() -> optuna.Study:
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
    return optuna.create_study(direction="maximize", pruner=pruner)


def run(study: optuna.Study, value: float, baseline: str | None = None) -> int:
    """Report the same value at every epoch; the epoch at which the trial ended."""
    trial = study.ask()
    if baseline:
        trial.set_user_attr("baseline", baseline)
    for epoch in range(1, NUM_EPOCHS + 1):
        trial.report(value, epoch)
        if should_stop(trial, epoch, NUM_EPOCHS):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return epoch
    study.tell(trial, value)
    return NUM_EPOCHS


def test_a_bad_trial_ends_at_the_first_rung(study: optuna.Study) -> None:
    assert [run(study, value) for value in (0.5, 0.4, 0.3)] == [NUM_EPOCHS, 2, 2]


def test_a_baseline_runs_to_the_end_however_bad(study: optuna.Study) -> None:
    run(study, 0.5)
    assert run(study, 0.01, baseline="row") == NUM_EPOCHS
    assert study.trials[1].state == optuna.trial.TrialState.COMPLETE
    assert study.trials[1].user_attrs["spared_at"] == 2


def test_a_bad_baseline_lets_no_mediocre_trial_pass(study: optuna.Study) -> None:
    """Six rows below the best one reach the end; they count only in the first rung, so no later trial profits."""
    run(study, 0.5, baseline="good")
    for number in range(6):
        run(study, 0.01, baseline=f"bad {number}")
    assert all(run(study, 0.03 - 0.001 * number) < NUM_EPOCHS for number in range(6))


def test_nobody_is_asked_at_the_last_epoch() -> None:
    """With 6 = 2 x 3 epochs the last one is a rung; a trial that got there is complete."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=2, reduction_factor=3)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for value in (0.5, 0.9, 0.4):
        trial = study.ask()
        trial.report(value, 6)
        assert not should_stop(trial, 6, last_step=6)


@pytest.mark.parametrize(
    ("epochs", "warmup", "rungs"),
    [(52, 0, [2, 6, 18]), (120, 10, [10, 30, 90]), (9, 2, [2, 6]), (4, 0, [2]), (2, 0, []), (3, 5, [])],
)
def test_rungs_are_thirds_behind_the_warm_up_and_then_comes_the_end(epochs: int, warmup: int, rungs: list[int]) -> None:
    assert rungs_of(epochs, warmup) == [*rungs, epochs]


@pytest.mark.integration
@pytest.mark.parametrize("name", sorted(set(PRUNERS) - {"none"}))
def test_every_pruner_ends_a_bad_trial_and_leaves_the_best_alone(name: str) -> None:
    """A bad trial is far below the others and gets worse; hyperband may put one into a bracket that waits longer."""
    rungs = rungs_of(30, warmup=0)
    study = optuna.create_study(direction="maximize", study_name="s", pruner=make_pruner(name, rungs))
    ends = {}
    for number in range(12):
        trial = study.ask()
        bad = number >= 6
        for epoch in range(1, 31):
            value = -epoch / 100 if bad else 0.5 + number / 100 + epoch / 100
            trial.report(value, epoch)
            if should_stop(trial, epoch, 30):
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, value)
        ends[number] = epoch
    assert ends[5] == 30
    assert any(ends[number] < 30 for number in range(6, 12))
    assert all(ends[number] >= rungs[0] for number in ends)


def test_no_pruner_ends_nothing() -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner("none", rungs_of(NUM_EPOCHS, warmup=0)))
    assert [run(study, value) for value in (0.5, 0.4, 0.3)] == [NUM_EPOCHS] * 3
