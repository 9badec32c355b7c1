"""Read the tables of tensors in a file of weights; nothing in it is executed."""

import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from shards_tools.errors import Error, listed

States = dict[str, Tensor]

# objects of these packages often accompany weights, such as a best accuracy, arguments and paths; they are not needed
NOT_NEEDED = (
    "_codecs",
    "argparse",
    "collections",
    "datetime",
    "lightning",
    "mmengine",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
)
PLAIN_TYPES = {f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "set", "str", "tuple")}
MAPPING = "collections.defaultdict"
GRID = "grid"  # in the metadata of exported weights: rows and columns of patches, as in 16x8


class StandIn:
    """Takes the place of an object that is not needed: it ignores what the file says about that object."""

    def __new__(cls, *args: object) -> "StandIn":
        """Ignore the arguments."""
        return super().__new__(cls)

    def __init__(self, *args: object) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: object) -> None:
        """Ignore the state."""


def read_tables(file: str) -> dict[str, States]:
    """Return every dict of tensors in the file, by the keys that lead to it, such as `state_dict` or `model.teacher`.

    Values other than tensors are dropped.

    Raises:
        Error: the file has no tensors, or objects that could run code.
    """
    loaded = load_file(file) if _is_safetensors(file) else _load_torch(file)
    tables = dict(_tables(loaded, ""))
    if not tables:
        raise Error(f"{file} has no tensors by name. Save a state_dict: torch.save(model.state_dict(), 'weights.pth').")
    return tables


def read_grid(file: str) -> tuple[int, int] | None:
    """Return the grid of the position embeddings that this project's exports record, or None."""
    if not _is_safetensors(file):
        return None
    with safe_open(file, "pt") as opened:
        recorded = re.fullmatch("([0-9]+)x([0-9]+)", (opened.metadata() or {}).get(GRID, ""))
    return (int(recorded[1]), int(recorded[2])) if recorded else None


def _is_safetensors(file: str) -> bool:
    """Return whether the file starts with the length of a JSON header, whatever its name is."""
    with Path(file).open("rb") as opened:
        return opened.read(9)[8:] == b"{"


def _load_torch(file: str) -> Any:
    stand_ins: list[Any] = []
    refused = []
    for name in sorted(_globals(file)):
        if name in PLAIN_TYPES or name.partition(".")[0] in NOT_NEEDED:
            stand_ins.append((_empty_dict if name == MAPPING else StandIn, name))
        else:
            refused.append(name)
    if refused:
        raise Error(
            f"The weights {file} are refused: they hold objects that could run code ({listed(refused, 3)})."
            " If you trust the file, load it with the program that wrote it, and save its state_dict alone:"
            " torch.save(model.state_dict(), 'weights.pth')."
        )
    with torch.serialization.safe_globals(stand_ins):
        return torch.load(file, map_location="cpu", weights_only=True)


def _globals(file: str) -> set[str]:
    """Return the names of the classes and functions that a torch file refers to, without those that torch allows."""
    if zipfile.is_zipfile(file):
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    with Path(file).open("rb") as opened:  # written by torch before 1.6, or damaged
        for _ in range(3):  # magic number, protocol, machine
            for _ in pickletools.genops(opened):
                pass
        names = {str(value).replace(" ", ".") for code, value, _ in pickletools.genops(opened) if code.name == "GLOBAL"}
    # torch checks its own names when it loads
    return {_in_python_3(name) for name in names if name.partition(".")[0] != "torch"}


def _in_python_3(name: str) -> str:
    """Return the name of a builtin under which torch looks it up; pickles of protocol 2 have Python 2's."""
    return name.replace("__builtin__.long", "builtins.int").replace("__builtin__.", "builtins.")


def _empty_dict(*args: object) -> dict[str, object]:
    return {}


def _tables(loaded: Any, path: str) -> Any:
    """Yield path and tensors of every dict that has tensors, the outer ones first."""
    if not isinstance(loaded, Mapping):
        return
    tensors = {key: value for key, value in loaded.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield path, tensors
    for key, value in loaded.items():
        yield from _tables(value, f"{path}{key}.")
