"""Steps of trainings, measured before a search where its trials will run: on this machine, or on a cluster's node."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from ray import cloudpickle

from platform.cluster.nodes import answer, ask
from platform.plan import Plan
from platform.projection.display import gigabytes
from platform.projection.draws import Draw
from platform.projection.projection import free_memory
from platform.resources import Machine
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.processes import Killed, in_processes
from trainables.one_step import OneStep
from trainables.ray_trial import run_one_step, run_trial

MEASURED_NAME = "measured.json"  # in the study's folder


def free_memories(machines: Sequence[Machine]) -> list[int]:
    """Bytes of host memory that may still be taken on each machine."""
    asked = [ask(machine.node_id, free_memory) if machine.node_id else None for machine in machines]
    return [
        answer(machine.name, found) if found else free_memory() for machine, found in zip(machines, asked, strict=True)
    ]


def measure_steps(
    plan: Plan, draws: Sequence[Draw], machines: Sequence[Machine], rooms: Sequence[int]
) -> list[OneStep]:
    """One step of each, one after another in a process of their own, which is told of them as Ray tells a trial.

    They run on the machine with the most memory among those that hold a trial.

    Args:
        draws: the largest first.
        rooms: bytes of host memory that the process may take on each machine.
    """
    configs = [plan.config(draw.recipe) for draw in draws]
    _, configs = cloudpickle.loads(cloudpickle.dumps((run_trial, configs)))
    machine, room = roomiest(plan, machines, rooms)
    job = {"configs": configs, "memory_bytes": room}
    try:
        steps = [OneStep(**step) for step in (_there(plan, machine, job) if machine.node_id else _here(job))]
    except Killed:
        # Where an allocation fails in a thread of torch's, C++ ends the process.
        raise Error(
            f"{_offer(plan, draws[0])}: the process that took a step of it was killed, as happens where it"
            f" {_needs_more_memory(plan, machine, room)}"
        ) from None
    for draw, step in zip(draws, steps, strict=True):
        _refuse_what_ran_out(plan, draw, step, machine, room)
    return steps


def remembered_step(plan: Plan, draw: Draw, machines: Sequence[Machine], rooms: Sequence[int]) -> OneStep:
    """As `measure_steps` of one draw, which is measured once and then remembered in the study's folder."""
    file = plan.folder / MEASURED_NAME
    known = _read(file)
    machine, _ = roomiest(plan, machines, rooms)
    key = _key(plan, draw, machine)
    if key not in known:
        say(f"Taking a step of the largest training that space {plan.space.name} offers ({draw}), to see how many fit.")
        (step,) = measure_steps(plan, [draw], machines, rooms)
        known[key] = asdict(step)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".tmp")
        partial.write_text(json.dumps(known, indent=1) + "\n")
        os.replace(partial, file)
    return OneStep(**known[key])


def roomiest(plan: Plan, machines: Sequence[Machine], rooms: Sequence[int]) -> tuple[Machine, int]:
    """The machine with the most memory among those that hold a rank, and that memory."""
    able = [pair for pair in zip(machines, rooms, strict=True) if pair[0].gpus >= plan.gpus_per_rank]
    return max(able, key=lambda pair: pair[1])


def _here(job: dict[str, Any]) -> list[dict[str, Any]]:
    with closing(in_processes(run_one_step, [job], 2)) as answers:  # 2: for one job, a process that is not this one
        ((_, measured),) = answers
    steps: list[dict[str, Any]] = measured
    return steps


def _there(plan: Plan, machine: Machine, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Run it on a node, once that has room for it as for a trial."""
    held = {"num_cpus": plan.cpus_per_rank, "num_gpus": plan.gpus_per_rank}
    measured: list[dict[str, Any]] = answer(machine.name, ask(machine.node_id, run_one_step, job, **held), None)
    return measured


def _refuse_what_ran_out(plan: Plan, draw: Draw, step: OneStep, machine: Machine, room: int) -> None:
    if step.out_of == "memory":
        raise Error(f"{_offer(plan, draw)}: a step of it {_needs_more_memory(plan, machine, room)}")
    if step.out_of == "gpu memory":
        raise Error(
            f"{_offer(plan, draw)}: a step of it does not fit --gpus-per-trial {plan.gpus_per_rank:g}, that part of a"
            f" GPU's memory. {plan.space.shrink}, or give more of a GPU."
        )


def _offer(plan: Plan, draw: Draw) -> str:
    return f"{plan.space.kind} {plan.space.name} offers {draw}"


def _needs_more_memory(plan: Plan, machine: Machine, room: int) -> str:
    return (
        f"needs more than the {gigabytes(room)} of memory that are free on {machine.name}. {plan.space.shrink}, or take"
        " a machine with more memory."
    )


def _key(plan: Plan, draw: Draw, machine: Machine) -> str:
    """What the measurement depends on."""
    on = [machine.name, torch.__version__, *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))]
    known = [field.name for field in fields(OneStep)]
    told = json.dumps([plan.config(draw.recipe), plan.manifest.fingerprint, on, known], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    """What is remembered; nothing where that cannot be read, since it can be measured anew."""
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
