"""Attacks: who could get into the ego's way, and roughly how. Sampling makes it real.

Each kind looks for occasions that the map and the traffic give, and proposes a motion for one
agent, there already or put in, that meets the ego's drive at a given step. `severity` from 0 to 1
says how exactly it meets: at 0 it misses by a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind, Scenario, SignalState

from roadworthy_generators.behaviour.kinematics import STEPS
from roadworthy_generators.behaviour.roads import Path, Roads, roads_of
from roadworthy_generators.behaviour.scene import HISTORY_STEPS, Body

__all__ = ["KINDS", "Attack", "Newcomer", "Stage", "needed_s", "occasions"]

Array = NDArray[np.float64]

PAST = max(HISTORY_STEPS)
_CAR = (4.6, 1.88, 1.6)
_VAN = (5.4, 2.0, 2.2)
_WALKER = (0.6, 0.6, 1.75)
_SOONEST, _LATEST = 20, 52
_SLOWEST_EGO = 3.0
_LATERAL = 2.5
_KEEPS_OFF = 15
_STOPS_MPS2 = 6.0
_AGAIN = 4
_PASSES = 3
_MISS_S = 2.6
_STARTS = 0.4
_START_S = 1.6


@dataclass(frozen=True, eq=False)
class Newcomer:
    """Someone put in: [PAST + STEPS + 1, 4] x, y, yaw, speed over past and future."""

    kind: AgentKind
    size: tuple[float, float, float]
    states: Array
    still: bool = False


@dataclass(frozen=True, eq=False)
class Attack:
    """A proposal.

    Attributes:
        kind: of `KINDS`, or what it turned out to be, such as "red_light".
        agent: row in the bodies, or -1 for the first newcomer.
        newcomers: who is put in.
        path: [STEPS + 1, 4] x, y, yaw, speed of the adversary.
        at: the step at which it meets the ego.
        wish: the speed that it wants to keep [m/s].
        freedom: share of the noise that sampling begins with; the rest is the proposal.
        told: for the lineage.
    """

    kind: str
    agent: int
    newcomers: tuple[Newcomer, ...]
    path: Array
    at: int
    wish: float
    freedom: float
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Stage:
    """Where attacks take place.

    Attributes:
        scenario: the parent; now: its step at which the variant begins.
        body: everyone; future: [A, STEPS + 1, 4] as logged.
        drive: [STEPS + 1, 4] of the ego's box centre, which attacks aim at.
        rng: draws.
        severity: 0 to 1.
    """

    scenario: Scenario
    now: int
    body: Body
    future: Array
    drive: Array
    rng: np.random.Generator
    severity: float

    @property
    def roads(self) -> Roads:
        return roads_of(self.scenario.map)

    @property
    def front(self) -> float:
        """The ego's box centre to its front [m]."""
        return 0.5 * self.scenario.vehicle.length

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def pick(self, count: int) -> int:
        return int(self.rng.integers(count))

    def miss(self) -> float:
        """By how much it comes too late or too early [s]: up to 2.6 s, and of a share `severity`
        of attacks not at all, so that every step of the dial makes some of them meet."""
        side = 1.0 if self.rng.random() < 0.5 else -1.0
        late = side * _MISS_S * float(np.sqrt(max(0.0, self.rng.random() - self.severity)))
        return late + self.uniform(-0.2, 0.2)

    def moments(self) -> NDArray[np.int64]:
        """Steps at which the ego drives, and before which there is time to react and to stop."""
        steps = np.arange(_SOONEST, _LATEST)
        speed = self.drive[steps, 3]
        return steps[(speed > _SLOWEST_EGO) & (steps * DT > needed_s(speed))]

    def fits(self, states: Array, kind: AgentKind, size: tuple[float, float, float]) -> bool:
        """Whether a newcomer keeps off everyone for a second and a half, off what stands for all
        6 s (both by circles), and, as a vehicle, on the road."""
        if kind == AgentKind.VEHICLE and not self.roads.on_road(states[::4, :2]).all():
            return False
        rows = np.concatenate([np.arange(0, PAST, 5), np.arange(PAST, PAST + STEPS + 1, 3)])
        others = np.concatenate([self.body.past[:, :PAST:5], self.future[:, ::3]], 1)
        mine = states[rows]
        counts = (rows <= PAST + _KEEPS_OFF) | self.body.still[:, None]
        counts[:, rows < PAST] &= self.body.seen[:, :PAST:5]
        return not (counts & _near(mine, size[:2], others, self.body.size, 0.35)).any()

    def free(self, attack: Attack) -> bool:
        """Whether an attack, were it to go as proposed, meets nobody but the ego (by circles)."""
        paths = [(attack.path, self._size(attack))]
        paths += [(n.states[PAST:], n.size[:2]) for n in attack.newcomers[1:]]
        others = np.arange(1, len(self.body.index))
        others = others[others != attack.agent]
        return not any(
            _near(path[::2], size, self.future[others, ::2], self.body.size[others], 0.2).any()
            for path, size in paths
        )

    def _size(self, attack: Attack) -> tuple[float, float]:
        if attack.agent < 0:
            return attack.newcomers[0].size[:2]
        return tuple(self.body.size[attack.agent])  # type: ignore[return-value]

    def ego_frame(self) -> tuple[Path, Array]:
        """The ego's drive, then its route, as a path, and its stations [STEPS + 1] on it."""
        xy = self.drive[:, :2]
        route = self.scenario.route.centreline[:, :2]
        ahead = np.array([np.cos(self.drive[-1, 2]), np.sin(self.drive[-1, 2])])
        beyond = route[(route - xy[-1]) @ ahead > 3.0]
        near = beyond[np.hypot(*(beyond - xy[-1]).T) < 90.0] if len(beyond) else beyond
        if len(near) < 2:
            near = xy[-1] + np.arange(3.0, 60.0, 3.0)[:, None] * ahead
        behind = xy[0] - np.arange(45.0, 0.5, -1.5)[:, None] * [
            np.cos(self.drive[0, 2]), np.sin(self.drive[0, 2])
        ]  # fmt: skip
        path = Path.of(np.concatenate([behind, xy, near]))
        walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(xy, axis=0).T))])
        return path, walked + float(np.hypot(*(xy[0] - behind[0])))


