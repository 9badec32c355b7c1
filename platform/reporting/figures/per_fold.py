"""The metrics of the candidates on each fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState

from platform.finalize.compare_study import last_candidates
from platform.finalize.paired_test import mean_and_std
from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import BLUE, canvas
from platform.reporting.figures.trials import COLORS, axis_of, kind_of, plain, scaled
from platform.terminal.lines import label
from platform.trial_record import TrialRecord
from shards_tools.errors import Error

SHOWN = ("mAP", "mINP", "top1", "top5")  # if every fold has them
MOST_SHOWN = 2


def plot_per_fold(stored: StoredStudy) -> Figure:
    """Plot a panel for each metric, with a line for each candidate and its mean at the right.

    Raises:
        Error: no trial was trained on other folds.
    """
    scores = scores_per_fold(stored)
    if not scores:
        raise Error("no trial was trained on other folds.")
    known = [set(values) for own in scores.values() for values in own.values()]
    metrics = [name for name in SHOWN if all(name in names for names in known)][:MOST_SHOWN]
    folds = sorted({fold for own in scores.values() for fold in own})
    return Figure(
        name="per_fold",
        title="Fold by fold",
        caption=f"{' and '.join(axis_of(name) for name in metrics)} of {len(scores)} candidates on each of {len(folds)}"
        " folds, with mean and standard deviation at the right. The search selected on fold"
        f" {stored.search['fold']}; a candidate that leads only there was lucky.",
        plot=_plot(stored, scores, metrics, folds),
        columns=("trial", "fold", *metrics),
        rows=[
            (number, fold, *(own[fold][name] for name in metrics))
            for number, own in scores.items()
            for fold in sorted(own)
        ],
    )


def scores_per_fold(stored: StoredStudy) -> dict[int, dict[int, Mapping[str, float]]]:
    """Return the metrics of each candidate on each fold, including the search's own fold."""
    found: dict[int, dict[int, Mapping[str, float]]] = {}
    trials = {trial.number: trial for trial in stored.trials}
    for number in last_candidates(stored.candidates):
        found[number] = {stored.search["fold"]: TrialRecord(trials[number]).metrics}
    for training in stored.fold_trainings:
        record = TrialRecord(training)
        if training.state == TrialState.COMPLETE and record.trained in found:
            found[record.trained][record.training["fold"]] = record.metrics
    return found


def _plot(stored: StoredStudy, scores: Any, metrics: list[str], folds: list[int]) -> Any:
    best, trials = stored.best, {trial.number: trial for trial in stored.trials}
    with canvas(height=3.0) as page:
        panels = page.subplots(1, len(metrics), squeeze=False)[0]
        for axes, name in zip(panels, metrics, strict=True):
            for place, (number, own) in enumerate(scores.items()):
                color = COLORS[kind_of(trials[number], best)]
                values = {fold: scaled(name, metrics[name]) for fold, metrics in sorted(own.items())}
                style = {"color": color, "linewidth": 2 if color == BLUE else 1}
                axes.plot(
                    list(values), list(values.values()), "o-", markersize=4, label=plain(label(trials[number])), **style
                )
                if len(values) == len(folds) > 1:
                    mean, std = mean_and_std(list(values.values()))
                    right = len(folds) + 0.25 + 0.6 * place / len(scores)
                    axes.errorbar(right, mean, std, fmt="s", markersize=4, capsize=2, color=color)
            axes.set_xticks([*folds, len(folds) + 0.5], [*map(str, folds), "mean"])
            axes.set_xlabel("fold")
            axes.set_ylabel(axis_of(name))
        panels[-1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return page
