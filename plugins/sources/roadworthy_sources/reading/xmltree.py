"""XML within bounds: no document types, so no entities, no external files."""

from __future__ import annotations

import codecs
import math
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from xml.etree.ElementTree import Element

from roadworthy.errors import DataError

from roadworthy_sources.reading.files import AGAIN, read_bytes

__all__ = ["attribute", "number", "read_xml", "text_number", "unread", "word"]

MAX_BYTES = 256 * 2**20
MAX_ELEMENTS = 4_000_000
FARTHEST = 1e8
"""Larger numbers are in no map or log in metres, radians or seconds."""

_LATIN = re.compile(rb"""encoding\s*=\s*["'](iso-8859-1|iso-8859-15|windows-1252)["']""", re.I)


def read_xml(path: Path, root: str) -> Element:
    """The root element of an XML file (`.gz` is unpacked).

    The text is taken as UTF-8 (or UTF-16 where it begins with that mark, or Latin-1 where the
    file says so), so a document type declaration can only be spelt in one way, and any file
    that has one is refused: that leaves no entities to expand.

    Args:
        path: the file.
        root: name that the root element must have, in any XML namespace.

    Raises:
        DataError: too large, damaged, with a document type, or of another root.
    """
    data = read_bytes(path, MAX_BYTES)
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            data = data.decode("utf-16").encode()
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if not _LATIN.search(data[:200]):
            raise DataError(f"{path}: not UTF-8 text: {error.reason}", hint=AGAIN) from error
        data = data.decode("cp1252", "replace").encode()
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(
            f"{path}: declares a document type",
            hint="Files with entities are not read: remove the <!DOCTYPE ...>.",
        )
    if data.count(b"<") > 2 * MAX_ELEMENTS:
        raise DataError(f"{path}: more than {MAX_ELEMENTS} elements", hint="Split the file.")
    parser = ElementTree.XMLParser(encoding="utf-8")
    try:
        parser.feed(data)
        found = parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{path}: not readable XML: {error}", hint=AGAIN) from error
    if isinstance(found, Element) and found.tag.startswith("{"):
        _forget_namespaces(found)
    if not isinstance(found, Element) or found.tag != root:
        name = getattr(found, "tag", "nothing")
        raise DataError(f"{path}: its root element is <{name[:40]}>", hint=f"Wanted: <{root}>.")
    return found


def _forget_namespaces(root: Element) -> None:
    """Call elements by their local names: some tools write `xmlns="http://www.opendrive.org"`,
    others nothing."""
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]


def number(path: Path, text: str | None, where: str, most: float = FARTHEST) -> float:
    """A number out of text, below 1e8 unless told otherwise.

    Raises:
        DataError: naming file, place and text.
    """
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) < most:
        raise DataError(
            f"{path}: {where} is {(text or '')[:40]!r}",
            hint=f"Wanted: a number below {most:.0e}.",
        )
    return value


def text_number(path: Path, element: Element, name: str, where: str) -> float:
    """The number that the child `name` holds.

    Raises:
        DataError: no such child, or no number in it.
    """
    return number(path, element.findtext(name), f"{where}.{name}")


def word(element: Element | None, name: str, default: str = "") -> str:
    """The text that the child `name` holds, without blanks around it."""
    text = None if element is None else element.findtext(name)
    return default if text is None else text.strip()


def attribute(path: Path, element: Element, name: str, where: str) -> str:
    """An attribute that must be there.

    Raises:
        DataError: missing or empty.
    """
    value = element.get(name)
    if not value or len(value) > 200 or not value.isprintable():
        raise DataError(
            f"{path}: {where}: attribute {name!r} is {(value or 'missing')[:40]!r}",
            hint="Wanted: 1 to 200 printable characters.",
        )
    return value


def unread(elements: Iterable[Element], known: Collection[str], where: str) -> list[str]:
    """Sentences on those of some elements whose names a reader does not know.

    Args:
        elements: any.
        known: names of those that are read, or that say nothing a scene could hold.
        where: "map", "agents" or the like.
    """
    found = Counter(element.tag for element in elements if element.tag not in known)
    return [f"{where}: {count} <{tag[:40]}> not read." for tag, count in sorted(found.items())]
