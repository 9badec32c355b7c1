"""The pictures to draw for each layout, and the lists that come with them.

To add a layout, write one function here and add one line to LAYOUTS.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.drawing.pictures import draw_faces, draw_scenes
from shards_tools.manifest import NUM_FOLDS
from shards_tools.sources.icartoonface import TEST_IMAGES, TEST_LIST, TEST_PLACE, TRAIN_IMAGES, TRAIN_LIST, TRAIN_PLACE
from shards_tools.splits import num_query_roles, split_in_file_order

Box = Sequence[int]  # left, top, right, bottom in px


def _nothing(folder: Path, boxes: Sequence[Any]) -> None:
    """Write no lists."""


@dataclass(frozen=True)
class Drawing:
    """Everything to draw: one job per character, and the function that draws it."""

    jobs: list[dict[str, Any]]
    summary: dict[str, int]
    draw: Callable[[dict[str, Any]], Any] = draw_faces
    write_lists: Callable[[Path, Sequence[Any]], None] = _nothing  # receives the result of `draw` for each job

    @property
    def num_images(self) -> int:
        """Return the number of pictures."""
        return sum(len(job["files"]) for job in self.jobs)


def plan_plain(
    seed: int, *, num_train: int = 24, num_test: int = 6, num_roles: int = 8, num_images: int = 8
) -> Drawing:
    """Lay out LSASRD's plain tree: works for train, and other works whose roles are query or gallery.

    Args:
        seed: of all pictures.
        num_train: works of train.
        num_test: works of query and gallery.
        num_roles: roles per work.
        num_images: images per role.
    """

    def part(work: int, role: int) -> str:
        asked = role < num_query_roles(num_roles)
        return "train" if work < num_train else "query" if asked else "test"

    return _plan_works(seed, "ASRD", part, num_train + num_test, num_roles, num_images)


def plan_five_fold(seed: int, *, num_works: int = 30, num_roles: int = 8, num_images: int = 8) -> Drawing:
    """Lay out LSASRD's five-fold tree: works are distributed over the folders 0 to 4.

    Args:
        seed: of all pictures.
        num_works: in all folders together; each work gets its own style.
        num_roles: roles per work.
        num_images: images per role.
    """
    return _plan_works(
        seed, "ASRDf", lambda work, _: str(work % NUM_FOLDS["five-fold"]), num_works, num_roles, num_images
    )


def _plan_works(
    seed: int, tree: str, part: Callable[[int, int], str], num_works: int, num_roles: int, num_images: int
) -> Drawing:
    jobs = []
    for work in range(num_works):
        for role in range(num_roles):
            name, number = f"JP{work + 1:04d}", f"{role + 1:04d}"
            folder = f"{tree}/{part(work, role)}/{name}/{number}"
            files = [f"{folder}/{name}_{number}_{image:03d}.jpg" for image in range(1, num_images + 1)]
            jobs.append(_job(files, (seed, 1 + work, role), (seed, num_works), [work] * num_images))
    summary = {
        "num_works": num_works,
        "num_roles": num_roles,
        "num_images_per_role": num_images,
        "num_images": len(jobs) * num_images,
    }
    return Drawing(jobs, summary)


def plan_dafre(seed: int, *, num_classes: int = 40, num_styles: int = 30, max_images: int = 240) -> Drawing:
    """Lay out DAF:re's v2 tree: characters in any style, and three lists.

    Each class is split in file order by the authors' rule.

    Args:
        seed: of the sizes, the names and the pictures.
        num_classes: the characters.
        num_styles: the styles, which all characters share.
        max_images: of the largest class; the others have fewer, down to about 20.
    """
    generator = np.random.default_rng([seed, 1])
    sizes = generator.permutation([round(20 + (max_images - 20) * (1 + rank) ** -0.9) for rank in range(num_classes)])
    numbers = generator.choice(10**6, sizes.sum(), replace=False)
    jobs, rows = [], {"train": "", "val": "", "test": ""}
    for label, ids in enumerate(np.split(numbers, np.cumsum(sizes)[:-1])):
        places = [f"{number % 1000:04d}/{number}.jpg" for number in ids.tolist()]
        styles = generator.integers(num_styles, size=len(ids)).tolist()
        jobs.append(_job([f"faces/{place}" for place in places], (seed, 2, label), (seed, num_styles), styles))
        ends = np.cumsum(split_in_file_order(len(ids)))
        for name, part in zip(("train", "val", "test"), np.split(np.array(places), ends[:-1]), strict=True):
            rows[name] += "".join(f"{label},{place}\n" for place in part)
    rows["classid_classname"] = "".join(f"{label},drawn_character_{label:02d}\n" for label in range(num_classes))

    def write_lists(folder: Path, _: Sequence[Any]) -> None:
        (folder / "labels").mkdir()
        for name, text in rows.items():
            (folder / "labels" / f"{name}.csv").write_text(text)

    splits = {f"num_{name}": rows[name].count("\n") for name in ("train", "val", "test")}
    summary = {"num_classes": num_classes, **splits, "num_images": len(numbers)}
    return Drawing(jobs, summary, write_lists=write_lists)


def plan_icartoonface(
    seed: int,
    *,
    num_train: int = 30,
    num_test: int = 12,
    num_distractors: int = 40,
    num_images: int = 10,
    num_styles: int = 15,
) -> Drawing:
    """Lay out iCartoonFace's official tree: faces in larger pictures, with boxes, distractors and pairs.

    Args:
        seed: of the numbers of images and the pictures.
        num_train: identities of train.
        num_test: identities of the test; the first two images of each are a pair.
        num_distractors: images of the test that belong to no identity.
        num_images: per identity of train; a test identity has between 5 and this many.
        num_styles: the styles, which identities share.
    """
    generator = np.random.default_rng([seed, 3])
    files, labels = [], []
    number = 0
    for identity in range(num_train):
        name = f"{TRAIN_PLACE}_{identity:05d}"
        files.append([f"{name}/{name}_{number + image:07d}.jpg" for image in range(num_images)])
        number += num_images
    number = 0
    for identity in range(num_test + num_distractors):
        count = int(generator.integers(5, num_images + 1)) if identity < num_test else 1
        labels.append(identity if identity < num_test else -1)
        files.append([f"{TEST_PLACE}_{number + image:07d}.jpg" for image in range(count)])
        number += count
    folders = [TRAIN_PLACE / TRAIN_IMAGES] * num_train + [TEST_PLACE / TEST_IMAGES] * len(labels)
    jobs = [
        _job(
            [f"{folder}/{name}" for name in names],
            (seed, 4, place),
            (seed, num_styles),
            [place % num_styles] * len(names),
        )
        for place, (folder, names) in enumerate(zip(folders, files, strict=True))
    ]

    def write_lists(folder: Path, boxes: Sequence[Sequence[Box]]) -> None:
        lines = [
            [[name, *map(str, box)] for name, box in zip(names, found, strict=True)]
            for names, found in zip(files, boxes, strict=True)
        ]
        _write_rows(folder / TRAIN_PLACE / TRAIN_LIST, [row for of in lines[:num_train] for row in of])
        labeled = zip(lines[num_train:], labels, strict=True)
        faces = [[*row, str(label)] for of, label in labeled for row in of]
        pairs = [names[:2] for names in files[num_train : num_train + num_test]]
        _write_rows(folder / TEST_PLACE / TEST_LIST, faces + pairs)

    counts = {"num_identities": num_train, "num_test_identities": num_test, "num_distractors": num_distractors}
    summary = {**counts, "num_pairs": num_test, "num_images": sum(map(len, files))}
    return Drawing(jobs, summary, draw_scenes, write_lists)


def _job(files: list[str], seed: tuple[int, ...], styles: tuple[int, int], numbers: list[int]) -> dict[str, Any]:
    return {"files": files, "seed": seed, "style_seed": styles[0], "num_styles": styles[1], "styles": numbers}


def _write_rows(file: Path, rows: Sequence[Sequence[str]]) -> None:
    file.write_text("".join("\t".join(row) + "\n" for row in rows))


LAYOUTS: dict[str, Callable[..., Drawing]] = {
    "plain": plan_plain,
    "five-fold": plan_five_fold,
    "dafre": plan_dafre,
    "icartoonface": plan_icartoonface,
}
