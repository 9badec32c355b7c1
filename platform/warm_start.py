"""Warm start: a study starts with the best settings of an earlier study of the same space, such as on other data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from platform.databases import sqlite_file
from platform.read_only_study import damaged
from platform.record_checks import check_trial
from platform.resilient_storage import DAMAGE, NoStudies, PatientStorage
from platform.samplers.registry import SearchMethod
from platform.spaces.constraints import is_over
from platform.spaces.loading import check_point
from platform.stores import Stores
from platform.study import FINISHED, front, open_storage
from platform.training_setup import TrainingSetup
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error, listed, reason_of, unknown
from shards_tools.records import short_repr

SHARE = 4  # take the best quarter of the finished trials,
MOST = 10  # but at most this many

Settings = dict[str, dict[str, Any]]  # STUDY/number -> the parameters of that trial


def earlier_settings(method: SearchMethod, setup: TrainingSetup, stores: Stores) -> Settings:
    """Return the best settings of the study of --warm-start, best first; that study is only read.

    Returns:
        Nothing without --warm-start, or if an earlier start has taken the settings already. Settings outside the space
        are skipped with a log line.

    Raises:
        Error: there is no such study, it searched another space, or none of its settings fit.
    """
    name, space = method.warm_start, setup.space
    if name is None:
        return {}
    own = _study(stores.storage, stores.study)
    if own is not None and StudyRecord(own).warm_start:
        return {}
    distributions = {key: json_to_distribution(text) for key, text in space.distributions.items()}
    fit: Settings = {}
    left_out = []
    for trial in _best_of_study(method.warm_start_storage or stores.storage, name, space.name):
        try:
            check_point(space, f"space {space.name} at {setup.scale} scale", trial.params, distributions)
        except Error as mistake:
            left_out.append(f"{name}/{trial.number} is skipped: {mistake}")
        else:
            if trial.params not in [*fit.values(), *space.baselines.values()]:
                fit[f"{name}/{trial.number}"] = trial.params
    if not fit:
        why = left_out[0] if left_out else "It has no complete trials other than the baselines."
        raise Error(
            f"--warm-start {name}: none of its settings can be used here. {why} Leave it out, or name another study."
        )
    for line in left_out:
        say(line)
    say(f"Warm start: {len(fit)} settings of study {name} run right after the baselines.")
    return fit


def _best_of_study(url: str, name: str, space: str) -> list[FrozenTrial]:
    """Return the best trials of the study of --warm-start."""
    earlier = _study(url, name, "--warm-start-storage")
    if earlier is None:
        raise _unknown_study(url, name)
    try:
        _refuse_another_search(earlier, space, f"--warm-start {name}")
        return _best(earlier, name)
    except DAMAGE as failure:  # whatever Optuna raises for what it has not written itself
        raise damaged(name, failure) from None


def enqueue_settings(study: optuna.Study, settings: Settings) -> None:
    """Enqueue the settings of an earlier study, including those that a killed start did not enqueue."""
    if settings:
        StudyRecord(study).warm_start = settings
    present = {TrialRecord(trial).warm_start for trial in study.get_trials(deepcopy=False)}
    for source, params in StudyRecord(study).warm_start.items():
        if source not in present:
            study.enqueue_trial(params, user_attrs=TrialRecord.attributes(warm_start=source))


def _best(earlier: optuna.Study, name: str) -> list[FrozenTrial]:
    """Return the best completed trials without the baselines, at most a quarter of the finished ones.

    Trials that no search can have written, such as those with a value of infinity, are left out with a line.
    """
    sound = optuna.create_study(directions=earlier.directions)
    trials, unsound = [], []
    for trial in earlier.get_trials(deepcopy=False, states=FINISHED):
        try:
            _check_sound(trial, sound)
        except (Error, *DAMAGE) as failure:
            unsound.append(reason_of(failure).rstrip("."))
        else:
            trials.append(trial)
    if unsound:
        say(f"Damaged trials of study {name} are skipped: {listed(unsound, most=1)}.")
    leading = {trials[trial.number].number for trial in front(sound)}
    searched = [trial for trial in trials if not TrialRecord(trial).baseline]
    complete = [trial for trial in searched if trial.state == TrialState.COMPLETE and not is_over(trial)]
    complete.sort(key=lambda trial: (trial.number not in leading, -trial.values[0], trial.number))
    return complete[: min(MOST, math.ceil(len(searched) / SHARE))]


def _check_sound(trial: FrozenTrial, sound: optuna.Study) -> None:
    """Add a trial to a study in memory, which checks its parameters, and check what else is read of it.

    Raises:
        Exception: no search can have written it; or whatever Optuna raises.
    """
    check_trial(trial, len(sound.directions))
    if trial.state == TrialState.COMPLETE and not 0 <= trial.values[0] <= 1:  # the first objective is a metric
        raise Error(f"trial {trial.number} has the value {trial.values[0]:g}")
    sound.add_trial(trial)


def _refuse_another_search(earlier: optuna.Study, space: str, option: str) -> None:
    search = StudyRecord(earlier).search
    searched = search.get("space") if isinstance(search, Mapping) else None
    if searched != space:
        raise Error(
            f"{option} searched space {short_repr(searched) if searched else 'unknown'}, but this study searches"
            f" {space!r}. Name a study of the same space."
        )
    if earlier.directions[0] != StudyDirection.MAXIMIZE:
        raise Error(f"{option} minimizes its first objective, which no search does. Name another study.")


def _study(url: str, name: str, option: str = "--storage") -> optuna.Study | None:
    """Return the study of that name, or None; the database is only read."""
    storage = _database(url, option)
    try:
        return None if storage is None else optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def _unknown_study(url: str, name: str) -> Error:
    storage = _database(url, "--warm-start-storage")
    names = [] if storage is None else storage.study_names()
    if names:
        return unknown("study for --warm-start", name, names)
    return Error(f"--warm-start {name}: {url} has no study. Give its database with --warm-start-storage URL.")


def _database(url: str, option: str) -> PatientStorage | None:
    """Return a database, which is only read; None if there is none, or it has no studies."""
    file = sqlite_file(url)
    if file and not file.is_file():
        return None
    try:
        return open_storage(url, option, read_only=True)
    except NoStudies:
        return None
