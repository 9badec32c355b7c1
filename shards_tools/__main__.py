"""`python -m shards_tools`: build shards from a folder of images, show them, verify them, or draw a sample set."""

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shards_tools.build import ON_ERROR, BuildOptions, build, report_of
from shards_tools.command import Parser, data_printer, print_json, run, say, show_log
from shards_tools.conversion import ON_WHITE, Conversion, parse_color
from shards_tools.drawing.face import SIZE
from shards_tools.drawing.layouts import LAYOUTS
from shards_tools.duplicates import SPLITS, describe_duplicates
from shards_tools.errors import Error
from shards_tools.folders import refuse_existing
from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.overview import count_overview, describe_contents, describe_overview
from shards_tools.plugins import add_import_option, load_plugins
from shards_tools.sample import draw_tree
from shards_tools.sheet import write_sheet
from shards_tools.sources import SOURCES
from shards_tools.sources.checks import check_source
from shards_tools.sources.lsasrd import cut_into_folds
from shards_tools.sources.paths import links_followed
from shards_tools.verify import LEVELS, verify

EXAMPLES = """examples:
  python -m shards_tools draw --out pictures
  python -m shards_tools build lsasrd pictures --out shards
  python -m shards_tools show shards --sheet shards.png
  python -m shards_tools verify shards --level full
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run the command."""
    chosen = _parser().parse_args(arguments)
    show_log("shards_tools")
    summary = COMMANDS[chosen.command](chosen)
    if chosen.json:
        print_json(summary)


