"""A study that was interrupted draws what the undisturbed one would have drawn."""

import optuna

from platform.sampling import reseed


def draw(study: optuna.Study, num_trials: int) -> None:
    for _ in range(num_trials):
        reseed(study, 7)
        trial = study.ask()
        x = trial.suggest_float("x", -5, 5)
        y = trial.suggest_categorical("y", ("a", "b", "c"))
        study.tell(trial, -((x - 1) ** 2) - (y == "a"))


def test_six_and_eight_trials_of_a_reopened_study_equal_fourteen_in_one_go() -> None:
    undisturbed = optuna.create_study(direction="maximize")
    draw(undisturbed, 14)
    storage = optuna.storages.InMemoryStorage()
    draw(optuna.create_study(direction="maximize", study_name="s", storage=storage), 6)
    reopened = optuna.load_study(study_name="s", storage=storage)
    draw(reopened, 8)
    assert [trial.params for trial in reopened.trials] == [trial.params for trial in undisturbed.trials]
    assert len({tuple(trial.params.values()) for trial in reopened.trials}) == 14


def test_another_seed_draws_other_trials() -> None:
    first, second = (optuna.create_study() for _ in range(2))
    for study, seed in ((first, 1), (second, 2)):
        reseed(study, seed)
        study.ask().suggest_float("x", 0, 1)
    assert first.trials[0].params != second.trials[0].params


def test_a_waiting_trial_is_seeded_by_its_own_number() -> None:
    """A row by hand may leave parameters open; they are drawn as they would be however many rows wait behind it."""
    values = []
    for num_behind in (0, 3):
        study = optuna.create_study()
        for _ in range(1 + num_behind):
            study.enqueue_trial({"x": 0.5})
        reseed(study, 0)
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        values.append(trial.suggest_float("y", 0, 1))
    assert values[0] == values[1]