def needed_s(speed: Array | float) -> Any:
    """How long who drives at a speed must see it coming, to react after a second and stop [s]."""
    return 1.4 + np.asarray(speed) / _STOPS_MPS2


def _timed(path: Path, station: Array, left: Array | float = 0.0) -> Array:
    """States [N, 4] at 10 Hz of someone at those stations; yaw and speed by their motion."""
    pose = path.at(station, left)
    hop = np.gradient(pose[:, :2], axis=0)
    speed = np.hypot(hop[:, 0], hop[:, 1]) / DT
    moving = speed > 0.3
    backward = hop[:, 0] * np.cos(pose[:, 2]) + hop[:, 1] * np.sin(pose[:, 2]) < 0.0
    yaw = np.where(moving, np.arctan2(hop[:, 1], hop[:, 0]), pose[:, 2] + np.pi * backward)
    return np.column_stack([pose[:, :2], np.unwrap(yaw), speed])


def _near(
    states: Array, size: tuple[float, float], others: Array, sizes: Array, room: float
) -> NDArray[np.bool_]:
    """Where a body [N, 4] comes near others [A, N, 4], each of three circles: bool [A, N]."""
    reach = 0.5 * max(0.0, size[0] - size[1])
    other_reach = 0.5 * np.maximum(0.0, sizes[:, 0] - sizes[:, 1])[:, None, None]
    apart = 0.5 * (size[1] + sizes[:, 1])[:, None] + room
    ahead = np.stack([np.cos(states[:, 2]), np.sin(states[:, 2])], -1)
    their_ahead = np.stack([np.cos(others[..., 2]), np.sin(others[..., 2])], -1)
    near = np.zeros(others.shape[:2], np.bool_)
    for a in (-1.0, 0.0, 1.0):
        for b in (-1.0, 0.0, 1.0):
            gap = (
                others[..., :2] + b * other_reach * their_ahead - states[:, :2] - a * reach * ahead
            )
            near |= np.hypot(gap[..., 0], gap[..., 1]) < apart
    return near


_TIMES = np.arange(-PAST, STEPS + 1) * DT


