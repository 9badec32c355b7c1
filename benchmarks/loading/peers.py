"""The loaders of others: SPDL, DALI, webdataset, litdata, and a folder of files as TransReID reads it.

SPDL, DALI and litdata are optional. A peer yields batches of BATCH images: SPDL and DALI as uint8 from bytes in memory,
the others as normalized and erased float32 from the disk.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds
from PIL import Image
from timm.data.random_erasing import RandomErasing
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

BATCH = 64
WORKERS = 2  # processes of the loaders that yield float32


@dataclass(frozen=True)
class Encoded:
    """The encoded images that the peers read, and the size in px at which they return them."""

    images: list[bytes]
    size: int
    is_resized: bool  # False: every image has this size already

    @property
    def batches(self) -> list[list[bytes]]:
        """Return the images in batches; an incomplete batch at the end is left out."""
        return [self.images[end - BATCH : end] for end in range(BATCH, len(self.images) + 1, BATCH)]


def spdl_batches(encoded: Encoded, threads: int) -> Iterator[np.ndarray]:
    """Yield the batches of SPDL's pipeline; each thread decodes whole batches."""
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    size = encoded.size if encoded.is_resized else None
    load = partial(spdl.io.load_image_batch, width=size, height=size)
    builder = PipelineBuilder().add_source(encoded.batches).pipe(load, concurrency=threads).add_sink(threads)
    pipeline = builder.build(num_threads=threads)
    with pipeline.auto_stop():
        for batch in pipeline:
            yield np.asarray(spdl.io.to_numpy(batch))


def dali_pipeline(encoded: Encoded, threads: int) -> Any:
    """Build DALI's pipeline of CPU operators, which repeats the batches forever."""
    from nvidia.dali import fn, pipeline_def, types

    arrays = [[np.frombuffer(image, np.uint8) for image in batch] for batch in encoded.batches]

    @pipeline_def(batch_size=BATCH, num_threads=threads, device_id=None)  # type: ignore[untyped-decorator]
    def decoding() -> Any:
        data = fn.external_source(lambda number: arrays[number % len(arrays)], dtype=types.UINT8)
        images = fn.decoders.image(data, device="cpu", output_type=types.RGB)
        return fn.resize(images, size=(encoded.size, encoded.size)) if encoded.is_resized else images

    pipeline = decoding()
    pipeline.build()
    return pipeline


def dali_batches(pipeline: Any, num_batches: int) -> Iterator[np.ndarray]:
    """Yield the next batches of DALI's pipeline."""
    for _ in range(num_batches):
        (images,) = pipeline.run()
        yield np.asarray(images.as_tensor())


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


def webdataset_batches(shards: list[str], size: int, num_images: int) -> Iterator[torch.Tensor]:
    """Yield webdataset's batches, set up as in its manual, with the papers' transforms."""
    data = wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil").to_tuple("jpg;png")
    data = data.map_tuple(papers_transform(size)).batched(BATCH)
    loader = wds.WebLoader(data, batch_size=None, num_workers=min(WORKERS, len(shards)))
    for (images_BCHW,) in islice(loader, num_images // BATCH):
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


def write_chunks(images: list[bytes], chunks: Path) -> None:
    """Write the encoded images in litdata's format."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(chunks), chunk_bytes=64 * 2**20)
    for number, image in enumerate(images):
        writer[number] = image
    writer.done()
    writer.merge()
