"""Runs functions on single nodes of a cluster; a failure is an Error with the node's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from shards_tools.errors import Error
from shards_tools.parallel import Killed

FIRST_TASK_S = 180.0  # includes the time to fetch the package and to start Python


def ask(node_id: str, function: Callable[..., Any], *arguments: object, **resources: float) -> Any:
    """Run `function` on a node, in a process that then ends; return a reference for `answer`.

    Args:
        node_id: Ray's id of the node.
        function: the function.
        arguments: its arguments.
        resources: resources that it waits for and holds there, with the names of Ray's options; none by default.
    """
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    options: dict[str, Any] = {"scheduling_strategy": strategy, "num_cpus": 0, **resources}
    # One call per process, because the function may set limits for its process.
    return ray.remote(max_calls=1, **options)(function).remote(*arguments)


def answer(name: str, asked: Any, timeout_s: float | None = FIRST_TASK_S) -> Any:
    """Wait for the result of a function on a node.

    Args:
        name: the node's name for errors.
        asked: the reference from `ask`.
        timeout_s: how long to wait; None: without a limit.

    Raises:
        Error: the node cannot run the function, or took too long.
    """
    try:
        return ray.get(asked, timeout=timeout_s)
    except ray.exceptions.GetTimeoutError:
        raise Error(f"Node {name} did not finish a task within {timeout_s:g} s. Check its Ray logs.") from None
    except ray.exceptions.WorkerCrashedError:
        why = "Its memory may be full: free some, and run the same command again."
        raise Killed(f"A process of this search on node {name} was killed. {why}") from None
    except ray.exceptions.RayError as failure:
        cause = str(failure).strip().splitlines()[-1].rstrip(".")
        raise Error(f"Node {name} cannot run trials: {cause}. Install the same packages there as here.") from None