def _crossing(stage: Stage) -> Iterator[Attack]:
    """Someone crosses the ego's way in a junction, and ought to have waited."""
    moments = set(stage.moments().tolist())
    found = [c for c in stage.roads.crossings(stage.drive) if c.step in moments]
    stage.rng.shuffle(found)  # type: ignore[arg-type]
    for crossing in found:
        way = stage.roads.way(crossing.lane, 90.0, 60.0, stage.pick)
        line = stage.roads.map.lane_centreline[crossing.lane]
        meets = float(way.locate(line[crossing.point, None, :2])[0][0])
        after = crossing.step * DT + stage.miss()
        if after < 1.5:
            continue
        bend = way.bend()
        span = (way.arc > meets - 25.0) & (way.arc < meets + 10.0)
        fastest = min(13.0, float(np.sqrt(_LATERAL / max(bend[span].max(), 1e-3))))
        told = {"lane": stage.roads.map.lane_id[crossing.lane], "after_s": after}
        kind = "red_light" if _red(stage, crossing.lane, after) else "crossing"
        yield from _by_those_there(stage, way, meets, after, crossing.step, fastest, kind, told)
        for _ in range(_AGAIN):
            wish = stage.uniform(0.55, 1.0) * fastest
            # Its nose is a little inside the ego's way as the ego's front gets there.
            early = (stage.front + 0.5 * _CAR[1]) / max(stage.drive[crossing.step, 3], 1.0)
            late = (0.5 * _CAR[0] + 0.5 * stage.scenario.vehicle.width - 0.8) / wish
            begins = meets - wish * (after - early + late)
            station = begins + wish * _TIMES
            if begins > meets - 10.0 or station[0] < 0.0 or station[-1] > way.length:
                continue
            states = _timed(way, station)
            if stage.fits(states, AgentKind.VEHICLE, _CAR):
                newcomer = Newcomer(AgentKind.VEHICLE, _CAR, states)
                yield Attack(
                    kind, -1, (newcomer,), states[PAST:], crossing.step, wish, 0.25,
                    told | {"speed_mps": wish},
                )  # fmt: skip
                break


def _by_those_there(
    stage: Stage, way: Path, meets: float, after: float, step: int, fastest: float, kind: str,
    told: dict[str, Any],
) -> Iterator[Attack]:  # fmt: skip
    """Those who are on that way already, if they can be there in time."""
    body = stage.body
    here = body.past[:, -1]
    station, left, yaw = way.locate(here[:, :2])
    turned = np.cos(here[:, 2] - yaw)
    fits = (body.kind == AgentKind.VEHICLE) & ~body.still & (body.index >= 0)
    fits &= (np.abs(left) < 1.0) & (turned > 0.85) & (station < meets - 6.0) & (station > 0.0)
    for a in np.flatnonzero(fits):
        v, gap = float(here[a, 3]), meets - float(station[a])
        push = 2.0 * (gap - v * after) / after**2
        end = v + push * after
        if not (-3.0 < push < 2.5 and 1.0 < end < 1.25 * fastest):
            continue
        t = np.arange(STEPS + 1) * DT
        k = np.minimum(t, after)
        along = station[a] + v * k + 0.5 * push * k**2 + end * (t - k)
        aside = left[a] * np.clip(1.0 - t / 2.5, 0.0, 1.0)
        path = _timed(way, along, aside)
        path[0] = here[a]
        yield Attack(kind, int(a), (), path, step, end, 0.35, told | {"push_mps2": push})


def _red(stage: Stage, lane: int, after: float) -> bool:
    signals = stage.scenario.signals
    rows = np.flatnonzero(signals.lane == lane)
    step = min(stage.now + max(0, int((after - 1.0) / DT)), stage.scenario.steps - 1)
    return bool(len(rows)) and bool(signals.state[rows[0], step] == SignalState.RED)


def _jaywalker(stage: Stage) -> Iterator[Attack]:
    """Someone walks across the road where the ego comes along."""
    yield from _over_the_road(stage, "jaywalker")


def _cyclist(stage: Stage) -> Iterator[Attack]:
    """Someone rides across the road where the ego comes along."""
    yield from _over_the_road(stage, "cyclist")


