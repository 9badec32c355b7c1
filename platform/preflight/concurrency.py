"""`--concurrency auto`: run as many trials at a time as the CPUs, GPUs and memory of the machines allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from platform.failures import refuse_full_disk
from platform.preflight.display import gigabytes
from platform.preflight.estimate import RAY_BYTES
from platform.preflight.measure_step import free_memories, measure_steps, remembered_step
from platform.preflight.suggestions import Suggestions
from platform.resolved_search import ResolvedSearch
from platform.resources import Machine, TrialResources, cpus_of_each, num_held
from trainables.data.reading import decoded_bytes
from trainables.profiling.measure_step import OneStep
from trainables.profiling.resource_usage import CONTEXT_BYTES

MOST_ON_A_GPU = 4  # more trials would not use the GPU better, only switch contexts more often


def fit_to_memory(
    search: ResolvedSearch, machines: Sequence[Machine], *, shares_gpus: bool, remembers: bool
) -> TrialResources:
    """Measure a step of the largest training, and let as many trials run at a time as fit into memory.

    Args:
        search: the search, with the resources that CPUs and GPUs allow.
        machines: where its trials will run.
        shares_gpus: whether several trials may share a GPU; False: each gets the GPUs of `--gpus-per-trial`.
        remembers: whether to read the measurement from the study's folder, and to write it there.

    Raises:
        Error: a single step needs more memory than is free.
    """
    setup, resources, stores = search.setup, search.resources, search.stores
    memories = free_memories(machines)
    largest = Suggestions(setup, search.goal.at_most).largest()
    taken = decoded_bytes(largest.recipe, setup.manifest, setup.reading) + RAY_BYTES
    free_bytes = [
        int(min(free - taken, machine.memory_bytes)) for free, machine in zip(memories, machines, strict=True)
    ]
    if remembers:
        with refuse_full_disk(stores.runs):
            step = remembered_step(setup, resources, largest, machines, free_bytes, stores.folder)
    else:
        (step,) = measure_steps(setup, resources, [largest], machines, free_bytes)
    shares_gpus = shares_gpus and resources.ranks_per_trial == 1
    return packed(resources, step, machines, free_bytes, scale=setup.scale, shares_gpus=shares_gpus)


def packed(
    resources: TrialResources,
    step: OneStep,
    machines: Sequence[Machine],
    free_bytes: Sequence[int],
    *,
    scale: str,
    shares_gpus: bool,
) -> TrialResources:
    """Return the resources with as many trials at a time as fit, at least one.

    Args:
        resources: what CPUs and GPUs allow.
        step: the measured step of the largest training.
        machines: where the trials will run.
        free_bytes: host memory that trials may use on each machine.
        scale: "tiny" or "paper".
        shares_gpus: whether several trials may share a GPU.
    """
    num_sharing = _num_sharing(step, machines) if shares_gpus and step.gpu_bytes else 1
    # Ray counts GPUs to four decimals: a third of a GPU, rounded up, would only fit twice.
    gpus = resources.gpus_per_rank if num_sharing == 1 else 10_000 // num_sharing / 10_000
    by_units = [num_held(machine, scale, gpus) for machine in machines]
    by_memory = [max(0, free // step.peak_bytes) for free in free_bytes]
    ranks = resources.ranks_per_trial
    concurrency = max(1, sum(map(min, by_units, by_memory)) // ranks)
    why = (
        f"{'GPUs' if gpus else 'CPUs'} allow {sum(by_units) // ranks}, memory {sum(by_memory) // ranks}: "
        f"{gigabytes(ranks * step.peak_bytes)} each of {gigabytes(sum(free_bytes))} free"
    )
    if num_sharing > 1:
        on_gpu = f"{gigabytes(step.gpu_bytes)} of its {gigabytes(step.gpu_total_bytes)}"
        why += f"; {num_sharing} share a GPU: each takes {on_gpu}"
    return replace(
        resources,
        concurrency=concurrency,
        cpus_per_rank=cpus_of_each(concurrency * ranks, scale, gpus, machines),
        gpus_per_rank=gpus,
        # On a cluster, other users' work may run on the same nodes, so Ray reserves the memory.
        memory_per_rank=step.peak_bytes if machines[0].node_id else 0,
        why_concurrency=why,
    )


def _num_sharing(step: OneStep, machines: Sequence[Machine]) -> int:
    """Return how many copies of the largest training fit on one GPU, with at least one CPU for each."""
    fit = step.gpu_total_bytes // (step.gpu_bytes + CONTEXT_BYTES)
    cpus_per_gpu = min(int(machine.cpus // machine.gpus) for machine in machines if machine.gpus)
    return max(1, min(fit, cpus_per_gpu, MOST_ON_A_GPU))
