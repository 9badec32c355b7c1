"""Checks of a scanned source, so that a mistake of a user's own `scan` is reported by name before anything is built."""

import re
from collections.abc import Iterator

from shards_tools.errors import Error, unknown
from shards_tools.manifest import LAYOUTS_OF_ROLES, NUM_FOLDS
from shards_tools.sources.source import Source, SourceImage
from shards_tools.splits import SPLIT_NAMES
from shards_tools.writer import MAX_KEY_LENGTH

KEY = re.compile(r"[!-~]+")  # ASCII without blanks


def check_source(name: str, source: object) -> Source:
    """Return the source if it can be built.

    Raises:
        Error: it is not a `Source`, or breaks one of the rules that `Source` and `SourceImage` state.
    """
    if not isinstance(source, Source):
        raise Error(f"source {name}: its function returned {type(source).__name__}. Let it return shards_tools.Source.")
    if source.layout not in NUM_FOLDS:
        raise unknown("layout", source.layout, NUM_FOLDS)
    if not source.images:
        raise Error(f"source {name} has no images. Check the folder.")
    works, keys, ended, group = set(source.works), set(), set(), None
    for image in source.images:
        for mistake in _mistakes(source, image, works):
            raise Error(f"source {name}: {image.path} has {mistake}.")
        if image.key in keys:
            raise Error(f"source {name}: two images have key={image.key!r}. Let every image have a key of its own.")
        keys.add(image.key)
        if (image.role, image.split_code) != group:
            group = (image.role, image.split_code)
            if group in ended:
                raise Error(f"source {name}: the images of role {image.role!r} are not adjacent. Sort them by role.")
            ended.add(group)
    if unused := works - {image.work for image in source.images}:
        raise Error(f"source {name}: work {min(unused)!r} has no image. Leave it out of `works`.")
    return source


def _mistakes(source: Source, image: SourceImage, works: set[str]) -> Iterator[str]:
    if not KEY.fullmatch(image.key) or "." in image.key or "/" in image.key or len(image.key) > MAX_KEY_LENGTH:
        yield f"key={image.key!r}: use ASCII without dots, slashes and blanks, at most {MAX_KEY_LENGTH} characters"
    if image.work not in works:
        yield f"work={image.work!r}, which is not in `works`"
    if image.split_code not in range(len(SPLIT_NAMES)):
        yield f"split_code={image.split_code!r}, which is not in 0..{len(SPLIT_NAMES) - 1}"
    if source.layout in LAYOUTS_OF_ROLES and not image.role.startswith(f"{image.work}/"):
        yield f"role={image.role!r}: in layout {source.layout} write it as WORK/ROLE"
    num_folds = NUM_FOLDS[source.layout]
    if num_folds > 1 and image.fold not in range(num_folds):
        yield f"fold={image.fold!r}, which is not in 0..{num_folds - 1}"
