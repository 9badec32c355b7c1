"""The samplers by name; none shows a trace of an interruption."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy.stats import kstest

from platform.resolved_search import ResolvedSearch
from platform.samplers.registry import SAMPLERS
from platform.samplers.rungwise import MIN_RESULTS, RANDOM_SHARE, RungwiseSampler
from platform.trial_record import TrialRecord
from shards_tools.errors import Error
from tests.platform.searches import changed, reseed_for

pytestmark = pytest.mark.integration

RUNGS = (2, 6, 9)


def draw(study: optuna.Study, search: ResolvedSearch, num_trials: int) -> None:
    for _ in range(num_trials):
        reseed_for(study, search)
        trial = study.ask()
        x = trial.suggest_float("x", -5, 5)
        y = trial.suggest_categorical("y", ("a", "b", "c"))
        value = -((x - 1) ** 2) - (y == "a")
        for epoch in range(1, search.setup.longest_epochs + 1):
            trial.report(value, epoch)
        study.tell(trial, value)


@pytest.mark.parametrize("sampler", sorted(set(SAMPLERS) - {"grid"}))
def test_ten_and_eight_trials_of_a_reopened_study_equal_eighteen_in_one_go(
    sampler: str, search: ResolvedSearch
) -> None:
    search = changed(search, sampler=sampler, seed=7)
    undisturbed = optuna.create_study(direction="maximize")
    draw(undisturbed, search, 18)
    storage = optuna.storages.InMemoryStorage()
    draw(optuna.create_study(direction="maximize", study_name="s", storage=storage), search, 10)
    reopened = optuna.load_study(study_name="s", storage=storage)
    draw(reopened, search, 8)
    assert [trial.params for trial in reopened.trials] == [trial.params for trial in undisturbed.trials]
    assert len({tuple(trial.params.values()) for trial in reopened.trials}) == 18


def test_another_seed_draws_other_trials(search: ResolvedSearch) -> None:
    first, second = (optuna.create_study() for _ in range(2))
    for study, seed in ((first, 1), (second, 2)):
        reseed_for(study, changed(search, seed=seed))
        study.ask().suggest_float("x", 0, 1)
    assert first.trials[0].params != second.trials[0].params


def test_a_waiting_trial_is_seeded_by_its_own_number(search: ResolvedSearch) -> None:
    """A row by hand may leave parameters open; they are drawn as they would be however many rows wait behind it."""
    values = []
    for num_behind in (0, 3):
        study = optuna.create_study()
        for _ in range(1 + num_behind):
            study.enqueue_trial({"x": 0.5})
        reseed_for(study, search)
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        values.append(trial.suggest_float("y", 0, 1))
    assert values[0] == values[1]


def add(study: optuna.Study, x: float, values: dict[int, float], **attributes: object) -> None:
    """A trial with a value at some rungs: complete where the last one is among them, else pruned."""
    done = max(RUNGS) in values
    study.add_trial(
        optuna.trial.create_trial(
            state=TrialState.COMPLETE if done else TrialState.PRUNED,
            value=values[max(RUNGS)] if done else None,
            params={"x": x},
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
            intermediate_values=values,
            user_attrs={} if done else {"pruned_at": max(values, default=0), **attributes},
        )
    )


def suggest_x(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", 0, 1)


def proposals(study: optuna.Study, num: int = 80) -> list[float]:
    drawn = []
    for seed in range(num):
        study.sampler = RungwiseSampler(suggest_x, RUNGS, seed=seed)
        trial = study.ask()
        drawn.append(suggest_x(trial))
        study.tell(trial, state=TrialState.FAIL)
    return drawn


def near(values: list[float], center: float) -> float:
    """The share of `values` within 0.15 of `center`."""
    return sum(abs(value - center) < 0.15 for value in values) / len(values)


def test_points_are_random_until_a_rung_has_enough_results() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(MIN_RESULTS - 1):
        add(study, number / MIN_RESULTS, {2: -abs(number / MIN_RESULTS - 0.8)})
    assert kstest(proposals(study), "uniform").pvalue > 0.05
    add(study, 0.8, {2: 0.0})
    assert kstest(proposals(study), "uniform").pvalue < 1e-6


def test_the_highest_rung_with_enough_results_is_learned_from() -> None:
    """At the first rung 0.2 is best, at the second 0.8: only there do the trials that reached it say so."""
    study = optuna.create_study(direction="maximize")
    for number in range(40):
        x = number / 40
        late = {6: -abs(x - 0.8)} if number % 2 else {}
        add(study, x, {2: -abs(x - 0.2), **late})
    assert near(proposals(study), 0.8) > 0.5
    assert near(proposals(study), 0.2) < 0.3


def test_a_survivor_of_a_later_rung_does_not_stand_above_a_better_young_trial() -> None:
    """Optuna's own TPE ranks trials that trained longer first, and stays there; that is why this sampler exists."""
    study = optuna.create_study(direction="maximize")
    for number in range(MIN_RESULTS - 2):
        add(study, 0.2, {2: 0.1, 6: 0.1 + number / 1000})
    for number in range(60):
        add(study, number / 60, {2: 1 - abs(number / 60 - 0.8)})
    ours = near(proposals(study), 0.8)
    theirs = []
    for seed in range(200):
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0)
        trial = study.ask()
        theirs.append(trial.suggest_float("x", 0, 1))
        study.tell(trial, state=TrialState.FAIL)
    assert ours > 0.6
    assert near(theirs, 0.8) < 0.4