def _over_the_road(stage: Stage, kind: str) -> Iterator[Attack]:
    moments = stage.moments()
    if not len(moments):
        return
    path, along = stage.ego_frame()
    for _ in range(6):
        at = int(moments[stage.pick(len(moments))])
        pose = path.at(np.array(along[at] + stage.front))
        side = -1.0 if stage.rng.random() < 0.7 else 1.0
        room = stage.roads.kerb(pose, side)
        if room < 9.0:
            yield from _walk(stage, pose, side, room + stage.uniform(0.4, 1.2), at, kind, ())


def _from_behind(stage: Stage) -> Iterator[Attack]:
    """Someone walks out of the cover of a parked vehicle that the ego is going to pass, or of one
    put at the roadside."""
    moments = stage.moments()
    if not len(moments):
        return
    path, along = stage.ego_frame()
    body = stage.body
    station, left, _ = path.locate(body.past[:, -1, :2])
    half = 0.5 * body.size[:, 0]
    cover = body.still & (body.kind == AgentKind.VEHICLE) & (np.abs(left) > 2.2)
    cover &= (np.abs(left) < 7.0) & (body.index >= 0)
    for a in stage.rng.permutation(np.flatnonzero(cover)):
        end, aside = float(station[a] + half[a]), abs(float(left[a]))
        corner = aside - 0.5 * float(body.size[a, 1])
        found = _out_of_cover(stage, along, end, corner)
        if found is not None:
            at, line, pace = found
            pose = path.at(np.array(line))
            yield from _walk(
                stage, pose, float(np.sign(left[a])), aside, at, "occluded_pedestrian", (), pace
            )
    for _ in range(2 * _AGAIN):
        at = int(moments[stage.pick(len(moments))])
        pose = path.at(np.array(along[at] + stage.front))
        room = stage.roads.kerb(pose, -1.0)
        if not 4.0 < room < 9.0:
            continue
        aside = min(room - 1.2, 3.6)
        if aside < 2.75:
            continue
        end = float(along[at] + stage.front - stage.uniform(1.0, 3.0))
        found = _out_of_cover(stage, along, end, aside - 0.5 * _VAN[1])
        if found is None:
            continue
        at, line, pace = found
        back = path.at(np.array(end - 0.5 * _VAN[0]), -aside)
        states = np.column_stack([np.tile(back, (len(_TIMES), 1)), np.zeros(len(_TIMES))])
        if not stage.fits(states, AgentKind.VEHICLE, _VAN):
            continue
        van = Newcomer(AgentKind.VEHICLE, _VAN, states, still=True)
        pose = path.at(np.array(line))
        yield from _walk(stage, pose, -1.0, aside, at, "occluded_pedestrian", (van,), pace)


def _out_of_cover(
    stage: Stage, along: Array, end: float, corner: float
) -> tuple[int, float, float] | None:
    """Where and how fast to walk out of the cover of a box, to be in view just long enough.

    Args:
        along: stations of the ego's drive.
        end: station of the far end of the box; corner: how far its near side is from the drive.

    Returns:
        The step at which the ego's front is there, the station of the walk, and the pace, or None.
    """
    back = np.linspace(0.1, 5.0, 50)
    moments = set(stage.moments().tolist())
    pace = stage.uniform(0.9, 1.4)
    for gap in (0.8, 1.6, 2.4, 3.2, 4.0, 5.0, 6.0):
        line = end + gap
        at = int(np.searchsorted(along + stage.front, line))
        if at not in moments:
            return None
        speed = float(stage.drive[at, 3])
        far = speed * back + stage.front
        seen = 0.7 + pace * back < corner * far / np.maximum(far - gap, 0.1)
        in_view = back[-1] if seen.all() else back[int(seen.argmin())]
        if in_view > needed_s(speed):
            return at, line, pace
    return None


