"""Checks that the nodes of a cluster share the folders or the bucket of a search: what one writes, the others read."""

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
from trainables.training.checkpoint_store import fetched, remove, send

if TYPE_CHECKING:  # not needed on the other nodes
    from platform.stores import Stores
    from shards_tools.manifest import Manifest


Node = dict[str, Any]  # an entry of `ray.nodes()`


def prove_shared(stores: Stores, manifest: Manifest) -> None:
    """Check that every other node reads what this one writes to --runs, and the other way round.

    With a bucket for the checkpoints, every node must read and write there instead, and --runs is this node's own
    folder. A local folder of shards must be the same on every node, too. Nodes that join later are not checked.

    Raises:
        Error: a node does not share them.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    if not others:
        return
    if stores.checkpoints:
        for name, trouble in _on_each(others, trouble_with_bucket, stores.checkpoints):
            if trouble:
                raise Error(f"On node {name}: {trouble}")
    else:
        _prove_folder(stores.runs, others)
    if manifest.store.is_local:
        shards = str(Path(str(manifest.store)) / JSON_NAME)
        for name, digest in _on_each(others, digest_of, shards):
            if digest != digest_of(shards):
                raise Error(
                    f"The shards {manifest.store} are missing on node {name}, or differ from those here. Put them on a"
                    " disk that all nodes share, or into an object store, and give that address with --data."
                )


def prove_bucket(place: str) -> None:
    """Write a file to a bucket and read it.

    Raises:
        Error: the bucket cannot be written or read from here.
    """
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
        raise Error(f"--checkpoints {place} returned different bytes than were written to it. Use another bucket.")


def trouble_with_bucket(place: str) -> str:
    """Return why this node cannot use the bucket; empty if it can."""
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
                    f"--runs {runs} is not the same folder on node {name}. Give a folder that all nodes share with"
                    " --runs, or a bucket with --checkpoints."
                )


def _on_each(nodes: Sequence[Node], function: Callable[..., Any], *arguments: object) -> list[tuple[str, Any]]:
    """Return the name of each node and the result of the function there."""
    asked = [ask(node["NodeID"], function, *arguments) for node in nodes]
    names = [node["NodeManagerAddress"] for node in nodes]
    return [(name, answer(name, found)) for name, found in zip(names, asked, strict=True)]


def read_and_write(proof: str) -> tuple[str, str]:
    """Return the driver's word as this node reads it, and the name of a file that this node creates next to it."""
    left = uuid.uuid4().hex
    try:
        word = (Path(proof) / "driver").read_text()
        (Path(proof) / left).touch()
    except OSError:
        return "", left
    return word, left


def digest_of(shards: str) -> str:
    """Return the SHA-256 of a manifest file; empty if it cannot be read."""
    try:
        return hashlib.sha256(Path(shards).read_bytes()).hexdigest()
    except OSError:
        return ""
