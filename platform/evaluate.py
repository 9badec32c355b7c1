"""Evaluate a checkpoint on the validation or the test split: how it ranks works, or names classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shards_tools.command import Parser, print_json, run, say
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
        import_=options.import_,
        accept_changed_code=options.accept_changed_code,
    )
    chance = flat(result["chance"])
    for name, value in flat(result).items():
        if name in chance:
            say(f"{SPOKEN.get(name, name):<22} {100 * value:6.2f} %   chance {100 * chance[name]:6.2f} %")
    if "num_valid_queries" in result:
        say(f"{result['num_valid_queries']} queries with a positive in the gallery")
    if options.json:
        print_json(result)


def parser() -> Parser:
    """Return the command line's parser."""
    arguments = Parser(prog="python -m platform.evaluate", description=__doc__, epilog=EXAMPLE)
    add = arguments.add_argument
    add("checkpoint", metavar="CHECKPOINT", help="a folder that a training wrote, or s3://, gs://")
    add("--data", required=True, metavar="SHARDS", help="shards: a folder, https://, s3:// or gs://")
    add("--split", choices=("val", "test"), default="val", help="default: val")
    add("--fold", type=int, metavar="K", help="default: the fold that the checkpoint was validated on")
    add_code_options(arguments)
    add("--json", action="store_true", help="print one JSON object as the last line of standard output")
    return arguments


def flat(result: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of the JSON with one key each."""
    ranks = {f"cmc_{rank}": value for rank, value in result.get("cmc", {}).items()}
    return {**{name: value for name, value in result.items() if isinstance(value, float)}, **ranks}


if __name__ == "__main__":
    run(main)
