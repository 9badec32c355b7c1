"""Export a checkpoint: its network as ONNX or TorchScript, its weights, or the features of a split.

The network takes uint8 RGB images of the recipe's size, and the words of tags if it reads any. It normalizes them
itself, and returns `features` (unit vectors) and `probabilities` of the trained works or classes.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platform.options import add_checkpoint
from shards_tools.command import Parser, add_json_option, print_json, run, say
from shards_tools.errors import Error
from shards_tools.plugins import add_code_options, load_plugins

EXAMPLE = """examples:
  python -m platform.export CHECKPOINT --out model.onnx --data shards/lsasrd
  python -m platform.export CHECKPOINT --out weights.safetensors
  python -m platform.export CHECKPOINT --out features.parquet --data shards/lsasrd --split test
"""
FORMAT_OF_SUFFIX = {
    ".onnx": "onnx",
    ".safetensors": "safetensors",
    ".pt": "torchscript",
    ".npz": "features",
    ".parquet": "features",
}
FORMATS = tuple(dict.fromkeys(FORMAT_OF_SUFFIX.values()))
FEATURE_SUFFIXES = tuple(suffix for suffix, name in FORMAT_OF_SUFFIX.items() if name == "features")
SPLITS = ("train", "val", "test")


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file, and with --json print one JSON object."""
    options = parser().parse_args(arguments)
    check(options)
    load_plugins(options.import_, accept_changed_code=options.accept_changed_code)
    found = export(options)
    if "max_abs_difference" in found:
        say(f"largest difference from torch: {found['max_abs_difference']:.2g}")
    say(f"wrote {options.out}")
    if options.json:
        print_json(found)


def parser() -> Parser:
    """Return the command line's parser."""
    arguments = Parser(prog="python -m platform.export", description=__doc__, epilog=EXAMPLE)
    add_checkpoint(arguments)
    add = arguments.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="a new file")
    add("--format", choices=FORMATS, help="default: by the suffix of FILE")
    add("--data", metavar="SHARDS", help="for features; onnx and torchscript are compared with torch on these images")
    add("--split", choices=SPLITS, default="val", help="of --data; default: val")
    add_code_options(arguments)
    add_json_option(arguments)
    return arguments


def check(options: argparse.Namespace) -> None:
    """Set the format, and refuse options that contradict each other and a file that cannot be written.

    Raises:
        Error: the file exists, its folder does not, its suffix is unknown, or an option does not fit the format.
    """
    out: Path = options.out
    options.format = options.format or FORMAT_OF_SUFFIX.get(out.suffix)
    if options.format is None:
        raise Error(
            f"--out {out}: no format has the suffix {out.suffix!r}. Use one of {', '.join(FORMAT_OF_SUFFIX)}, or add"
            " --format."
        )
    if out.exists() or out.is_symlink():
        raise Error(f"--out {out} exists. Use a new file, or remove this one first.")
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise Error(f"--out {out}: the folder {out.parent} does not exist or is not writable. Use another one.")
    if options.format == "features" and out.suffix not in FEATURE_SUFFIXES:
        raise Error(f"--out {out}: features are written as {' or '.join(FEATURE_SUFFIXES)}. Use one of these suffixes.")
    if options.format == "features" and options.data is None:
        raise Error("--format features needs images. Add --data SHARDS.")
    if options.format == "safetensors" and options.data is not None:
        raise Error(f"--data {options.data}: --format safetensors reads no images. Leave the option out.")


def export(options: argparse.Namespace) -> dict[str, Any]:
    """Write the file and return the command's JSON; an error leaves no file.

    Args:
        options: checked by `check`.

    Raises:
        Error: the checkpoint or the images cannot be read, a package is missing, or the disk is full.
    """
    from trainables.inference.export import require_onnx  # imports torch, which takes seconds
    from trainables.training.checkpoint_info import EVALUATED
    from trainables.training.checkpoint_store import fetched

    if options.format == "onnx":
        require_onnx()
    hidden = options.out.with_name(f".{options.out.name}.writing")
    try:
        with fetched(options.checkpoint, EVALUATED) as folder:
            found = _write(options, folder, hidden)
        os.replace(hidden, options.out)
    except OSError as failure:
        raise Error(f"{options.out} cannot be written: {failure.strerror}. Use another disk or folder.") from failure
    finally:
        hidden.unlink(missing_ok=True)
    return found


def _write(options: argparse.Namespace, folder: Path, file: Path) -> dict[str, Any]:
    from shards_tools.manifest_file import read_manifest
    from trainables.inference import export as exports
    from trainables.inference.feature_table import export_features

    if options.format == "safetensors":
        return exports.export_weights(folder, file)
    images = None if options.data is None else (read_manifest(options.data), options.split)
    if options.format == "onnx":
        return exports.export_onnx(folder, file, images)
    if options.format == "torchscript":
        return exports.export_torchscript(folder, file, images)
    assert images is not None  # `check` refuses features without data
    return export_features(folder, file, *images, suffix=options.out.suffix)


if __name__ == "__main__":
    run(main)
