"""Columns of numbers and bytes in an uncompressed `.npz` file, which is mapped into memory if it is large.

`np.load` reads the file too. It copies every column, and so it needs as much memory as the file has bytes.
"""

import hashlib
import io
import math
import mmap
import os
import struct
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from io import BufferedRandom
from typing import BinaryIO

import numpy as np
import psutil

from shards_tools.errors import Error, Unreadable
from shards_tools.stores.local import LocalStore
from shards_tools.stores.store import Store

MAPPED_BYTES = 2**26  # smaller files are read: if a mapped file is truncated, the kernel kills the process
MAX_UNPACKED_BYTES = 2**30  # of compressed columns, which we do not write
ALIGNMENT = 64  # bytes; gathering from an array that is not aligned takes three times as long
PADDING_ID = 0xD935  # of an extra field of zip whose only purpose is to align what follows
ZIP64_BYTES = 20  # of the extra field that Python's zipfile adds to each member
LOCAL_HEADER_BYTES = 30  # of a zip member, without its name and extra fields
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}  # by version
PART = 2**17  # images that are checked at a time, so that what is computed from them stays small
HASHED_AT_ONCE = 2**20  # bytes


def parts(length: int, done: Callable[[], object] = lambda: None) -> Iterator[slice]:
    """Divide the indices of columns into slices of PART, and call `done` after each."""
    for start in range(0, length, PART):
        yield slice(start, min(start + PART, length))
        done()


class Columns:
    """An open file of columns. The arrays are read-only views; those of a mapped file keep the mapping open.

    A file of a local store is mapped from MAPPED_BYTES on, and other files are read into memory.

    Args:
        store: holds the file.
        name: of the file.
        size: of the file in bytes.

    Raises:
        Error: the file cannot be read, or needs more memory than is available.
    """

    def __init__(self, store: Store, name: str, size: int) -> None:
        self._mapped: mmap.mmap | None = None
        self._file: BinaryIO
        if isinstance(store, LocalStore) and size >= MAPPED_BYTES:
            self._file = store.open(name)
            self._mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            self._buffer: bytes | mmap.mmap = self._mapped
        else:
            _refuse_too_large(store, name, size)
            self._buffer = store.read(name, 0, size)
            self._file = io.BytesIO(self._buffer)

    def __enter__(self) -> "Columns":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def sha256(self) -> str:
        """Return the checksum of the file. A mapped file is read for it, so that its pages do not stay in memory.

        Raises:
            Error: the file cannot be read.
        """
        if self._mapped is None:
            return hashlib.sha256(self._buffer).hexdigest()
        digest, start = hashlib.sha256(), 0
        try:
            while data := os.pread(self._file.fileno(), HASHED_AT_ONCE, start):  # another thread moves the position
                digest.update(data)
                start += len(data)
        except OSError as failure:
            raise Unreadable(f"{self._file.name} cannot be read: {failure.strerror}. Check its disk.") from failure
        return digest.hexdigest()

    def release(self) -> None:
        """Remove the pages of a mapped file from this process's memory; the next access maps them again."""
        if self._mapped is not None:
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def read(self, required: Collection[str], optional: Collection[str] = ()) -> dict[str, np.ndarray]:
        """Return columns by name; of the optional ones, those that the file has.

        Raises:
            ValueError: a column is missing, has Python objects, or is compressed and too large.
            Exception: of nearly any kind; the file is damaged.
        """
        with zipfile.ZipFile(self._file) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if missing := [name for name in required if name not in members]:
                raise ValueError(f"the column {missing[0]} is missing")
            packed = [member for member in members.values() if member.compress_type != zipfile.ZIP_STORED]
            if sum(member.file_size for member in packed) > MAX_UNPACKED_BYTES:
                raise ValueError("the columns are compressed and too large")
            wanted = [*required, *(name for name in optional if name in members)]
            return {name: self._column(archive, members[name]) for name in wanted}

    def _column(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
        if member.compress_type == zipfile.ZIP_STORED:
            return self._view(member)
        with archive.open(member) as content:
            column: np.ndarray = np.lib.format.read_array(content, allow_pickle=False)
            return column

    def _view(self, member: zipfile.ZipInfo) -> np.ndarray:
        self._file.seek(member.header_offset)
        header = self._file.read(LOCAL_HEADER_BYTES)
        if not header.startswith(b"PK\3\4"):
            raise ValueError(f"the member {member.filename} has no header")
        start = self._file.seek(sum(struct.unpack("<HH", header[-4:])), os.SEEK_CUR)
        version = np.lib.format.read_magic(self._file)
        if version not in HEADERS:
            raise ValueError(f"the member {member.filename} has version {version[0]}.{version[1]} of npy")
        shape, by_column, dtype = HEADERS[version](self._file)
        offset = self._file.tell()
        if min(shape, default=1) < 0 or offset + math.prod(shape) * dtype.itemsize > start + member.file_size:
            raise ValueError(f"the member {member.filename} does not hold its array")
        values = np.frombuffer(self._buffer, dtype, math.prod(shape), offset)
        return values.reshape(shape, order="F" if by_column else "C")


def write_columns(file: BufferedRandom, columns: Mapping[str, np.ndarray]) -> str:
    """Write columns to an empty file that can be read too, and return its checksum; equal columns give equal bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, column in columns.items():
            member = zipfile.ZipInfo(f"{name}.npy")
            header = LOCAL_HEADER_BYTES + len(member.filename) + struct.calcsize("<HH") + ZIP64_BYTES
            padding = -(file.tell() + header) % ALIGNMENT  # numpy pads its own header to 64 bytes
            member.extra = struct.pack("<HH", PADDING_ID, padding) + bytes(padding)
            with archive.open(member, "w", force_zip64=True) as content:
                np.lib.format.write_array(content, np.ascontiguousarray(column), allow_pickle=False)
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_too_large(store: Store, name: str, size: int) -> None:
    available = psutil.virtual_memory().available
    if size > available:
        raise Error(
            f"{store.place(name)} needs {size / 1e9:.1f} GB of memory, but {available / 1e9:.1f} GB are available."
            " Copy the shards to a folder of this machine, where the file is mapped, or use a larger machine."
        )
