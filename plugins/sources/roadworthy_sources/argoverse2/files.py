"""Bounded reading of feather, parquet and JSON files: typed errors, never a crash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from roadworthy.errors import DataError

__all__ = ["FARTHEST", "check_finite", "read_json", "read_table"]

MAX_TABLE_BYTES = 256 * 2**20
MAX_JSON_BYTES = 128 * 2**20
MAX_ROWS = 5_000_000
FARTHEST = 1e7
"""Coordinates and other measures must stay below this [m]; a city is some 1e4 m wide."""

ColumnKind = Literal["int", "float", "text"]
_AGAIN = "Download the file again."


def _bytes_of(path: Path, limit: int) -> bytes:
    try:
        size = path.stat().st_size
        if size > limit:
            raise DataError(f"{path}: {size} bytes", hint=f"At most {limit} bytes are read.")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})",
            hint="Check that the file is there and readable.",
        ) from error
    if not data:
        raise DataError(f"{path}: the file is empty", hint=_AGAIN)
    return data


def read_table(path: Path, columns: Mapping[str, ColumnKind]) -> dict[str, NDArray[Any]]:
    """Named columns of a feather (Arrow IPC, "feather version 2") or parquet file.

    Args:
        path: file, the suffix `.parquet` tells the format.
        columns: names and kinds wanted; others in the file are not looked at.

    Returns:
        int64, float64 or object (str) arrays of one length, at least 1.

    Raises:
        DataError: too large, truncated, not of the format, a column missing, of another type,
            or holding nulls.
    """
    data = _bytes_of(path, MAX_TABLE_BYTES)
    try:
        source = pa.BufferReader(data)
        if path.suffix == ".parquet":
            with pq.ParquetFile(source) as file:
                rows, names = file.metadata.num_rows, set(file.schema_arrow.names)
                _check_columns(path, rows, names, columns)
                table = file.read(columns=list(columns))
        else:
            reader = pa.ipc.open_file(source)
            _check_columns(path, None, set(reader.schema.names), columns)
            table = reader.read_all().select(list(columns))
            _check_columns(path, table.num_rows, set(columns), columns)
        table.validate(full=True)
        return {
            name: _values(path, name, table.column(name), kind) for name, kind in columns.items()
        }
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, MemoryError) as error:
        wanted = "parquet" if path.suffix == ".parquet" else "feather version 2 (Arrow IPC)"
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a readable {wanted} file: {reason}", hint=_AGAIN) from error


def _check_columns(
    path: Path, rows: int | None, names: set[str], columns: Mapping[str, ColumnKind]
) -> None:
    for name in columns:
        if name not in names:
            raise DataError(
                f"{path}: column {name!r} is missing",
                hint=f"The file has {', '.join(sorted(names)[:20])}: is it of this data set?",
            )
    if rows is not None and not 0 < rows <= MAX_ROWS:
        raise DataError(f"{path}: {rows} rows", hint=f"1 to {MAX_ROWS} rows are read.")


def _values(path: Path, name: str, column: pa.ChunkedArray, kind: ColumnKind) -> NDArray[Any]:
    if column.null_count:
        raise DataError(
            f"{path}: column {name!r} has {column.null_count} nulls",
            hint="Every row needs a value.",
        )
    if pa.types.is_dictionary(column.type):
        column = column.combine_chunks().dictionary_decode()
    fits = {
        "int": pa.types.is_integer,
        "float": lambda t: pa.types.is_floating(t) or pa.types.is_integer(t),
        "text": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
    }[kind]
    if not fits(column.type):
        raise DataError(
            f"{path}: column {name!r} is of type {column.type}", hint=f"Wanted: {kind}."
        )
    if kind == "text":
        return np.array(column.to_pylist(), object)
    return np.asarray(column.to_numpy(), np.int64 if kind == "int" else np.float64)


def check_finite(path: Path, table: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> None:
    """Raise at the first value that is not finite or absurdly large, naming file, column, row."""
    for name in names:
        bad = np.flatnonzero(~(np.abs(table[name]) < FARTHEST))
        if len(bad):
            raise DataError(
                f"{path}: column {name!r}, row {bad[0]} is {table[name][bad[0]]}",
                hint=f"Every value must be finite and below {FARTHEST:.0e}.",
            )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DataError: too large, truncated, nested too deeply, or not an object.
    """
    data = _bytes_of(path, MAX_JSON_BYTES)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable JSON: {error}", hint=_AGAIN) from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a {type(value).__name__}", hint="Wanted: a JSON object.")
    return value
