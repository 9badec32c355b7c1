"""The platform from Python: search, evaluate, predict, and read a study.

Example:
    from platform.api import SearchConfig, search

    result = search(SearchConfig(space="transreid", trials=20))
    result.best.params, result.to_frame()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from platform.config import SearchConfig
from platform.environment import call_of
from platform.evaluation import as_json, evaluate_split
from platform.prediction import answers_about
from platform.read_only_study import folder_of_study, open_read_only, read_study, value_of
from platform.run_paths import use_runs
from platform.runner import run_search
from platform.stores import default_storage
from platform.trial_record import TrialRecord
from shards_tools.errors import Error as SakugaError
from shards_tools.manifest_file import read_manifest
from shards_tools.plugins import load_plugins
from trainables.evaluation.options import EvaluationOptions
from trainables.inference.verification import ASKED
from trainables.training.checkpoint_info import EVALUATED
from trainables.training.checkpoint_store import fetched

if TYPE_CHECKING:
    import pandas

__all__ = [
    "BestTrial",
    "FinalModel",
    "SakugaError",
    "SearchConfig",
    "SearchResult",
    "TrialResult",
    "evaluate",
    "load_study",
    "predict",
    "search",
]


@dataclass(frozen=True, kw_only=True)
class BestTrial:
    """The best trial of a study."""

    trial: int
    value: float  # the first objective, after the last epoch of the checkpoint
    params: dict[str, Any]
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class FinalModel:
    """The best trial of a study, trained once more on train and val."""

    trial: int  # the number of the best trial
    checkpoint: str  # evaluate it on the test split; it has seen val


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One trial of a study."""

    number: int
    state: TrialState
    value: float | None  # the first objective after the last epoch; None before the first
    params: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)  # after the last epoch
    reason: str = ""  # of pruning or failure


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A study and what it has found.

    Attributes:
        best: the best trial, or None while no trial is complete.
        final: the best trial trained on train and val, or None if `final_train` has not trained it.
        trials: every trial that has started, by number.
        study: the Optuna study, read-only.
        summary: the object that `platform.search --json` prints; empty if the study was only loaded.
    """

    best: BestTrial | None
    final: FinalModel | None = None
    trials: list[TrialResult]
    study: optuna.Study
    summary: dict[str, Any] = field(default_factory=dict)

    def to_frame(self) -> pandas.DataFrame:
        """Return a table with one row per trial: number, state, value, its parameters and its metrics."""
        import pandas

        rows = [
            {
                "number": trial.number,
                "state": trial.state.name,
                "value": trial.value,
                **{f"params.{name}": value for name, value in trial.params.items()},
                **{f"metrics.{name}": value for name, value in trial.metrics.items()},
            }
            for trial in self.trials
        ]
        return pandas.DataFrame(rows, columns=None if rows else ["number", "state", "value"])


def search(config: SearchConfig) -> SearchResult:
    """Run or resume a search and return its result; a finished study is only read.

    Ctrl-C, or an interrupt of the notebook's kernel, stops after the current epoch of each running trial; the same
    call resumes.

    Args:
        config: the options of the search. With `dry_run`, nothing is trained: `summary` is the estimate.

    Raises:
        SakugaError: the search cannot run as configured, or too many trials in a row failed.
        KeyboardInterrupt: the search was interrupted.
    """
    start = run_search(config, call_of("search", config))
    start.raise_if_stopped()
    if config.dry_run:
        empty = optuna.create_study(direction="maximize")
        return SearchResult(best=None, trials=[], study=empty, summary=start.summary)
    result = load_study(start.summary["study"], runs=config.runs, storage=config.storage)
    return replace(result, summary=start.summary)


def load_study(name: str, *, runs: str | Path = "runs", storage: str | None = None) -> SearchResult:
    """Read a study from its database, whether its search is running or finished; nothing is changed.

    Args:
        name: the name of the study.
        runs: the folder of `--runs`.
        storage: the URL of the database, if it is not `optuna.db` in `runs`.

    Raises:
        SakugaError: there is no such study or database.
    """
    url = storage or default_storage(Path(runs).absolute())
    use_runs(folder_of_study(Path(runs), url, name))
    stored = read_study(open_read_only(url), url, name)
    return SearchResult(
        best=_best(stored.best) if stored.best else None,
        final=_final(stored.final_training) if stored.final_training else None,
        trials=[_result(trial, stored.objective) for trial in stored.trials],
        study=stored.study,
    )


def evaluate(
    checkpoint: str | Path,
    *,
    data: str | Path,
    split: str = "val",
    fold: int | None = None,
    tta: str | None = None,
    rerank: bool = False,
    query_expansion: int = 0,
    import_: Sequence[str] = (),
    accept_changed_code: bool = False,
) -> dict[str, Any]:
    """Evaluate a checkpoint on a split, as `python -m platform.evaluate --json` does.

    Args:
        checkpoint: a folder that a training wrote, or its s3:// or gs:// address.
        data: shards: a folder or an address.
        split: "val" or "test".
        fold: the fold of the split; None: the fold that the checkpoint was validated on.
        tta: "flip" averages the features, or logits, of each image and its mirror image.
        rerank: re-rank by k-reciprocal neighbors.
        query_expansion: the number of nearest gallery images that are averaged into the feature of each query and each
            gallery image; 0: none.
        import_: your own code, as for --import.
        accept_changed_code: accept that this code has changed since the training.

    Returns:
        `mAP`, `mINP`, `cmc` (rank -> value) and `num_valid_queries`, or `top1` and `top5`, as fractions in 0..1; the
        same for random features under `chance`. With `tta`, `rerank` or `query_expansion`, these are the numbers with
        them, and those without are under `plain`.

    Raises:
        SakugaError: the checkpoint or the split cannot be read, or an option does not fit them.
    """
    if tta not in (None, "flip"):
        raise SakugaError(f"tta={tta!r} is unknown. Use 'flip', or None for no augmentation.")
    if not isinstance(query_expansion, int) or query_expansion < 0:
        raise SakugaError(f"query_expansion={query_expansion!r} is invalid: it must be an integer >= 0.")
    options = EvaluationOptions(flip=tta == "flip", rerank=rerank, query_expansion=query_expansion)
    load_plugins(import_, accept_changed_code=accept_changed_code)
    with fetched(str(checkpoint), EVALUATED) as folder:
        return as_json(evaluate_split(folder, read_manifest(str(data)), split=split, fold=fold, options=options))


def predict(
    checkpoint: str | Path,
    pictures: str | Path | Sequence[str | Path],
    *,
    nearest: str | Path | None = None,
    top: int = 5,
    import_: Sequence[str] = (),
    accept_changed_code: bool = False,
) -> list[dict[str, Any]]:
    """Find the nearest pictures of a gallery, or the likeliest classes, as `python -m platform.predict --json` does.

    Args:
        checkpoint: a folder that a training wrote, or its s3:// or gs:// address.
        pictures: files, or folders of them.
        nearest: the gallery: shards, or a folder of pictures; None: the checkpoint's own classes.
        top: answers per picture.
        import_: your own code, as for --import.
        accept_changed_code: accept that this code has changed since the training.

    Returns:
        One entry per picture: `picture`, and `nearest` (with `distance`) or `classes` (with `probability`), best first;
        or `error`, if the picture cannot be read.

    Raises:
        SakugaError: no picture can be read, or the checkpoint cannot answer.
    """
    load_plugins(import_, accept_changed_code=accept_changed_code)
    places = [pictures] if isinstance(pictures, str | Path) else pictures
    with fetched(str(checkpoint), ASKED) as folder:
        files = [Path(place) for place in places]
        return answers_about(folder, files, None if nearest is None else str(nearest), top)


def _best(trial: FrozenTrial) -> BestTrial:
    record = TrialRecord(trial)
    return BestTrial(trial=trial.number, value=trial.values[0], params=dict(trial.params), checkpoint=record.checkpoint)


def _final(training: FrozenTrial) -> FinalModel:
    record = TrialRecord(training)
    return FinalModel(trial=int(record.trained), checkpoint=record.checkpoint)


def _result(trial: FrozenTrial, objective: str) -> TrialResult:
    record = TrialRecord(trial)
    return TrialResult(
        number=trial.number,
        state=trial.state,
        value=value_of(trial, objective),
        params=dict(trial.params),
        metrics=dict(record.metrics),
        reason=record.reason,
    )
