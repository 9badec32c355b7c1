"""`python -m trainables.train`: train one recipe, without a search."""

from collections.abc import Sequence
from pathlib import Path

from shards_tools.command import Parser, add_json_option, data_printer, positive_int, print_json, run
from shards_tools.errors import Error
from shards_tools.images import READINGS
from shards_tools.plugins import add_code_options, load_plugins

EXAMPLE = """example:
  python -m trainables.train --recipe transreid-tiny --data shards/lsasrd --out runs/one --set lr=0.001"""


def main(arguments: Sequence[str] | None) -> None:
    """Train one recipe, or list all recipes.

    Raises:
        Error: --recipe, --data or --out is missing, or the training cannot run as configured.
    """
    options = _parser().parse_args(arguments)
    load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    if options.list:
        from trainables.listing import list_recipes, print_list

        recipes = list_recipes()
        print_list(recipes, data_printer(options.json))
        if options.json:
            print_json({"recipes": recipes})
        return
    for name in ("recipe", "data", "out"):
        if getattr(options, name) is None:
            raise Error(f"--{name} is missing. See `python -m trainables.train --help`.")
    from trainables.run_recipe import run_recipe  # imports torch, which takes seconds

    run_recipe(options)


def _parser() -> Parser:
    parser = Parser(prog="python -m trainables.train", description="Train one recipe.", epilog=EXAMPLE)
    parser.add_argument("--recipe", metavar="NAME", help="the name of a recipe; see --list")
    parser.add_argument("--data", metavar="SHARDS", help="shards: a folder, https://, s3:// or gs://")
    parser.add_argument("--out", type=Path, metavar="DIR", help="output folder; the same command resumes from it")
    parser.add_argument(
        "--epochs",
        type=positive_int,
        metavar="N",
        help="number of epochs; default: the recipe's. More than before extend the training",
    )
    parser.add_argument("--fold", type=int, default=0, metavar="K", help="fold to validate on; default 0")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed; default 0")
    parser.add_argument("--reading", choices=READINGS, default="auto", help="how to read images; default: what fits")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="set the recipe's fields"
    )
    add_code_options(parser)
    parser.add_argument("--list", action="store_true", help="list the recipes and exit")
    add_json_option(parser)
    return parser


if __name__ == "__main__":
    run(main)
