"""Stream images from the shards of any store, using the positions in the manifest, never tar headers.

Shapes: n images, B batch size, H and W pixels, C channels.
"""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np

from shards_tools.decode import decode_fitted, image_suffix
from shards_tools.manifest import Manifest
from shards_tools.parallel import in_order
from shards_tools.reader import read_span
from shards_tools.streaming.fetches import Fetch, fetches_of

READS_AHEAD = 4  # concurrent reads of about 4 MiB: a store answers several requests as quickly as one
KEPT_BYTES = 256 * 2**20  # of encoded images for evaluation

Sample = dict[str, Any]  # a webdataset sample: __key__, __url__, and jpg or png with the bytes; also index and last


class StreamedImages:
    """All images of a manifest at one size; the same pixels as DecodedImages, without a local copy of the shards."""

    reading = "stream"

    def __init__(self, manifest: Manifest, height: int, width: int, *, fit: str = "stretch", threads: int = 1) -> None:
        self._manifest, self._size, self._threads = manifest, (height, width), threads
        self._fit = fit
        self._kept: dict[int, bytes] = {}
        self._room = KEPT_BYTES

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Return any images [n, H, W, C], with as few reads as their positions allow.

        Every epoch needs the images of val again, so the first KEPT_BYTES of encoded bytes stay in memory. The rest is
        read again each time: evicting the oldest would evict every image before its next use.
        """
        missing = np.array([index for index in np.unique(indices).tolist() if index not in self._kept], np.int64)
        data: dict[int, bytes] = {}
        fetches = fetches_of(self._manifest, missing[None])
        with closing(in_order(self._reads(fetches), READS_AHEAD)) as reads:
            for fetch, images in zip(fetches, reads, strict=True):
                data.update(zip(fetch.images.tolist(), images, strict=True))
        for index, image in data.items():
            if len(image) <= self._room:
                self._kept[index] = image
                self._room -= len(image)
        return self._decode([(index, data.get(index) or self._kept[index]) for index in indices.tolist()])

    def batches(self, indices: np.ndarray) -> Generator[np.ndarray]:
        """Yield the images [B, H, W, C] of each row of `indices` [num_batches, B] into the manifest.

        Any order works; the images of a streamed epoch, or of the rest of one, are read once. Threads read and decode
        ahead; they end when the generator is closed, or when a read fails with an Error.
        """
        wds = _webdataset()
        fetches = fetches_of(self._manifest, indices)
        with ExitStack() as open_threads:
            pipeline = wds.DataPipeline(
                lambda: fetches,
                partial(self._samples, open_threads=open_threads),
                partial(_in_order_of, indices),
                wds.map(lambda samples: partial(self._decode, samples)),
            )
            yield from open_threads.enter_context(closing(in_order(pipeline, self._threads)))

    def places(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the shard of each image and its offset there, which the order of a streamed epoch needs."""
        return self._manifest.shard[indices], self._manifest.offset[indices]

    def _reads(self, fetches: Iterable[Fetch]) -> Iterator[partial[list[bytes]]]:
        return (partial(read_span, self._manifest, fetch.images) for fetch in fetches)

    def _samples(self, fetches: list[Fetch], open_threads: ExitStack) -> Iterator[Sample]:
        """Yield the images of each read as samples; each is checked against its checksum."""
        reads = open_threads.enter_context(closing(in_order(self._reads(fetches), READS_AHEAD)))
        for fetch, images in zip(fetches, reads, strict=True):
            url = self._manifest.store.place(self._manifest.shards[self._manifest.shard[fetch.images[0]]].name)
            for index, last, image in zip(fetch.images.tolist(), fetch.last.tolist(), images, strict=True):
                key = self._manifest.keys[index]
                yield {"__key__": key, "__url__": url, "index": index, "last": last, image_suffix(image, key): image}

    def _decode(self, images: list[tuple[int, bytes]]) -> np.ndarray:
        images_BHWC = np.empty((len(images), *self._size, 3), np.uint8)
        for place, (index, data) in enumerate(images):
            decode_fitted(data, self._manifest.keys[index], self._fit, images_BHWC[place])
        return images_BHWC


def _in_order_of(indices: np.ndarray, samples: Iterator[Sample]) -> Iterator[list[tuple[int, bytes]]]:
    """Yield (index, bytes) of the images of each row of `indices`; a sample is kept until its last use."""
    held: dict[int, Sample] = {}
    for batch, row in enumerate(indices.tolist()):
        for index in row:
            while index not in held:
                sample = next(samples)
                held[sample["index"]] = sample
        yield [(index, held[index].get("jpg") or held[index]["png"]) for index in row]
        for index in set(row):
            if held[index]["last"] == batch:
                del held[index]


def _webdataset() -> Any:
    """Import webdataset with shell commands and pickles disabled; only when a stream starts, as that takes seconds."""
    os.environ["WDS_SECURE"] = "1"
    import webdataset

    return webdataset
