"""Draw the files of one character: faces alone or faces in larger pictures. This is the job of a worker process."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shards_tools.drawing.character import Moment, draw_character, draw_moment
from shards_tools.drawing.face import draw_face, find_face
from shards_tools.drawing.style import Style, draw_styles

JPEG_QUALITY = 90

_styles = lru_cache(draw_styles)


def draw_faces(job: dict[str, Any]) -> None:
    """Draw one character into the `files`, each in one of the `num_styles` styles; `seed` is its own."""
    generator = np.random.default_rng(job["seed"])
    character = draw_character(generator)
    for file, number in zip(job["files"], job["styles"], strict=True):
        picture = draw_face(_style(job, number), character, draw_moment(generator), generator, job["size"])
        _save(picture, Path(job["folder"], file))


def draw_scenes(job: dict[str, Any]) -> list[tuple[int, int, int, int]]:
    """Like `draw_faces`, in pictures of twice the size; return left, top, right and bottom of each face."""
    generator = np.random.default_rng(job["seed"])
    character = draw_character(generator)
    boxes = []
    for file, number in zip(job["files"], job["styles"], strict=True):
        style, moment, size = _style(job, number), _further_away(draw_moment(generator), generator), 2 * job["size"]
        _save(draw_face(style, character, moment, generator, size), Path(job["folder"], file))
        boxes.append(find_face(style, character, moment, size))
    return boxes


def _style(job: dict[str, Any], number: int) -> Style:
    return _styles(job["num_styles"], job["style_seed"])[number]


def _further_away(moment: Moment, generator: np.random.Generator) -> Moment:
    """Return the moment with the head at half size, anywhere in the upper part of the picture."""
    shift = (float(generator.uniform(-0.35, 0.35)), float(generator.uniform(-0.02, 0.2)))
    return replace(moment, scale=float(generator.uniform(0.58, 0.78)), shift=shift)


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, quality=JPEG_QUALITY)
