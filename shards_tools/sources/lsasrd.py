"""LSASRD: `ASRD/{train,query,test}/WORK/ROLE/WORK_ROLE_rest.ext`, or `ASRDf/{0..4}/...` for five folds.

`test` is the gallery of `query`. Hidden files are ignored, and files in a role that are not images are skipped with a
note; anything else that does not match is an Error, and so is a link that leads out of the tree. The tree itself may be
a link.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from shards_tools.errors import Error
from shards_tools.manifest import NUM_FOLDS
from shards_tools.sources.names import refuse_equal_labels, refuse_odd_name, same_form
from shards_tools.sources.paths import distinct_keys, escape, is_image, note_others, refuse_link_out, visible
from shards_tools.sources.source import Source, SourceImage
from shards_tools.sources.split_names import refuse_unread_splits
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN, draw_folds
from shards_tools.writer import MAX_KEY_LENGTH

PLAIN_PARTS = {"train": TRAIN, "query": TEST_QUERY, "test": TEST_GALLERY}
FOLD_PARTS = ("0", "1", "2", "3", "4")
MIN_WORKS = 2 * NUM_FOLDS["five-fold"]  # in a fold with one work there is nothing to distinguish it from


def scan(folder: Path) -> Source:
    """Scan every image of the tree in `folder`, which holds `ASRD` or `ASRDf` or is one of them.

    Raises:
        Error: the folder has another layout.
    """
    tree, beside = _find_tree(Path(folder))
    if (tree / "train").is_dir():
        layout, codes = "plain", PLAIN_PARTS
        if (tree / "query").is_dir() != (tree / "test").is_dir():
            missing = "test" if (tree / "query").is_dir() else "query"
            raise Error(f"{tree / missing} is missing: query and test belong together. Add it or remove the other.")
    else:
        layout, codes = "five-fold", dict.fromkeys(FOLD_PARTS, TRAIN)
        for name in FOLD_PARTS:
            if not (tree / name).is_dir():
                raise Error(f"{tree / name} is missing: the five-fold layout has the folders 0 to 4. Add it.")
    other = [entry for entry in visible(tree) if entry.name not in codes]
    refuse_unread_splits((entry for entry in other if entry.is_dir()), codes)
    images: list[SourceImage] = []
    others: list[Path] = []
    for name, code in codes.items():
        if (tree / name).is_dir():
            refuse_link_out(tree / name, tree)
            images += _images_of_part(tree / name, code, int(name) if layout == "five-fold" else -1, others)
    works = tuple(sorted({image.work for image in images}))
    notes = tuple(note_others(others, tree))
    return Source("lsasrd", layout, works, tuple(distinct_keys(images)), (*beside, *other), notes)


def cut_into_folds(source: Source, seed: int) -> Source:
    """Return the plain source with train, query and test merged and split into five random folds of whole works.

    Raises:
        Error: the source is not a plain LSASRD tree, or has too few works.
    """
    if source.name != "lsasrd":
        raise Error(f"--five-fold is only for lsasrd, but the source is {source.name}. Remove --five-fold.")
    if source.layout == "five-fold":
        raise Error("--five-fold is for a plain tree, but this tree already has five folds. Remove --five-fold.")
    if len(source.works) < MIN_WORKS:
        raise Error(
            f"--five-fold needs at least {MIN_WORKS} works, but there are {len(source.works)}. Remove --five-fold."
        )
    folds = dict(zip(source.works, draw_folds(len(source.works), NUM_FOLDS["five-fold"], seed).tolist(), strict=True))
    images = [replace(image, split_code=TRAIN, fold=folds[image.work]) for image in source.images]
    images.sort(key=lambda image: (image.fold, image.role))
    note = f"a plain tree was split into five folds by work, seed {seed}; the published folds differ"
    return replace(source, layout="five-fold", images=tuple(images), notes=(*source.notes, note))


def _find_tree(folder: Path) -> tuple[Path, list[Path]]:
    """Return the folder that holds the parts, and the other entries next to it."""
    if not folder.is_dir():
        raise Error(f"{folder} is not a folder. Give the folder that holds ASRD or ASRDf.")
    trees = [folder / name for name in ("ASRD", "ASRDf") if (folder / name).is_dir()]
    if len(trees) == 2:
        raise Error(f"{folder} holds both ASRD and ASRDf. Give one of them: {trees[0]} or {trees[1]}.")
    if trees:
        return trees[0], [entry for entry in visible(folder) if entry != trees[0]]
    if (folder / "train").is_dir() or all((folder / name).is_dir() for name in FOLD_PARTS):
        return folder, []
    raise Error(f"{folder} is not an LSASRD tree. Give a folder that holds ASRD, ASRDf, train, or all of 0 to 4.")


def _images_of_part(part: Path, split_code: int, fold: int, others: list[Path]) -> Iterator[SourceImage]:
    tree = part.parent
    for work in _folders(part, "work", tree):
        for role in _folders(work, "role", tree):
            if not role.name.isdecimal():
                raise Error(f"{role} is not a role: its name must be a number, such as 0007. Rename it or remove it.")
            files = visible(role)
            for file in files:
                refuse_odd_name(file)
                refuse_link_out(file, tree)
            images = [file for file in files if is_image(file, others)]
            if not images:
                raise Error(f"{role} is a role without images. Add images or remove it.")
            for file in images:
                _check_name(file)
                key = _key(part.name, file)
                label = same_form(work.name)
                yield SourceImage(file, key, label, f"{label}/{role.name}", split_code, fold)


def _folders(parent: Path, kind: str, tree: Path) -> list[Path]:
    """Return the subfolders, one per `kind`; no folder at all, or anything but folders, is an Error."""
    entries = visible(parent)
    refuse_equal_labels(entries)
    for entry in entries:
        refuse_odd_name(entry)
        refuse_link_out(entry, tree)
        if not entry.is_dir():
            raise Error(f"{entry} is a file where a {kind}'s folder should be. Move it or remove it.")
    if not entries:
        raise Error(f"{parent} is a folder without a {kind}. Add one or remove the folder.")
    return entries


def _check_name(file: Path) -> None:
    role, work = file.parent, file.parent.parent
    parts = file.stem.split("_")
    if (
        len(parts) != 3
        or same_form(parts[0]) != same_form(work.name)
        or not parts[1].isdecimal()
        or int(parts[1]) != int(role.name)
    ):
        raise Error(
            f"{file} has a wrong name. Rename it to {work.name}_{role.name}_REST{file.suffix} with two underscores."
        )


def _key(part: str, file: Path) -> str:
    key = f"{part}-{escape(file.stem)}"
    if len(key) > MAX_KEY_LENGTH:
        raise Error(
            f"{file} has too long a name: its key has {len(key)} characters, at most {MAX_KEY_LENGTH} fit. Shorten it."
        )
    return key
