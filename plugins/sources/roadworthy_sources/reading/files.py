"""Finding files, and reading them within bounds: typed errors, never a crash."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from roadworthy.admission import admit
from roadworthy.errors import DataError
from roadworthy.scenario import Rejected, Scenario

__all__ = ["AGAIN", "each", "find_files", "read_bytes", "stem_of"]

AGAIN = "Download the file again."
MAX_FILES = 1_000_000


def find_files(
    path: str,
    suffixes: tuple[str, ...],
    what: str,
    limit: int | None = None,
    skip: Callable[[str], bool] = lambda name: False,
) -> list[Path]:
    """The file that `path` is, or all files below the folder that it is, sorted.

    Args:
        path: file or folder.
        suffixes: endings wanted in a folder, lower case, such as `.xml.gz`.
        what: the kind of file, for messages.
        limit: at most this many.
        skip: names in a folder that are something else.

    Raises:
        DataError: nothing there, or no file of the kind.
    """
    root = Path(path)
    if root.is_file():
        return [root][:limit]
    if not root.is_dir():
        raise DataError(
            f"{root}: no such file or folder", hint=f"Give {what}, or a folder of such."
        )
    found: list[Path] = []
    for entry in root.rglob("*"):
        if entry.name.lower().endswith(suffixes) and not skip(entry.name) and entry.is_file():
            found.append(entry)
            if len(found) > MAX_FILES:
                raise DataError(f"{root}: more than {MAX_FILES} files", hint="Split the folder.")
    if not found:
        raise DataError(f"{root}: holds nothing of the kind", hint=f"Wanted: {what}.")
    return sorted(found)[:limit]


def stem_of(path: Path) -> str:
    """The file's name without any of its suffixes that say a format."""
    name = path.name
    for suffix in (".gz", ".xml", ".pkl", ".osm", ".xodr", ".tfrecord"):
        name = name.removesuffix(suffix)
    return name or path.name


def read_bytes(path: Path, limit: int) -> bytes:
    """The whole file, unpacked where its name ends in `.gz`.

    Args:
        path: the file.
        limit: most bytes that are read, packed and unpacked.

    Raises:
        DataError: unreadable, empty, damaged, or larger than `limit`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if data and path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                data = packed.read(limit + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})", hint=AGAIN) from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error})",
            hint="Check that the file is there and readable.",
        ) from error
    if not data:
        raise DataError(f"{path}: the file is empty", hint=AGAIN)
    if len(data) > limit:
        raise DataError(f"{path}: more than {limit} bytes", hint="Larger files are not read.")
    return data


def each(
    files: Iterable[Path], source: str, read: Callable[[Path], Iterable[Scenario]]
) -> Iterator[Scenario | Rejected]:
    """Admitted scenarios of each file; a file or scene that is not fit is a `Rejected`.

    Args:
        files: what to read, in order.
        source: the source's name.
        read: the scenarios of one file; may raise `DataError`.
    """
    for file in files:
        name = stem_of(file)
        try:
            for scenario in read(file):
                name = scenario.id
                yield admit(scenario)
        except DataError as error:
            yield Rejected(name, source, type(error).__name__, str(error))