def _parser() -> Parser:
    parser = Parser(prog="python -m shards_tools", description=__doc__, epilog=EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{build,show,verify,draw}")

    _add_build_options(commands.add_parser("build", help="write shards and their manifest"))

    command = commands.add_parser("show", help="summarize a folder of shards")
    command.add_argument("shards", metavar="SHARDS")
    command.add_argument(
        "--sheet",
        metavar="FILE.png",
        type=Path,
        help="also write a contact sheet: one row of images for 12 works",
    )

    command = commands.add_parser("verify", help="check shards for damage")
    command.add_argument("shards", metavar="SHARDS")
    command.add_argument(
        "--level", choices=LEVELS, default="quick", help="check file sizes, every byte, or every image"
    )

    command = commands.add_parser("draw", help="draw anime-like faces in the layout of a source")
    command.add_argument("--out", metavar="DIR", type=Path, required=True, help="new folder for the pictures")
    command.add_argument(
        "--seed", metavar="N", type=_seed, default=0, help="random seed of the styles and characters (default: 0)"
    )
    command.add_argument(
        "--layout",
        choices=LAYOUTS,
        default=SUPPRESS,
        help="layout of the tree; plain (the default) and five-fold are LSASRD's",
    )
    command.add_argument(
        "--size", metavar="PX", type=_size, default=SUPPRESS, help=f"width and height of a face in px (default: {SIZE})"
    )

    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print the result as one line of JSON")
    return parser


def _add_build_options(command: ArgumentParser) -> None:
    command.add_argument("source", metavar="KIND", help=f"kind of source: {', '.join(SOURCES)}, or a registered one")
    command.add_argument(
        "folder", metavar="SOURCE", type=Path, help="folder with the images and their lists, or a list"
    )
    command.add_argument("--out", metavar="SHARDS", type=Path, required=True, help="new folder for the shards")
    command.add_argument(
        "--allow-duplicates",
        action="store_true",
        help="allow the same image in two folds, or in two of train, val and test",
    )
    command.add_argument(
        "--drop-duplicates-from",
        choices=SPLITS,
        help="leave out the copies in this split of images that are in two of train, val and test",
    )
    command.add_argument(
        "--on-error",
        choices=ON_ERROR,
        default=ON_ERROR[0],
        help="at broken, missing and duplicate images, stop and list all of them, or skip them (default: stop)",
    )
    command.add_argument(
        "--background",
        metavar="COLOR",
        type=_color,
        default=ON_WHITE.background,
        help="color behind transparent pixels, such as black or #808080 (default: white)",
    )
    command.add_argument(
        "--exif-orientation", action="store_true", help="rotate and mirror images as their EXIF data says"
    )
    command.add_argument(
        "--follow-links", action="store_true", help="read images and folders that links outside of SOURCE lead to"
    )
    add_import_option(command)
    command.add_argument("--five-fold", action="store_true", help="lsasrd: split a plain tree into five folds by work")
    command.add_argument("--seed", metavar="N", type=_seed, help="random seed of --five-fold (default: 0)")


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not an integer >= 0")
    return int(text)


def _color(text: str) -> str:
    try:
        return parse_color(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not an opaque color such as white, #fff or rgb(0, 0, 0)") from None


def _size(text: str) -> int:
    if not text.isdecimal() or not 32 <= int(text) <= 1024:
        raise ArgumentTypeError(f"{text!r} is not an integer from 32 to 1024")
    return int(text)


def _build(chosen: Any) -> dict[str, Any]:
    load_plugins(chosen.import_)
    scan = SOURCES.find(chosen.source)
    if chosen.seed is not None and not chosen.five_fold:
        raise Error("--seed works only with --five-fold, which is not set. Add --five-fold or remove --seed.")
    refuse_existing(chosen.out)  # reading a large tree takes minutes
    with links_followed(chosen.follow_links):
        source = check_source(chosen.source, scan(chosen.folder))
    if chosen.five_fold:
        source = cut_into_folds(source, chosen.seed or 0)
    for path in source.left_out:
        say(f"skipped, not part of the tree: {path}")
    options = BuildOptions(
        on_error=chosen.on_error,
        allow_duplicates=chosen.allow_duplicates,
        drop_duplicates_from=chosen.drop_duplicates_from,
        conversion=Conversion(chosen.background, chosen.exif_orientation),
    )
    manifest = build(source, chosen.out, options)
    say(f"built {chosen.out}")
    report = report_of(chosen.out)
    if not report.exists():
        return _shown(manifest)
    say(f"images that were left out, with the reasons: {report}")
    return {**_shown(manifest), "problems": str(report)}


def _show(chosen: Any) -> dict[str, Any]:
    manifest = read_manifest(chosen.shards)
    shown = _shown(manifest, data_printer(chosen.json))
    if chosen.sheet:
        write_sheet(manifest, chosen.sheet)
        say(f"wrote {chosen.sheet}")
        shown["sheet"] = str(chosen.sheet)
    return shown


def _verify(chosen: Any) -> dict[str, Any]:
    manifest = verify(chosen.shards, chosen.level)
    say(f"{chosen.shards} is intact: {manifest.num_images:,} images in {len(manifest.shards)} shards ({chosen.level}).")
    return {"shards": str(chosen.shards), "level": chosen.level, "num_images": manifest.num_images, "whole": True}


def _draw(chosen: Any) -> dict[str, Any]:
    asked = {name: value for name, value in vars(chosen).items() if name in ("seed", "layout", "size")}
    drawn = draw_tree(chosen.out, **asked)
    counts = ", ".join(f"{count:,} {name[4:].replace('_', ' ')}" for name, count in drawn.items())
    say(f"drew {counts} in {chosen.out}")
    return {"out": str(chosen.out), **asked, **drawn}


COMMANDS = {"build": _build, "show": _show, "verify": _verify, "draw": _draw}


def _shown(manifest: Manifest, write: Callable[[str], None] = say) -> dict[str, Any]:
    """Write a summary of the shards line by line, and return it for JSON."""
    num_bytes = sum(shard.num_bytes for shard in manifest.shards)
    folds = [_split_sizes(manifest, fold) for fold in range(manifest.num_folds)]
    write(f"{manifest.source}, {manifest.layout} layout, fingerprint {manifest.fingerprint[:16]}")
    write(f"{describe_contents(manifest)}; {num_bytes / 1e6:,.1f} MB in {len(manifest.shards):,} shards")
    for fold, sizes in enumerate(folds):
        counts = ", ".join(f"{name} {size:,}" for name, size in sizes.items() if size)
        write(counts if len(folds) == 1 else f"fold {fold}: {counts}")
    overview = count_overview(manifest)
    for line in (*describe_overview(overview, manifest.layout), *describe_duplicates(manifest.duplicates)):
        write(line)
    for note in manifest.notes:
        say(f"note: {note}")
    return {
        "shards": str(manifest.store),
        "source": manifest.source,
        "layout": manifest.layout,
        "fingerprint": manifest.fingerprint,
        "num_images": manifest.num_images,
        "num_works": len(manifest.works),
        "num_roles": len(manifest.roles),
        "num_shards": len(manifest.shards),
        "num_bytes": num_bytes,
        "folds": folds,
        **overview,
        "duplicates": asdict(manifest.duplicates),
        "notes": list(manifest.notes),
        "conversion": asdict(manifest.conversion),
    }


def _split_sizes(manifest: Manifest, fold: int) -> dict[str, int]:
    return {name: len(indices) for name, indices in vars(manifest.split(fold)).items()}


if __name__ == "__main__":
    run(main)
