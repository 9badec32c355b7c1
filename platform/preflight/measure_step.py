"""Measure training steps before a search where its trials will run: on this machine, or on a node of a cluster."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from ray import cloudpickle

from platform.cluster.nodes import answer, ask
from platform.preflight.display import gigabytes
from platform.preflight.estimate import free_memory
from platform.preflight.suggestions import Suggestion
from platform.resources import Machine, TrialResources
from platform.spaces.loading import Space
from platform.training_setup import TrainingSetup
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.folders import write_durably
from shards_tools.parallel import Killed, in_processes
from shards_tools.records import parse_object
from trainables.profiling.measure_step import OneStep
from trainables.ray_trial import run_one_step, run_trial

MEASURED_NAME = "measured.json"  # in the study's folder


def free_memories(machines: Sequence[Machine]) -> list[int]:
    """Return the free host memory of each machine, in bytes."""
    asked = [ask(machine.node_id, free_memory) if machine.node_id else None for machine in machines]
    return [
        answer(machine.name, found) if found else free_memory() for machine, found in zip(machines, asked, strict=True)
    ]


def measure_steps(
    setup: TrainingSetup,
    resources: TrialResources,
    suggestions: Sequence[Suggestion],
    machines: Sequence[Machine],
    free_bytes: Sequence[int],
) -> list[OneStep]:
    """Measure the steps of each sample, one after another, each in a process of its own.

    The processes run on the machine with the most free memory among those that can run a trial.

    Args:
        setup: what trials train.
        resources: what a trial holds.
        suggestions: the largest first.
        machines: where trials will run.
        free_bytes: host memory that a process may use on each machine.

    Raises:
        Error: a step runs out of memory or GPU memory.
    """
    machine, free = most_free_memory(machines, free_bytes, resources.gpus_per_rank)
    return [_measure(setup, resources, suggestion, machine, free) for suggestion in suggestions]


def _measure(
    setup: TrainingSetup, resources: TrialResources, suggestion: Suggestion, machine: Machine, free: int
) -> OneStep:
    """Measure the steps of a sample; its configuration is serialized as Ray does it for a trial."""
    config = setup.config(suggestion.recipe, resources)
    _, config = cloudpickle.loads(cloudpickle.dumps((run_trial, config)))
    job = {"config": config, "memory_bytes": free}
    try:
        step = OneStep(**(_run_on_node(resources, machine, job) if machine.node_id else _run_here(job)))
    except Killed:
        # If an allocation fails in one of torch's threads, the C++ runtime aborts the process.
        raise Error(
            f"{_describe(setup.space, suggestion)}: the process that measured a step of it was killed, probably"
            f" because it {_needs_more_memory(setup.space, machine, free)}"
        ) from None
    _check_memory(setup.space, resources.gpus_per_rank, suggestion, step, machine, free)
    return step


def remembered_step(
    setup: TrainingSetup,
    resources: TrialResources,
    suggestion: Suggestion,
    machines: Sequence[Machine],
    free_bytes: Sequence[int],
    folder: Path,
) -> OneStep:
    """Return the step of one sample from the study's folder, after measuring it and writing it there if needed.

    Args:
        setup: what trials train.
        resources: what a trial holds.
        suggestion: the largest training.
        machines: where trials will run.
        free_bytes: host memory that the measurement may use on each machine.
        folder: the study's folder.

    Raises:
        Error: the step runs out of memory or GPU memory.
    """
    file = folder / MEASURED_NAME
    known = _read(file)
    machine, _ = most_free_memory(machines, free_bytes, resources.gpus_per_rank)
    key = _key(setup, resources, suggestion, machine)
    if key not in known:
        say(
            f"Measuring a step of the largest training of space {setup.space.name} ({suggestion}), to see how many"
            " trials fit."
        )
        (step,) = measure_steps(setup, resources, [suggestion], machines, free_bytes)
        known[key] = asdict(step)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, json.dumps({"checksum": _checksum(known), "steps": known}, indent=1).encode())
    return OneStep(**known[key])


def most_free_memory(
    machines: Sequence[Machine], free_bytes: Sequence[int], gpus_per_rank: float
) -> tuple[Machine, int]:
    """Return the machine with the most free memory among those that can run a rank, and that memory in bytes."""
    able = [pair for pair in zip(machines, free_bytes, strict=True) if pair[0].gpus >= gpus_per_rank]
    return max(able, key=lambda pair: pair[1])


def _run_here(job: dict[str, Any]) -> dict[str, Any]:
    with closing(in_processes(run_one_step, [job], 2)) as answers:  # with 1, the job would run in this process
        ((_, measured),) = answers
    step: dict[str, Any] = measured
    return step


def _run_on_node(resources: TrialResources, machine: Machine, job: dict[str, Any]) -> dict[str, Any]:
    """Run the job on a node of the cluster, with the resources of a trial."""
    held = {"num_cpus": resources.cpus_per_rank, "num_gpus": resources.gpus_per_rank}
    step: dict[str, Any] = answer(machine.name, ask(machine.node_id, run_one_step, job, **held), None)
    return step


def _check_memory(
    space: Space, gpus_per_rank: float, suggestion: Suggestion, step: OneStep, machine: Machine, free: int
) -> None:
    if step.out_of == "memory":
        raise Error(f"{_describe(space, suggestion)}: a step of it {_needs_more_memory(space, machine, free)}")
    if step.out_of == "gpu memory":
        raise Error(
            f"{_describe(space, suggestion)}: a step of it needs more GPU memory than --gpus-per-trial"
            f" {gpus_per_rank:g} allows. {space.shrink}, or raise --gpus-per-trial."
        )


def _describe(space: Space, suggestion: Suggestion) -> str:
    return f"{space.kind} {space.name} includes {suggestion}"


def _needs_more_memory(space: Space, machine: Machine, free: int) -> str:
    return (
        f"needs more than the {gigabytes(free)} of memory that are free on {machine.name}. {space.shrink}, or use"
        " a machine with more memory."
    )


def _key(setup: TrainingSetup, resources: TrialResources, suggestion: Suggestion, machine: Machine) -> str:
    """Return a hash of everything that the measurement depends on."""
    on = [machine.name, torch.__version__, *(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))]
    known = [field.name for field in fields(OneStep)]
    config = setup.config(suggestion.recipe, resources)
    told = json.dumps([config, setup.manifest.fingerprint, on, known], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _read(file: Path) -> dict[str, Any]:
    """Return the stored measurements; empty if the file is missing or damaged, because they can be repeated."""
    try:
        stored = parse_object(file.read_bytes())
    except (OSError, ValueError):
        return {}
    known = stored.get("steps")
    return known if isinstance(known, dict) and stored.get("checksum") == _checksum(known) else {}


def _checksum(steps: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()
