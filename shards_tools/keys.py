"""The keys of the images of a manifest, stored once as bytes and decoded on access."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

DECODED_AT_ONCE = 2**17  # keys, while all of them are iterated


class Keys:
    """Keys by the index of the image: text for an integer, an array of text for a slice, a mask or an array.

    numpy's text takes four bytes per character of the longest key, hundreds of MB for millions of keys.

    Args:
        stored: the ASCII bytes of each key, [num_images], of a numpy type such as `S12`.

    Raises:
        ValueError: these are no bytes, or not one key per image.
    """

    def __init__(self, stored: np.ndarray) -> None:
        if stored.dtype.kind != "S" or stored.ndim != 1:
            raise ValueError(f"the keys have type {stored.dtype} and {stored.ndim} axes")
        self.stored = stored

    @classmethod
    def of(cls, keys: Sequence[str]) -> "Keys":
        """Return the keys of a list."""
        return cls(np.array(keys, dtype="S"))

    def __len__(self) -> int:
        return len(self.stored)

    @overload
    def __getitem__(self, index: int | np.integer) -> str: ...

    @overload
    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray: ...

    def __getitem__(self, index: int | np.integer | slice | np.ndarray) -> str | np.ndarray:
        found = self.stored[index]
        return found.decode("ascii") if isinstance(found, bytes) else np.char.decode(found, "ascii")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), DECODED_AT_ONCE):
            yield from self[start : start + DECODED_AT_ONCE].tolist()

    def tolist(self) -> list[str]:
        """Return all keys as text."""
        return list(self)
