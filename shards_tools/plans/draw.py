"""What the batches of an epoch are drawn from, beside the labels of the images."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Shape of the batches, and the numbers that decide every draw."""

    works_per_batch: int  # P
    images_per_work: int  # K
    seed: int
    epoch: int  # counted from 0
    images_per_epoch: int | None = None  # None: an epoch is a whole pass

    @property
    def batch_size(self) -> int:
        """Images per batch, P * K."""
        return self.works_per_batch * self.images_per_work
