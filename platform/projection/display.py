"""What people and programs are told of a dry run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from platform.projection.draws import NUM_DRAWS, Draw, Draws
from platform.projection.projection import Projection
from platform.storage import without_password
from shards_tools.command import say


def print_plan(projection: Projection, draws: Draws, largest: Draw) -> None:
    """A table of the parts of the plan, on standard error."""
    print_needs(projection, largest, _checked(projection, draws))
    say("Nothing was kept. The same command without --dry-run starts the search.")


def print_needs(projection: Projection, largest: Draw, checked: Sequence[tuple[str, str]]) -> None:
    """Print what was checked, then what the plan will take, as a table on standard error."""
    table = Table(title=f"Study {projection.plan.study}: nothing was found that would fail")
    table.title_justify, table.show_header, table.box = "left", False, None
    table.add_column(style="bold")
    table.add_column()
    for part, text in [*checked, *_needed(projection, largest), *_expected(projection)]:
        table.add_row(part, text)
    Console(stderr=True, width=None if Console(stderr=True).is_terminal else 100).print(table)


def as_json(projection: Projection, largest: Draw) -> dict[str, Any]:
    """The plan for --json; gigabytes are 10^9 bytes."""
    plan, step = projection.plan, projection.largest
    on_gpu = {"step": step.gpu_bytes / 1e9, "share": projection.gpu_share_bytes / 1e9} if step.gpu_bytes else None
    return {
        "study": plan.study,
        "scale": plan.scale,
        "data": plan.data,
        "objective": list(plan.objectives) if len(plan.objectives) > 1 else plan.objective,
        "chance": plan.chance[plan.objective],
        "largest": {"recipe": largest.recipe.name, "params": largest.params},
        "step": {
            "images": step.batch_images,
            "seconds": step.step_s,
            "images_per_second": step.batch_images / step.step_s,
            "evaluated_images_per_second": step.evaluate_images / step.evaluate_s,
        },
        "memory_gb": {
            "trial": step.peak_bytes / 1e9,
            "pixels": projection.pixel_bytes / 1e9,
            "needed": projection.memory_bytes / 1e9,
            "free": projection.memory_free_bytes / 1e9,
        },
        "gpu_memory_gb": on_gpu,
        "disk_gb": {
            "checkpoint": step.checkpoint_bytes / 1e9,
            "needed": projection.disk_bytes / 1e9,
            "free": projection.disk_free_bytes / 1e9,
        },
        "trials": {
            "wanted": plan.trials,
            "finished": projection.num_finished,
            "running": projection.num_running,
            "left": projection.num_left,
            "expected_complete": projection.num_complete,
        },
        "concurrency": plan.concurrency,
        "ranks_per_trial": plan.ranks_per_trial,
        "epochs": {"longest": plan.longest_epochs, "expected": sum(projection.lengths)},
        "hours": {"expected": projection.hours, "most": projection.most_hours},
        "gpu_hours": _hours_of(projection, plan.gpus_per_trial) if plan.gpus_per_trial else None,
        "cpu_hours": _hours_of(projection, plan.cpus_per_trial),
        "storage": without_password(plan.storage),
        "tracking_uri": without_password(plan.tracking),
    }


def gigabytes(num_bytes: float) -> str:
    """Bytes as people read them, in units of 10^9 or 10^6."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _checked(projection: Projection, draws: Draws) -> list[tuple[str, str]]:
    plan = projection.plan
    chance = f"{plan.objective} by chance {100 * plan.chance[plan.objective]:.2f} %"
    return [
        (
            "Space",
            f"{plan.space.name} at {plan.scale} scale: {NUM_DRAWS} draws, {len(draws.baselines)} baselines and each of"
            f" its {draws.num_choices} choices are recipes.",
        ),
        ("Data", f"{plan.data}: as its manifest says; {projection.largest.val_images} images validate, {chance}."),
        ("Stores", "The folder of runs, Optuna's database and MLflow's store can be written and read."),
    ]