def _walk(
    stage: Stage, pose: Array, side: float, begin: float, at: int, kind: str,
    with_them: tuple[Newcomer, ...], pace: float | None = None,
) -> Iterator[Attack]:  # fmt: skip
    """Across the road from `begin` to the side, to be in the ego's way at a step."""
    rides = kind == "cyclist"
    if pace is None:
        pace = stage.uniform(1.4, 2.0) if rides else stage.uniform(0.9, 1.6)
    # It has just stepped into the ego's way as the ego's front gets there.
    after = at * DT + stage.miss() + stage.uniform(0.1, 0.6) / pace
    # In the open long enough for a driver who reacts after a second to come to a stand; most have
    # been on their way for longer, as walkers seldom start.
    seen = 0.9 + float(needed_s(max(stage.drive[at, 3], stage.drive[0, 3])))
    begin = max(begin, pace * seen)
    if stage.rng.random() > _STARTS:
        begin = max(begin, pace * (after + 0.5 * _START_S))
    # Speeds up as a raised cosine.
    t = np.maximum(_TIMES - (after - begin / pace - 0.5 * _START_S), 0.0)
    speed = 0.5 * pace * (1.0 - np.cos(np.pi * np.minimum(t / _START_S, 1.0)))
    gone = np.concatenate([[0.0], np.cumsum(0.5 * DT * (speed[1:] + speed[:-1]))])
    gone += begin - np.interp(after, _TIMES, gone)
    yaw = pose[2] - side * 0.5 * np.pi + stage.uniform(-0.2, 0.2)
    start = pose[:2] + side * begin * np.array([-np.sin(pose[2]), np.cos(pose[2])])
    xy = start + gone[:, None] * [np.cos(yaw), np.sin(yaw)]
    states = np.column_stack([xy, np.full(len(xy), yaw), speed])
    size = (1.8, 0.65, 1.7) if rides else _WALKER
    who = Newcomer(AgentKind.BICYCLE if rides else AgentKind.PEDESTRIAN, size, states)
    if stage.fits(states, who.kind, size):
        yield Attack(
            kind, -1, (who, *with_them), states[PAST:], at, pace, 0.06,
            {"pace_mps": pace, "after_s": after, "cover": "put in" if with_them else kind},
        )  # fmt: skip


def _cut_in(stage: Stage) -> Iterator[Attack]:
    """Someone beside the ego changes into its lane, close ahead and slower."""
    path, along = stage.ego_frame()
    road_map = stage.roads.map
    for at in stage.rng.permutation(stage.moments())[:3]:
        pose = stage.drive[at]
        lane = _lane_under(stage.roads, pose)
        if lane < 0:
            continue
        for beside, side in ((road_map.lane_left[lane], 1.0), (road_map.lane_right[lane], -1.0)):
            if beside < 0:
                continue
            line = Path.of(road_map.lane_centreline[int(beside)][:, :2])
            width = abs(float(line.locate(pose[None, :2])[1][0]))
            if not 2.4 < width < 5.0:
                continue
            slower = stage.uniform(1.5, 2.5) + 2.5 * stage.severity
            closes = stage.uniform(1.6, 2.6) + 1.5 * (1.0 - stage.severity)
            changes = at * DT - closes + stage.uniform(0.0, 0.4)
            pace = max(1.5, float(stage.drive[max(0, int(at) - 15), 3]) - slower)
            lengths = stage.front + 0.5 * _CAR[0]
            station = along[at] + lengths + pace * (_TIMES - at * DT)
            share = np.clip((_TIMES - changes) / 2.2, 0.0, 1.0)
            aside = side * width * (1.0 - share**2 * (3.0 - 2.0 * share))
            states = _timed(path, station, aside)
            told = {"slower_mps": slower, "changes_s": changes}
            if changes > 0.0 and station[0] > 0.0 and stage.fits(states, AgentKind.VEHICLE, _CAR):
                newcomer = Newcomer(AgentKind.VEHICLE, _CAR, states)
                yield Attack(
                    "cut_in", -1, (newcomer,), states[PAST:], int(at), pace, 0.2, told
                )  # fmt: skip


