"""The manifest of a folder of shards: name, label, split, position and checksum of every image.

Readers take offsets and sizes from the manifest, never from tar headers.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from shards_tools.columns import parts
from shards_tools.conversion import AS_STORED, Conversion
from shards_tools.errors import Error
from shards_tools.keys import Keys
from shards_tools.splits import (
    SPLIT_NAMES,
    TEST,
    TEST_GALLERY,
    TEST_QUERY,
    TRAIN,
    VAL,
    VAL_GALLERY,
    VAL_QUERY,
    query_roles_of_fold,
)
from shards_tools.stores.store import Store

SCHEMA = 1
# The layout says how a source is split. "plain" and "five-fold": works and roles, as in LSASRD. "classes": train, val
# and test share the classes. "identities": val and test hold other identities than train.
NUM_FOLDS = {"plain": 1, "five-fold": 5, "classes": 1, "identities": 1}
LAYOUTS_OF_ROLES = ("plain", "five-fold")
TRAINED_ON = ("train",)  # by every training of a search
TRAINED_ON_ALL_BUT_TEST = ("train", "val")  # by the final training of a search
DISTRACTOR = "distractor"  # the work of gallery images that have no known work or identity
COLUMN_TYPES = {
    "shard": "<i4",
    "offset": "<i8",
    "size": "<i8",
    "sha256": "S64",
    "work": "<i4",
    "role": "<i4",
    "split_code": "i1",
    "fold": "i1",
    "height": "<i4",
    "width": "<i4",
}


@dataclass(frozen=True)
class Shard:
    """One tar file of the folder."""

    name: str
    num_samples: int
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Duplicates:
    """Files with equal bytes, as counted by `find_duplicates`."""

    num_copies: int = 0  # files with the same bytes as an earlier file
    num_under_two_labels: int = 0  # distinct images with two or more roles
    num_on_two_sides: int = 0  # distinct images on two sides; 0 unless the build allowed it
    pairs: tuple[tuple[str, str], ...] = ()  # keys of the first few with two labels or two sides


@dataclass(frozen=True, eq=False)
class Tags:
    """The tags of image i are `names[ids[starts[i]:starts[i + 1]]]`, in the source's order."""

    names: tuple[str, ...]  # in the order of their first use
    starts: np.ndarray  # int64 [num_images + 1]
    ids: np.ndarray  # int32, indices into `names`

    def of(self, index: int) -> list[str]:
        """Return the tags of image number `index`."""
        return [self.names[tag] for tag in self.ids[self.starts[index] : self.starts[index + 1]]]


