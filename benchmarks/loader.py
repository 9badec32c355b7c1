"""Images per CPU-second of the loaders, compared with a TransReID-style folder loader, webdataset and litdata.

Measured at two sizes: user and system time of all processes, interleaved in one run, medians of ratios. `float` loaders
produce normalized and erased float32, `uint8` loaders what the device gets. Then four processes on one cache are
compared with one alone; the limit is lowered to what four processes that only copy the images reach. Run: python
benchmarks/loader.py. Exits with 1 if a limit is exceeded.
"""

import importlib.util
import io
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
import torch
import webdataset as wds
from PIL import Image
from timm.data.random_erasing import RandomErasing
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmarks.sharing import four_beside_one
from shards_tools.build import build
from shards_tools.images import open_images
from shards_tools.manifest import Manifest
from shards_tools.sources import lsasrd
from trainables.data.batches import EpochBatches, TrainingSet
from trainables.models.input_step import InputStep
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override

NUM_IMAGES = {256: 1280, 128: 3840}
NUM_ROUNDS = 5
BATCH = 64
NUM_WORKS = 40
WORKERS = 2  # processes of the peers' loaders
# loader -> the required multiple of the folder loader's images per CPU-second, at 256 and at 128 px
LIMITS = {"decoded, float": (3.3, 7.0), "decoded, uint8": (9.0, 12.0), "offset, uint8": (2.8, 2.8)}
FOLDER = "folder, float"
MIN_OF_FOUR = 0.9


def draw_picture(size: int, draw: np.random.Generator, textures: np.ndarray) -> bytes:
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


def draw_textures(size: int, draw: np.random.Generator) -> np.ndarray:
    """Return noise whose amplitude falls with its frequency, [8, size, size]."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)) + 1 / size
    spectrum = np.fft.rfft2(draw.normal(size=(8, size, size))) / frequency**0.5
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return np.asarray(14 * noise / noise.std())


def draw_tree(root: Path, size: int) -> None:
    """Draw a five-fold tree of NUM_WORKS works."""
    draw = np.random.default_rng(size)
    textures = draw_textures(size, draw)
    for number in range(NUM_IMAGES[size]):
        work, role = number % NUM_WORKS, number // NUM_WORKS % 4
        place = root / "ASRDf" / str(work % 5) / f"JP{work:04d}" / f"{role:04d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"JP{work:04d}_{role:04d}_{number}.jpg").write_bytes(draw_picture(size, draw, textures))


def papers_transform(size: int) -> transforms.Compose:
    """Return TransReID's transforms of a picture."""
    erase = RandomErasing(0.5, mode="pixel", max_count=1, device="cpu")  # type: ignore[no-untyped-call]
    steps = [
        transforms.Resize((size, size)),
        transforms.RandomHorizontalFlip(0.5),
        transforms.Pad(10),
        transforms.RandomCrop((size, size)),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
        erase,
    ]
    return transforms.Compose(steps)


class Folder(Dataset[tuple[torch.Tensor, int]]):
    """Image files, opened with PIL."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.files, self.transform = files, papers_transform(size)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.files[index]).convert("RGB")), index


def folder_batches(files: list[Path], size: int) -> Iterator[torch.Tensor]:
    """Yield batches of TransReID's loader: a folder, PIL and torchvision, worker processes."""
    order = np.random.default_rng(0).permutation(len(files))
    loader = DataLoader(Folder(files, size), batch_size=BATCH, sampler=order.tolist(), num_workers=WORKERS)
    for images_BCHW, _ in loader:
        yield images_BCHW


def webdataset_batches(shards: list[str], size: int) -> Iterator[torch.Tensor]:
    """Yield webdataset's batches, set up as in its manual, with the papers' transforms."""
    data = wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil").to_tuple("jpg")
    data = data.map_tuple(papers_transform(size)).batched(BATCH)
    for (images_BCHW,) in wds.WebLoader(data, batch_size=None, num_workers=min(WORKERS, len(shards))):
        yield images_BCHW


def litdata_batches(chunks: Path, size: int) -> Iterator[torch.Tensor]:
    """Yield batches of litdata's streaming loader over encoded images, with the papers' transforms."""
    from litdata import StreamingDataLoader, StreamingDataset

    transform = papers_transform(size)

    class Pictures(StreamingDataset):  # type: ignore[misc]  # litdata may be missing when types are checked
        def __getitem__(self, index: Any) -> torch.Tensor:
            picture: torch.Tensor = transform(Image.open(io.BytesIO(super().__getitem__(index))).convert("RGB"))
            return picture

    yield from StreamingDataLoader(Pictures(str(chunks), shuffle=True), batch_size=BATCH, num_workers=WORKERS)


