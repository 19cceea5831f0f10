"""What a recording's files say, or an error that names the file and the place in it."""

from __future__ import annotations

import json
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from PIL import Image
from roadworthy.errors import DataError

__all__ = ["read_json", "within"]

T = TypeVar("T")

# What numpy, pandas, Pillow and Python raise over damaged bytes and numbers that are none
# (the warning only where warnings are errors).
_DAMAGED = (
    ArithmeticError, EOFError, LookupError, MemoryError, RuntimeError, SyntaxError, TypeError,
    ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@contextmanager
def within(origin: object) -> Iterator[None]:
    """Turns an error over what is read into a DataError that begins with `origin`: the file, and
    the place in it where that is known. An error that begins so stays as it is."""
    try:
        yield
    except DataError as error:
        if error.message.startswith(str(origin)):
            raise
        raise DataError(f"{origin}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise DataError(f"{origin}: cannot be read: {error.strerror or error}") from error
    except _DAMAGED as error:
        raise DataError(f"{origin}: cannot be read: {type(error).__name__}: {error}") from error


def read_json(path: Path, kind: type[T]) -> T:
    """A JSON file as a type of msgspec's. Fields that the type has not are passed over.

    Raises:
        DataError: it is not JSON, or not of that type, or a number is not finite; names the field.
    """
    with within(path):
        said = json.loads(path.read_text(encoding="utf-8"))
        _check_finite(said, "")
        try:
            return msgspec.convert(said, kind)
        except msgspec.ValidationError as error:
            raise DataError(str(error)) from error


def _check_finite(value: Any, name: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_finite(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check_finite(inner, f"{name}[{i}]")
    elif isinstance(value, (int, float)) and not abs(value) < math.inf:
        raise DataError(f"{name} is {value}, not a finite number")
