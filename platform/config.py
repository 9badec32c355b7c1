"""The options of one search, for `platform.search` and for Python."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platform.addresses import checked_bucket, checked_runs, checked_tracking, refuse_password
from platform.objectives import COSTS, OBJECTIVES, check_names, parse_limits
from platform.options import check_fields, option
from platform.samplers.registry import PRUNERS, SAMPLERS, sampler_and_pruner
from platform.spaces.registry import check_space
from shards_tools.command import positive_float, positive_int
from shards_tools.errors import Error
from shards_tools.images import READINGS

SCALES = ("auto", "paper", "tiny")
AUTO = "auto"
MOST_SEEDS = 20  # the paired test enumerates the signs of all differences: 2 to the power of their number


def _auto_or_number(text: str) -> int | str:
    return AUTO if text == AUTO else positive_int(text)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not an integer >= 0")
    return int(text)


def _final_seeds(text: str) -> int:
    seeds = positive_int(text)
    if seeds > MOST_SEEDS:
        raise Error(f"--final-seeds {seeds} is more than the paired test can enumerate. Give at most {MOST_SEEDS}.")
    return seeds


def checked_study_name(name: str) -> str:
    """Return the name of --study.

    Raises:
        Error: it cannot name a folder: it has other characters, or too many.
    """
    if not re.fullmatch(r"[\w][\w.-]{0,99}", name):
        raise Error(f"--study {name!r} is not a valid name. Use letters, digits, '.', '_' and '-', at most 100.")
    return name


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:  # NaN too
        raise ArgumentTypeError(f"{text!r} is not a value of the objective, a fraction above 0 and up to 1")
    return value


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """The options of one search: each field is the option of the same name.

    Values are checked and converted when the object is made. What depends on the data or on the machine is checked
    when the search starts.

    Raises:
        Error: a value is invalid.
    """

    # The name of a space, a file, a function `suggest(trial) -> dict`, or an object with `suggest` and `BASELINES`.
    space: str | Path | Callable[..., dict[str, Any]] | Any = option(
        default=...,
        metavar="NAME|FILE.py",
        rule=None,
        help="a search space by name (see: python -m search_spaces --list), or your own file",
    )
    data: str | None = option(
        metavar="SHARDS", help="shards: a folder, https://, s3:// or gs://; default: a small sample set, drawn once"
    )
    study: str | None = option(
        metavar="NAME", rule=checked_study_name, help="default: space, data fingerprint and scale"
    )
    trials: int | None = option(metavar="N", rule=positive_int, help="finish when the study has N finished trials")
    hours: float | None = option(
        metavar="H", rule=positive_float, help="stop after H hours; running trials resume on the next start"
    )
    gpu_hours: float | None = option(
        metavar="H", rule=positive_float, help="stop when the study has used H GPU hours, over all its starts"
    )
    target: float | None = option(
        metavar="VALUE", rule=_fraction, help="start no further trial once the objective reaches VALUE, from 0 to 1"
    )
    patience: int | None = option(
        metavar="N", rule=positive_int, help="start no further trial after N finished trials without an improvement"
    )
    epochs: int | None = option(metavar="N", rule=positive_int, help="epochs per trial; default: the recipes'")
    scale: str = option(default="auto", choices=lambda: SCALES, help="default: paper if there is a GPU, else tiny")
    folds: int | None = option(
        metavar="K", rule=positive_int, help="cross-validate the best third of the trials on K folds"
    )
    finalists: int | None = option(
        metavar="N", rule=positive_int, help="evaluate the N best trials on the test split, once"
    )
    final_seeds: int = option(
        default=3, metavar="S", rule=_final_seeds, help="train each finalist with S seeds; default: 3"
    )
    final_train: bool = option(
        default=False, help="at the end, train the best trial once more, on train and val without the test split"
    )
    objective: Sequence[str] = option(
        default=(),
        metavar="NAME",
        many=True,
        help=f"one name, or several for a Pareto front: {', '.join(OBJECTIVES)}; default: mAP, or top1 for classes",
    )
    at_most: Sequence[str] = option(
        default=(),
        metavar="NAME=VALUE",
        many=True,
        help=f"end trials that exceed a limit on {', '.join(COSTS)}, as in num_parameters=30e6",
    )
    warm_start: str | None = option(
        metavar="STUDY",
        help="start with the best settings of an earlier study of the same space, right after the baselines",
    )
    warm_start_storage: str | None = option(
        metavar="URL", help="the database of the --warm-start study; default: this search's"
    )
    sampler: str | None = option(choices=lambda: SAMPLERS, help="default: rungwise with halving, else tpe")
    pruner: str | None = option(choices=lambda: PRUNERS, help="default: halving; none with several objectives")
    runs: Path = option(default=Path("runs"), metavar="DIR", rule=Path, help="folder for all results; default: runs")
    checkpoints: str | None = option(
        metavar="BUCKET",
        rule=checked_bucket,
        help="s3:// or gs://, for nodes without a shared disk; default: under --runs",
    )
    storage: str | None = option(metavar="URL", help="Optuna's database; default: DIR/optuna.db")
    tracking: str | None = option(metavar="URI", rule=checked_tracking, help="MLflow's store; default: DIR/mlflow.db")
    reading: str = option(
        default="auto", choices=lambda: READINGS, help="how trials read images; default: what fits in memory"
    )
    address: str | None = option(
        metavar="HOST:PORT", help="join the Ray cluster with this head; auto: the cluster that this node belongs to"
    )
    gpus_per_trial: float | None = option(
        metavar="F", rule=positive_float, help="GPUs per rank; default: 1 if there is a GPU"
    )
    ranks_per_trial: int = option(
        default=1, metavar="N", rule=positive_int, help="train each trial with N processes that share its batches"
    )
    concurrency: int | str | None = option(
        metavar="auto|N",
        rule=_auto_or_number,
        help="trials at a time; default: by CPUs or GPUs; auto: also by memory, measured on one training step",
    )
    seed: int = option(default=0, metavar="N", rule=_seed, help="seeds the sampler and every training; default: 0")
    import_: Sequence[str] = option(
        default=(),
        metavar="FILE.py|MODULE",
        many=True,
        help="your own code, which registers losses, backbones, recipes or sources",
    )
    accept_changed_code: bool = option(
        default=False, help="accept that the code of --import has changed since the study was started"
    )
    dry_run: bool = option(
        default=False, help="check everything, measure one step, and print what the search will take"
    )

    def __post_init__(self) -> None:
        if isinstance(self.space, Path):
            object.__setattr__(self, "space", str(self.space))
        check_fields(self)
        check_space(self.space)
        check_names(self.objective)
        parse_limits(self.at_most)
        self._refuse_several_objectives()
        sampler_and_pruner(self.sampler, self.pruner, len(self.objective))
        if self.data is not None:
            refuse_password(self.data)
        checked_runs(self.runs)
        if self.warm_start_storage and not self.warm_start:
            raise Error("--warm-start-storage is the database of a study. Name the study with --warm-start STUDY.")

    def _refuse_several_objectives(self) -> None:
        """Refuse folds and finalists, which are ranked by one value, with several objectives."""
        given = "--folds" if self.folds else "--finalists" if self.finalists else None
        if given and len(self.objective) > 1:
            raise Error(
                f"{given} ranks trials by one objective, and --objective names {', '.join(self.objective)}. Name one,"
                f" or leave {given} out."
            )
