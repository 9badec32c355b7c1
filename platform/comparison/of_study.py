"""The comparisons of a search, from what its studies hold: candidates over folds, and finalists over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.comparison.comparison import Comparison, compare
from platform.display.lines import label
from platform.trial_record import TrialRecord

Scores = Mapping[str, float]


def best_paper_row(ranked: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The first of `ranked` that is a paper's row; of a space without any, the first row set by hand."""
    rows = [trial for trial in ranked if TrialRecord(trial).baseline]
    return next((trial for trial in rows if TrialRecord(trial).is_paper_row), rows[0] if rows else None)


def last_candidates(candidates: Iterable[FrozenTrial]) -> dict[int, FrozenTrial]:
    """Number of the search's trial -> the last of `candidates`, trials of STUDY-folds, that stands for it."""
    return {TrialRecord(candidate).candidate: candidate for candidate in candidates}


def ranked_by_mean(study: optuna.Study, candidates: Mapping[int, FrozenTrial]) -> list[FrozenTrial]:
    """The trials of `study` that have been to all folds, the best mean first."""
    trials = study.get_trials(deepcopy=False)
    means = {number: one.values[0] for number, one in candidates.items() if one.state == TrialState.COMPLETE}
    return [trials[number] for number in sorted(means, key=lambda number: (-means[number], number))]


def compare_folds(
    study: optuna.Study, candidates: Mapping[int, FrozenTrial], *, folds: int, fold: int, chance: float
) -> list[Comparison]:
    """The candidates over `folds` folds, tested on those that the search, on `fold`, did not choose by.

    Args:
        chance: mean over the folds.
    """
    row = best_paper_row(ranked_by_mean(study, candidates))
    return compare(
        {number: candidate.intermediate_values for number, candidate in candidates.items()},
        names=_names(study),
        reasons={number: _reason(candidate) for number, candidate in candidates.items()},
        reference=None if row is None else row.number,
        wanted=list(range(folds)),
        tested=[one for one in range(folds) if one != fold],
        chance=chance,
    )


def compare_finalists(
    study: optuna.Study,
    tested: Mapping[int, Mapping[int, Scores]],
    *,
    metric: str,
    reference: int | None,
    seeds: Sequence[int],
    chance: float,
) -> list[Comparison]:
    """The finalists on the test split, over their seeds.

    Args:
        tested: number of the trial -> seed -> what the test gave.
    """
    return compare(
        {number: {seed: scores[metric] for seed, scores in own.items()} for number, own in tested.items()},
        names=_names(study),
        reasons={},
        reference=reference,
        wanted=seeds,
        tested=seeds,
        chance=chance,
    )


def seeds_of_finalists(seed: int, number: int) -> list[int]:
    """The seeds that each finalist is trained with, of a search with this seed, which has used none of them."""
    return [seed + 1 + place for place in range(number)]


def tested_scores(
    trainings: Iterable[FrozenTrial], stored: Mapping[int, Scores], numbers: Sequence[int], seeds: Sequence[int]
) -> dict[int, dict[int, Scores]]:
    """Finalist -> seed -> what the test gave; of a training that was tried again the last.

    Args:
        trainings: the trials of STUDY-final.
        stored: trial number of a training -> its metrics on the test split.
    """
    found: dict[int, dict[int, Scores]] = {number: {} for number in numbers}
    for training in trainings:
        of, seed = TrialRecord(training).trained, TrialRecord(training).training["seed"]
        if of in found and seed in seeds and training.number in stored:
            found[of][seed] = stored[training.number]
    return {number: dict(sorted(own.items())) for number, own in found.items()}


def _names(study: optuna.Study) -> dict[int, str]:
    return {trial.number: label(trial) for trial in study.get_trials(deepcopy=False)}


def _reason(candidate: FrozenTrial) -> str:
    """Why a candidate has no mean; empty where it has one."""
    if candidate.state == TrialState.RUNNING:
        return "not done yet"
    return TrialRecord(candidate).reason
