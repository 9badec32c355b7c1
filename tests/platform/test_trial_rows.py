"""Reading a study by rows, or only its outline, gives what Optuna's own reading gives."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from platform.read_only_study import StoredStudy, count
from platform.study_outline import read_outline
from platform.trial_record import StudyRecord, TrialRecord
from platform.trial_rows import RowStorage
from tests.platform.stored_by_hand import database, study_by_hand


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """Two studies in a database; the second has trials in every state, and odd numbers."""
    study_by_hand("other", database(tmp_path))
    study = study_by_hand("own", database(tmp_path))
    study.enqueue_trial({"drop_path": 0.1}, user_attrs={"baseline": "waits"})
    study.enqueue_trial({"drop_path": 0.2})
    TrialRecord(study.ask()).left_out = True
    odd = {1: math.inf, 2: -math.inf, 3: math.nan}
    study.add_trial(
        create_trial(
            value=0.9,
            params={"x": 0.5, "a": 1.0},
            distributions={"x": FloatDistribution(0, 1), "a": FloatDistribution(1, 1)},
            intermediate_values=odd,
            system_attrs={"constraints:gpu_mb": 0.25, "other": [1, {"a": None}]},
        )
    )
    return study


def read(kind: type[RDBStorage], folder: Path, name: str) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name=name, storage=kind(database(folder))).get_trials(deepcopy=False)


@pytest.mark.parametrize("name", ["other", "own"])
def test_trials_read_as_rows_are_those_that_optuna_reads(study: optuna.Study, tmp_path: Path, name: str) -> None:
    own, optunas = read(RowStorage, tmp_path, name), read(RDBStorage, tmp_path, name)
    assert {trial.state for trial in optunas} >= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    assert list(map(content, own)) == list(map(content, optunas))


def content(trial: optuna.trial.FrozenTrial) -> dict[str, object]:
    """All of a trial; the order of its attributes does not matter, that of its parameters does."""
    unordered = {"_user_attrs", "_system_attrs"}
    return {
        # As text, because nan differs from itself.
        key: repr(sorted(value.items())) if key in unordered else repr(value)
        for key, value in vars(trial).items()
    }


def test_several_values_keep_their_order(tmp_path: Path) -> None:
    study = optuna.create_study(
        storage=database(tmp_path), study_name="several", directions=["maximize", "minimize", "minimize"]
    )
    for first in (0.1, 0.2):
        study.add_trial(create_trial(values=[first, 30.0, 0.5]))
    assert [trial.values for trial in read(RowStorage, tmp_path, "several")] == [[0.1, 30.0, 0.5], [0.2, 30.0, 0.5]]


def test_a_study_that_changes_is_read_again(tmp_path: Path) -> None:
    study = study_by_hand("own", database(tmp_path))
    reader = optuna.load_study(study_name="own", storage=RowStorage(database(tmp_path)))
    before = len(reader.get_trials(deepcopy=False))
    study.add_trial(create_trial(value=0.5))
    study.tell(8, state=TrialState.PRUNED)  # which was running
    assert len(reader.get_trials(deepcopy=False)) == before + 1
    assert reader.get_trials(deepcopy=False)[8].state == TrialState.PRUNED


def test_the_outline_is_that_of_all_trials(study: optuna.Study, tmp_path: Path) -> None:
    storage = RowStorage(database(tmp_path))
    for best_by_mean in (None, 4):
        if best_by_mean is not None:
            StudyRecord(study).best_by_mean = best_by_mean
        stored = StoredStudy(study=optuna.load_study(study_name="own", storage=storage))
        outline = read_outline(storage, stored.study)
        assert outline.trials == count(stored)
        assert stored.best is not None
        assert outline.best == stored.best.values[0] == (0.4 if best_by_mean is None else 0.38)
    # Trial 11 has 0.9, but exceeds a limit.


def test_the_outline_of_several_objectives_has_the_best_of_the_first(tmp_path: Path) -> None:
    storage = RowStorage(database(tmp_path))
    study = optuna.create_study(storage=storage, study_name="several", directions=["maximize", "minimize"])
    assert read_outline(storage, study).best is None
    for values, excess in (([0.3, 2.0], -0.5), ([0.2, 1.0], -0.5), ([0.9, 9.0], 0.5)):
        study.add_trial(create_trial(values=values, system_attrs={"constraints:gpu_mb": excess}))
    assert read_outline(storage, study).best == 0.3
    assert StoredStudy(study=study).best.values == [0.3, 2.0]
