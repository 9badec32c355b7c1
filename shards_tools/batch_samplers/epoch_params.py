"""Parameters of one epoch of batches, besides the labels of the images."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EpochParams:
    """Shape of the batches, seed and epoch."""

    works_per_batch: int  # P
    images_per_work: int  # K
    seed: int
    epoch: int  # counted from 0
    images_per_epoch: int | None = None  # None: an epoch is one pass

    @property
    def batch_size(self) -> int:
        """Return the number of images per batch, P * K."""
        return self.works_per_batch * self.images_per_work
