"""The source: one scenario per file, a recorded car being the ego."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roadworthy.scenario import HISTORY, Rejected, Scenario

from roadworthy_sources.commonroad.document import Document, read_document
from roadworthy_sources.commonroad.ego import choose_ego
from roadworthy_sources.commonroad.road_map import road_map_of, signals_of
from roadworthy_sources.commonroad.tracks import read_tracks
from roadworthy_sources.reading.files import each, find_files
from roadworthy_sources.reading.fitness import area_verdict, share_on_area
from roadworthy_sources.reading.tracks import Track, never_there, tracks_of

__all__ = ["CommonRoad", "read_scenario"]

SMOOTHING = 21
"""Samples (2.1 s) of the local quadratic fit for recorded traffic."""

_SHORT = 40


class CommonRoad:
    """CommonRoad XML files (`.xml`, `.xml.gz`), in the order of their names.

    The files have a planning problem but no drive of its ego; so a recorded car is the ego:
    of those seen nearly longest, the one that begins nearest to the planning problem's start.

    Args:
        path: a file, or a folder of files at any depth.
        limit: read at most this many files.

    Raises:
        DataError: nothing of the kind at `path`.
    """

    def __init__(self, path: str, limit: int | None = None) -> None:
        self._files = find_files(path, (".xml", ".xml.gz"), "a CommonRoad XML file", limit)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether `path` is a file that may be CommonRoad's; see `roadworthy.recognition`."""
        return path.is_file() and path.name.lower().endswith((".xml", ".xml.gz"))

    def __len__(self) -> int:
        return len(self._files)

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Admitted scenarios; a file that cannot be read is a `Rejected`."""
        return each(self._files, "commonroad", lambda path: [read_scenario(path)])


def read_scenario(path: Path) -> Scenario:
    """Read one file.

    Traffic counts as simulated where the file's tags or source say so; all other traffic is
    taken as recorded, and its positions are smoothed (`SMOOTHING`) before anything is derived
    from them.

    Raises:
        DataError: damaged, without a usable map, or without a car that is seen long enough.
    """
    document = read_document(path)
    simulated = is_simulated(document)
    road_map = road_map_of(document)
    tracks = read_tracks(document, 0 if simulated else SMOOTHING)
    ego = choose_ego(document, tracks, road_map)
    first, last = ego.first, ego.last
    others = [
        Track(t.id, t.kind, t.size, t.state[first:last], t.valid[first:last])
        for t in tracks
        if t is not ego.track
    ]
    notes = [
        *document.notes,
        *never_there(others),
        f"ego: the car {ego.track.id!r} of the traffic drives as the ego; where its axles are is "
        "assumed from its length.",
    ]
    if ego.touching:
        notes.append(f"ego: its logged box touches another's at {ego.touching} steps.")
    if not simulated:
        notes.append(
            f"ego, agents: positions and headings smoothed by local quadratic fits over "
            f"{0.1 * SMOOTHING:.1f} s, velocities and accelerations derived from the fits."
        )
    tags, sentences = area_verdict(share_on_area(road_map, ego.states, ego.vehicle))
    words = ["simulated_traffic" if simulated else "real", "commonroad", "ego_from_traffic", *tags]
    words.append(f"log:{_place(document.id)}")
    steps = last - first
    if steps - HISTORY < _SHORT:
        words.append("short")
    return Scenario(
        id=document.id,
        source="commonroad",
        map=road_map,
        ego=ego.states,
        agents=tracks_of(str(path), others, steps),
        route=ego.route,
        signals=signals_of(document, road_map, first, steps),
        start=HISTORY - 1,
        vehicle=ego.vehicle,
        tags=tuple(words),
        repairs=(*notes, *sentences),
    )


def _place(benchmark: str) -> str:
    """`USA_Lanker-2` of `USA_Lanker-2_10_T-1`: configurations of one place overlap in time."""
    parts = benchmark.split("_")
    return "_".join(parts[:2]) if len(parts) > 2 else benchmark


def is_simulated(document: Document) -> bool:
    """Whether the traffic comes from a simulator: by tag, or as the source says."""
    return "simulated" in document.tags or "SUMO" in document.source