def write_chunks(files: list[Path], chunks: Path) -> None:
    """Convert the files to litdata's format."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(chunks), chunk_bytes=64 * 2**20)
    for number, file in enumerate(files):
        writer[number] = file.read_bytes()
    writer.done()
    writer.merge()


def our_batches(manifest: Manifest, recipe: Recipe, reading: str, as_float: bool) -> Iterator[torch.Tensor]:
    """Yield a training's batches, as sent to the device or as they leave the model's input step."""
    indices = np.arange(manifest.num_images)
    images = open_images(manifest, recipe.image_size, recipe.image_size, reading)
    works = manifest.work.astype(np.int64)
    step = InputStep(recipe).train()
    data = TrainingSet(images, indices, works, manifest.role)
    for batch in EpochBatches(data, recipe, seed=0, epoch=1).start():
        yield step(batch.images) if as_float else batch.images


def images_per_cpu_second(batches: Callable[[], Iterator[torch.Tensor]]) -> float:
    """Run one pass; return images per user and system second of this process and its finished children."""
    before, num_images = os.times(), 0
    for batch in batches():
        num_images += len(batch)
    after = os.times()
    return num_images / sum(after[field] - before[field] for field in range(4))


def measure(size: int, folder: Path) -> tuple[bool, Manifest]:
    """Draw the pictures, run all loaders in turn and print the ratios; return False if a limit is exceeded."""
    draw_tree(folder / "tree", size)
    manifest = build(lsasrd.scan(folder / "tree"), folder / "shards")
    files = sorted((folder / "tree").rglob("*.jpg"))
    shards = [str(folder / "shards" / shard.name) for shard in manifest.shards]
    recipe = override(get_recipe("transreid-vit-base"), {"image_size": size, "pretrained": False})
    loaders: dict[str, Callable[[], Iterator[torch.Tensor]]] = {
        FOLDER: partial(folder_batches, files, size),
        "webdataset, float": partial(webdataset_batches, shards, size),
        "decoded, float": partial(our_batches, manifest, recipe, "decoded", True),
        "decoded, uint8": partial(our_batches, manifest, recipe, "decoded", False),
        "offset, uint8": partial(our_batches, manifest, recipe, "offset", False),
        "stream, uint8": partial(our_batches, manifest, recipe, "stream", False),
    }
    if importlib.util.find_spec("litdata"):
        write_chunks(files, folder / "chunks")
        loaders["litdata, float"] = partial(litdata_batches, folder / "chunks", size)
    else:
        print("litdata is not installed, so it is not measured")
    open_images(manifest, size, size, "decoded")  # fill the cache before measuring
    rounds = [{name: images_per_cpu_second(run) for name, run in loaders.items()} for _ in range(NUM_ROUNDS)]
    print(f"{len(files)} images of {size} px, {manifest.size.mean() / 1e3:.1f} KB each, {NUM_ROUNDS} rounds")
    holds = True
    for name in loaders:
        ratios = [speeds[name] / speeds[FOLDER] for speeds in rounds]
        speed, ratio = statistics.median(speeds[name] for speeds in rounds), statistics.median(ratios)
        limit = LIMITS.get(name, (0.0, 0.0))[size == 128]
        holds &= ratio >= limit
        limit_text = f", limit {limit}" if limit else ""
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{name:18}{speed:8.0f} images/CPU-s  {ratio:5.2f} x {FOLDER} ({spread}{limit_text})")
    return holds, manifest


def main() -> None:
    """Print the ratios, and exit with 1 if a limit is exceeded."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SAKUGA_CACHE"] = str(folder / "cache")
        results = [measure(size, folder / str(size)) for size in NUM_IMAGES]
        holds = all(result for result, _ in results)
        four = four_beside_one(results[0][1], 256)
        least = min(MIN_OF_FOUR, four.copies)
        print(f"four processes on one cache: {four.batches:.2f} of one's images per CPU-second (limit {MIN_OF_FOUR})")
        print(f"four that only copy the images: {four.copies:.2f}; the limit is the lower of the two")
        print(f"private memory of a reader of all pixels: {four.copied:.2f} of the pixels (limit 0.5)")
    sys.exit(0 if holds and four.batches >= least and four.copied <= 0.5 else 1)


if __name__ == "__main__":
    main()
