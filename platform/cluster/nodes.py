"""Asks single nodes of a cluster: a function runs there, and what keeps it from running is one line with its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from shards_tools.errors import Error
from shards_tools.processes import Killed

FIRST_TASK_S = 180.0  # of a node that has to fetch the package and to start Python


def ask(node_id: str, function: Callable[..., Any], *arguments: object, **resources: float) -> Any:
    """Let `function` run on the node, in a process that then ends; what `answer` waits for.

    Args:
        resources: that it waits for and holds there, as Ray's options name them; none by default.
    """
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    options: dict[str, Any] = {"scheduling_strategy": there, "num_cpus": 0, **resources}
    # One call each: a limit that it sets for its process must not outlive it.
    return ray.remote(max_calls=1, **options)(function).remote(*arguments)


def answer(name: str, asked: Any, timeout_s: float | None = FIRST_TASK_S) -> Any:
    """What the node has given back; Error with its name where it cannot run the function, or took too long."""
    try:
        return ray.get(asked, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError:
        raise Error(f"Node {name} has started no task within {timeout_s:g} s. Look at its Ray logs.") from None
    except ray.exceptions.WorkerCrashedError:
        why = "Its memory may be full: free some, and run the same command again."
        raise Killed(f"A process of this search on node {name} was killed. {why}") from None
    except ray.exceptions.RayError as failure:
        cause = str(failure).strip().splitlines()[-1].rstrip(".")
        raise Error(f"Node {name} cannot run trials: {cause}. Install there what is installed here.") from None
