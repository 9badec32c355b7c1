"""Evaluate a checkpoint on the validation or the test split: how it ranks works, or names classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shards_tools.command import Parser, print_json, run, say
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.plugins import add_code_options, load_plugins
from trainables.checkpoint import EVALUATED, CheckpointInfo, load_model
from trainables.evaluation import Evaluation
from trainables.models.model import Model
from trainables.places import fetched
from trainables.reading import Inputs, evaluation_inputs

SPOKEN = {
    **{f"cmc_{rank}": f"R{rank}" for rank in (1, 5, 10, 20)},
    "top1_mean_class": "top1, mean of classes",
    "top1_few": "top1, < 20 images",
    "top1_medium": "top1, 20 to 100",
    "top1_many": "top1, > 100 images",
    "pairs_rank1": "iCartoonFace Rank@1",
}

EXAMPLE = """example:
  python -m platform.evaluate runs/STUDY/start-001/trial-0007-1/checkpoint_000008 --data shards/lsasrd
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the metrics, or one JSON object with --json."""
    parser = Parser(prog="python -m platform.evaluate", description=__doc__, epilog=EXAMPLE)
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a folder that a training has written, or s3://, gs://"
    )
    parser.add_argument("--data", required=True, metavar="SHARDS")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="default: val")
    parser.add_argument("--fold", type=int, metavar="K", help="default: the fold the checkpoint was validated on")
    add_code_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of standard output")
    options = parser.parse_args(arguments)
    load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    manifest = read_manifest(options.data)
    with fetched(options.checkpoint, EVALUATED) as checkpoint:
        result = evaluate_split(checkpoint, manifest, split=options.split, fold=options.fold)
    for name, value in result["metrics"].items():
        say(f"{SPOKEN.get(name, name):<22} {100 * value:6.2f} %   chance {100 * result['chance'][name]:6.2f} %")
    if "num_valid_queries" in result:
        say(f"{result['num_valid_queries']} queries with a positive in the gallery")
    if options.json:
        print_json(as_json(result))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A checkpoint's model, and the split that it is asked about."""

    model: Model
    info: CheckpointInfo
    evaluation: Evaluation
    inputs: Inputs
    chance: dict[str, float]  # what random features give
    device: str


def evaluate_split(checkpoint: Path, manifest: Manifest, *, split: str, fold: int | None) -> dict[str, Any]:
    """The `metrics` of a checkpoint on a split, as fractions, and the same for random features under `chance`."""
    asked = ask(checkpoint, manifest, split=split, fold=fold)
    metrics = asked.evaluation.of(asked.model, asked.inputs, asked.device)
    counted = {name: int(metrics.pop(name)) for name in ("num_valid_queries",) if name in metrics}
    return {"metrics": metrics, **counted, "chance": asked.chance}


def ask(checkpoint: Path, manifest: Manifest, *, split: str, fold: int | None) -> Asked:
    """Load the checkpoint and open the split; Error where it holds nothing that could be asked."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, info = load_model(checkpoint, device)
    # Sums of floats depend on how they are shared out: with the training's threads the training's numbers come back.
    torch.set_num_threads(info.num_threads)
    evaluation = Evaluation(manifest, split, info.fold if fold is None else fold)
    if not len(evaluation.query):
        raise Error(f"{manifest.store} has no {split} split: in a {manifest.layout} layout use --split val --fold K.")
    chance = evaluation.chance()
    _refuse_other_classes(info, evaluation)
    inputs = evaluation_inputs(info.recipe, manifest, info.vocabulary, "auto", threads=info.num_threads)
    return Asked(model=model, info=info, evaluation=evaluation, inputs=inputs, chance=chance, device=device)


def _refuse_other_classes(info: CheckpointInfo, evaluation: Evaluation) -> None:
    """A classifier names the classes that it was trained on, and no others."""
    if evaluation.ranks:
        return
    trained, asked = info.works, evaluation.trained_works
    if trained != asked:
        strange = next((name for name in asked if name not in trained), "fewer or in another order")
        raise Error(
            f"{evaluation.manifest.store} has other classes than the checkpoint was trained on ({strange}). Name the"
            " data of its training, or train on these from it, with --set weights_file=CHECKPOINT pretrained=true."
        )


def as_json(result: dict[str, Any]) -> dict[str, Any]:
    """Return the command's JSON for a result of `evaluate_split`."""
    counted = {name: value for name, value in result.items() if name == "num_valid_queries"}
    return {**_with_cmc(result["metrics"]), **counted, "chance": _with_cmc(result["chance"])}


def _with_cmc(metrics: dict[str, float]) -> dict[str, Any]:
    """Return the metrics with the ranks of CMC under one key."""
    plain = {name: value for name, value in metrics.items() if not name.startswith("cmc_")}
    cmc = {name.removeprefix("cmc_"): value for name, value in metrics.items() if name.startswith("cmc_")}
    return {**plain, "cmc": cmc} if cmc else plain


if __name__ == "__main__":
    run(main)
