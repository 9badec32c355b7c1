"""Joins a running Ray cluster, with the package of this driver."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import ray
from ray._private.services import canonicalize_bootstrap_address

from platform.cluster.auth import TOKEN_PLACES, demand_tokens, own_token
from platform.resources import Machine
from shards_tools.errors import Error

# Tune's own loggers would write every report three more times, its own Ctrl-C handler would end the run before the
# study records it, and its progress output would mix with ours.
QUIET_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
PACKAGES = ("platform", "trainables", "search_spaces", "shards_tools")
ANSWER_S = 5.0  # a reachable head answers within milliseconds
# A call without arguments that every head answers and that changes nothing.
ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"


@contextmanager
def joined(address: str | None) -> Iterator[list[Machine]]:
    """Join the cluster at `address` inside the context, and yield its nodes; yield none without an address.

    The workers run this driver's own package. At the end only the driver leaves; the cluster stays as it was.

    Raises:
        Error: the cluster cannot be joined, runs without tokens, or has no CPUs for trials.
    """
    if not address:
        yield []
        return
    head = _head_of(address)
    if not address_of_job():  # for a job, `submit` has checked this
        demand_tokens(f"The Ray cluster at {head}", _asks_for_token(head))
    if not _lets_in(head):
        raise Error(f"The Ray cluster at {head} rejects this token. Copy the cluster's token to {TOKEN_PLACES}.")
    quieten()
    try:
        with tempfile.TemporaryDirectory() as folder:
            # In a job, the driver and its workers get the package from the job.
            runtime_env = {} if address_of_job() else {"working_dir": copied_package(Path(folder))}
            ray.init(address=head, runtime_env=runtime_env, logging_level=logging.ERROR, log_to_driver=False)
    except (RuntimeError, ValueError, OSError, AssertionError) as failure:
        cause = str(failure).strip().splitlines()[0].rstrip(".")
        raise Error(
            f"--address {address} cannot be joined from here: {cause}. Start the search on a node of the cluster, or"
            " from another machine with python -m platform.submit."
        ) from failure
    try:
        yield _nodes(head)
    finally:
        ray.shutdown()


def address_of_job() -> str | None:
    """Return `auto` inside a job of a cluster, else None; a new local cluster would not have the job's packages."""
    return "auto" if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else None


def quieten() -> None:
    """Turn off the output and the signal handler of Ray and Tune."""
    os.environ.update(QUIET_ENVIRONMENT)
    # Errors about Tune's snapshots do not matter, because the snapshots are never read.
    for name in ("ray.tune.tune", "ray.tune.execution.experiment_state"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def copied_package(folder: Path) -> str:
    """Copy this project's packages to `folder`, for the nodes to run, and return the folder."""
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(__file__).parents[2] / name, folder / name, ignore=ignored)
    return str(folder)


def _nodes(head: str) -> list[Machine]:
    """Return the nodes that have CPUs for trials."""
    machines = [_machine(node) for node in ray.nodes() if node["Alive"] and int(node["Resources"].get("CPU", 0))]
    if not machines:
        raise Error(f"No node of the Ray cluster at {head} has a CPU for trials. Add a node first.")
    return machines


def _machine(node: dict[str, Any]) -> Machine:
    has = node["Resources"]
    return Machine(
        int(has["CPU"]),
        has.get("GPU", 0),
        name=node["NodeManagerAddress"],
        node_id=node["NodeID"],
        memory_bytes=has["memory"],
    )


def _head_of(address: str) -> str:
    """Return HOST:PORT of the cluster's head; `auto` is resolved on the nodes of a cluster."""
    if "://" in address:
        raise Error(
            f"--address {address} is not HOST:PORT of a Ray head. From outside the cluster, use"
            " python -m platform.submit."
        )
    try:
        head: str | None = canonicalize_bootstrap_address(address)
    except (ConnectionError, ValueError, OSError):
        head = None
    if not head:
        raise Error(f"--address {address}: no Ray cluster was found. Give HOST:PORT of its head, such as head:6379.")
    return head


def _asks_for_token(head: str) -> bool:
    """Whether the head refuses calls without a token."""
    return not _lets_in(head, with_token=False)


def _lets_in(head: str, *, with_token: bool = True) -> bool:
    """Whether the head accepts the call.

    Raises:
        Error: no head answers.
    """
    token = own_token() if with_token else None
    header = [("authorization", f"Bearer {token}")]
    with grpc.insecure_channel(head, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(ALIVE)(b"", timeout=ANSWER_S, metadata=header if token else None)
        except grpc.RpcError as failure:
            if failure.code() == grpc.StatusCode.UNAUTHENTICATED:
                return False
            raise Error(
                f"No Ray head answers at {head} ({failure.code().name.lower()}). Check the host and the port; the"
                " default port is 6379."
            ) from None
    return True
