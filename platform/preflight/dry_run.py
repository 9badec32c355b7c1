"""`--dry-run`: check and estimate a search before it starts, and stop at the first problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from platform.preflight.display import as_json, gigabytes, print_estimate
from platform.preflight.estimate import RAY_BYTES, Projection
from platform.preflight.measure_step import free_memories, measure_steps
from platform.preflight.storage_checks import try_stores
from platform.preflight.suggestions import Suggestion, Suggestions
from platform.resolved_search import ResolvedSearch
from platform.resources import Machine
from platform.study import num_finished
from platform.warm_start import earlier_settings
from shards_tools.command import say
from shards_tools.errors import Error
from trainables.data.reading import decoded_bytes


def dry_run(search: ResolvedSearch, machines: Sequence[Machine]) -> dict[str, Any]:
    """Check a search, print the estimate of its time, memory and disk space, and return it for `--json`.

    `resolve_search` has already checked the options, the space, the baselines, the shards and the validation split.

    Raises:
        Error: the first problem that would make the search fail.
    """
    study = try_stores(search)
    earlier_settings(search.method, search.setup, search.stores)
    suggestions = Suggestions(search.setup, search.goal.at_most)
    done = (num_finished(study), _num_running(study)) if study else (0, 0)
    projection, largest = project(search, machines, suggestions, *done)
    print_estimate(projection, suggestions, largest)
    return as_json(projection, largest)


def project(
    search: ResolvedSearch, machines: Sequence[Machine], suggestions: Suggestions, num_finished: int, num_running: int
) -> tuple[Projection, Suggestion]:
    """Measure a step of the largest training and of the one of median size, and estimate the search from them.

    Args:
        machines: where its trials will run.
        suggestions: samples of its space.
        num_finished: trials that count for --trials already.
        num_running: trials that an earlier start left running.

    Returns:
        The estimate, and the sample with the largest training.

    Raises:
        Error: the search needs more memory, GPU memory or disk space than there is.
    """
    setup, memories = search.setup, free_memories(machines)
    largest, usual = suggestions.largest(), suggestions.usual()
    pixels = decoded_bytes(largest.recipe, setup.manifest, setup.reading)
    say(f"Measuring a step of the largest training of {setup.space.name} ({largest}), then of one of median size.")
    free_bytes = [free - pixels - RAY_BYTES for free in memories]
    steps = measure_steps(setup, search.resources, [largest, usual], machines, free_bytes)
    projection = Projection(
        search=search,
        num_finished=num_finished,
        num_running=num_running,
        largest=steps[0],
        usual=steps[1],
        pixel_bytes=pixels,
        num_machines=len(machines),
        memory_free_bytes=sum(memories),
        loads_ahead=search.resources.leaves_cpus(machines),
    )
    refuse_what_does_not_fit(projection, largest)
    return projection, largest


def refuse_what_does_not_fit(projection: Projection, largest: Suggestion) -> None:
    """Check the estimated memory, GPU memory and disk space.

    Raises:
        Error: one of them exceeds what is free.
    """
    space, resources = projection.search.setup.space, projection.search.resources
    what = f"{space.kind} {space.name} includes {largest}"
    shrink = space.shrink
    if projection.memory_bytes > projection.memory_free_bytes:
        raise Error(
            f"{what}: {resources.concurrency} at a time need {gigabytes(projection.memory_bytes)} of memory, but"
            f" {gigabytes(projection.memory_free_bytes)} are free. Set --concurrency below {resources.concurrency}, or"
            f" {shrink[0].lower()}{shrink[1:]}."
        )
    if projection.largest.gpu_bytes > projection.gpu_share_bytes:
        raise Error(
            f"{what}: a step of it needs {gigabytes(projection.largest.gpu_bytes)} of GPU memory, but --gpus-per-trial"
            f" {resources.gpus_per_rank:g} allows {gigabytes(projection.gpu_share_bytes)}. {shrink}, or raise"
            " --gpus-per-trial."
        )
    if projection.disk_bytes > projection.disk_free_bytes:
        raise Error(
            f"--runs {projection.search.stores.runs}: the checkpoints need about {gigabytes(projection.disk_bytes)}"
            f" ({gigabytes(projection.largest.checkpoint_bytes)} each), but {gigabytes(projection.disk_free_bytes)} are"
            " free. Free some disk space, or use a folder on a larger disk."
        )


def _num_running(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
