"""Paths of image files: keys from any text, and no file from outside a source's folder.

Each folder is listed once with the type of every entry, so that no image needs a system call of its own.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import quote

from shards_tools.errors import Error
from shards_tools.formats import SUFFIXES
from shards_tools.problems import Problem
from shards_tools.sources.lists import short
from shards_tools.sources.names import printable
from shards_tools.sources.source import SourceImage
from shards_tools.writer import MAX_KEY_LENGTH

ONE_OF_SUFFIXES = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
MAX_PATH_LENGTH = 400  # in a message
DIGEST_LENGTH = 16  # hex digits that replace the end of a long key: 64 bits

# Not an argument: `scan`, also that of a user's own source, takes only a folder.
_follow_links: ContextVar[bool] = ContextVar("follow_links", default=False)


@contextmanager
def links_followed(follow: bool) -> Iterator[None]:
    """Accept links that lead out of the scanned tree while the context is open, if `follow` is True."""
    token = _follow_links.set(follow)
    try:
        yield
    finally:
        _follow_links.reset(token)


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
    return _shortened("-".join([*(folder.replace("-", "%2D") for folder in folders), name]))


def _shortened(key: str) -> str:
    if len(key) <= MAX_KEY_LENGTH:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{key[: MAX_KEY_LENGTH - DIGEST_LENGTH - 1]}-{digest}"


def distinct_keys(images: Sequence[SourceImage]) -> list[SourceImage]:
    """Return the images with the suffix of the file added to keys that several of them have: `1+jpg` and `1+png`.

    No escaped name has a plus, so the new keys differ from all others.
    """
    counts = Counter(image.key for image in images)
    return [
        image
        if counts[image.key] == 1
        else replace(image, key=_shortened(f"{image.key}+{escape(image.path.suffix[1:])}"))
        for image in images
    ]


def refuse_link_out(entry: Path, tree: Path) -> None:
    """Check that a file or folder is in the tree.

    Raises:
        Error: `entry` is a link that leads out of the tree, and links are not followed.
    """
    if _follow_links.get():
        return
    # realpath, because Path.resolve raises for a link to itself
    if entry.is_symlink() and not Path(os.path.realpath(entry)).is_relative_to(os.path.realpath(tree)):
        raise Error(
            f"{entry} is a link that leads out of {tree}. Replace it with a copy, remove it or add --follow-links."
        )


def is_image(file: Path, others: list[Path]) -> bool:
    """Return whether a file has the suffix of an image; otherwise append it to `others`.

    Raises:
        Error: it has the suffix, but is neither a file nor a link to nowhere.
    """
    if file.suffix.lower() not in SUFFIXES:
        others.append(file)
        return False
    is_missing = file.is_symlink() and not os.path.exists(file)  # the build reports it
    if not is_missing and not file.is_file():
        raise Error(f"{file} should be an image, but is not a regular file. Move it or remove it.")
    return True


def note_others(others: Sequence[Path], tree: Path) -> list[str]:
    """Return a note on files between the images that are not images, or none if there are none."""
    if not others:
        return []
    return [f"{len(others):,} files were skipped: they are not images, such as {others[0].relative_to(tree)}"]


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
    A link to a folder, or out of the tree, is an Error, unless links are followed.
    """
    refuse_link_out(folder, tree)
    found: set[str] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [("", ())]
    while waiting:
        place, above = waiting.pop()
        with os.scandir(folder / place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink():
                    _check_link(Path(entry.path), tree)
                    if os.path.isdir(entry.path):
                        waiting.append((f"{place}{entry.name}/", _above_link(Path(entry.path), above)))
                        continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((f"{place}{entry.name}/", above))
                elif entry.name.lower().endswith(SUFFIXES) and _is_file(entry):
                    found.add(place + entry.name)
    return found


def _is_file(entry: os.DirEntry[str]) -> bool:
    # os.path.isfile, because DirEntry.is_file raises for a link to itself
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()


def _check_link(link: Path, tree: Path) -> None:
    refuse_link_out(link, tree)
    if link.is_dir() and not _follow_links.get():
        raise Error(
            f"{link} is a link to a folder, which is not followed. Replace it with the folder, remove it or add"
            " --follow-links."
        )


def _above_link(link: Path, above: tuple[str, ...]) -> tuple[str, ...]:
    """Return the real folders that a walk through the link has come through.

    Raises:
        Error: the link leads back to one of them, or to a folder above one.
    """
    above = (*above, os.path.realpath(link.parent))
    target = os.path.realpath(link)
    if any(Path(folder).is_relative_to(target) for folder in above):
        raise Error(f"{link} leads back to a folder above it. Remove the link.")
    return above


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
    if parts[:1] == ("/",) or PureWindowsPath(path).drive:
        return f"names {path!r}, which is absolute and not relative to {folder}"
    if ".." in parts:
        return f"names {path!r}, which is outside {folder}"
    if not path.lower().endswith(SUFFIXES):
        return f"names {path!r}, which is not an image: its suffix must be {ONE_OF_SUFFIXES}"
    return f"names {path!r}, which is missing from {folder} or not a regular file"


def take_listed(
    path: str, folder: Path, unnamed: set[str], places: dict[str, str], place: str, missing: list[Problem]
) -> str | None:
    """Move a listed image from `unnamed` to `places`, image -> place in a list, and return its path.

    Args:
        path: as the list has it.
        folder: what the path is relative to.
        unnamed: the images in the folder that no list has named yet.
        places: of the paths that a list has named.
        place: the line that lists it, as FILE:LINE.
        missing: a path that is not an image in the folder is appended here.

    Raises:
        Error: the path is listed twice.
    """
    image = find_listed(path, unnamed)
    if image is None:
        if before := find_listed(path, places):
            raise Error(f"{place} repeats {short(path)} of {places[before]}. Remove one of the two lines.")
        places[path] = place
        missing.append(missing_image(path, folder, place))
        return None
    unnamed.remove(image)
    places[image] = place
    return image


def missing_image(path: str, folder: Path, place: str) -> Problem:
    """Return the problem of a listed path that is not an image in `folder`; `place` lists it, as FILE:LINE."""
    return Problem(Path(os.path.abspath(folder / path)), "missing", f"is missing: {place} {why_missing(path, folder)}")


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
