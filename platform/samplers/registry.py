"""The samplers and pruners that a search may use. Importing this module is cheap: each is imported on first use."""

from __future__ import annotations

from dataclasses import dataclass

from shards_tools.errors import Error
from shards_tools.registry import Registry


@dataclass(frozen=True, kw_only=True)
class SearchMethod:
    """How a search chooses settings, and which trials it ends early."""

    sampler: str
    pruner: str
    warm_start: str | None = None  # the study whose best settings this one starts with
    warm_start_storage: str | None = None  # where that study is; None: in this one's storage


@dataclass(frozen=True)
class Sampler:
    """A sampler; `factory` is "module:name", called with the keyword arguments that `needs` lists."""

    factory: str
    needs: tuple[str, ...] = ("seed",)  # arguments of `make_sampler`
    several_objectives: bool = True  # whether it supports several objectives


@dataclass(frozen=True)
class Pruner:
    """A pruner; `factory` is "module:function", called with the rungs."""

    factory: str
    # Whether it stores a trial's value at each rung, so that asking it twice about an epoch is harmless.
    has_rungs: bool = False


SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    {
        "rungwise": Sampler(
            "platform.samplers.samplers:rungwise", needs=("space", "rungs", "seed"), several_objectives=False
        ),
        "tpe": Sampler("optuna.samplers:TPESampler"),
        "gp": Sampler("optuna.samplers:GPSampler"),
        "cmaes": Sampler("platform.samplers.cma_es:SafeCmaEsSampler", several_objectives=False),
        "random": Sampler("optuna.samplers:RandomSampler"),
        "grid": Sampler("platform.samplers.samplers:grid", needs=("space", "study_seed")),
        "qmc": Sampler("platform.samplers.samplers:quasi_monte_carlo", needs=("study_seed",)),
    },
)
PRUNERS: Registry[Pruner] = Registry(
    "pruner",
    {
        "halving": Pruner("platform.samplers.pruning:halving", has_rungs=True),
        "hyperband": Pruner("platform.samplers.pruning:hyperband", has_rungs=True),
        "median": Pruner("platform.samplers.pruning:median"),
        "wilcoxon": Pruner("platform.samplers.pruning:wilcoxon"),
        "patient": Pruner("platform.samplers.pruning:patient"),
        "none": Pruner("platform.samplers.pruning:never"),
    },
)


def sampler_and_pruner(sampler: str | None, pruner: str | None, num_objectives: int) -> tuple[str, str]:
    """Return the sampler and the pruner, by default `rungwise` with `halving`.

    With several objectives Optuna cannot prune, and the default sampler is `tpe`.

    Raises:
        Error: the pruner or the sampler does not support several objectives, or the two do not fit together.
    """
    if num_objectives > 1:
        if pruner not in (None, "none"):
            raise Error(f"--pruner {pruner}: with several objectives trials cannot be pruned. Leave it out.")
        able = [name for name, entry in SAMPLERS.items() if entry.several_objectives]
        if sampler not in (None, *able):
            raise Error(
                f"--sampler {sampler} supports only one objective. Leave it out, or use one of {', '.join(able)}."
            )
        return sampler or "tpe", "none"
    pruner = pruner or "halving"
    if sampler == "rungwise" and pruner != "halving":
        raise Error(
            f"--sampler rungwise needs the rungs of --pruner halving, but --pruner is {pruner}. Use another sampler,"
            " such as tpe."
        )
    return sampler or ("rungwise" if pruner == "halving" else "tpe"), pruner
