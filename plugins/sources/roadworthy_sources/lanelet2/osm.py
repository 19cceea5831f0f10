"""OSM XML: nodes in metres, ways, relations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_sources.reading.xmltree import attribute, number, read_xml

__all__ = ["Osm", "Relation", "Way", "local_metres", "read_osm"]

_MAX_NODES = 2_000_000
_EQUATOR = 6378137.0
_FLATTENING = 1.0 / 298.257223563


@dataclass(frozen=True, slots=True)
class Way:
    """A line: its nodes' names, and its tags."""

    nodes: tuple[str, ...]
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Relation:
    """Members as (type, role, reference), and tags."""

    members: tuple[tuple[str, str, str], ...]
    tags: dict[str, str]

    def refs(self, kind: str, role: str) -> list[str]:
        """References of the members of a type and role, in order."""
        return [ref for k, r, ref in self.members if k == kind and r == role]


@dataclass(frozen=True, eq=False)
class Osm:
    """One file. `nodes` maps a name to its row of `xy` [N, 2], metres east and north; `gaps` is
    how often ways refer to a node that is not there."""

    path: Path
    nodes: dict[str, int]
    xy: NDArray[np.float64]
    ways: dict[str, Way]
    relations: dict[str, Relation]
    gaps: int

    def line(self, way: Way) -> NDArray[np.float64]:
        """Points of a way [N, 2]; nodes that are not in the file are left out."""
        return self.xy[[self.nodes[n] for n in way.nodes if n in self.nodes]].reshape(-1, 2)


def local_metres(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    """East and north [N, 2] of latitudes and longitudes [N, 2], WGS 84, height 0.

    The tangent plane touches the ellipsoid in the middle of the points' extent.
    """
    middle = 0.5 * (degrees.min(axis=0) + degrees.max(axis=0))
    points, origin = _earth_centred(degrees), _earth_centred(middle[None])[0]
    lat, lon = np.deg2rad(middle)
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    return (points - origin) @ np.stack([east, north], axis=1)


def _earth_centred(degrees: NDArray[np.float64]) -> NDArray[np.float64]:
    lat, lon = np.deg2rad(degrees).T
    square = _FLATTENING * (2.0 - _FLATTENING)
    radius = _EQUATOR / np.sqrt(1.0 - square * np.sin(lat) ** 2)
    flat = radius * np.cos(lat)
    return np.stack(
        [flat * np.cos(lon), flat * np.sin(lon), radius * (1.0 - square) * np.sin(lat)], axis=1
    )


def _tags(element: Element) -> dict[str, str]:
    return {tag.get("k", ""): tag.get("v", "") for tag in element.findall("tag")}


def _named(path: Path, root: Element, kind: str) -> dict[str, Element]:
    """Elements of a kind by id; those that the editor marked as deleted are left out."""
    found: dict[str, Element] = {}
    for element in root.findall(kind):
        if element.get("action") == "delete":
            continue
        name = attribute(path, element, "id", kind)
        if name in found:
            raise DataError(f"{path}: two {kind}s have the id {name!r}", hint="Make ids unique.")
        found[name] = element
    return found


def read_osm(path: Path) -> Osm:
    """Parse a file.

    Positions are the tags `local_x` and `local_y` where every node of a way has them (maps made
    with Autoware's tools, whose latitudes may be rounded, the same for all, or missing), else
    latitude and longitude.

    Raises:
        DataError: no OSM XML, duplicate ids, or values that are no numbers.
    """
    root = read_xml(path, "osm")
    nodes = _named(path, root, "node")
    if not 1 < len(nodes) <= _MAX_NODES:
        raise DataError(f"{path}: {len(nodes)} nodes", hint=f"Wanted: 2 to {_MAX_NODES}.")
    tags = [_tags(element) for element in nodes.values()]
    local = {n for n, t in zip(nodes, tags, strict=True) if "local_x" in t and "local_y" in t}
    used = {nd.get("ref", "") for way in root.findall("way") for nd in way.findall("nd")}
    if len(local) > 1 and used & nodes.keys() <= local:
        tags = [t for n, t in zip(nodes, tags, strict=True) if n in local]
        nodes = {n: element for n, element in nodes.items() if n in local}
        xy = np.array(
            [[number(path, t[k], f"node {name}: {k}") for k in ("local_x", "local_y")]
             for name, t in zip(nodes, tags, strict=True)]
        )  # fmt: skip
    else:
        degrees = np.array(
            [[number(path, e.get(k), f"node {name}: {k}") for k in ("lat", "lon")]
             for name, e in nodes.items()]
        )  # fmt: skip
        wrong = np.flatnonzero((np.abs(degrees) > [90.0, 180.0]).any(axis=1))
        if len(wrong):
            raise DataError(
                f"{path}: node {list(nodes)[wrong[0]]}: lat, lon are {degrees[wrong[0]].tolist()}",
                hint="Latitudes lie in [-90, 90], longitudes in [-180, 180].",
            )
        xy = local_metres(degrees)
    ways = {
        name: Way(tuple(nd.get("ref", "") for nd in element.findall("nd")), _tags(element))
        for name, element in _named(path, root, "way").items()
    }
    relations = {
        name: Relation(
            tuple(
                (m.get("type", ""), m.get("role", ""), m.get("ref", ""))
                for m in element.findall("member")
            ),
            _tags(element),
        )
        for name, element in _named(path, root, "relation").items()
    }
    gaps = sum(node not in nodes for way in ways.values() for node in way.nodes)
    return Osm(path, {name: i for i, name in enumerate(nodes)}, xy, ways, relations, gaps)
