"""A tree of drawn faces in LSASRD's plain layout."""

from pathlib import Path

import numpy as np

from shards_tools.drawing.character import draw_character, draw_moment
from shards_tools.drawing.face import draw_face
from shards_tools.drawing.style import BACKGROUNDS, LINES, PALETTES, SHADINGS, Style, draw_style
from shards_tools.folders import build_new
from shards_tools.splits import num_query_roles

JPEG_QUALITY = 90


def draw_tree(
    out: Path, *, seed: int = 0, num_train: int = 24, num_test: int = 6, num_roles: int = 8, num_images: int = 8
) -> dict[str, int]:
    """Draw `num_train` + `num_test` works into the new folder `out` and return how much it was."""
    styles = draw_styles(num_train + num_test, seed)

    def fill(room: Path) -> None:
        for work, style in enumerate(styles):
            for role in range(num_roles):
                asked = role < num_query_roles(num_roles)
                part = "train" if work < num_train else "query" if asked else "test"
                folder = room / "ASRD" / part / f"JP{work + 1:04d}" / f"{role + 1:04d}"
                folder.mkdir(parents=True)
                _draw_role(folder, style, num_images, (seed, 1 + work, role))

    build_new(out, fill)
    return {
        "num_works": len(styles),
        "num_roles": num_roles,
        "num_images_per_role": num_images,
        "num_images": len(styles) * num_roles * num_images,
    }


def _draw_role(folder: Path, style: Style, num_images: int, seed: tuple[int, int, int]) -> None:
    """Draw one character's images; `seed` belongs to it alone."""
    generator = np.random.default_rng(seed)
    character = draw_character(generator)
    for number in range(1, num_images + 1):
        picture = draw_face(style, character, draw_moment(generator), generator)
        name = f"{folder.parent.name}_{folder.name}_{number:03d}.jpg"
        picture.save(folder / name, quality=JPEG_QUALITY)


def draw_styles(num_works: int, seed: int) -> list[Style]:
    """One style per work; the traits that show most are dealt out evenly, so that no two works look alike."""
    generator = np.random.default_rng([seed, 0])
    dealt = [_deal(names, num_works, generator) for names in (tuple(PALETTES), SHADINGS, LINES, BACKGROUNDS)]
    return [draw_style(generator, *traits) for traits in zip(*dealt, strict=True)]


def _deal(names: tuple[str, ...], count: int, generator: np.random.Generator) -> list[str]:
    rounds = [generator.permutation(names) for _ in range(-(-count // len(names)))]
    return [str(name) for name in np.concatenate(rounds)[:count]]
