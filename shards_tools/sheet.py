"""A contact sheet of a folder of shards: one row per work, one image per role."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.folders import write_durably
from shards_tools.manifest import Manifest
from shards_tools.reader import read_image

MAX_ROWS = 12  # works, evenly spaced in the order of their names
MAX_COLUMNS = 12  # images per work, each of another role
CELL_PX = 96
GAP_PX = 4
NAME_PX = 100  # width of the column of names
MAX_NAME_LENGTH = 14


def write_sheet(manifest: Manifest, file: Path) -> None:
    """Write the contact sheet as a PNG, atomically.

    Raises:
        Error: the name is not that of a PNG file, or the file cannot be written.
    """
    if file.suffix.lower() != ".png" or file.is_dir():
        raise Error(f"{file} is not the name of a PNG file. Use a file that ends in .png.")
    data = io.BytesIO()
    draw_sheet(manifest).save(data, "PNG")
    try:
        write_durably(file, data.getvalue())
    except OSError as failure:
        raise Error(f"{file} cannot be written: {failure.strerror}. Use a folder with write permission.") from None


def draw_sheet(manifest: Manifest) -> Image.Image:
    """Render up to 12 works with up to 12 images each: the first of each role, or the first of the only role."""
    works = np.unique(np.linspace(0, len(manifest.works) - 1, MAX_ROWS).round().astype(int))
    rows = [_first_of_each_role(manifest, work) for work in works.tolist()]
    step = CELL_PX + GAP_PX
    size = (NAME_PX + max(map(len, rows)) * step, len(rows) * step + GAP_PX)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for place, (work, images) in enumerate(zip(works.tolist(), rows, strict=True)):
        top = GAP_PX + place * step
        pen.text((GAP_PX, top + CELL_PX // 2), manifest.works[work][:MAX_NAME_LENGTH], "black", anchor="lm")
        for column, index in enumerate(images):
            picture = _thumbnail(manifest, index)
            margin = (CELL_PX - picture.width) // 2, (CELL_PX - picture.height) // 2
            sheet.paste(picture, (NAME_PX + column * step + margin[0], top + margin[1]))
    return sheet


def _first_of_each_role(manifest: Manifest, work: int) -> list[int]:
    of_work = np.flatnonzero(manifest.work == work)
    firsts = np.unique(manifest.role[of_work], return_index=True)[1]
    indices: list[int] = (of_work[firsts] if len(firsts) > 1 else of_work)[:MAX_COLUMNS].tolist()
    return indices


def _thumbnail(manifest: Manifest, index: int) -> Image.Image:
    """Resize the image to fit into a square of 96 px, keeping its aspect ratio."""
    image = Image.fromarray(decode(read_image(manifest, index), manifest.keys[index]))
    scale = CELL_PX / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)
