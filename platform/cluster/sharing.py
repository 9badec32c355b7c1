"""Proves that the nodes of a cluster share the folders of a search: what one writes the others read."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from platform.cluster.nodes import answer, ask
from shards_tools.errors import Error
from shards_tools.manifest_file import JSON_NAME

if TYPE_CHECKING:  # the nodes that are asked do not need it
    from platform.plan import Plan


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
        asked = [ask(node["NodeID"], read_and_write, proof, shards, node["NodeID"]) for node in others]
        for node, found in zip(others, asked, strict=True):
            name = node["NodeManagerAddress"]
            read, digest = answer(name, found)
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


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