def _pull_out(stage: Stage) -> Iterator[Attack]:
    """Someone who stands at the kerb drives off into the ego's lane."""
    moments = stage.moments()
    path, along = stage.ego_frame()
    for _ in range(_AGAIN if len(moments) else 0):
        at = int(moments[stage.pick(len(moments))])
        meets = float(along[at])
        room = stage.roads.kerb(path.at(np.array(meets + stage.front)), -1.0)
        aside = min(room - 1.2, 3.4)
        if aside < 2.6:
            continue
        push, needs = stage.uniform(1.2, 2.0), stage.uniform(7.0, 9.0)
        # Half way into the lane as the ego's front gets to its rear.
        half_way = float(np.sqrt(2.0 * 0.6 * needs / push))
        begins = at * DT - half_way + stage.miss()
        t = np.maximum(_TIMES - begins, 0.0)
        gone = np.where(t < 4.0 / push, 0.5 * push * t**2, 4.0 * t - 8.0 / push)
        share = np.clip(gone / needs, 0.0, 1.0)
        station = meets + stage.front + 0.5 * _CAR[0] - 0.6 * needs + gone
        left = -aside * (1.0 - share**2 * (3.0 - 2.0 * share))
        states = _timed(path, station, left)
        told = {"begin_s": begins, "push_mps2": push}
        if begins > 0.2 and stage.fits(states, AgentKind.VEHICLE, _CAR):
            newcomer = Newcomer(AgentKind.VEHICLE, _CAR, states)
            yield Attack("pull_out", -1, (newcomer,), states[PAST:], at, 4.0, 0.2, told)


def _lane_under(roads: Roads, pose: Array) -> int:
    points = roads.map.lane_centreline.values
    far = (points[:, 0] - pose[0]) ** 2 + (points[:, 1] - pose[1]) ** 2
    far = np.where(np.cos(points[:, 2] - pose[2]) > 0.9, far, np.inf)
    k = int(far.argmin())
    return int(roads.lane_of[k]) if far[k] < 2.0**2 else -1


def _hard_brake(stage: Stage) -> Iterator[Attack]:
    """The one ahead, or one put in close ahead, brakes to a stand for nothing."""
    path, along = stage.ego_frame()
    v = float(stage.drive[0, 3])
    if v < _SLOWEST_EGO + 1.0:
        return
    body = stage.body
    station, left, yaw = path.locate(body.past[:, -1, :2])
    gap = station - along[0] - stage.front - 0.5 * body.size[:, 0]
    ahead = (body.kind == AgentKind.VEHICLE) & ~body.still & (np.abs(left) < 1.2) & (gap > 1.0)
    ahead &= (
        (body.past[:, -1, 3] > 1.0) & (gap < 2.5 * v) & (np.cos(body.past[:, -1, 2] - yaw) > 0.9)
    )
    begin = stage.uniform(0.3, 2.0)
    brake = 3.0 + stage.uniform(0.5, 1.0) * 4.0 * stage.severity
    t = np.arange(STEPS + 1) * DT
    if ahead.any():
        a = int(np.flatnonzero(ahead)[gap[ahead].argmin()])
        brake = _bearable(brake, v, float(body.past[a, -1, 3]), float(gap[a]))
        told = {"begin_s": begin, "brake_mps2": brake}
        pace, first, aside = float(body.past[a, -1, 3]), float(station[a]), float(left[a])
        after = np.maximum(t - begin, 0.0)
        stop = pace / brake
        k = np.minimum(after, stop)
        along_it = first + pace * np.minimum(t, begin) + pace * k - 0.5 * brake * k**2
        states = _timed(path, along_it, aside)
        states[0] = body.past[a, -1]
        states[1:, 3] = np.clip(pace - brake * after[1:], 0.0, None)
        yield Attack("hard_brake", a, (), states, _meets(stage, states), pace, 0.2, told)
        return
    pace = v * stage.uniform(0.9, 1.05)
    room = stage.uniform(0.8, 1.2) * v + 1.0
    begin = stage.uniform(0.8, 2.0)
    brake = _bearable(brake, v, pace, room)
    told = {"begin_s": begin, "brake_mps2": brake}
    after = np.maximum(_TIMES - begin, 0.0)
    k = np.minimum(after, pace / brake)
    first = along[0] + stage.front + 0.5 * _CAR[0] + room
    station_of = first + pace * np.minimum(_TIMES, begin) + pace * k - 0.5 * brake * k**2
    states = _timed(path, station_of)
    states[:, 3] = np.clip(pace - brake * after, 0.0, None)
    if stage.fits(states, AgentKind.VEHICLE, _CAR):
        newcomer = Newcomer(AgentKind.VEHICLE, _CAR, states)
        yield Attack(
            "hard_brake", -1, (newcomer,), states[PAST:], _meets(stage, states[PAST:]), pace, 0.2,
            told,
        )  # fmt: skip