@dataclass(frozen=True)
class Split:
    """Indices into the manifest for each split, int64 and ascending; empty if the data has no such split."""

    train: np.ndarray
    val_query: np.ndarray
    val_gallery: np.ndarray
    test_query: np.ndarray
    test_gallery: np.ndarray
    val: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Manifest:
    """Everything known about a folder of shards. The columns are arrays with one entry per image, read-only if read.

    Images are ordered by their names in the source tree, not by their position in the shards.
    """

    store: Store  # holds the shards
    source: str  # "lsasrd"
    layout: str  # a key of NUM_FOLDS
    works: tuple[str, ...]  # index = work id; for data without roles: the classes or identities
    roles: tuple[str, ...]  # "WORK/ROLE", sorted; index = role id; for data without roles: the works
    shards: tuple[Shard, ...]
    keys: Keys
    shard: np.ndarray  # index into shards
    offset: np.ndarray  # bytes from the start of the shard to the encoded image
    size: np.ndarray  # bytes of the encoded image
    sha256: np.ndarray  # of the encoded image, 64 hex digits as bytes
    work: np.ndarray
    role: np.ndarray
    split_code: np.ndarray  # code of splits.py in a plain layout; all 0 in a five-fold one: see `Manifest.split`
    fold: np.ndarray  # 0..4, or -1 in a plain layout
    height: np.ndarray  # px
    width: np.ndarray  # px
    fingerprint: str  # equal for equal images, labels and splits, wherever they were built
    duplicates: Duplicates = Duplicates()
    notes: tuple[str, ...] = ()  # changes to the source that affect how results are read
    tags: Tags | None = None
    pairs: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))  # official test pairs, [num_pairs, 2]
    conversion: Conversion = AS_STORED  # of the source's pictures to the stored ones
    test_fold: int | None = None  # the fold kept for the test, of five; never trained or validated on
    trained_on: tuple[str, ...] = TRAINED_ON  # the splits whose images form `Split.train`

    @property
    def num_images(self) -> int:
        """Return the number of images in all splits together."""
        return len(self.keys)

    @property
    def num_folds(self) -> int:
        """Return the number of folds: 5 in the five-fold layout, 1 in the others."""
        return NUM_FOLDS[self.layout]

    def split(self, fold: int = 0) -> Split:
        """Return the images of each split.

        In the five-fold layout, fold `fold` is for validation and the other folds are for training. A test fold is
        divided into query and gallery like a validation fold. In other layouts, the splits are those of the build. If
        val is trained on, its images are in train; val keeps its distractors, which are of no class.

        Raises:
            Error: there is no such fold, or it is kept for the test.
        """
        if not 0 <= fold < self.num_folds:
            known = "fold 0" if self.num_folds == 1 else f"a fold from 0 to {self.num_folds - 1}"
            raise Error(f"Fold {fold} does not exist in the {self.layout} layout of {self.store}. Use {known}.")
        if fold == self.test_fold:
            raise Error(f"Fold {fold} of {self.store} is kept for the test. Validate on another fold.")
        codes = self._codes_of_fold(fold) if self.layout == "five-fold" else self.split_code
        if "val" in self.trained_on:
            is_val = np.isin(codes, (VAL, VAL_QUERY, VAL_GALLERY))
            codes = np.where(is_val & (np.array(self.works)[self.work] != DISTRACTOR), TRAIN, codes)
        return Split(*(np.flatnonzero(codes == code) for code in range(len(SPLIT_NAMES))))

    @property
    def has_roles(self) -> bool:
        """Whether works have roles; otherwise, the role of an image is its class or identity."""
        return self.layout in LAYOUTS_OF_ROLES

    def train_size(self, fold: int = 0) -> tuple[int, int]:
        """Return the numbers of works and of images in the training split of a fold."""
        works = self.work[self.split(fold).train]
        return len(np.unique(works)), len(works)

    def require_train(self) -> None:
        """Check that there are images to train on.

        Raises:
            Error: there are none.
        """
        if self.layout != "five-fold" and not (self.split_code == TRAIN).any():
            split = "test" if np.isin(self.split_code, (TEST, TEST_QUERY)).any() else "val"
            raise Error(
                f"{self.store} has no train split, so it is only for evaluation: use platform.evaluate CHECKPOINT"
                f" --data SHARDS --split {split}. To train, build shards with a train split."
            )

    def with_test_fold(self, fold: int | None) -> "Manifest":
        """Return the same manifest with fold `fold` of a five-fold layout kept for the test; None keeps no fold.

        Raises:
            Error: there is no such fold, or the layout has no folds.
        """
        if fold is not None and not (self.layout == "five-fold" and 0 <= fold < self.num_folds):
            raise Error(
                f"Fold {fold} cannot be kept for the test: {self.store} has the {self.layout} layout."
                " Use a fold from 0 to 4 of the five-fold layout."
            )
        return replace(self, test_fold=fold)

    def with_trained(self, splits: Sequence[str]) -> "Manifest":
        """Return the same manifest for a training on `splits`: TRAINED_ON or TRAINED_ON_ALL_BUT_TEST."""
        return replace(self, trained_on=tuple(splits))

    def _codes_of_fold(self, fold: int) -> np.ndarray:
        codes = np.full(self.num_images, TRAIN)
        kept = {fold: (VAL_QUERY, VAL_GALLERY)}
        if self.test_fold is not None:
            kept[self.test_fold] = (TEST_QUERY, TEST_GALLERY)
        for number, (query, gallery) in kept.items():
            in_fold = self.fold == number
            queries = query_roles_of_fold(self.roles, np.unique(self.role[in_fold]))
            codes[in_fold] = np.where(np.isin(self.role[in_fold], queries), query, gallery)
        return codes


def fingerprint(
    works: tuple[str, ...],
    roles: tuple[str, ...],
    columns: dict[str, np.ndarray],
    tags: Tags | None = None,
    pairs: np.ndarray | None = None,
    *,
    release: Callable[[], object] = lambda: None,
) -> str:
    """Return the SHA-256 of names, labels, splits, image hashes, tags and pairs, in image order, as 64 hex digits.

    Args:
        works: index = work id.
        roles: index = role id.
        columns: name -> array with one entry per image; work, role, split_code, fold and sha256 are needed.
        tags: None: the images have no tags.
        pairs: indices of the images of each test pair, [num_pairs, 2]; None is the same as no pairs.
        release: called after every part of a column, to remove it from memory.
    """
    digest = hashlib.sha256(json.dumps([SCHEMA, works, roles], ensure_ascii=True).encode())

    def update(column: np.ndarray, kind: str | None = None) -> None:
        for part in parts(len(column), release):
            digest.update(np.ascontiguousarray(column[part], dtype=kind).view(np.uint8).data)

    for name in ("work", "role", "split_code", "fold", "sha256"):
        update(columns[name], COLUMN_TYPES[name])
    if tags is not None:
        digest.update(json.dumps(tags.names).encode())
        update(tags.starts)
        update(tags.ids)
    if pairs is not None and len(pairs):
        update(pairs, "<i8")
    return digest.hexdigest()
