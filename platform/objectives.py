"""The objectives of a search: one metric, or several metrics and costs with a Pareto front; and limits on costs."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from platform.trial_record import TrialRecord
from shards_tools.command import positive_float
from shards_tools.errors import Error, unknown
from shards_tools.registry import Registry
from trainables.evaluation.metric_names import CLASSIFYING, RANKING

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from trainables.evaluation.evaluation import Evaluation
    from trainables.recipes.recipe import Recipe


@dataclass(frozen=True)
class Objective:
    """A number that a search may optimize; `written` formats its values."""

    written: Callable[[float], str] = lambda value: f"{100 * value:.2f} %"
    is_cost: bool = False  # lower is better


OBJECTIVES: Registry[Objective] = Registry(
    "objective",
    {
        **dict.fromkeys((*RANKING, *CLASSIFYING), Objective()),
        "num_parameters": Objective(lambda value: f"{value / 1e6:.2f} M", is_cost=True),
        "gpu_mb": Objective(lambda value: f"{value:.0f} MB", is_cost=True),
        "ms_per_image": Objective(lambda value: f"{value:.3g} ms", is_cost=True),
    },
)
METRICS = tuple(name for name, entry in OBJECTIVES.items() if not entry.is_cost)
COSTS = tuple(name for name, entry in OBJECTIVES.items() if entry.is_cost)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a search optimizes, and the limits on what it may cost."""

    objectives: tuple[str, ...]  # one, or several; the first decides which trial is best
    at_most: Mapping[str, float]  # cost -> its limit
    chance: Mapping[str, float]  # metric -> its value for random features

    @property
    def objective(self) -> str:
        """The first objective, which decides which trial is best."""
        return self.objectives[0]

    @property
    def limits(self) -> str:
        """The limits as the words of --at-most."""
        return " ".join(f"{name}={most:.12g}" for name, most in self.at_most.items())


def check_names(asked: Sequence[str]) -> None:
    """Check --objective as far as that is possible without the data.

    Raises:
        Error: a name is unknown or given twice, or a cost comes first.
    """
    for number, name in enumerate(asked):
        if name not in OBJECTIVES:
            raise unknown(OBJECTIVES.kind, name, OBJECTIVES)
        if name in asked[:number]:
            raise Error(f"--objective names {name} twice. Name each objective once.")
    if asked and asked[0] in COSTS:
        raise Error(
            f"--objective {' '.join(asked)}: the first objective decides which trial is best, and {asked[0]} is a cost."
            " Put a metric first, such as mAP or top1."
        )


def objectives_of(asked: Sequence[str], evaluation: Evaluation, num_gpus: int) -> tuple[str, ...]:
    """Return the objectives, by default the first metric of the data.

    Raises:
        Error: this data does not have a metric, or this machine cannot measure a cost.
    """
    for name in asked:
        if name not in (*evaluation.objectives, *COSTS):
            what = "works or identities" if evaluation.ranks else "classes that train and val share"
            raise Error(
                f"--objective {name}: {evaluation.manifest.store} holds {what}. Use one of"
                f" {', '.join((*evaluation.objectives, *COSTS))}."
            )
    refuse_gpu_memory("--objective", asked, num_gpus)
    return tuple(asked) or evaluation.objectives[:1]


def refuse_gpu_memory(option: str, names: Sequence[str], num_gpus: int) -> None:
    """Refuse GPU memory as an objective or a limit on machines without a GPU.

    Raises:
        Error: `names` has `gpu_mb`, and there is no GPU.
    """
    if "gpu_mb" in names and not num_gpus:
        raise Error(
            f"{option} gpu_mb: trials of this search have no GPU. Leave it out, or search on a machine with a GPU."
        )


def parse_limits(words: Sequence[str]) -> dict[str, float]:
    """Return cost -> limit, from the words NAME=VALUE of --at-most.

    Raises:
        Error: a word is not the name of a cost with a positive number, or a cost is limited twice.
    """
    limits: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in COSTS:
            raise unknown("cost of --at-most", name, COSTS)
        if name in limits:
            raise Error(f"--at-most limits {name} twice. Give each limit once.")
        try:
            limits[name] = positive_float(value)
        except ArgumentTypeError:
            raise Error(f"--at-most {word}: {value!r} is not a number above 0. Write it like {name}=30e6.") from None
    return limits


def directions(objectives: Sequence[str]) -> list[Literal["minimize", "maximize"]]:
    """Return Optuna's direction of each objective."""
    return ["minimize" if name in COSTS else "maximize" for name in objectives]


def num_parameters(recipe: Recipe) -> float:
    """Return the number of weights of the recipe's network without its classifiers, whose size depends on the data."""
    from trainables.listing import describe  # needs torch, which takes seconds to import

    return float(describe(recipe)["num_parameters"])


def written(name: str, value: float) -> str:
    """Return a value as text: a metric in percent, a cost with its unit, a loss as it is."""
    return OBJECTIVES[name].written(value) if name in OBJECTIVES else f"{value:.3f}"


def tell_epoch(trial: optuna.Trial, step: int, value: float) -> None:
    """Report the value of `trial` after epoch `step` to the study.

    Optuna accepts intermediate values only with one objective; with several, only the epoch is stored.
    """
    if len(trial.study.directions) > 1:
        TrialRecord(trial).epoch = step
    else:
        trial.report(value, step)


def last_epoch(trial: FrozenTrial) -> int | None:
    """Return the last epoch that was reported; None before the first."""
    epoch = TrialRecord(trial).epoch
    return trial.last_step if epoch is None else epoch


def knows_epoch(trial: FrozenTrial, step: int) -> bool:
    """Whether this epoch of `trial` has been reported to the study."""
    return step in trial.intermediate_values or step <= (TrialRecord(trial).epoch or 0)


def final_values(trial: FrozenTrial, objectives: Sequence[str]) -> list[float]:
    """Return the objectives of a completed trial, as measured after its last epoch."""
    if len(objectives) == 1:
        return [trial.intermediate_values[trial.last_step or 0]]
    return [TrialRecord(trial).metrics[name] for name in objectives]