def _bearable(brake: float, speed: float, leader: float, gap: float) -> float:
    """At most so hard that who is `gap` behind at `speed` and brakes a second later can stop."""
    needs = 2.0 * speed + speed**2 / 13.0 - gap
    return max(1.0, min(brake, leader**2 / (2.0 * needs))) if needs > 0.0 else brake


def _meets(stage: Stage, states: Array) -> int:
    far = np.hypot(*(states[:, :2] - stage.drive[:, :2]).T) - stage.front - 0.5 * _CAR[0]
    near = np.flatnonzero(far < 0.5)
    return int(near[0]) if len(near) else int(far.argmin())


def _oncoming(stage: Stage) -> Iterator[Attack]:
    """Someone overtakes on the ego's side of the road, and gets back late."""
    path, along = stage.ego_frame()
    points = stage.roads.map.lane_centreline.values
    for at in stage.rng.permutation(stage.moments())[:3]:
        pose = stage.drive[at]
        gap = points[:, :2] - pose[:2]
        ahead = gap[:, 0] * np.cos(pose[2]) + gap[:, 1] * np.sin(pose[2])
        left = gap[:, 1] * np.cos(pose[2]) - gap[:, 0] * np.sin(pose[2])
        fits = (np.cos(points[:, 2] - pose[2]) < -0.95) & (np.abs(ahead) < 3.0)
        fits &= (np.abs(left) > 2.4) & (np.abs(left) < 5.5)
        if not fits.any():
            continue
        width = float(left[fits][np.abs(left[fits]).argmin()])
        pace = stage.uniform(4.5, 8.5)
        lengths = stage.front + 0.5 * _CAR[0]
        station = along[at] + lengths - pace * (_TIMES - at * DT)
        out = at * DT - stage.uniform(2.8, 3.4)
        back = at * DT - 0.2 - 1.6 * (1.0 - stage.severity) + stage.uniform(-0.2, 0.2)
        out_share = np.clip((_TIMES - out) / 1.6, 0.0, 1.0)
        back_share = np.clip((_TIMES - back) / 1.6, 0.0, 1.0)
        share = out_share**2 * (3 - 2 * out_share) - back_share**2 * (3 - 2 * back_share)
        depth = stage.uniform(0.5, 0.8)
        states = _timed(path, station, width * (1.0 - depth * share))
        if station.max() > path.length - 2.0 or out < -0.5:
            continue
        if stage.fits(states, AgentKind.VEHICLE, _CAR):
            newcomer = Newcomer(AgentKind.VEHICLE, _CAR, states)
            yield Attack(
                "oncoming", -1, (newcomer,), states[PAST:], int(at), pace, 0.2,
                {"back_s": back, "depth": depth},
            )  # fmt: skip


KINDS: Mapping[str, Callable[[Stage], Iterator[Attack]]] = {
    "crossing": _crossing,
    "jaywalker": _jaywalker,
    "occluded_pedestrian": _from_behind,
    "cyclist": _cyclist,
    "cut_in": _cut_in,
    "pull_out": _pull_out,
    "oncoming": _oncoming,
    "hard_brake": _hard_brake,
}
"""Kinds of attack; "crossing" is told as "red_light" where there is one."""


def occasions(stage: Stage, kinds: tuple[str, ...], most: int) -> list[Attack]:
    """Up to `most` proposals, the kinds in turn; a kind gives its turns up to the others when
    it has been searched a few times over."""
    streams = {kind: _searched(stage, kind) for kind in kinds}
    found: list[Attack] = []
    while streams:
        for kind in tuple(streams):
            if len(found) == most:
                return found
            attack = next(streams[kind], None)
            if attack is None:
                del streams[kind]
            else:
                found.append(attack)
    return found


def _searched(stage: Stage, kind: str) -> Iterator[Attack]:
    """Those of a kind that meet nobody but the ego."""
    for _ in range(_PASSES):
        yield from filter(stage.free, KINDS[kind](stage))
