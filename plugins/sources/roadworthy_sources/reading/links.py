"""Lane graphs out of geometry, for maps that hold none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray
from roadworthy.scenario import LaneKind

from roadworthy_sources.reading.drafts import LaneDraft
from roadworthy_sources.reading.lines import length_of

__all__ = ["link_ends", "link_sides", "mark_crossings"]

_REACH = 0.6
_TURN = 0.7
_NARROWEST, _WIDEST = 2.0, 5.0
_PARALLEL = 0.35
_SHARE = 0.6
_PROBES = 7


def _headings(line: NDArray[np.float64]) -> tuple[float, float]:
    """Headings of the first and the last metre or so of a line."""
    step = np.diff(line, axis=0)
    arc = np.cumsum(np.hypot(*step.T))
    near, far = int(np.searchsorted(arc, 1.0)), int(np.searchsorted(arc, arc[-1] - 1.0))
    first = line[min(near + 1, len(line) - 1)] - line[0]
    last = line[-1] - line[min(far, len(line) - 2)]
    return float(np.arctan2(first[1], first[0])), float(np.arctan2(last[1], last[0]))


def _turn(a: float, b: float) -> float:
    return abs((a - b + np.pi) % (2.0 * np.pi) - np.pi)


def link_ends(lanes: Sequence[LaneDraft]) -> int:
    """Make each lane that begins where another ends, in its direction, its successor.

    Ends count as one where they are at most 0.6 m apart and turn by less than 40 degrees.

    Returns:
        How many links were made.
    """
    tree = shapely.STRtree([shapely.points(lane.centreline[0]) for lane in lanes])
    headings = [_headings(lane.centreline) for lane in lanes]
    ends = [shapely.points(lane.centreline[-1]) for lane in lanes]
    made = 0
    for i, j in sorted(zip(*tree.query(ends, "dwithin", _REACH).tolist(), strict=True)):
        bike = (lanes[i].kind == LaneKind.BIKE) != (lanes[j].kind == LaneKind.BIKE)
        if i != j and not bike and _turn(headings[i][1], headings[j][0]) < _TURN:
            lanes[i].successors.append(lanes[j].id)
            made += 1
    return made


def link_sides(lanes: Sequence[LaneDraft], solid: Sequence[NDArray[np.float64]] = ()) -> int:
    """Make lanes that run side by side each other's neighbours.

    Both run the same way, are no connectors, and most of the one lies 2 to 5 m beside the
    other with no solid line between.

    Args:
        lanes: the drafts; their `left` and `right` are set.
        solid: lines [N, 2] that may not be crossed.

    Returns:
        How many lanes got a neighbour.
    """
    plain = [lane for lane in lanes if lane.kind == LaneKind.LANE]
    if not plain:
        return 0
    lines = [shapely.linestrings(lane.centreline) for lane in plain]
    tree = shapely.STRtree(lines)
    walls = shapely.STRtree([shapely.linestrings(line) for line in solid if len(line) > 1])
    found = 0
    for lane, line in zip(plain, lines, strict=True):
        at = np.linspace(0.15, 0.85, _PROBES)
        here = shapely.get_coordinates(shapely.line_interpolate_point(line, at, normalized=True))
        next_ = shapely.get_coordinates(
            shapely.line_interpolate_point(line, np.minimum(at + 0.02, 1.0), normalized=True)
        )
        ahead = next_ - here
        ahead /= np.maximum(np.hypot(*ahead.T), 1e-9)[:, None]
        best: dict[str, tuple[float, str]] = {}
        for j in sorted(tree.query(line, "dwithin", _WIDEST).tolist()):
            if plain[j] is lane or length_of(plain[j].centreline) < 1.0:
                continue
            side = _side(here, ahead, lines[j], walls)
            if side and (side[0] not in best or side[1] < best[side[0]][0]):
                best[side[0]] = (side[1], plain[j].id)
        lane.left = best["left"][1] if "left" in best else None
        lane.right = best["right"][1] if "right" in best else None
        found += bool(best)
    return found


def mark_crossings(lanes: Sequence[LaneDraft]) -> None:
    """Make lanes for cars whose centrelines cross another's connectors."""
    cars = [lane for lane in lanes if lane.kind != LaneKind.BIKE]
    if not cars:
        return
    lines = [shapely.linestrings(lane.centreline) for lane in cars]
    tree = shapely.STRtree(lines)
    for i in np.unique(tree.query(lines, "crosses")[0]).tolist():
        cars[i].kind = LaneKind.CONNECTOR


def _side(
    here: NDArray[np.float64],
    ahead: NDArray[np.float64],
    other: shapely.LineString,
    walls: shapely.STRtree,
) -> tuple[str, float] | None:
    """On which side of some points another line runs along, and how far off."""
    points = shapely.points(here)
    share = shapely.line_locate_point(other, points, normalized=True)
    there = shapely.get_coordinates(shapely.line_interpolate_point(other, share, normalized=True))
    beyond = shapely.get_coordinates(
        shapely.line_interpolate_point(other, np.minimum(share + 0.02, 1.0), normalized=True)
    )
    along = beyond - there
    along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
    apart = there - here
    left = ahead[:, 0] * apart[:, 1] - ahead[:, 1] * apart[:, 0]
    same = (ahead * along).sum(axis=1) > np.cos(_PARALLEL)
    beside = (np.abs((ahead * apart).sum(axis=1)) < 1.0) & same
    beside &= (np.abs(left) > _NARROWEST) & (np.abs(left) < _WIDEST)
    if beside.mean() < _SHARE:
        return None
    if len(walls.geometries):
        rungs = shapely.linestrings(np.stack([here[beside], there[beside]], axis=1))
        crossed = np.unique(walls.query(rungs, "intersects")[0])
        if len(crossed) > 0.5 * len(rungs):
            return None
    offset = float(np.median(left[beside]))
    return ("left" if offset > 0.0 else "right"), abs(offset)
