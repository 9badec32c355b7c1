"""What a search is after: one metric, or several metrics and costs, of which the best compromises are kept."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from platform.registry import SAMPLERS
from platform.trial_record import TrialRecord
from shards_tools.command import positive_float
from shards_tools.errors import Error, unknown
from trainables.metric_names import CLASSIFYING, RANKING

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from trainables.evaluation import Evaluation
    from trainables.recipes.recipe import Recipe

# Less of these is better; each with how it is written.
COSTS = {
    "num_parameters": lambda value: f"{value / 1e6:.2f} M",
    "gpu_mb": lambda value: f"{value:.0f} MB",
    "ms_per_image": lambda value: f"{value:.3g} ms",
}
METRICS = (*RANKING, *CLASSIFYING)
OBJECTIVES = (*METRICS, *COSTS)


def check_names(asked: Sequence[str]) -> None:
    """Error for what is wrong with --objective whatever the data are."""
    for number, name in enumerate(asked):
        if name not in OBJECTIVES:
            raise unknown("objective", name, OBJECTIVES)
        if name in asked[:number]:
            raise Error(f"--objective names {name} twice. Name each objective once.")
    if asked and asked[0] in COSTS:
        raise Error(
            f"--objective {' '.join(asked)}: the first one says which trial is best, and {asked[0]} is least for a"
            " network that knows nothing. Put a metric first, such as mAP or top1."
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
                f"--objective {name}: {evaluation.manifest.store} holds {what}. Take one of"
                f" {', '.join((*evaluation.objectives, *COSTS))}."
            )
    refuse_gpu_memory("--objective", asked, num_gpus)
    return tuple(asked) or evaluation.objectives[:1]


def refuse_gpu_memory(option: str, names: Sequence[str], num_gpus: int) -> None:
    """Error where GPU memory is to be measured and there is no GPU."""
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


def sampler_and_pruner(sampler: str | None, pruner: str | None, num_objectives: int) -> tuple[str, str]:
    """What is named, else the defaults: halving with the sampler that learns from its rungs.

    Of several objectives Optuna prunes nothing, and its TPE is the default; what cannot do with them is refused.
    """
    if num_objectives > 1:
        if pruner not in (None, "none"):
            raise Error(f"--pruner {pruner}: with several objectives no trial can be called worse early. Leave it out.")
        able = [name for name, entry in SAMPLERS.items() if entry.several_objectives]
        if sampler not in (None, *able):
            raise Error(
                f"--sampler {sampler} takes one objective alone. Leave it out, or take one of {', '.join(able)}."
            )
        return sampler or "tpe", "none"
    pruner = pruner or "halving"
    if sampler == "rungwise" and pruner != "halving":
        raise Error(
            f"--sampler rungwise learns from the rungs of --pruner halving, and --pruner is {pruner}. Take"
            " another sampler, such as tpe."
        )
    return sampler or ("rungwise" if pruner == "halving" else "tpe"), pruner


def directions(objectives: Sequence[str]) -> list[Literal["minimize", "maximize"]]:
    """Which way each is better, as Optuna calls it."""
    return ["minimize" if name in COSTS else "maximize" for name in objectives]


def num_parameters(recipe: Recipe) -> float:
    """Return the number of weights of the recipe's network, without its classifiers, whose size the data decide."""
    from trainables.listing import describe  # needs torch, which takes seconds to import

    return float(describe(recipe)["num_parameters"])


def written(name: str, value: float) -> str:
    """A value as people read it."""
    return COSTS[name](value) if name in COSTS else f"{100 * value:.2f} %"


def tell_epoch(trial: optuna.Trial, step: int, value: float) -> None:
    """Tell the study how good `trial` is after epoch `step`.

    Optuna keeps the values of epochs of one objective alone: of several the number of the epoch is kept.
    """
    if len(trial.study.directions) > 1:
        TrialRecord(trial).epoch = step
    else:
        trial.report(value, step)


def last_epoch(trial: FrozenTrial) -> int | None:
    """The last epoch that was reported; None before the first."""
    epoch = TrialRecord(trial).epoch
    return trial.last_step if epoch is None else epoch


def knows_epoch(trial: FrozenTrial, step: int) -> bool:
    """Whether the study has heard of this epoch of `trial`."""
    return step in trial.intermediate_values or step <= (TrialRecord(trial).epoch or 0)


def final_values(trial: FrozenTrial, objectives: Sequence[str]) -> list[float]:
    """What a trial that has run to its end is worth: its objectives after its last epoch."""
    if len(objectives) == 1:
        return [trial.intermediate_values[trial.last_step or 0]]
    return [TrialRecord(trial).metrics[name] for name in objectives]
