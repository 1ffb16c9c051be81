"""Arrays that were uploaded, by index: in memory, or in a folder so that a restart loses nothing.

An index is given once and never again. What is stored is bounded in size and number, and nothing that is read here is
ever unpickled.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.lib import format as npy
from starlette.exceptions import HTTPException

from one_liner.errors import ConfigurationError
from one_liner.gateway.settings import Settings

Array = np.ndarray[Any, Any]
_FILE = re.compile(r"(\d{6,})\.npy")
_LONGEST_HEADER = 10_000
_MOST_EMPTY = 1_000_000
_LONGEST_INDEX = 18


class ArrayProblem(HTTPException):
    """Something about an array that the one who asked has to hear, as a status and a text."""


class ArrayInfo(NamedTuple):
    """What an array is, without its numbers."""

    number: int
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """As `GET /arrays` lists it."""
        return {"index": self.number, "shape": list(self.shape), "dtype": self.dtype}


class Shelf(Protocol):
    """Where arrays are kept."""

    def infos(self) -> list[ArrayInfo]:
        """What is there already."""

    def first_free(self) -> int:
        """The first index that was never given."""

    def put(self, index: int, array: Array) -> int:
        """Keep an array; gives its size in bytes."""

    def get(self, index: int) -> Array:
        """The array."""

    def remove(self, index: int) -> None:
        """Keep it no longer."""


class MemoryShelf:
    """Arrays in memory."""

    def __init__(self) -> None:
        self._arrays: dict[int, Array] = {}

    def infos(self) -> list[ArrayInfo]:
        """Nothing: a process begins with an empty memory."""
        return []

    def first_free(self) -> int:
        """The first of all."""
        return 0

    def put(self, index: int, array: Array) -> int:
        """Keep an array."""
        array.flags.writeable = False
        self._arrays[index] = array
        return array.nbytes

    def get(self, index: int) -> Array:
        """The array, not to be written to."""
        return self._arrays[index]

    def remove(self, index: int) -> None:
        """Let it go."""
        del self._arrays[index]


class FolderShelf:
    """Arrays as `.npy` files in a folder, which is made if it is not there. A file is there as a whole, or not.

    Args:
        folder: of this gateway alone.

    Raises:
        ConfigurationError: it is none, and cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._deleted = folder / "last_deleted.txt"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{folder} cannot be a folder for arrays: {error.strerror}") from None

    def infos(self) -> list[ArrayInfo]:
        """What lies there, from this run and those before."""
        return sorted(self._infos())

    def _infos(self) -> Iterator[ArrayInfo]:
        for path in self._folder.iterdir():
            found = _FILE.fullmatch(path.name)
            if found is None:
                continue
            try:
                with path.open("rb") as file:
                    shape, dtype = check_npy(file, path.stat().st_size)
            except (OSError, ArrayProblem):
                continue  # Somebody else's file, or one that the disk has damaged.
            yield ArrayInfo(int(found[1]), shape, str(dtype), path.stat().st_size)

    def first_free(self) -> int:
        """Behind every file there is, readable or not, and behind the last one that was deleted."""
        found = (_FILE.fullmatch(path.name) for path in self._folder.iterdir())
        after_all = max((int(one[1]) + 1 for one in found if one is not None), default=0)
        try:
            return max(after_all, int(self._deleted.read_text()) + 1)
        except (OSError, ValueError):  # Nothing was deleted yet.
            return after_all

    def put(self, index: int, array: Array) -> int:
        """Write it to a file."""
        path = self._path(index)
        unfinished = path.with_suffix(".part")
        try:
            with unfinished.open("wb") as file:
                npy.write_array(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise ArrayProblem(507, f"the array cannot be written: {error.strerror}") from None
        return path.stat().st_size

    def get(self, index: int) -> Array:
        """Read it from its file."""
        array: Array = np.load(self._path(index), allow_pickle=False)
        return array

    def remove(self, index: int) -> None:
        """Delete its file, and remember its index if it is the last one so far."""
        if index + 1 == self.first_free():
            unfinished = self._deleted.with_suffix(".part")
            unfinished.write_text(str(index))
            os.replace(unfinished, self._deleted)
        self._path(index).unlink(missing_ok=True)

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:06d}.npy"


