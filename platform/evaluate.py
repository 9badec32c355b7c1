"""Evaluate a checkpoint on the validation or the test split: how it ranks works, or names classes.

With --tta, --query-expansion or --rerank, the numbers without them are shown too. Several are applied in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from platform.options import add_checkpoint
from shards_tools.command import Parser, add_json_option, positive_int, print_json, run, say
from shards_tools.plugins import add_code_options
from trainables.evaluation.metric_names import SPOKEN

EXAMPLE = """example:
  python -m platform.evaluate runs/STUDY/start-001/trial-0007-1/checkpoint_000008 --data shards/lsasrd
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the metrics, or one JSON object with --json."""
    options = parser().parse_args(arguments)
    from platform.api import evaluate  # imports torch, which takes seconds

    result = evaluate(
        options.checkpoint,
        data=options.data,
        split=options.split,
        fold=options.fold,
        tta=options.tta,
        rerank=options.rerank,
        query_expansion=options.query_expansion,
        import_=options.import_,
        accept_changed_code=options.accept_changed_code,
    )
    show(result)
    if "num_valid_queries" in result:
        say(f"{result['num_valid_queries']} queries with a positive in the gallery")
    if options.json:
        print_json(result)


def parser() -> Parser:
    """Return the command line's parser."""
    arguments = Parser(prog="python -m platform.evaluate", description=__doc__, epilog=EXAMPLE)
    add_checkpoint(arguments)
    add = arguments.add_argument
    add("--data", required=True, metavar="SHARDS", help="shards: a folder, https://, s3:// or gs://")
    add("--split", choices=("val", "test"), default="val", help="default: val")
    add("--fold", type=int, metavar="K", help="default: the fold that the checkpoint was validated on")
    add("--tta", choices=("flip",), help="average the features, or logits, of each image and its mirror image")
    add(
        "--query-expansion",
        type=positive_int,
        default=0,
        metavar="K",
        help="average each feature with its K nearest of the gallery, for queries and gallery (database augmentation)",
    )
    add("--rerank", action="store_true", help="re-rank by k-reciprocal neighbors (Zhong et al. 2017)")
    add_code_options(arguments)
    add_json_option(arguments)
    return arguments


def show(result: dict[str, Any]) -> None:
    """Print one line per metric, with the plain evaluation and chance next to it."""
    chance, plain = flat(result["chance"]), flat(result.get("plain", {}))
    for name, value in flat(result).items():
        if name in chance:
            beside = f"plain {100 * plain[name]:6.2f} %   " if plain else ""
            say(f"{SPOKEN.get(name, name):<22} {100 * value:6.2f} %   {beside}chance {100 * chance[name]:6.2f} %")


def flat(result: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of the JSON with one key each."""
    ranks = {f"cmc_{rank}": value for rank, value in result.get("cmc", {}).items()}
    return {**{name: value for name, value in result.items() if isinstance(value, float)}, **ranks}


if __name__ == "__main__":
    run(main)
