"""Paths of image files: keys from any text, and no file from outside a source's folder.

Each folder is listed once with the type of every entry, so that no image needs a system call of its own.
"""

import hashlib
import os
import unicodedata
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import quote

from shards_tools.errors import Error
from shards_tools.sources.lists import short
from shards_tools.sources.names import printable
from shards_tools.sources.source import SourceImage
from shards_tools.writer import MAX_KEY_LENGTH

SUFFIXES = (".jpg", ".jpeg", ".png")
ONE_OF_SUFFIXES = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
MAX_PATH_LENGTH = 400  # in a message
DIGEST_LENGTH = 16  # hex digits that replace the end of a long key: 64 bits


def escape(text: str) -> str:
    """Escape text to ASCII without dots or slashes: webdataset cuts names at the first dot; slashes make folders.

    Raises:
        Error: the text cannot be encoded as UTF-8.
    """
    try:
        return quote(text, safe="").replace(".", "%2E")
    except UnicodeEncodeError:
        raise Error(f"The name {text!r} is not valid UTF-8. Rename the file or folder.") from None


def key_of(parts: Iterable[str]) -> str:
    """Return the key of an image, `FOLDER-...-NAME`, from its folders and its name without suffix.

    Different parts of equal depth give different keys. A checksum replaces the end of a key that would be too long.
    """
    *folders, name = map(escape, parts)
    key = "-".join([*(folder.replace("-", "%2D") for folder in folders), name])
    if len(key) <= MAX_KEY_LENGTH:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{key[: MAX_KEY_LENGTH - DIGEST_LENGTH - 1]}-{digest}"


def refuse_equal_keys(images: Iterable[SourceImage]) -> None:
    """Check that every image has its own key.

    Raises:
        Error: two images have the same key, such as two that differ only in their suffixes.
    """
    first: dict[str, Path] = {}
    for image in images:
        if image.key in first:
            raise Error(f"{first[image.key]} and {image.path} differ only in their suffixes. Remove or rename one.")
        first[image.key] = image.path


def refuse_link_out(entry: Path, tree: Path) -> None:
    """Check that a file or folder is in the tree.

    Raises:
        Error: `entry` is a link that leads out of the tree.
    """
    # realpath, because Path.resolve raises for a link to itself
    if entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(os.path.realpath(tree)):
        raise Error(f"{entry} is a link that leads out of {tree}. Replace it with a copy or remove it.")


def refuse_other_kinds(file: Path) -> None:
    """Check the suffix of a file.

    Raises:
        Error: the name is not that of a JPEG or PNG file.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise Error(f"{file} is not an image: its suffix must be {ONE_OF_SUFFIXES}. Convert it or remove it.")


def visible(folder: Path) -> list[Path]:
    """Return the entries of the folder without hidden ones, sorted by name."""
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def require_folder(folder: Path, kind: str) -> Path:
    """Return the folder if it exists.

    Args:
        kind: what the folder should hold; it ends the message "Give the folder that holds ...".

    Raises:
        Error: it is not a folder.
    """
    if not folder.is_dir():
        raise Error(f"{folder} is not a folder. Give the folder that holds {kind}.")
    return folder


def list_images(folder: Path, tree: Path) -> set[str]:
    """List the images in `folder` at any depth, as paths relative to it with slashes.

    An image is a regular file with one of SUFFIXES; hidden files are ignored. A link to a file in the tree counts too.
    A link to a folder, or out of the tree, is an Error.
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
    # os.path.isfile, because DirEntry.is_file raises for a link to itself
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def _check_link(link: Path, tree: Path) -> None:
    refuse_link_out(link, tree)
    if link.is_dir():
        raise Error(f"{link} is a link to a folder, which is not followed. Replace it with the folder or remove it.")


def find_listed(path: str, images: Collection[str]) -> str | None:
    """Return the image that a listed path means, or None if there is none.

    Lists are written on other systems too: a backslash may be a slash, the path may start with ./, and its Unicode form
    may be another than that of the file's name.
    """
    if path in images:
        return path
    plain = str(PurePosixPath(path.strip().replace("\\", "/")))
    forms = (plain, unicodedata.normalize("NFC", plain), unicodedata.normalize("NFD", plain))
    return next((form for form in forms if form in images), None)


def why_missing(path: str, folder: Path) -> str:
    """Return what is wrong with a listed path that is not an image in `folder`."""
    if len(path) > MAX_PATH_LENGTH:
        return f"names a path of {len(path):,} characters that starts with {path[:60]!r}"
    parts = PurePosixPath(path.replace("\\", "/")).parts
    if parts[:1] == ("/",) or PureWindowsPath(path).drive or ".." in parts:
        return f"names {path!r}, which is outside {folder}"
    if not path.lower().endswith(SUFFIXES):
        return f"names {path!r}, which is not an image: its suffix must be {ONE_OF_SUFFIXES}"
    return f"names {path!r}, which is missing from {folder} or not a regular file"


def take_listed(path: str, folder: Path, unnamed: set[str], places: dict[str, str], place: str) -> str:
    """Move a listed image from `unnamed` to `places`, image -> place in a list, and return its path.

    Args:
        folder: what the path is relative to.
        place: the line that lists it, as FILE:LINE.

    Raises:
        Error: the path is listed twice, or is not an image in the folder.
    """
    image = find_listed(path, unnamed)
    if image is None:
        if before := find_listed(path, places):
            raise Error(f"{place} repeats {short(path)} of {places[before]}. Remove one of the two lines.")
        raise Error(f"{place} {why_missing(path, folder)}. Add the image or remove the line.")
    unnamed.remove(image)
    places[image] = place
    return image


def note_unnamed(unnamed: Collection[str], folder: Path, tree: Path, reason: str) -> list[str]:
    """Return a note on images in a folder that were skipped.

    Args:
        unnamed: the skipped images, as paths relative to `folder`.
        folder: the folder that holds them.
        tree: the root of the source; the note names an example relative to it.
        reason: why they were skipped, such as "not in any list".

    Returns:
        One note, or none if no image was skipped.
    """
    if not unnamed:
        return []
    example = (folder / min(unnamed)).relative_to(tree)
    return [f"{len(unnamed):,} images were skipped: {reason}, such as {printable(example)}"]
