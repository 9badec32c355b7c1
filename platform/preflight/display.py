"""Print the result of a dry run as a table, or return it for `--json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from platform.preflight.estimate import Projection
from platform.preflight.suggestions import NUM_SUGGESTIONS, Suggestion, Suggestions
from platform.terminal.console import table_console
from shards_tools.command import say
from shards_tools.redaction import redact


def print_estimate(projection: Projection, suggestions: Suggestions, largest: Suggestion) -> None:
    """Print the result of a dry run on standard error."""
    print_needs(projection, largest, _checked(projection, suggestions))
    say("Nothing was written. Run the same command without --dry-run to start the search.")


def print_needs(projection: Projection, largest: Suggestion, checked: Sequence[tuple[str, str]]) -> None:
    """Print a table on standard error: what was checked, then the estimated time, memory and disk space."""
    table = Table(title=f"Study {projection.search.stores.study}: no problems found")
    table.title_justify, table.show_header, table.box = "left", False, None
    table.add_column(style="bold")
    table.add_column()
    for part, text in [*checked, *_needed(projection, largest), *_expected(projection)]:
        table.add_row(part, text)
    table_console().print(table)


def as_json(projection: Projection, largest: Suggestion) -> dict[str, Any]:
    """Return the estimate for `--json`.

    Returns:
        Sizes in gigabytes of 10^9 bytes, times in hours, and the step in seconds; `gpu_memory_gb` and `gpu_hours` are
        None without a GPU.
    """
    search, step = projection.search, projection.largest
    setup, goal, resources = search.setup, search.goal, search.resources
    on_gpu = {"step": step.gpu_bytes / 1e9, "share": projection.gpu_share_bytes / 1e9} if step.gpu_bytes else None
    return {
        "study": search.stores.study,
        "scale": setup.scale,
        "data": setup.data,
        "objective": list(goal.objectives) if len(goal.objectives) > 1 else goal.objective,
        "chance": goal.chance[goal.objective],
        "largest": {"recipe": largest.recipe.name, "params": largest.params},
        "step": {
            "images": step.batch_images,
            "seconds": step.step_s,
            "load_seconds": step.load_s,
            "epoch_seconds": projection.epoch_s(step),
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
            "wanted": search.budget.trials,
            "finished": projection.num_finished,
            "running": projection.num_running,
            "left": projection.num_left,
            "expected_complete": projection.num_complete,
        },
        "concurrency": resources.concurrency,
        "ranks_per_trial": resources.ranks_per_trial,
        "epochs": {"longest": setup.longest_epochs, "expected": sum(projection.lengths)},
        "hours": {"expected": projection.hours, "most": projection.most_hours},
        "gpu_hours": _hours_of(projection, resources.gpus_per_trial) if resources.gpus_per_trial else None,
        "cpu_hours": _hours_of(projection, resources.cpus_per_trial),
        "storage": redact(search.stores.storage),
        "tracking_uri": redact(search.stores.tracking),
    }


def gigabytes(num_bytes: float) -> str:
    """Format a number of bytes in units of 10^9 or 10^6."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _checked(projection: Projection, suggestions: Suggestions) -> list[tuple[str, str]]:
    setup, goal = projection.search.setup, projection.search.goal
    chance = f"chance {goal.objective} {100 * goal.chance[goal.objective]:.2f} %"
    return [
        (
            "Space",
            f"{setup.space.name} at {setup.scale} scale: {NUM_SUGGESTIONS} samples,"
            f" {len(suggestions.baselines)} baselines and all {suggestions.num_choices} choices are valid recipes.",
        ),
        ("Data", f"{setup.data}: matches its manifest; {projection.largest.val_images} validation images, {chance}."),
        ("Stores", "The runs folder, Optuna's database and MLflow's store are readable and writable."),
    ]


