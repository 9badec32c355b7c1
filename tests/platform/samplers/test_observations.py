"""What a sampler sees of a study, looked at trial by trial, is what a look at all trials at once shows."""

import random

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from platform.samplers.observations import Observer, point_key
from platform.trial_record import TrialRecord

RUNGS = (1, 3)
X = FloatDistribution(0, 1)


def a_trial(number: int, state: TrialState, rng: random.Random) -> FrozenTrial:
    values = {epoch: rng.random() for epoch in range(1, rng.randrange(1, 5))}
    attributes = TrialRecord.attributes(**({"pruned_at": 1} if rng.random() < 0.5 else {}))
    trial = create_trial(
        state=state,
        value=rng.random() if state == TrialState.COMPLETE else None,
        params={"x": round(rng.random(), 1)},
        distributions={"x": X},
        intermediate_values=values,
        user_attrs=attributes,
    )
    trial.number = number
    return trial


def at(rung: int, trials: list[FrozenTrial]) -> list[tuple[int, float]]:
    found = []
    for trial in trials:
        final = trial.value if trial.state == TrialState.COMPLETE else None
        value = trial.intermediate_values.get(rung, final)
        if value is not None:
            found.append((trial.number, value))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_trials_that_end_in_any_order_are_seen_once_and_in_the_order_of_their_numbers(seed: int) -> None:
    rng = random.Random(seed)
    trials = [a_trial(number, TrialState.RUNNING, rng) for number in range(30)]
    observer = Observer(RUNGS)
    for number in rng.sample(range(29), 29):
        trials[number] = a_trial(number, rng.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]), rng)
        seen, shown = observer.observe(trials, without=29), trials[:29]
        for rung in RUNGS:
            assert [(trial.number, value) for trial, value in seen.results[rung]] == at(rung, shown)
        early = [one for one in shown if one.state == TrialState.PRUNED and TrialRecord(one).pruned_at is None]
        assert [trial.number for trial in seen.useless] == [trial.number for trial in early]
        assert seen.running == [trial.params for trial in shown if trial.state == TrialState.RUNNING]
        assert seen.points == {point_key(trial.params) for trial in shown}


def test_a_key_tells_parameters_of_other_names_apart_and_ignores_their_order() -> None:
    assert point_key({"x": 1, "y": 2}) == point_key({"y": 2, "x": 1})
    assert len({point_key({"x": 1}), point_key({"y": 1}), point_key({"x": 2}), point_key({})}) == 4
