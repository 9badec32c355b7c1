"""The comparisons of a search from its studies: candidates over folds, and finalists over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.finalize.compare import Comparison, compare
from platform.terminal.lines import label
from platform.trial_record import TrialRecord

Scores = Mapping[str, float]


def best_paper_row(ranked: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Return the first of `ranked` that is a paper's row; in a space without any, the first baseline."""
    rows = [trial for trial in ranked if TrialRecord(trial).baseline]
    return next((trial for trial in rows if TrialRecord(trial).is_paper_row), rows[0] if rows else None)


def last_candidates(candidates: Iterable[FrozenTrial]) -> dict[int, FrozenTrial]:
    """Return the number of each cross-validated trial -> its last candidate, a trial of STUDY-folds."""
    return {TrialRecord(candidate).candidate: candidate for candidate in candidates}


def ranked_by_mean(study: optuna.Study, candidates: Mapping[int, FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials of `study` that were trained on all folds, best mean first."""
    trials = study.get_trials(deepcopy=False)
    means = {number: one.values[0] for number, one in candidates.items() if one.state == TrialState.COMPLETE}
    return [trials[number] for number in sorted(means, key=lambda number: (-means[number], number))]


def compare_folds(
    study: optuna.Study, candidates: Mapping[int, FrozenTrial], *, folds: int, fold: int, chance: float
) -> list[Comparison]:
    """Compare the candidates over their folds; the tests pair only folds that the search did not use.

    Args:
        study: the search.
        candidates: number of the search's trial -> its candidate.
        folds: the number of folds.
        fold: the fold that the search validated on.
        chance: the metric of random features, as the mean over the folds.
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
    """Compare the finalists on the test split, over their seeds.

    Args:
        study: the search.
        tested: number of the trial -> seed -> test metrics.
        metric: the metric to compare.
        reference: the number of the trial that the others are tested against; None: there is none.
        seeds: the seeds of the trainings.
        chance: the metric of random features.
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
    """Return the seeds that each finalist is trained with; a search with seed `seed` has used none of them."""
    return [seed + 1 + place for place in range(number)]


def tested_scores(
    trainings: Iterable[FrozenTrial], stored: Mapping[int, Scores], numbers: Sequence[int], seeds: Sequence[int]
) -> dict[int, dict[int, Scores]]:
    """Return finalist -> seed -> test metrics; of a training that was retried, the last metrics.

    Args:
        trainings: the trials of STUDY-final.
        stored: trial number of a training -> its metrics on the test split.
        numbers: the numbers of the finalists.
        seeds: the seeds to return.
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
    """Return why a candidate has no mean; empty if it has one."""
    if candidate.state == TrialState.RUNNING:
        return "not finished yet"
    return TrialRecord(candidate).reason
