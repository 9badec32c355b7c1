"""`--concurrency auto`: as many trials at a time as CPUs, GPUs and the memory of the machines hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from platform.plan import Plan
from platform.projection.display import gigabytes
from platform.projection.draws import Draws
from platform.projection.measuring import free_memories, measure_steps, remembered_step
from platform.projection.projection import RAY_BYTES
from platform.resources import Machine, cpus_of_each, num_held
from platform.room import needs_room
from trainables.gpu_share import CONTEXT_BYTES
from trainables.one_step import OneStep
from trainables.reading import decoded_bytes

MOST_ON_A_GPU = 4  # beyond that a GPU does not do more work, it only changes between trials more often


def fit_to_memory(plan: Plan, machines: Sequence[Machine], *, shares_gpus: bool, remembers: bool) -> Plan:
    """The plan with no more trials at a time than memory holds of its largest training, of which a step is measured.

    Error where a single step needs more than there is.

    Args:
        shares_gpus: whether several trials may share a GPU; else each has the part that was asked for.
        remembers: whether the measurement is kept in the study's folder, and taken from there.
    """
    memories = free_memories(machines)
    largest = Draws(plan).largest()
    taken = decoded_bytes(largest.recipe, plan.manifest, plan.reading) + RAY_BYTES
    rooms = [int(min(free - taken, machine.memory_bytes)) for free, machine in zip(memories, machines, strict=True)]
    if remembers:
        with needs_room(plan.runs):
            step = remembered_step(plan, largest, machines, rooms)
    else:
        (step,) = measure_steps(plan, [largest], machines, rooms)
    return packed(plan, step, machines, rooms, shares_gpus=shares_gpus and plan.ranks_per_trial == 1)


def packed(plan: Plan, step: OneStep, machines: Sequence[Machine], rooms: Sequence[int], *, shares_gpus: bool) -> Plan:
    """The plan with as many trials at a time as there is room for, at least one.

    Args:
        step: of the largest training.
        rooms: bytes of host memory that trials may take on each machine.
    """
    num_sharing = _num_sharing(step, machines) if shares_gpus and step.gpu_bytes else 1
    # Ray counts GPUs to four places; a third of one, rounded up, would fit in twice.
    gpus = plan.gpus_per_rank if num_sharing == 1 else 10_000 // num_sharing / 10_000
    by_units = [num_held(machine, plan.scale, gpus) for machine in machines]
    by_memory = [max(0, room // step.peak_bytes) for room in rooms]
    ranks = plan.ranks_per_trial
    concurrency = max(1, sum(map(min, by_units, by_memory)) // ranks)
    why = (
        f"{'GPUs' if gpus else 'CPUs'} hold {sum(by_units) // ranks}, memory {sum(by_memory) // ranks}: "
        f"{gigabytes(ranks * step.peak_bytes)} each of the {gigabytes(sum(rooms))} that are free"
    )
    if num_sharing > 1:
        on_gpu = f"{gigabytes(step.gpu_bytes)} of its {gigabytes(step.gpu_total_bytes)}"
        why += f"; {num_sharing} share a GPU: each takes {on_gpu}"
    return replace(
        plan,
        concurrency=concurrency,
        cpus_per_rank=cpus_of_each(concurrency * ranks, plan.scale, gpus, machines),
        gpus_per_rank=gpus,
        # On a cluster, whose nodes others use too, Ray keeps account of memory.
        memory_per_rank=step.peak_bytes if machines[0].node_id else 0,
        why_concurrency=why,
    )


def _num_sharing(step: OneStep, machines: Sequence[Machine]) -> int:
    """How many of the largest training share a GPU, each with a CPU of its own."""
    fit = step.gpu_total_bytes // (step.gpu_bytes + CONTEXT_BYTES)
    cpus_per_gpu = min(int(machine.cpus // machine.gpus) for machine in machines if machine.gpus)
    return max(1, min(fit, cpus_per_gpu, MOST_ON_A_GPU))
