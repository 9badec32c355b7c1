"""Draw which works share a batch, or which roles share a group, spread over the pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shards_tools.batch_samplers.members import numbered

REACHES = (4, 4, 4, 4, 8, 16, 32, 64)  # rows, within which repeated items move at first, all at once


def draw_rows(
    counts: np.ndarray, width: int, generator: np.random.Generator, parts: np.ndarray | None = None
) -> np.ndarray:
    """Draw rows of distinct items, such as the works of each batch of a pass, spread over the pass.

    The n occurrences of an item are due at random times, one in each n-th of the pass, and each row takes the items
    that are due next. An item that is due twice in one row changes places with an item of a row near by.

    Args:
        counts: in how many rows each item occurs, [num_items], at least 1.
        width: the number of items in a row. The sum of `counts` is a multiple of it, and no count exceeds the rows.
        generator: draws the times.
        parts: the part of the pass that each item belongs to, ascending; its rows are apart from those of other parts.
            None: all items are of one part. The conditions on `counts` hold for each part.

    Returns:
        Indices into `counts`, int64 [num_rows, width], ascending in each row; the rows of the first part come first.
    """
    if parts is None:
        parts = np.zeros(len(counts), np.int64)
    items = np.repeat(np.arange(len(counts)), counts)
    due = parts[items] + (numbered(counts) + generator.random(len(items))) / counts[items]
    num_rows = np.bincount(parts, counts).astype(np.int64) // width
    ends = np.cumsum(num_rows)
    # A stable sort, because the order of equal times must not depend on the processor: ranks would disagree.
    drawn = np.sort(items[np.argsort(due, kind="stable")].reshape(-1, width))
    rows = _Rows(drawn, (ends - num_rows)[parts], ends[parts])
    for reach in REACHES:
        rows.exchange_many(reach, generator)
    while len(repeated := rows.repeated()):
        for row, column in repeated.tolist():
            rows.exchange_one(row, rows.items[row, column], generator)
        rows.items.sort()
    return rows.items


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows in which items may be repeated."""

    items: np.ndarray  # [num_rows, width], ascending in each row
    starts: np.ndarray  # the first row of the part of each item
    ends: np.ndarray  # the row after its last one

    def repeated(self) -> np.ndarray:
        """Return row and column of each item that has an equal one to its right, [num_repeated, 2]."""
        return np.argwhere(self.items[:, 1:] == self.items[:, :-1])

    def exchange_many(self, reach: int, generator: np.random.Generator) -> None:
        """Exchange each repeated item for a random one of the nearest `reach` rows if both are new to their rows."""
        row, column = self.repeated().T
        if not len(row):
            return
        item = self.items[row, column]
        other = row + generator.integers(-reach, reach + 1, len(row))
        other = np.clip(other, self.starts[item], self.ends[item] - 1)
        place = generator.integers(0, self.items.shape[1], len(row))
        found = self.items[other, place]
        fits = (self.items[other] != item[:, None]).all(axis=1) & (self.items[row] != found[:, None]).all(axis=1)
        # A row takes part in one exchange at a time, for a second one would not fit any more.
        number = np.where(fits, np.arange(len(row)), len(row))
        first = np.full(len(self.items), len(row))
        np.minimum.at(first, row, number)
        np.minimum.at(first, other, number)
        fits &= (first[row] == number) & (first[other] == number)
        row, column, other, place = row[fits], column[fits], other[fits], place[fits]
        self.items[row, column], self.items[other, place] = found[fits], item[fits]
        changed = np.concatenate([row, other])
        self.items[changed] = np.sort(self.items[changed])

    def exchange_one(self, row: int, item: int, generator: np.random.Generator) -> None:
        """Exchange one of two equal items of a row for an item of the nearest row of the part that lacks it.

        So there is one repetition less: the item that comes back is new to the row or, if there is none such, repeated
        in the row that it comes from.
        """
        places = np.flatnonzero(self.items[row] == item)
        if len(places) < 2:  # it was exchanged before
            return
        lacking, reach = np.empty(0, np.int64), 16
        while not len(lacking):
            near = np.arange(max(self.starts[item], row - reach), min(self.ends[item], row + reach + 1))
            lacking = near[(self.items[near] != item).all(axis=1)]
            reach *= 4
        other = self.items[lacking[np.argmin(abs(lacking - row))]]
        fit = np.flatnonzero(~np.isin(other, self.items[row]))
        if not len(fit):
            fit = np.flatnonzero((other[:, None] == other).sum(axis=1) > 1)
        taken = generator.choice(fit)
        self.items[row, places[0]], other[taken] = other[taken], item