def _needed(projection: Projection, largest: Draw) -> list[tuple[str, str]]:
    step, at_a_time, num_ranks = projection.largest, projection.plan.concurrency, projection.plan.ranks_per_trial
    ranks = f"of {num_ranks} ranks, " if num_ranks > 1 else ""
    pixels = f", {gigabytes(projection.pixel_bytes)} of decoded images" if projection.pixel_bytes else ""
    lines = [
        (
            "Largest",
            f"{largest}. A step of {step.batch_images} images took {step.step_s:.2g} s, evaluating"
            f" {step.evaluate_images} images {step.evaluate_s:.2g} s.",
        ),
        (
            "Memory",
            f"{gigabytes(projection.memory_bytes)} of the {gigabytes(projection.memory_free_bytes)} that are free:"
            f" {at_a_time} at a time, {ranks}{gigabytes(step.peak_bytes)} each{pixels}, and Ray.",
        ),
    ]
    if step.gpu_bytes:
        share = gigabytes(projection.gpu_share_bytes)
        lines.append(("GPU", f"{gigabytes(step.gpu_bytes)} of a {'rank' if num_ranks > 1 else 'trial'}'s {share}."))
    kept = f"checkpoints of {gigabytes(step.checkpoint_bytes)}, two of each trial that runs, one of each complete one"
    if projection.plan.checkpoints:
        lines.append(("Bucket", f"{gigabytes(projection.kept_bytes)}: {kept}."))
        kept = "a copy of the best for MLflow"
    free = gigabytes(projection.disk_free_bytes)
    return [*lines, ("Disk", f"{gigabytes(projection.disk_bytes)} of the {free} that are free: {kept}.")]


def _expected(projection: Projection) -> list[tuple[str, str]]:
    plan, left = projection.plan, projection.num_left
    if not left:
        return [("Trials", f"All {plan.trials} are done: nothing is left to run.")]
    running = f", {projection.num_running} of them from their checkpoints" if projection.num_running else ""
    done = f"{projection.num_finished} are done, {left} are left" if projection.num_finished else f"{left}"
    most = "" if plan.pruner == "none" else " and none ends early"
    enough = ""
    if plan.hours and plan.hours < projection.hours:
        enough = f" --hours {plan.hours:g} is less: the same command goes on then."
    if plan.folds > 1 or plan.finalists:
        enough += " The trainings of --folds and --finalists come on top."
    return [
        ("Trials", f"{done}{running}. {_ends(projection)}"),
        (
            "Time",
            f"About {_duration(projection.hours)}, if all are as fast as the one of median size;"
            f" {_duration(projection.most_hours)} if all are as slow as the largest{most}.{enough}",
        ),
        ("Cost", _cost(projection)),
    ]


def _ends(projection: Projection) -> str:
    """Say how many run to their end, and how many the pruner ends early."""
    epochs, complete = projection.plan.longest_epochs, projection.num_complete
    if projection.plan.pruner == "none":
        return f"Each runs to its end, for at most {epochs} epochs."
    return (
        f"About {complete} run all {epochs} epochs and {projection.num_left - complete} end early, if their order after"
        " one epoch stays as it is."
    )


def _cost(projection: Projection) -> str:
    """What is paid for a machine: the hours of its GPUs, or, without any, of its CPUs, that trials hold."""
    plan = projection.plan
    unit, number = ("GPU", plan.gpus_per_trial) if plan.gpus_per_trial else ("CPU", plan.cpus_per_trial)
    hours = _hours_of(projection, number)
    enough = ""
    if plan.gpu_hours and plan.gpu_hours < hours["expected"]:
        enough = f" --gpu-hours {plan.gpu_hours:g} is less: the search ends then."
    each = f"{number:g} {unit}s for each trial" if number != 1 else f"a {unit} for each trial"
    expected, most = (f"{value:.1f}" if value >= 1 else f"{value:.2g}" for value in hours.values())
    return f"About {expected} {unit} hours, at most {most}: {each}.{enough}"


def _hours_of(projection: Projection, number: float) -> dict[str, float]:
    return {"expected": projection.trial_hours * number, "most": projection.most_trial_hours * number}


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(60 * hours))} min"
