"""Opening the files of a store: regular files of a known size, and nothing else."""

from __future__ import annotations

import mmap
import os
import stat
from pathlib import Path
from typing import BinaryIO

from roadworthy.errors import DataError

__all__ = ["HEADER", "INDEX", "MAX_SHARDS", "map_file", "open_file", "shard_name"]

HEADER = "store.json"
INDEX = "index.jsonl"
MAX_SHARDS = 100_000


def shard_name(number: int) -> str:
    """Name of the file of arrays of that number."""
    return f"arrays-{number:05d}.bin"


def open_file(path: Path, size: int | None = None) -> BinaryIO:
    """Open a regular file for reading; a link, pipe or device is refused, not followed.

    Args:
        path: the file.
        size: how many bytes it must have; any number where None.

    Raises:
        DataError: absent, not a regular file, or of another size.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        link = path.is_symlink()
        reason = "is a link" if link else f"cannot be read ({error.strerror})"
        hint = "A store holds plain files alone." if link else "Is the store whole? Copy it again."
        raise DataError(f"{path}: {reason}", hint=hint) from error
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode):
        os.close(handle)
        raise DataError(f"{path}: is not a plain file", hint="A store holds plain files alone.")
    if size is not None and state.st_size != size:
        os.close(handle)
        raise DataError(
            f"{path}: has {state.st_size} bytes, {HEADER} says {size}",
            hint="The store is damaged or was cut short: copy it again.",
        )
    return os.fdopen(handle, "rb")


def map_file(path: Path, size: int) -> mmap.mmap:
    """Map a file of that size, at least 1 byte, into memory, read only.

    Raises:
        DataError: as for `open_file`, or it cannot be mapped.
    """
    with open_file(path, size) as file:
        try:
            return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be mapped into memory ({error})") from error
