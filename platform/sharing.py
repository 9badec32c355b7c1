"""Proves that the nodes of a cluster share the folders of a search: what one writes the others read."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from shards_tools.errors import Error
from shards_tools.manifest_file import JSON_NAME

if TYPE_CHECKING:  # the nodes that are asked do not need it
    from platform.plan import Plan

FIRST_TASK_S = 180.0  # of a node that has to fetch the package and to start Python


def prove_shared(plan: Plan) -> None:
    """Write where the runs are and read it on every other node, and the other way round; Error where one is elsewhere.

    A folder of shards must be the same on every node too. A node that joins later is not asked.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    if not others:
        return
    place = next(folder for folder in (plan.runs, *plan.runs.parents) if folder.exists())
    with tempfile.TemporaryDirectory(prefix=".shared-", dir=place) as proof:
        word = uuid.uuid4().hex
        (Path(proof) / "driver").write_text(word)
        shards = str(Path(plan.data) / JSON_NAME) if plan.manifest.store.is_local else ""
        asked = [(node["NodeManagerAddress"], _ask(node["NodeID"], proof, shards)) for node in others]
        for node, (name, answer) in zip(others, asked, strict=True):
            read, digest = _answer_of(name, answer)
            if read != word or not (Path(proof) / node["NodeID"]).exists():
                raise Error(
                    f"--runs {plan.runs} is not the same folder on node {name}. On more than one node it must be on a"
                    " disk that all of them share: name one with --runs."
                )
            if shards and digest != _digest(Path(shards)):
                raise Error(
                    f"The shards {plan.data} are not on node {name}, or others than here. Put them on a disk that all"
                    " nodes share, or into an object store, and name that with --data."
                )


def read_and_write(proof: str, shards: str, node_id: str) -> tuple[str, str]:
    """What another node finds in the folder of the proof, where it leaves a file too, and the digest of the shards."""
    try:
        word = (Path(proof) / "driver").read_text()
        (Path(proof) / node_id).touch()
    except OSError:
        return "", ""
    return word, _digest(Path(shards)) if shards else ""


def _ask(node_id: str, proof: str, shards: str) -> Any:
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(read_and_write).options(num_cpus=0, scheduling_strategy=there)
    return task.remote(proof, shards, node_id)


def _answer_of(name: str, answer: Any) -> tuple[str, str]:
    try:
        found: tuple[str, str] = ray.get(answer, timeout=FIRST_TASK_S)
    except ray.exceptions.GetTimeoutError:
        raise Error(f"Node {name} has started no task within {FIRST_TASK_S:g} s. Look at its Ray logs.") from None
    except ray.exceptions.RayError as failure:
        cause = str(failure).strip().splitlines()[-1].rstrip(".")
        raise Error(f"Node {name} cannot run trials: {cause}. Install there what is installed here.") from None
    return found


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