def _needed(projection: Projection, largest: Suggestion) -> list[tuple[str, str]]:
    step, resources = projection.largest, projection.search.resources
    at_a_time, num_ranks = resources.concurrency, resources.ranks_per_trial
    ranks = f" with {num_ranks} ranks each" if num_ranks > 1 else ""
    unit = "rank" if num_ranks > 1 else "trial"
    pixels = f", {gigabytes(projection.pixel_bytes)} of decoded images" if projection.pixel_bytes else ""
    lines = [
        (
            "Largest",
            f"{largest}. A training step on {step.batch_images} images takes {step.step_s:.2g} s, loading them"
            f" {step.load_s:.2g} s, and an epoch {projection.epoch_s(step):.2g} s.",
        ),
        (
            "Memory",
            f"{gigabytes(projection.memory_bytes)} of {gigabytes(projection.memory_free_bytes)} free: {at_a_time} at a"
            f" time{ranks}, {gigabytes(step.peak_bytes)} per {unit}{pixels}, and Ray.",
        ),
    ]
    if step.gpu_bytes:
        share = gigabytes(projection.gpu_share_bytes)
        lines.append(("GPU", f"{gigabytes(step.gpu_bytes)} of {share} per {unit}."))
    kept = f"checkpoints of {gigabytes(step.checkpoint_bytes)}, two per running trial and one per complete trial"
    if projection.search.stores.checkpoints:
        lines.append(("Bucket", f"{gigabytes(projection.kept_bytes)}: {kept}."))
        kept = "a copy of the best checkpoint for MLflow"
    free = gigabytes(projection.disk_free_bytes)
    return [*lines, ("Disk", f"{gigabytes(projection.disk_bytes)} of {free} free: {kept}.")]


def _expected(projection: Projection) -> list[tuple[str, str]]:
    search, left = projection.search, projection.num_left
    if not left:
        ends = f"about {_duration(projection.hours)} for --final-train, unless it is done" if projection.hours else ""
        return [("Trials", f"All {search.budget.trials} are finished: {ends or 'nothing is left to run'}.")]
    running = f", {projection.num_running} of them resume from checkpoints" if projection.num_running else ""
    done = f"{projection.num_finished} finished, {left} left" if projection.num_finished else f"{left}"
    most = "" if search.method.pruner == "none" else " and none is pruned"
    enough = ""
    if search.budget.hours and search.budget.hours < projection.hours:
        enough = f" --hours {search.budget.hours:g} is less: run the same command again to resume."
    if search.protocol.folds > 1 or search.protocol.finalists:
        enough += " The trainings of --folds and --finalists are not included."
    if search.protocol.final_train:
        enough += f" --final-train is included, with at most {_duration(projection.most_final_hours)}."
    return [
        ("Trials", f"{done}{running}. {_ends(projection)}"),
        (
            "Time",
            f"About {_duration(projection.hours)} if all trials are as fast as the one of median size;"
            f" {_duration(projection.most_hours)} if all are as slow as the largest{most}.{enough}",
        ),
        ("Cost", _cost(projection)),
    ]


def _ends(projection: Projection) -> str:
    """Return a sentence with the numbers of trials that are expected to complete and to be pruned."""
    epochs, complete = projection.search.setup.longest_epochs, projection.num_complete
    if projection.search.method.pruner == "none":
        return f"None is pruned; each trains for at most {epochs} epochs."
    return (
        f"About {complete} train for all {epochs} epochs and {projection.num_left - complete} are pruned, if their"
        " order after the first epoch does not change."
    )


def _cost(projection: Projection) -> str:
    """Return a sentence with the GPU hours of all trials, or their CPU hours if they use no GPUs."""
    search = projection.search
    unit, number = (
        ("GPU", search.resources.gpus_per_trial)
        if search.resources.gpus_per_trial
        else ("CPU", search.resources.cpus_per_trial)
    )
    hours = _hours_of(projection, number)
    enough = ""
    if search.budget.gpu_hours and search.budget.gpu_hours < hours["expected"]:
        enough = f" --gpu-hours {search.budget.gpu_hours:g} is less: the search stops after that."
    each = f"{number:g} {unit}{'' if number == 1 else 's'} per trial"
    expected, most = (f"{value:.1f}" if value >= 1 else f"{value:.2g}" for value in hours.values())
    return f"About {expected} {unit} hours, at most {most}: {each}.{enough}"


def _hours_of(projection: Projection, number: float) -> dict[str, float]:
    return {"expected": projection.trial_hours * number, "most": projection.most_trial_hours * number}


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(60 * hours))} min"
