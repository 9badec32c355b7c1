"""The Optuna study, which holds all state of a search; each start checks that it continues the same search."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import sqlalchemy.exc
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from platform.databases import sqlite_file
from platform.objectives import directions
from platform.resilient_storage import PatientStorage, cause_of, open_database
from platform.samplers.pruning import make_pruner
from platform.spaces.constraints import is_over
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import command_line
from shards_tools.errors import Error, reason_of
from shards_tools.plugins import changed_plugins, plugin_hashes, shown_name
from trainables.recipes.settings import as_stored, with_current_names

if TYPE_CHECKING:
    from platform.resolved_search import ResolvedSearch
    from platform.spaces.loading import Space
    from platform.training_setup import TrainingSetup

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
MAX_COMPARED = 500  # finished trials whose settings a start compares with the space's; each takes a millisecond


def open_study(search: ResolvedSearch, storage: PatientStorage) -> optuna.Study:
    """Open the study of a search, or create it, and enqueue the baselines that it lacks.

    Raises:
        Error: the study was started with other options, another space or other code.
    """
    study = optuna.create_study(
        study_name=search.stores.study,
        storage=storage,
        directions=directions(search.goal.objectives),
        load_if_exists=True,
        pruner=make_pruner(search.method.pruner, search.setup.rungs),
    )
    check_same_search(study, search)
    check_same_settings(study, search.setup)
    _check_same_code(study, search.setup.plugins)
    _enqueue_baselines(study, search.setup.space)
    return study


def looking_once(study: optuna.Study) -> AbstractContextManager[None]:
    """Look for what other programs have changed in the study only once, inside the context."""
    assert isinstance(study._storage, PatientStorage)
    return study._storage.looking_once()


def open_storage(url: str, option: str = "--storage", *, read_only: bool = False) -> PatientStorage:
    """Open the database at `url`; the folder of an SQLite file is created if it is missing.

    Args:
        url: the address of the database.
        option: takes such an address, for the error message.
        read_only: create and change nothing.

    Raises:
        NoStudies: the database is only read, and has no tables yet.
        Error: the database cannot be used, is another program's, or has another version.
    """
    try:
        file = sqlite_file(url)
        if file and not read_only:
            file.parent.mkdir(parents=True, exist_ok=True)
        return PatientStorage(open_database(url, option, read_only=read_only))
    except (OSError, ImportError, ValueError, sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise Error(
            f"Optuna's database {url} cannot be used: {cause_of(error)}. "
            f"Give {option} sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME."
        ) from None


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """Return the completed trial with the highest value, the earliest in a tie; None if no trial is complete.

    A trial over a limit of --at-most is never the best. With several objectives, the best is the trial of the Pareto
    front with the highest value of the first objective.
    """
    if len(study.directions) > 1:
        return next(iter(front(study)), None)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    allowed = (trial for trial in complete if not is_over(trial))
    return max(allowed, key=lambda trial: (trial.values[0], -trial.number), default=None)


def front(study: optuna.Study) -> list[FrozenTrial]:
    """Return the Pareto front: the completed trials that no other trial dominates.

    They are sorted by the first objective, then by number. Optuna leaves out trials that exceed a limit.
    """
    return sorted(study.best_trials, key=lambda trial: (-trial.values[0], trial.number))


def last_improvement(study: optuna.Study) -> FrozenTrial | None:
    """Return the last trial that improved the result: the best or, with several objectives, the newest of the front."""
    if len(study.directions) == 1:
        return best_trial(study)
    return max(front(study), key=lambda trial: (trial.datetime_complete, trial.number), default=None)


def chosen_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """Return the best trial by its mean over folds, if there was a cross-validation, else by its value."""
    number = StudyRecord(study).best_by_mean
    return best_trial(study) if number is None else study.get_trials(deepcopy=False)[number]


def final_training(study: optuna.Study, trainings: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the completed training of the best trial among those of --final-train; None if there is none."""
    best = chosen_trial(study)
    number = None if best is None else best.number
    done = [one for one in trainings if one.state == TrialState.COMPLETE and TrialRecord(one).trained == number]
    return done[-1] if done else None


