"""TOML files of suites and flywheels, read within bounds; mistakes name file, field and value."""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import SuiteError, did_you_mean
from roadworthy.plainfile import read_plain

__all__ = ["check_keys", "explain_invalid", "parse_toml", "read_suite_text", "toml_table"]

_MOST_BYTES = 1_000_000
_DEEPEST = 32
"""Tables and lists within each other; Python's own limits lie where a plugin meets them."""


def read_suite_text(path: Path) -> str:
    """The text of a suite file.

    Raises:
        SuiteError: it is not there, cannot be read, is too large, or is not UTF-8.
    """
    try:
        data = read_plain(path, _MOST_BYTES + 1)
    except FileNotFoundError:
        near = [str(p) for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        raise SuiteError(
            f"{path}: no such suite file", hint=did_you_mean(str(path), near)
        ) from None
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise SuiteError(f"{path}: is too large for a suite file", hint="At most 1 MB.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: byte {error.start} is not UTF-8") from error


def parse_toml(text: str, schema: type[msgspec.Struct], path: str) -> dict[str, Any]:
    """A TOML text as a table, all of whose keys are a schema's.

    Raises:
        SuiteError: as for `toml_table`, or it has a key that it must not have.
    """
    raw = toml_table(text, path)
    check_keys(raw, schema, path)
    return raw


def toml_table(text: str, path: str) -> dict[str, Any]:
    """A TOML text as a table of values that a record can hold and a plugin can be given: finite
    numbers, integers of 64 bits, texts without a NUL, nothing nested without end.

    Raises:
        SuiteError: it is not TOML, or has another value, which is named with its field.
    """
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SuiteError(f"{path}: not TOML: {error}") from error
    except ValueError as error:  # of thousands of digits, which Python does not read
        found = re.search(r"(?:[0-9]_?){4000}", text)
        line = 1 + text.count("\n", 0, found.start()) if found else 0
        raise SuiteError(f"{path}: line {line}: an integer of TOML has at most 64 bits") from error
    for key, value in raw.items():
        _check_value(value, path, key, 1)
    return raw


def _check_value(value: object, path: str, field: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise SuiteError(f"{path}: {field[:80]}: more than {_DEEPEST} tables and lists deep")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_value(item, path, f"{field}.{key}", depth + 1)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check_value(item, path, f"{field}[{i}]", depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise SuiteError(f"{path}: {field} = {value!r}: is no finite number")
    elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise SuiteError(f"{path}: {field}: an integer of TOML has at most 64 bits")
    elif isinstance(value, str) and "\0" in value:
        raise SuiteError(f"{path}: {field} = {value!r}: a text without NUL is wanted")


def check_keys(table: object, schema: type[msgspec.Struct], where: str) -> None:
    """Refuse keys that a table must not have, with the near ones.

    Raises:
        SuiteError: for the first such key.
    """
    known = [field.name for field in msgspec.structs.fields(schema)]
    if isinstance(table, dict):
        for key in table:
            if key not in known:
                raise SuiteError(f"{where}: unknown key {key!r}", hint=did_you_mean(key, known))


def explain_invalid(error: msgspec.ValidationError, raw: dict[str, Any], path: str) -> tuple[str]:
    """msgspec's message with the field in front and the offending value behind."""
    text = str(error)
    match = re.fullmatch(r"(?s)(.*?) - at `\$\.?(.*?)`", text)
    if not match:
        return (f"{path}: {text}",)
    value: Any = raw
    for part in re.findall(r"[^.\[\]]+", match[2]):
        try:
            value = value[int(part)] if part.isdigit() else value[part]
        except (KeyError, IndexError, TypeError):
            return (f"{path}: {match[2]}: {match[1]}",)
    return (f"{path}: {match[2]} = {value!r}: {match[1]}",)
