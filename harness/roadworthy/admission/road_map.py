"""Checks and repairs of the road map."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from roadworthy.admission.checks import FARTHEST, Report, frozen_copy
from roadworthy.rings import polygon_of, rings_of
from roadworthy.scenario import AreaKind, LaneKind, Ragged, RoadMap

__all__ = ["AdmittedMap", "admit_map"]

_MAX_LANES = 100_000
_SAME_POINT = 1e-6


@dataclass(frozen=True, eq=False)
class AdmittedMap:
    """A map that passed.

    Attributes:
        map: the admitted map.
        lane_now: int64 [lanes as given], index of each lane in `map`, -1 where dropped.
        repairs: sentences.
        surface: spatial index of all lane and area polygons except crosswalks.
    """

    map: RoadMap
    lane_now: NDArray[np.int64]
    repairs: tuple[str, ...]
    surface: shapely.STRtree


@dataclass(frozen=True, eq=False)
class _Entry:
    """What is remembered of a map; `map` is None where the key itself is the admitted map,
    so that remembering does not keep it alive."""

    map: RoadMap | None
    lane_now: NDArray[np.int64]
    repairs: tuple[str, ...]
    surface: shapely.STRtree


_seen: weakref.WeakKeyDictionary[RoadMap, _Entry] = weakref.WeakKeyDictionary()


def admit_map(road_map: Any, report: Report) -> AdmittedMap:
    """Validate and repair a map, once per object.

    Raises:
        ScenarioError: a field has a wrong shape, type, value or index.
    """
    if not isinstance(road_map, RoadMap):
        raise report.error("map", None, type(road_map).__name__, "Give a roadworthy.RoadMap.")
    entry = _seen.get(road_map)
    if entry is None:
        own = Report(report.scenario)
        fresh, lane_now = _admit(road_map, own)
        if _is_frozen(road_map) and road_map.hash == fresh.hash:
            fresh = road_map
        surface = _surface(fresh)
        entry = _Entry(fresh, lane_now, tuple(own.repairs), surface)
        _seen[road_map] = entry
        _seen[fresh] = _Entry(None, np.arange(len(fresh.lane_id)), (), surface)
    for sentence in entry.repairs:
        report.note(sentence)
    return AdmittedMap(entry.map or road_map, entry.lane_now, entry.repairs, entry.surface)


def _is_frozen(road_map: RoadMap) -> bool:
    """Whether no array of a map can be written to."""
    arrays: list[Any] = []
    for field in fields(road_map):
        part = getattr(road_map, field.name)
        arrays += [part.values, part.offsets] if isinstance(part, Ragged) else [part]
    return not any(isinstance(a, np.ndarray) and a.flags.writeable for a in arrays)


def _surface(road_map: RoadMap) -> shapely.STRtree:
    rings = list(road_map.lane_polygon)
    kinds = road_map.area_kind != AreaKind.CROSSWALK
    rings += [ring for ring, keep in zip(road_map.area_polygon, kinds, strict=True) if keep]
    return shapely.STRtree([shapely.polygons(ring) for ring in rings])


def _admit(road_map: RoadMap, report: Report) -> tuple[RoadMap, NDArray[np.int64]]:
    count = _check_lane_ids(road_map.lane_id, report)
    kind = _kinds(road_map.lane_kind, "map.lane_kind", count, LaneKind, report)
    limit = frozen_copy(
        road_map.lane_speed_limit, np.float64, "map.lane_speed_limit", (count,), report
    )
    wrong = ~np.isnan(limit) & ~((limit > 0.0) & (limit < 100.0))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise report.error(
            "map.lane_speed_limit", at, limit[at], "Give m/s in (0, 100), NaN where unknown."
        )
    centrelines = _rows(road_map.lane_centreline, "map.lane_centreline", count, 3, report)
    polygons = _rows(road_map.lane_polygon, "map.lane_polygon", count, 2, report)
    successors = _successors(road_map.lane_successors, count, report)
    left = _neighbours(road_map.lane_left, "map.lane_left", count, report)
    right = _neighbours(road_map.lane_right, "map.lane_right", count, report)

    reasons: dict[int, str] = {}
    for i in range(count):
        centrelines[i], reason = _mended_line(centrelines[i], i, report)
        if not reason:
            polygons[i], reason = _mended_lane_polygon(polygons[i], i, report)
        if reason:
            reasons[i] = reason
    for i, reason in reasons.items():
        report.note(f"map.lane {road_map.lane_id[i]!r} dropped: {reason}.")
    keep = [i for i in range(count) if i not in reasons]
    now = np.full(count, -1, np.int64)
    now[keep] = np.arange(len(keep))

    area_kind, area_polygon = _admit_areas(road_map, report)
    stop_line, stop_lane = _admit_stop_lines(road_map, now, report)
    sides = [np.where(side >= 0, now[side], -1)[keep] for side in (left, right)]
    fresh = RoadMap(
        lane_id=tuple(road_map.lane_id[i] for i in keep),
        lane_kind=_frozen(kind[keep]),
        lane_centreline=_frozen_rows([centrelines[i] for i in keep], 3),
        lane_polygon=_frozen_rows([polygons[i] for i in keep], 2),
        lane_speed_limit=_frozen(limit[keep]),
        lane_successors=_frozen_rows(
            [[now[j] for j in successors[i] if now[j] >= 0] for i in keep], None, np.int64
        ),
        lane_left=_frozen(sides[0]),
        lane_right=_frozen(sides[1]),
        area_kind=area_kind,
        area_polygon=area_polygon,
        stop_line=stop_line,
        stop_line_lane=stop_lane,
    )
    return fresh, now


def _check_lane_ids(ids: Any, report: Report) -> int:
    if not isinstance(ids, tuple) or not all(isinstance(name, str) for name in ids):
        raise report.error("map.lane_id", None, type(ids).__name__, "Give a tuple of strings.")
    if not 0 < len(ids) <= _MAX_LANES:
        raise report.error("map.lane_id", None, f"{len(ids)} lanes", f"Give 1 to {_MAX_LANES}.")
    first: dict[str, int] = {}
    for i, name in enumerate(ids):
        if first.setdefault(name, i) != i:
            raise report.error(
                "map.lane_id", i, repr(name), f"Lane {first[name]} has that id too: make it unique."
            )
    return len(ids)


def _kinds(value: Any, name: str, count: int | None, kinds: Any, report: Report) -> NDArray[Any]:
    out = frozen_copy(value, np.int8, name, (count,), report)
    wrong = (out < 0) | (out > max(kinds))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        words = ", ".join(f"{kind:d} {kind.name}" for kind in kinds)
        raise report.error(name, at, int(out[at]), f"Kinds are {words}.")
    return out


def _rows(
    value: Any, name: str, count: int | None, width: int | None, report: Report, dtype: Any = float
) -> list[NDArray[Any]]:
    """Rows of a `Ragged`, its offsets checked."""
    if not isinstance(value, Ragged):
        raise report.error(name, None, type(value).__name__, "Give a roadworthy.Ragged.")
    shape = (None,) if width is None else (None, width)
    values = frozen_copy(value.values, dtype, f"{name}.values", shape, report)
    offsets = frozen_copy(value.offsets, np.int64, f"{name}.offsets", (None,), report)
    if count is not None and len(offsets) != count + 1:
        raise report.error(name, None, f"{len(offsets) - 1} rows", f"Give {count}, one per lane.")
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(values):
        raise report.error(
            f"{name}.offsets", None, "not spanning the values", f"Run from 0 to {len(values)}."
        )
    if (np.diff(offsets) < 0).any():
        at = int(np.flatnonzero(np.diff(offsets) < 0)[0]) + 1
        raise report.error(f"{name}.offsets", at, int(offsets[at]), "Offsets must not decrease.")
    return [values[a:b] for a, b in itertools.pairwise(offsets)]


def _successors(value: Any, count: int, report: Report) -> list[list[int]]:
    rows = _rows(value, "map.lane_successors", count, None, report, np.int64)
    out = []
    for i, row in enumerate(rows):
        for j in row:
            if not 0 <= j < count:
                raise report.error(
                    "map.lane_successors", i, int(j), f"Lane indices run from 0 to {count - 1}."
                )
        out.append(list(dict.fromkeys(int(j) for j in row)))
    return out


def _neighbours(value: Any, name: str, count: int, report: Report) -> NDArray[np.int64]:
    out = frozen_copy(value, np.int64, name, (count,), report)
    wrong = (out < -1) | (out >= count) | (out == np.arange(count))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise report.error(
            name,
            at,
            int(out[at]),
            f"Give another lane's index, 0 to {count - 1}, or -1 for none.",
        )
    return out


def _distinct(points: NDArray[np.float64]) -> NDArray[np.float64]:
    step = np.hypot(*np.diff(points[:, :2], axis=0).T)
    kept: NDArray[np.float64] = points[np.concatenate([[True], step > _SAME_POINT])]
    return kept


def _mended_line(
    line: NDArray[np.float64], lane: int, report: Report
) -> tuple[NDArray[np.float64], str]:
    """A centreline without repeated points, and why the lane must go, if it must."""
    bad = ~(np.abs(line) < FARTHEST).all(axis=1)
    if bad.any():
        return line, f"its centreline point {int(np.flatnonzero(bad)[0])} is not finite, or too far"
    if len(line) < 2:
        return line, f"its centreline has {len(line)} points"
    kept = _distinct(line)
    if len(kept) < 2:
        return line, "its centreline has no length"
    if len(kept) < len(line):
        report.note(
            f"map.lane_centreline[{lane}]: {len(line) - len(kept)} consecutive duplicate points "
            "removed."
        )
    return kept, ""


def _mended_ring(ring: NDArray[np.float64]) -> tuple[list[NDArray[np.float64]], str]:
    """Simple rings for one ring, and what was done in words ("" for nothing)."""
    kept = _distinct(ring) if len(ring) > 1 else ring
    if len(kept) > 1 and np.hypot(*(kept[0] - kept[-1])) <= _SAME_POINT:
        kept = kept[:-1]
    if len(kept) < 3:
        return [], f"it has {len(kept)} distinct points"
    polygon = shapely.polygons(kept)
    if polygon.is_valid and polygon.area > 0.0:
        return [kept], "" if len(kept) == len(ring) else "repeated points were removed"
    rings = rings_of(polygon_of(kept))
    rings.sort(key=lambda r: -shapely.polygons(r).area)
    return rings, "it crossed itself" if rings else "it has no area"


def _mended_lane_polygon(
    ring: NDArray[np.float64], lane: int, report: Report
) -> tuple[NDArray[np.float64], str]:
    bad = ~(np.abs(ring) < FARTHEST).all(axis=1)
    if bad.any():
        return ring, f"its polygon point {int(np.flatnonzero(bad)[0])} is not finite, or too far"
    rings, what = _mended_ring(ring)
    if not rings:
        return ring, f"of its polygon: {what}"
    if what:
        parts = "" if len(rings) == 1 else f" and the largest of {len(rings)} parts was kept"
        report.note(f"map.lane_polygon[{lane}]: {what}{parts}.")
    return rings[0], ""


def _admit_areas(road_map: RoadMap, report: Report) -> tuple[NDArray[np.int8], Ragged]:
    kind = _kinds(road_map.area_kind, "map.area_kind", None, AreaKind, report)
    rows = _rows(road_map.area_polygon, "map.area_polygon", None, 2, report)
    if len(rows) != len(kind):
        raise report.error(
            "map.area_polygon", None, f"{len(rows)} rows", f"Give {len(kind)}, one per area_kind."
        )
    kinds: list[int] = []
    rings: list[NDArray[np.float64]] = []
    for i, row in enumerate(rows):
        if not (np.abs(row) < FARTHEST).all():
            report.note(f"map.area_polygon[{i}] dropped: it has points not finite, or too far.")
            continue
        parts, what = _mended_ring(row)
        if not parts:
            report.note(f"map.area_polygon[{i}] dropped: {what}.")
        elif what:
            split = "" if len(parts) == 1 else f" and is now {len(parts)} polygons"
            report.note(f"map.area_polygon[{i}]: {what}{split}.")
        rings += parts
        kinds += [int(kind[i])] * len(parts)
    return _frozen(np.array(kinds, np.int8)), _frozen_rows(rings, 2)


def _admit_stop_lines(
    road_map: RoadMap, now: NDArray[np.int64], report: Report
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    lane = frozen_copy(road_map.stop_line_lane, np.int64, "map.stop_line_lane", (None,), report)
    line = frozen_copy(road_map.stop_line, np.float64, "map.stop_line", (len(lane), 2, 2), report)
    report.check_indices(lane, len(now), "map.stop_line_lane", "lanes of the map")
    report.check_finite(line, "map.stop_line")
    kept = now[lane] >= 0
    if not kept.all():
        report.note(f"map.stop_line: {int((~kept).sum())} dropped with their lanes.")
    return _frozen(line[kept]), _frozen(now[lane][kept])


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    out = np.ascontiguousarray(array)
    out.flags.writeable = False
    return out


def _frozen_rows(rows: Sequence[Any], width: int | None, dtype: Any = np.float64) -> Ragged:
    out = Ragged.of(rows, width, dtype)
    out.values.flags.writeable = False
    out.offsets.flags.writeable = False
    return out
