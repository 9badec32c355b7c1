"""The samplers and pruners that a search may use. Importing this module is cheap: each is imported on first use."""

from __future__ import annotations

from dataclasses import dataclass

from shards_tools.registry import Registry


@dataclass(frozen=True)
class Sampler:
    """A sampler; `factory` is "module:function", called with the plan and a seed."""

    factory: str
    several_objectives: bool = True  # whether it supports several objectives


@dataclass(frozen=True)
class Pruner:
    """A pruner; `factory` is "module:function", called with the plan."""

    factory: str
    # Whether it stores a trial's value at each rung, so that asking it twice about an epoch is harmless.
    has_rungs: bool = False


SAMPLERS: Registry[Sampler] = Registry(
    "sampler",
    {
        "rungwise": Sampler("platform.sampling.samplers:rungwise", several_objectives=False),
        "tpe": Sampler("platform.sampling.samplers:tpe"),
        "gp": Sampler("platform.sampling.samplers:gaussian_process"),
        "cmaes": Sampler("platform.sampling.samplers:cma_es", several_objectives=False),
        "random": Sampler("platform.sampling.samplers:at_random"),
        "grid": Sampler("platform.sampling.samplers:grid"),
        "qmc": Sampler("platform.sampling.samplers:quasi_monte_carlo"),
    },
)
PRUNERS: Registry[Pruner] = Registry(
    "pruner",
    {
        "halving": Pruner("platform.pruning:halving", has_rungs=True),
        "hyperband": Pruner("platform.pruning:hyperband", has_rungs=True),
        "median": Pruner("platform.pruning:median"),
        "wilcoxon": Pruner("platform.pruning:wilcoxon"),
        "patient": Pruner("platform.pruning:patient"),
        "none": Pruner("platform.pruning:never"),
    },
)
