"""Proves that the nodes of a cluster share what a search keeps: what one writes the others read."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from platform.cluster.nodes import answer, ask
from shards_tools.errors import Error
from shards_tools.manifest_file import JSON_NAME
from trainables.places import fetched, remove, send

if TYPE_CHECKING:  # the nodes that are asked do not need it
    from platform.plan import Plan


Node = dict[str, Any]  # as Ray describes it


def prove_shared(plan: Plan) -> None:
    """Write where the runs are and read it on every other node, and the other way round; Error where one is elsewhere.

    Where a bucket keeps the checkpoints, each node must read and write there instead, and the runs are this node's own.
    A folder of shards must be the same on every node too. A node that joins later is not asked.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    if not others:
        return
    if plan.checkpoints:
        for name, trouble in _on_each(others, trouble_with_bucket, plan.checkpoints):
            if trouble:
                raise Error(f"On node {name}: {trouble}")
    else:
        _prove_folder(plan.runs, others)
    if plan.manifest.store.is_local:
        shards = str(Path(plan.data) / JSON_NAME)
        for name, digest in _on_each(others, digest_of, shards):
            if digest != digest_of(shards):
                raise Error(
                    f"The shards {plan.data} are not on node {name}, or others than here. Put them on a disk that all"
                    " nodes share, or into an object store, and name that with --data."
                )


def prove_bucket(place: str) -> None:
    """Write a file below an address, and read it; Error where that cannot be done from here."""
    proof, word = f"{place}/.proof-{uuid.uuid4().hex}", uuid.uuid4().hex
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "word").write_text(word)
        try:
            send(Path(folder), proof)
            with fetched(proof) as copy:
                found = (copy / "word").read_text()
        except Error as failure:
            raise Error(f"--checkpoints {place}: {failure}") from failure
        finally:
            remove(proof)
    if found != word:
        raise Error(f"--checkpoints {place} gives back something else than was written there. Name another bucket.")


def trouble_with_bucket(place: str) -> str:
    """What another node cannot do with the bucket; empty where it can do all."""
    try:
        prove_bucket(place)
    except Error as failure:
        return str(failure)
    return ""


def _prove_folder(runs: Path, others: Sequence[Node]) -> None:
    place = next(folder for folder in (runs, *runs.parents) if folder.exists())
    with tempfile.TemporaryDirectory(prefix=".shared-", dir=place) as proof:
        word = uuid.uuid4().hex
        (Path(proof) / "driver").write_text(word)
        for name, (read, left) in _on_each(others, read_and_write, proof):
            if read != word or not (Path(proof) / left).is_file():
                raise Error(
                    f"--runs {runs} is not the same folder on node {name}. On more than one node it must be on a disk"
                    " that all of them share: name one with --runs, or a bucket with --checkpoints."
                )


def _on_each(nodes: Sequence[Node], function: Callable[..., Any], *arguments: object) -> list[tuple[str, Any]]:
    """Name of each node, and what the function gives back there."""
    asked = [ask(node["NodeID"], function, *arguments) for node in nodes]
    names = [node["NodeManagerAddress"] for node in nodes]
    return [(name, answer(name, found)) for name, found in zip(names, asked, strict=True)]


def read_and_write(proof: str) -> tuple[str, str]:
    """What another node finds in the folder of the proof, and the name of the file that it leaves there."""
    left = uuid.uuid4().hex
    try:
        word = (Path(proof) / "driver").read_text()
        (Path(proof) / left).touch()
    except OSError:
        return "", left
    return word, left


def digest_of(shards: str) -> str:
    """Of the manifest of shards in a folder; empty where there is none."""
    try:
        return hashlib.sha256(Path(shards).read_bytes()).hexdigest()
    except OSError:
        return ""
