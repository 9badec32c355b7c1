"""Evaluate a checkpoint: the cross-role metrics of its features on the validation or the test split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shards_tools.command import Parser, print_json, run, say
from shards_tools.errors import Error
from shards_tools.images import open_images
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from trainables.checkpoint import load_model
from trainables.evaluation import chance_on_split, evaluate_split

EXAMPLE = """example:
  python -m platform.evaluate runs/STUDY/start-001/trial-0007-1/checkpoint_000008 --data shards/lsasrd
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the metrics, or one JSON object with --json."""
    parser = Parser(prog="python -m platform.evaluate", description=__doc__, epilog=EXAMPLE)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a folder that a training has written")
    parser.add_argument("--data", required=True, metavar="SHARDS")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="default: val")
    parser.add_argument("--fold", type=int, metavar="K", help="default: the fold the checkpoint was validated on")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of standard output")
    options = parser.parse_args(arguments)
    result = evaluate(options.checkpoint, read_manifest(options.data), split=options.split, fold=options.fold)
    for name in ("mAP", "mINP"):
        say(f"{name:<5} {100 * result[name]:6.2f} %   chance {100 * result['chance'][name]:6.2f} %")
    for rank, value in result["cmc"].items():
        say(f"R{rank:<4} {100 * value:6.2f} %   chance {100 * result['chance']['cmc'][rank]:6.2f} %")
    say(f"{result['num_valid_queries']} queries with a positive in the gallery")
    if options.json:
        print_json(result)


def evaluate(checkpoint: Path, manifest: Manifest, *, split: str, fold: int | None) -> dict[str, Any]:
    """The metrics of a checkpoint on a split, as fractions, and the same for random features under `chance`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, info = load_model(checkpoint, device)
    # Sums of floats depend on how they are shared out: with the training's threads the training's numbers come back.
    torch.set_num_threads(info.num_threads)
    query, gallery = _indices(manifest, split, info.fold if fold is None else fold)
    pixels = open_images(manifest, info.recipe.image_size, info.recipe.image_size, threads=info.num_threads)
    metrics = evaluate_split(model, pixels, manifest, query, gallery, device)
    chance = chance_on_split(manifest, query, gallery)
    return {
        "mAP": metrics.mAP,
        "mINP": metrics.mINP,
        "cmc": metrics.cmc,
        "num_valid_queries": metrics.num_valid_queries,
        "chance": {"mAP": chance.mAP, "mINP": chance.mINP, "cmc": chance.cmc},
    }


def _indices(manifest: Manifest, split: str, fold: int) -> tuple[np.ndarray, np.ndarray]:
    parts = manifest.split(fold)
    query, gallery = (parts.val_query, parts.val_gallery) if split == "val" else (parts.test_query, parts.test_gallery)
    if not len(query):
        raise Error(f"{manifest.store} has no {split} split: in a {manifest.layout} layout use --split val --fold K.")
    return query, gallery


if __name__ == "__main__":
    run(main)
