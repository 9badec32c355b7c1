"""Settings that were good in an earlier study, for one of the same space to begin with: on other data, say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from platform.plan import Plan
from platform.spaces.constraints import is_over
from platform.spaces.loading import check_point
from platform.storage import without_password
from platform.study import FINISHED, front, open_storage
from platform.trial_record import StudyRecord, TrialRecord
from shards_tools.command import say
from shards_tools.errors import Error, unknown

SHARE = 4  # the best quarter of what was finished,
MOST = 10  # but no more than so many

Settings = dict[str, dict[str, Any]]  # STUDY/number -> the parameters of that trial


def earlier_settings(plan: Plan) -> Settings:
    """The best settings of the study that `plan` is to start from, the best first; nothing of it is changed.

    Empty where there is none, and where the plan's own study has taken them at an earlier start. What does not lie in
    the plan's space is left out and said; Error where nothing is left.
    """
    if plan.warm_start is None:
        return {}
    own = _study(plan.storage, plan.study)
    if own is not None and StudyRecord(own).warm_start:
        return {}
    option = f"--warm-start {plan.warm_start}"
    url = plan.warm_start_storage or plan.storage
    earlier = _study(url, plan.warm_start)
    if earlier is None:
        raise _unknown_study(url, plan.warm_start)
    _refuse_another_space(earlier, plan, option)
    fit: Settings = {}
    left_out = []
    for trial in _best(earlier):
        try:
            _check(plan, trial.params)
        except Error as mistake:
            left_out.append(f"{plan.warm_start}/{trial.number} is left out: {mistake}")
        else:
            if trial.params not in [*fit.values(), *plan.space.baselines.values()]:
                fit[f"{plan.warm_start}/{trial.number}"] = trial.params
    if not fit:
        why = left_out[0] if left_out else "It has no complete trial but the baselines."
        raise Error(f"{option}: nothing of it can be tried here. {why} Leave it out, or name another study.")
    for line in left_out:
        say(line)
    say(f"Warm start: {len(fit)} settings of study {plan.warm_start} are tried after the baselines.")
    return fit


def enqueue_settings(study: optuna.Study, settings: Settings) -> None:
    """Let the settings of an earlier study wait in `study`; those of a start that was killed in mid-way too."""
    if settings:
        StudyRecord(study).warm_start = settings
    present = {TrialRecord(trial).warm_start for trial in study.get_trials(deepcopy=False)}
    for source, params in StudyRecord(study).warm_start.items():
        if source not in present:
            study.enqueue_trial(params, user_attrs=TrialRecord.attributes(warm_start=source))


def _best(earlier: optuna.Study) -> list[FrozenTrial]:
    """Of what was drawn and finished the best quarter, of which only complete trials can be told to be good."""
    trials = [trial for trial in earlier.get_trials(states=FINISHED) if not TrialRecord(trial).baseline]
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE and not is_over(trial)]
    leading = {trial.number for trial in front(earlier)}
    complete.sort(key=lambda trial: (trial.number not in leading, -trial.values[0], trial.number))
    return complete[: min(MOST, math.ceil(len(trials) / SHARE))]


def _refuse_another_space(earlier: optuna.Study, plan: Plan, option: str) -> None:
    search: Mapping[str, Any] = StudyRecord(earlier).search
    if search.get("space") != plan.space.name:
        raise Error(
            f"{option} is a study of space {search.get('space', 'of another program')}, and this one is of"
            f" {plan.space.name}. Name a study of the same space."
        )


def _check(plan: Plan, params: dict[str, Any]) -> None:
    distributions = {key: json_to_distribution(text) for key, text in plan.space.distributions.items()}
    check_point(plan.space, f"space {plan.space.name} at {plan.scale} scale", params, distributions)


def _study(url: str, name: str) -> optuna.Study | None:
    """The study of that name, where there is one; no file is made for it."""
    if not _exists(url):
        return None
    storage = open_storage(url)
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def _unknown_study(url: str, name: str) -> Error:
    names = optuna.get_all_study_names(open_storage(url)) if _exists(url) else []
    if names:
        return unknown("study for --warm-start", name, names)
    return Error(
        f"--warm-start {name}: {without_password(url)} holds no study. Name its database with --warm-start-storage URL."
    )


def _exists(url: str) -> bool:
    if not url.startswith("sqlite:///"):
        return True
    return Path(sqlalchemy.engine.make_url(url).database or "").is_file()