def num_finished(study: optuna.Study) -> int:
    """Return the number of trials that count for --trials: completed and pruned ones."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def check_same_search(study: optuna.Study, search: ResolvedSearch) -> None:
    """Record the options of the search on its first start; on every later start, refuse different ones.

    Raises:
        Error: another command started the study, or an option or the space differs from the first start's.
    """
    space, identity = search.setup.space, search.identity()
    wanted: dict[str, Any] = {**identity, "distributions": dict(space.distributions)}
    record = StudyRecord(study)
    stored = record.search
    if not stored:
        record.kind, record.search = space.kind, wanted
        return
    if record.kind != space.kind:
        raise _of_another_command(study)
    for key, value in identity.items():
        if stored.get(key) != value:
            now, before = ("not given" if one is None else one for one in (value, stored.get(key)))
            option = "TABLE" if key == "space" and space.kind == "Table" else f"--{key}"
            raise Error(
                f"{option} is {now}, but study {study.study_name} was started with {before}. "
                f"Use the same value, or start another study with --study NAME."
            )
    for key in sorted(stored["distributions"].keys() | wanted["distributions"].keys()):
        before, now = stored["distributions"].get(key), wanted["distributions"].get(key)
        if before != now:
            raise Error(
                f"{space.kind} {space.name} has changed since study {study.study_name} was started: {key} was "
                f"{_range(before)}, now it is {_range(now)}. Start another study with --study NAME."
            )


def check_same_settings(study: optuna.Study, setup: TrainingSetup) -> None:
    """Refuse a space that gives other settings for the parameters of a stored trial, such as an edited constant.

    Failed trials are left out, so that a space that let them fail can be corrected. Of many finished ones, MAX_COMPARED
    are compared, spread over the study. The recipes of a paper's table are compared by row; see
    paper_tables/trainings.py.

    Raises:
        Error: a trial or a baseline has other settings now; the message has the key and both values.
    """
    space = setup.space
    if space.kind == "Table":
        return
    for trial in _to_compare(study.get_trials(deepcopy=False)):
        label = TrialRecord(trial).baseline
        stored = trial.params or trial.system_attrs.get("fixed_params", {})
        if label in space.baselines and (found := _first_difference(stored, space.baselines[label])):
            raise _changed(study, space, f"baseline {label!r} had {found[0]}", f"it has {found[1]}")
        if before := with_current_names(TrialRecord(trial).settings):
            try:
                now = as_stored(setup.recipe(trial))
            except Exception as mistake:  # whatever `suggest` raises for parameters that it once asked for
                text = f"suggest() fails for them ({reason_of(mistake)})"
                raise _changed(study, space, f"trial {trial.number} was trained with its parameters", text) from mistake
            # Keys that only one side has come from another version of the recipes.
            both = before.keys() & now.keys()
            if found := _first_difference(before, {key: now[key] for key in now if key in both}):
                is_was, is_now = f"trial {trial.number} was trained with {found[0]}", f"its parameters give {found[1]}"
                raise _changed(study, space, is_was, is_now)


def _to_compare(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have not failed; of finished ones without a label MAX_COMPARED, evenly spread."""
    finished = [trial for trial in trials if trial.state in FINISHED and not TrialRecord(trial).baseline]
    stride = max(1, math.ceil(len(finished) / MAX_COMPARED))
    left_out = {trial.number for trial in finished} - {trial.number for trial in finished[::stride]}
    return [trial for trial in trials if trial.state != TrialState.FAIL and trial.number not in left_out]


def _first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the first entry of `now` that was different before, as `key=value` before and now; None if none was."""
    for key, value in now.items():
        if key not in before or before[key] != value:
            return f"{key}={before[key]!r}" if key in before else f"no {key}", f"{key}={value!r}"
    return None


def _changed(study: optuna.Study, space: Space, before: str, now: str) -> Error:
    return Error(
        f"Space {space.name} has changed since study {study.study_name} was started: {before}, now {now}. Restore it,"
        " or start another study with --study NAME."
    )


def _of_another_command(study: optuna.Study) -> Error:
    """Return the error for a search whose study has a paper's table, and the reverse."""
    name = StudyRecord(study).search["space"]
    found, command = f"a search of space {name}", "platform.search"
    if StudyRecord(study).kind == "Table":
        found, command = f"table {name}", "platform.reproduce"
    return Error(
        f"Study {study.study_name} is {found}. Resume it with {command_line(command)}, or start this one under another"
        " name with --study NAME."
    )


def _check_same_code(study: optuna.Study, plugins: Sequence[str]) -> None:
    """Refuse user code that has changed since the study was started, unless the change is accepted."""
    refuse_missing_code(study, plugins)
    changed = changed_plugins(StudyRecord(study).plugins)
    if changed:
        raise Error(
            f"{shown_name(changed[0])} has changed since study {study.study_name} was started. Restore it, accept"
            " the change with --accept-changed-code, or start another study with --study NAME."
        )
    if plugins:
        StudyRecord(study).plugins = plugin_hashes(plugins)


def refuse_missing_code(study: optuna.Study, loaded: Sequence[str]) -> None:
    """Refuse a start that lacks some of the user code that the study was started with.

    Args:
        study: the study.
        loaded: the names of all loaded plugins.

    Raises:
        Error: a file or module is missing; the message names it.
    """
    files = {Path(name).name for name in loaded}
    for name in StudyRecord(study).plugins:
        if Path(name).name not in files:
            raise Error(f"Study {study.study_name} was started with --import {shown_name(name)}. Add it.")


def _range(distribution: str | None) -> str:
    return "absent" if distribution is None else json.dumps(json.loads(distribution)["attributes"])


def _enqueue_baselines(study: optuna.Study, space: Space) -> None:
    """Enqueue the baselines that the study lacks: all on the first start, later those that are new or have failed."""
    kept = [trial for trial in study.get_trials(deepcopy=False) if trial.state != TrialState.FAIL]
    present = {TrialRecord(trial).baseline for trial in kept}
    for label, values in space.baselines.items():
        if label not in present:
            printed = {"paper_row": space.paper_rows[label]} if label in space.paper_rows else {}
            study.enqueue_trial(values, user_attrs=TrialRecord.attributes(baseline=label, **printed))