class ArrayStore:
    """All arrays of a gateway. Its methods may touch a disk; call them on a thread of their own.

    Args:
        settings: how much may be stored, and where.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shelf: Shelf = MemoryShelf() if settings.array_dir is None else FolderShelf(settings.array_dir)
        self._infos = {info.number: info for info in self._shelf.infos()}
        self._next = self._shelf.first_free()
        self._lock = Lock()
        self._bytes = sum(info.size_bytes for info in self._infos.values())

    def __len__(self) -> int:
        return len(self._infos)

    @property
    def stored_bytes(self) -> int:
        """How large they are together."""
        return self._bytes

    def infos(self) -> list[ArrayInfo]:
        """What there is, by index."""
        return sorted(self._infos.values())

    def add(self, array: Array) -> ArrayInfo:
        """Keep an array.

        Raises:
            ArrayProblem: 400 for one of Python objects, 413 for one that is too large, 507 when there is no room.
        """
        settings = self._settings
        if array.dtype.hasobject:
            raise ArrayProblem(400, "an array of Python objects would have to be pickled, which is not done here")
        if array.nbytes > settings.array_bytes:
            raise ArrayProblem(413, f"the array has {array.nbytes} bytes; at most {settings.array_bytes} are taken")
        # Held while it is written, too: two that fit alone need not fit together.
        with self._lock:
            self._check_room(array.nbytes)
            index, self._next = self._next, self._next + 1
            size_bytes = self._shelf.put(index, array)
            info = self._infos[index] = ArrayInfo(index, array.shape, str(array.dtype), size_bytes)
            self._bytes += size_bytes
        return info

    def get(self, index: int) -> Array:
        """The array of this index.

        Raises:
            ArrayProblem: 404 if there is none.
        """
        if index not in self._infos:
            raise _no_array(index)
        try:
            return self._shelf.get(index)
        except (KeyError, FileNotFoundError):  # Deleted in this moment.
            raise _no_array(index) from None

    def remove(self, index: int) -> None:
        """Delete an array.

        Raises:
            ArrayProblem: 404 if there is none.
        """
        with self._lock:
            info = self._infos.pop(index, None)
            if info is None:
                raise _no_array(index)
            self._bytes -= info.size_bytes
            self._shelf.remove(index)

    def _check_room(self, size_bytes: int) -> None:
        settings = self._settings
        if len(self._infos) >= settings.arrays:
            raise ArrayProblem(507, f"there are {len(self._infos)} arrays, and no more are taken; delete some")
        if self._bytes + size_bytes > settings.arrays_bytes:
            raise ArrayProblem(
                507, f"{self._bytes} of {settings.arrays_bytes} bytes are taken, too much for {size_bytes} more"
            )


def read_npy(file: IO[bytes], size_bytes: int) -> Array:
    """An array from the content of a `.npy` file, not pickled and with no more in it than the file has.

    Raises:
        ArrayProblem: 400 if it is none.
    """
    check_npy(file, size_bytes)
    file.seek(0)
    try:
        array: Array = npy.read_array(file, allow_pickle=False, max_header_size=_LONGEST_HEADER)
    except Exception as error:  # A damaged file can be damaged in every way.
        raise ArrayProblem(400, f"this is no .npy file: {error}") from None
    return array


def check_npy(file: IO[bytes], size_bytes: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """What the head of a `.npy` file says, once it is known to be true: nothing is allocated for what is not there.

    Raises:
        ArrayProblem: 400 if it is no such file, or one with a pickle in it.
    """
    try:
        version = npy.read_magic(file)
        # The third version has the layout of the second, with other letters allowed in names.
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file, max_header_size=_LONGEST_HEADER)
    except Exception as error:
        raise ArrayProblem(400, f"this is no .npy file: {error}") from None
    if dtype.hasobject:
        raise ArrayProblem(400, "an array of Python objects would have to be unpickled, which is not done here")
    count = 1
    for length in shape:
        count *= length
    if any(length < 0 for length in shape) or file.tell() + count * dtype.itemsize != size_bytes:
        raise ArrayProblem(400, "this is no .npy file: its length is not what its head says")
    if count * dtype.itemsize == 0 and math.prod(length or 1 for length in shape) > _MOST_EMPTY:
        # A million million empty rows take no byte here, and as nested lists all the memory there is.
        raise ArrayProblem(400, f"an array of shape {shape} with nothing in it is of no use")
    return shape, dtype


def npy_bytes(array: Array) -> bytes:
    """An array as the content of a `.npy` file."""
    file = io.BytesIO()
    npy.write_array(file, np.asarray(array), allow_pickle=False)
    return file.getvalue()


def index_of(text: str) -> int:
    """An index as it stands in an address.

    Raises:
        ArrayProblem: 404 if it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_INDEX):
        raise _no_array(text)
    return int(text)


def _no_array(index: int | str) -> ArrayProblem:
    return ArrayProblem(404, f"there is no array {index!s:.100}")
