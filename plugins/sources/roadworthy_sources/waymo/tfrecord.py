"""TFRecord files: length, its checksum, data, its checksum, and so on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_sources.reading.files import AGAIN

__all__ = ["MAX_RECORD", "masked_crc", "read_records"]

MAX_RECORD = 64 * 2**20
"""Most bytes in a record."""


def _table() -> NDArray[np.uint32]:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(0x82F63B78), values >> 1)
    return values.astype(np.uint32)


_TABLE = _table()


@njit(cache=True, nogil=True, error_model="numpy")
def _crc32c(data: NDArray[np.uint8], table: NDArray[np.uint32]) -> int:
    """CRC-32C (Castagnoli) of bytes [N]."""
    crc = np.uint32(0xFFFFFFFF)
    for i in range(len(data)):
        crc = table[(crc ^ data[i]) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def masked_crc(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C, rotated by 15 bits, plus a constant."""
    crc = int(_crc32c(np.frombuffer(data, np.uint8), _TABLE)) & 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(path: Path) -> Iterator[bytes | DataError]:
    """The records of a file, in order; in place of a damaged one, the error.

    After a record whose data are damaged the next one can still be found; after a damaged
    length nothing can, so the error is the last thing that comes.
    """
    try:
        with path.open("rb") as file:
            count = 0
            while head := file.read(12):
                where = f"{path}: record {count}"
                length, check = struct.unpack("<QI", head) if len(head) == 12 else (0, -1)
                if check != masked_crc(head[:8]):
                    yield DataError(f"{where}: its length is damaged", hint=AGAIN)
                    return
                if length > MAX_RECORD:
                    yield DataError(f"{where}: {length} bytes", hint=f"At most {MAX_RECORD}.")
                    return
                data, tail = file.read(length), file.read(4)
                if len(data) < length or len(tail) < 4:
                    yield DataError(f"{where}: the file ends within it", hint=AGAIN)
                    return
                if struct.unpack("<I", tail)[0] == masked_crc(data):
                    yield data
                else:
                    yield DataError(f"{where}: its checksum is wrong", hint=AGAIN)
                count += 1
            if count == 0:
                yield DataError(f"{path}: the file is empty", hint=AGAIN)
    except OSError as error:
        yield DataError(
            f"{path}: cannot be read ({error.strerror or error})",
            hint="Check that the file is there and readable.",
        )