def test_settings_that_did_not_train_are_left() -> None:
    """The best values lie at 0.8, beside a corner from 0.85 on where the loss is not finite."""
    study = optuna.create_study(direction="maximize")
    for number in range(40):
        add(study, 0.85 * number / 40, {2: -abs(number / 40 - 0.95)})
    before = sum(value > 0.85 for value in proposals(study)) / 80
    for number in range(20):
        study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.PRUNED,
                params={"x": 0.86 + 0.14 * number / 20},
                distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
                user_attrs={"reason": "The loss is nan."},
            )
        )
    after = sum(value > 0.85 for value in proposals(study)) / 80
    assert before > 0.3
    assert after < before / 2


def test_some_points_stay_random() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(60):
        add(study, number / 60, {2: -abs(number / 60 - 0.8)})
    far = [value for value in proposals(study, 200) if value < 0.4]
    assert len(far) / 200 == pytest.approx(0.4 * RANDOM_SHARE, abs=0.06)


def test_parameters_of_a_branch_are_learned_too() -> None:
    def suggest(trial: optuna.Trial) -> None:
        if trial.suggest_categorical("loss", ("plain", "margin")) == "margin":
            trial.suggest_float("m", 0, 1)

    study = optuna.create_study(direction="maximize")
    for number in range(60):
        params = {"loss": "margin", "m": number / 60} if number % 2 else {"loss": "plain"}
        study.enqueue_trial(params)
        trial = study.ask()
        suggest(trial)
        study.tell(trial, 1 - abs(number / 60 - 0.8) if number % 2 else 0.1)
    drawn = []
    for seed in range(80):
        study.sampler = RungwiseSampler(suggest, RUNGS, seed=seed)
        trial = study.ask()
        suggest(trial)
        drawn.extend([trial.params["m"]] if "m" in trial.params else [])
        study.tell(trial, state=TrialState.FAIL)
    assert len(drawn) > 50
    assert near(drawn, 0.8) > 0.6


def test_what_is_minimized_is_learned_as_well() -> None:
    study = optuna.create_study(direction="minimize")
    for number in range(40):
        add(study, number / 40, {2: abs(number / 40 - 0.8)})
    assert near(proposals(study), 0.8) > 0.6


def test_several_at_a_time_spread() -> None:
    """What runs is believed to come out as foreseen; ten proposals that nothing is known of crowd in one place."""
    rng = np.random.default_rng(0)
    study = optuna.create_study(direction="maximize")
    for number in range(12):
        add(study, number / 12, {2: -((number / 12 - 0.6) ** 2) + 0.05 * rng.normal()})
    alone = np.sort(proposals(study, 12))
    for seed in range(12):
        study.sampler = RungwiseSampler(suggest_x, RUNGS, seed=seed)
        suggest_x(study.ask())
    together = np.sort([trial.params["x"] for trial in study.trials if trial.state == TrialState.RUNNING])
    assert np.median(np.diff(together)) > 2 * np.median(np.diff(alone))


def test_no_point_is_tried_twice_while_there_are_others() -> None:
    def suggest(trial: optuna.Trial) -> tuple[int, str]:
        return trial.suggest_int("n", 1, 10), trial.suggest_categorical("c", ("a", "b", "c"))

    study = optuna.create_study(direction="maximize")
    seen = []
    for seed in range(32):
        study.sampler = RungwiseSampler(suggest, RUNGS, seed=seed)
        trial = study.ask()
        seen.append(suggest(trial))
        study.tell(trial, float(trial.params["n"]))
    assert len(set(seen[:28])) == 28  # of 30; the last two are found by chance
    assert len(seen) == 32


def test_a_grid_visits_every_point_once_and_its_search_ends_there(
    search_of: Callable[..., ResolvedSearch], small_space: Path
) -> None:
    text = small_space.read_text().replace(
        'trial.suggest_float("lr", 1e-4, 1e-2, log=True)', 'trial.suggest_categorical("lr", (1e-4, 1e-3, 1e-2))'
    )
    small_space.write_text(text)
    search = search_of("--sampler", "grid", "--trials", 99)
    assert search.budget.trials == 2 + 6  # two rows by hand, two choices times three
    study = optuna.create_study(direction="maximize")
    seen = []
    for _ in range(6):
        reseed_for(study, search)
        trial = study.ask()
        search.setup.space.recipe(trial, None)
        seen.append(tuple(trial.params.values()))
        study.tell(trial, 0.5)
    assert len(set(seen)) == 6


def test_a_grid_of_a_continuous_parameter_is_refused(search_of: Callable[..., ResolvedSearch]) -> None:
    with pytest.raises(Error, match="--sampler grid: parameter 'lr' of space small is continuous"):
        search_of("--sampler", "grid")


def test_rungs_are_learned_from_under_halving_alone(search_of: Callable[..., ResolvedSearch]) -> None:
    assert search_of().method.sampler == "rungwise"
    assert search_of("--pruner", "median").method.sampler == "tpe"
    with pytest.raises(Error, match=r"--sampler rungwise .* --pruner is median"):
        search_of("--pruner", "median", "--sampler", "rungwise")


@pytest.mark.parametrize("is_trained", [True, False])
def test_only_a_trial_that_was_killed_before_its_training_needs_a_suggestion_at_the_next_start(
    is_trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study(direction="maximize", sampler=RungwiseSampler(suggest_x, RUNGS, seed=0))
    trial = study.ask()
    suggested = suggest_x(trial)
    if is_trained:
        TrialRecord(trial).settings = {"recipe": "transreid-tiny"}
    study.sampler = RungwiseSampler(suggest_x, RUNGS, seed=1)
    asked: list[int] = []
    monkeypatch.setattr(RungwiseSampler, "_next", lambda self, study, trial: asked.append(trial.number))
    assert suggest_x(optuna.Trial(study, trial._trial_id)) == suggested
    assert asked == ([] if is_trained else [0])
