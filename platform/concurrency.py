"""`--concurrency auto`: as many trials at a time as CPUs, GPUs and the memory of the machine hold."""

from __future__ import annotations

from dataclasses import replace

from platform.draws import Draws
from platform.dry_run import measure_steps
from platform.dry_run_display import gigabytes
from platform.plan import Plan
from platform.projection import RAY_BYTES, free_memory
from platform.resources import cpus_of_each, this_machine
from shards_tools.command import say
from trainables.reading import decoded_bytes


def fit_to_memory(plan: Plan) -> Plan:
    """The plan with no more trials at a time than memory holds of its largest training, of which a step is measured.

    What CPUs and GPUs hold is in `plan.concurrency`. Error where a single step needs more than there is.
    """
    memory_free = free_memory()
    largest = Draws(plan).largest()
    room = memory_free - decoded_bytes(largest.recipe, plan.manifest, plan.reading) - RAY_BYTES
    say(f"Taking a step of the largest training that space {plan.space.name} offers ({largest}), to see how many fit.")
    (step,) = measure_steps(plan, [largest], room)
    return limited(plan, room, plan.ranks_per_trial * step.peak_bytes)


def limited(plan: Plan, room_bytes: int, trial_bytes: int) -> Plan:
    """The plan with as many trials at a time as there is room for, at least one."""
    fit = max(1, room_bytes // trial_bytes)
    concurrency = min(plan.concurrency, fit)
    units = "GPUs" if plan.gpus_per_trial else "CPUs"
    free = gigabytes(room_bytes)
    why = f"{units} hold {plan.concurrency}, memory {fit}: {gigabytes(trial_bytes)} each of the {free} that are free"
    cpus = cpus_of_each(concurrency * plan.ranks_per_trial, plan.scale, plan.gpus_per_rank, [this_machine()])
    return replace(plan, concurrency=concurrency, cpus_per_rank=cpus, why_concurrency=why)
