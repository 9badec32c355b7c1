"""JPEG pictures drawn for the benchmarks of the loaders, and the shards made of them."""

from pathlib import Path

import numpy as np
import simplejpeg

from shards_tools.build import build
from shards_tools.manifest import Manifest
from shards_tools.sources import lsasrd

NUM_WORKS = 40


def draw_shards(folder: Path, size: int, num_images: int) -> Manifest:
    """Draw a five-fold tree of NUM_WORKS works into the folder, and build its shards there."""
    draw = np.random.default_rng(size)
    textures = _draw_textures(size, draw)
    for number in range(num_images):
        work, role = number % NUM_WORKS, number // NUM_WORKS % 4
        place = folder / "tree" / "ASRDf" / str(work % 5) / f"JP{work:04d}" / f"{role:04d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"JP{work:04d}_{role:04d}_{number}.jpg").write_bytes(_draw_picture(size, draw, textures))
    return build(lsasrd.scan(folder / "tree"), folder / "shards")


def _draw_picture(size: int, draw: np.random.Generator, textures: np.ndarray) -> bytes:
    """Draw a JPEG of flat shapes under a fine texture, quality 90: about 29 KB at 256 px and 9 KB at 128 px."""
    rows, columns = np.mgrid[:size, :size]
    picture = np.full((size, size, 3), draw.uniform(60, 200, 3))
    for _ in range(6):
        row, column, height, width = draw.uniform(0, size, 4)
        inside = ((rows - row) / (height / 2 + 8)) ** 2 + ((columns - column) / (width / 2 + 8)) ** 2 < 1
        picture[inside] = draw.uniform(0, 255, 3)
    texture = np.roll(textures[draw.integers(len(textures))], draw.integers(0, size, 2), (0, 1))
    pixels = (picture + texture[..., None]).clip(0, 255).astype(np.uint8)
    return bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420"))


def _draw_textures(size: int, draw: np.random.Generator) -> np.ndarray:
    """Return noise whose amplitude falls with its frequency, [8, size, size]."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)) + 1 / size
    spectrum = np.fft.rfft2(draw.normal(size=(8, size, size))) / frequency**0.5
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(14 * noise / noise.std())
