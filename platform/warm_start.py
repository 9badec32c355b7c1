"""Warm start: a study starts with the best settings of an earlier study of the same space, such as on other data."""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from platform.resilient_storage import sqlite_file
from platform.samplers.registry import SearchMethod
from platform.spaces.constraints import is_over
from platform.spaces.loading import check_point
from platform.stores import Stores
from platform.study import FINISHED, front, open_storage
from platform.training_setup import TrainingSetup
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error, unknown

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
    option = f"--warm-start {name}"
    url = method.warm_start_storage or stores.storage
    earlier = _study(url, name, "--warm-start-storage")
    if earlier is None:
        raise _unknown_study(url, name)
    _refuse_another_space(earlier, space.name, option)
    distributions = {key: json_to_distribution(text) for key, text in space.distributions.items()}
    fit: Settings = {}
    left_out = []
    for trial in _best(earlier):
        try:
            check_point(space, f"space {space.name} at {setup.scale} scale", trial.params, distributions)
        except Error as mistake:
            left_out.append(f"{name}/{trial.number} is skipped: {mistake}")
        else:
            if trial.params not in [*fit.values(), *space.baselines.values()]:
                fit[f"{name}/{trial.number}"] = trial.params
    if not fit:
        why = left_out[0] if left_out else "It has no complete trials other than the baselines."
        raise Error(f"{option}: none of its settings can be used here. {why} Leave it out, or name another study.")
    for line in left_out:
        say(line)
    say(f"Warm start: {len(fit)} settings of study {name} run right after the baselines.")
    return fit


def enqueue_settings(study: optuna.Study, settings: Settings) -> None:
    """Enqueue the settings of an earlier study, including those that a killed start did not enqueue."""
    if settings:
        StudyRecord(study).warm_start = settings
    present = {TrialRecord(trial).warm_start for trial in study.get_trials(deepcopy=False)}
    for source, params in StudyRecord(study).warm_start.items():
        if source not in present:
            study.enqueue_trial(params, user_attrs=TrialRecord.attributes(warm_start=source))


def _best(earlier: optuna.Study) -> list[FrozenTrial]:
    """Return the best completed trials without the baselines, at most a quarter of the finished ones."""
    trials = [trial for trial in earlier.get_trials(states=FINISHED) if not TrialRecord(trial).baseline]
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and not is_over(trial)]
    leading = {trial.number for trial in front(earlier)}
    complete.sort(key=lambda trial: (trial.number not in leading, -trial.values[0], trial.number))
    return complete[: min(MOST, math.ceil(len(trials) / SHARE))]


def _refuse_another_space(earlier: optuna.Study, space: str, option: str) -> None:
    searched = StudyRecord(earlier).search.get("space")
    if searched != space:
        raise Error(
            f"{option} searched space {searched or 'unknown'}, but this study searches {space}. Name a"
            " study of the same space."
        )


def _study(url: str, name: str, option: str = "--storage") -> optuna.Study | None:
    """Return the study of that name, or None; no database is created."""
    if not _exists(url):
        return None
    storage = open_storage(url, option)
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def _unknown_study(url: str, name: str) -> Error:
    names = optuna.get_all_study_names(open_storage(url)) if _exists(url) else []
    if names:
        return unknown("study for --warm-start", name, names)
    return Error(f"--warm-start {name}: {url} has no study. Give its database with --warm-start-storage URL.")


def _exists(url: str) -> bool:
    file = sqlite_file(url)
    return file is None or file.is_file()
