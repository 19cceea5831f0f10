"""Draws replays with Pillow: one moment as a picture, or all of them for a film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from roadworthy.replay import Replay
from roadworthy.report.reasons import Reason
from roadworthy.scenario import AgentKind, AreaKind, LaneKind, RoadMap, SignalState
from roadworthy.vehicle import EgoIndex, VehicleIndex

__all__ = ["Pane", "draw_step", "film"]

_SMOOTH = 2
_GROUND, _ROAD, _EDGE, _CROSSWALK, _INK = "#f4f3f0", "#dddcd6", "#b9b8b0", "#c6c4b2", "#20242a"
_LOG, _PLAN, _OUTLINE, _EVENT = "#6c737b", "#8a2a86", "#3a4047", "#c8201a"
_SERIES = ("#0b5cad", "#c25400", "#00795a", "#8e3a80", "#6b6300", "#006f94", "#9a2f2f", "#4f5a66")
_AGENTS = {
    AgentKind.VEHICLE: "#aab4bf",
    AgentKind.PEDESTRIAN: "#e6a23c",
    AgentKind.BICYCLE: "#7fb069",
}
_OBJECT = "#b39274"
_SIGNALS = {SignalState.GREEN: "#1f9d4d", SignalState.YELLOW: "#e0a400", SignalState.RED: "#d3261c"}

_Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Pane:
    """One planner's drive.

    Attributes:
        title: written above it.
        replay: what happened.
        road_map: where.
        events: steps at which something went wrong.
        reasons: what went wrong, or nearly.
    """

    title: str
    replay: Replay
    road_map: RoadMap
    events: tuple[int, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def steps(self) -> int:
        """The last step."""
        return len(self.replay.ego) - 1

    def speed(self, step: int) -> float:
        """Of the ego [m/s]; after the end, its last one."""
        return float(self.replay.ego[min(step, self.steps), EgoIndex.VX])


def film(panes: Sequence[Pane], every: int = 1, height: int = 480) -> Iterator[Image.Image]:
    """The pictures of all steps, `every` steps apart, the last one included."""
    last = max(pane.steps for pane in panes)
    for step in [*range(0, last, every), last]:
        yield draw_step(panes, step, height)


def draw_step(
    panes: Sequence[Pane], step: int, height: int = 480, captions: bool = True
) -> Image.Image:
    """The panes side by side at one step; a drive that has ended stays at its end."""
    width = round(height * (1.5 if len(panes) == 1 else 1.0))
    whole = Image.new("RGB", (width * len(panes), height), _GROUND)
    for i, pane in enumerate(panes):
        picture = _draw(pane, min(step, pane.steps), (width, height), i)
        if captions:
            _write_caption(picture, pane, min(step, pane.steps))
        whole.paste(picture, (width * i, 0))
        if i:
            ImageDraw.Draw(whole).line((width * i, 0, width * i, height), fill=_EDGE)
    return whole


def _draw(pane: Pane, step: int, size: tuple[int, int], series: int) -> Image.Image:
    width, height = size[0] * _SMOOTH, size[1] * _SMOOTH
    image = Image.new("RGB", (width, height), _GROUND)
    pen = _Pen(image, pane, step)
    replay = pane.replay
    _draw_map(pen, pane.road_map)
    _draw_signals(pen, pane, step)
    pen.line(replay.ego_log[:, :2], _LOG, 1.5)
    colour = _SERIES[series % len(_SERIES)]
    pen.line(replay.ego[: step + 1, :2], colour, 2.5)
    for a in np.flatnonzero(replay.agents_valid[:, step]):
        kind = AgentKind(int(replay.agents_kind[a]))
        corners = _box(replay.agents[a, step, :3], *replay.agents_size[a, :2])
        pen.polygon(corners, _AGENTS.get(kind, _OBJECT), _OUTLINE)
    made = np.flatnonzero(replay.plan_step <= step)
    if len(made):
        plan = replay.plan_poses[made[-1]]
        start = replay.ego[replay.plan_step[made[-1]]]
        pen.line(np.vstack([start[None, :2], _to_world(plan[:, :2], start)]), _PLAN, 2.0)
    pen.polygon(_ego_box(replay, step), colour, _OUTLINE)
    for event in pane.events:
        if 0 <= event <= step:
            pen.ring(replay.ego[min(event, pane.steps), :2], 3.2, _EVENT)
    return image.resize(size, Image.Resampling.LANCZOS)


def _write_caption(image: Image.Image, pane: Pane, step: int) -> None:
    text = ImageDraw.Draw(image)
    text.text((10, 8), pane.title, fill=_INK, font_size=14)
    text.text((10, 26), f"{step / 10:.1f} s   {pane.speed(step):.1f} m/s", fill=_LOG, font_size=12)


class _Pen:
    """Draws world positions around the ego, which starts off to the right."""

    _ACROSS = 60.0

    def __init__(self, image: Image.Image, pane: Pane, step: int) -> None:
        self._draw = ImageDraw.Draw(image)
        width, height = image.size
        first, now = pane.replay.ego[0], pane.replay.ego[step]
        yaw, heading = first[EgoIndex.YAW], now[EgoIndex.YAW]
        self._scale = min(width, height) / self._ACROSS
        ahead = 0.2 * self._ACROSS
        self._centre = now[:2] + ahead * np.array([np.cos(heading), np.sin(heading)])
        cos, sin = np.cos(yaw), np.sin(yaw)
        self._turn = np.array([[cos, sin], [sin, -cos]])  # turned, and y downwards
        self._middle = np.array([width / 2, height / 2])
        self._reach = np.hypot(width, height) / self._scale

    def near(self, points: _Points) -> bool:
        """Whether any of the points may be in the picture."""
        low, high = points.min(axis=0), points.max(axis=0)
        centre, reach = self._centre, self._reach
        return bool(((low < centre + reach) & (high > centre - reach)).all())

    def polygon(self, points: _Points, fill: str | None, outline: str | None = None) -> None:
        if len(points) > 2 and self.near(points):
            self._draw.polygon(self._pixels(points), fill=fill, outline=outline, width=_SMOOTH)

    def line(self, points: _Points, colour: str, width: float) -> None:
        if len(points) > 1 and self.near(points):
            pixels = self._pixels(points)
            self._draw.line(pixels, fill=colour, width=round(width * _SMOOTH), joint="curve")

    def ring(self, centre: _Points, radius: float, colour: str) -> None:
        [(x, y)] = self._pixels(centre[None])
        r = radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=2 * _SMOOTH)

    def _pixels(self, points: _Points) -> list[tuple[float, float]]:
        moved = (points - self._centre) @ self._turn.T * self._scale + self._middle
        return [(float(x), float(y)) for x, y in moved]


def _draw_map(pen: _Pen, road_map: RoadMap) -> None:
    crosswalks = []
    for kind, ring in zip(road_map.area_kind, road_map.area_polygon, strict=True):
        if kind == AreaKind.CROSSWALK:
            crosswalks.append(ring)
        else:
            pen.polygon(ring, _ROAD)
    lanes = list(zip(road_map.lane_kind, road_map.lane_polygon, strict=True))
    for _, ring in lanes:
        pen.polygon(ring, _ROAD)
    for ring in crosswalks:
        pen.polygon(ring, _CROSSWALK)
    for kind, ring in lanes:
        if kind != LaneKind.CONNECTOR:
            pen.polygon(ring, None, _EDGE)
    for ends in road_map.stop_line:
        pen.line(ends, _EDGE, 2.0)


def _draw_signals(pen: _Pen, pane: Pane, step: int) -> None:
    centres = pane.road_map.lane_centreline
    for lane, states in zip(pane.replay.signal_lane, pane.replay.signals, strict=True):
        colour = _SIGNALS.get(SignalState(int(states[step])))
        if colour is not None:
            start = np.asarray(centres[int(lane)][0, :3], np.float64)
            pen.line(_to_world(np.array([[0.0, -1.75], [0.0, 1.75]]), start), colour, 3.0)


def _ego_box(replay: Replay, step: int) -> _Points:
    front, rear = replay.vehicle[VehicleIndex.FRONT], replay.vehicle[VehicleIndex.REAR]
    pose = replay.ego[step, :3].copy()
    middle = 0.5 * (front - rear)
    pose[:2] += middle * np.array([np.cos(pose[2]), np.sin(pose[2])])
    return _box(pose, front + rear, replay.vehicle[VehicleIndex.WIDTH])


def _box(pose: NDArray[np.floating], length: float, width: float) -> _Points:
    """Corners, with a nose that shows the heading."""
    x, y = 0.5 * length, 0.5 * width
    nose = min(0.35 * width, 0.2 * length)
    shape = np.array([[x - nose, y], [x, 0.0], [x - nose, -y], [-x, -y], [-x, y]])
    return _to_world(shape, np.asarray(pose, np.float64))


def _to_world(points: _Points, pose: _Points) -> _Points:
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    turned: _Points = points @ np.array([[cos, sin], [-sin, cos]])
    return turned + pose[:2]
