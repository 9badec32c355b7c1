"""Names and places of image files: keys from any text, and nothing from outside a source's folder.

What lies in a folder is listed once, which tells the kind of each entry too, so that no image costs a call of its own.
"""

import hashlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from shards_tools.errors import Error
from shards_tools.sources.source import SourceImage
from shards_tools.writer import MAX_KEY_LENGTH

SUFFIXES = (".jpg", ".jpeg", ".png")
MAX_PATH_LENGTH = 400  # of what a message repeats
DIGEST_LENGTH = 16  # hex digits that stand for what is cut off a long key: 64 bits


def escape(text: str) -> str:
    """The text in ASCII without dots and slashes: webdataset cuts a name at its first dot, and slashes make folders."""
    try:
        return quote(text, safe="").replace(".", "%2E")
    except UnicodeEncodeError:
        raise Error(f"{text!r} is a name that is no UTF-8. Rename the file or folder.") from None


def key_of(parts: Iterable[str]) -> str:
    """The key of an image from the folders that name it and its own name without ending, `FOLDER-...-NAME`.

    Different parts of one depth give different keys. Of a key that would be too long a checksum replaces the end.
    """
    *folders, name = map(escape, parts)
    key = "-".join([*(folder.replace("-", "%2D") for folder in folders), name])
    if len(key) <= MAX_KEY_LENGTH:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{key[: MAX_KEY_LENGTH - DIGEST_LENGTH - 1]}-{digest}"


def refuse_equal_keys(images: Iterable[SourceImage]) -> None:
    """An Error where two images have one key, as two do that differ in their endings alone."""
    first: dict[str, Path] = {}
    for image in images:
        if image.key in first:
            raise Error(f"{first[image.key]} and {image.path} differ in their endings alone. Remove or rename one.")
        first[image.key] = image.path


def refuse_link_out(entry: Path, tree: Path) -> None:
    """An Error where `entry` is a link that leads out of the tree, or to nothing in it."""
    # realpath, as Path.resolve ends with a traceback where a link leads to itself
    if entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(os.path.realpath(tree)):
        raise Error(f"{entry} is a link that leads out of {tree}. Put a copy in its place, or remove it.")


def refuse_other_kinds(file: Path) -> None:
    """An Error where the name is not that of a JPEG or PNG file."""
    if file.suffix.lower() not in SUFFIXES:
        raise Error(f"{file} is no image: its name should end in {', '.join(SUFFIXES)}. Convert it or remove it.")


def visible(folder: Path) -> list[Path]:
    """What is in the folder, by name; hidden files are ignored."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def require_folder(folder: Path, kind: str) -> Path:
    """The folder itself, or an Error that says what it should be."""
    if not folder.is_dir():
        raise Error(f"{folder} is no folder. Name the folder that holds {kind}.")
    return folder


def list_images(folder: Path, tree: Path) -> set[str]:
    """The images in `folder` at any depth, as paths below it with slashes.

    Regular files whose names end as those of images; hidden ones are ignored. A link to a file counts where it stays in
    the tree; a link to a folder is an Error, as is one that leads out.
    """
    refuse_link_out(folder, tree)
    found: set[str] = set()
    waiting = [""]
    while waiting:
        place = waiting.pop()
        with os.scandir(folder / place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink():
                    _check_link(Path(entry.path), tree)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{place}{entry.name}/")
                elif entry.name.lower().endswith(SUFFIXES) and _is_file(entry):
                    found.add(place + entry.name)
    return found


def _is_file(entry: os.DirEntry[str]) -> bool:
    # os.path.isfile, as DirEntry.is_file ends with a traceback where a link leads to itself
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def _check_link(link: Path, tree: Path) -> None:
    refuse_link_out(link, tree)
    if link.is_dir():
        raise Error(f"{link} is a link to a folder, which is not followed. Put the folder in its place, or remove it.")


def why_missing(path: str, folder: Path) -> str:
    """What is wrong with a path of a list that is none of the images in `folder`."""
    if len(path) > MAX_PATH_LENGTH:
        return f"names a path of {len(path):,} characters, which begins with {path[:60]!r}"
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path.replace("\\", "/")).parts:
        return f"names {path!r}, which leads out of {folder}"
    if not path.lower().endswith(SUFFIXES):
        return f"names {path!r}, which is no image: its name should end in {', '.join(SUFFIXES)}"
    return f"names {path!r}, but {folder / path} is missing or no regular file"


def note_unnamed(unnamed: Collection[str], folder: Path, tree: Path, reason: str) -> list[str]:
    """A note on images that lie in the folder of the tree without being part of it, such as "no list names"."""
    if not unnamed:
        return []
    example = (folder / min(unnamed)).relative_to(tree)
    return [f"{len(unnamed):,} images that {reason} were left out, such as {example}"]
