"""The stage of an attack: who is there, where the ego drives, and what may be put in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import DT, AgentKind, Scenario, Tracks
from roadworthy.solvability import steady_drive

from roadworthy_generators.behaviour.kinematics import STEPS
from roadworthy_generators.behaviour.parents import cut
from roadworthy_generators.behaviour.roads import Path, Roads, roads_of
from roadworthy_generators.behaviour.scene import HISTORY_STEPS, Body

__all__ = [
    "CAR",
    "PAST",
    "TIMES",
    "Attack",
    "Newcomer",
    "Stage",
    "eased",
    "joined",
    "needed_s",
    "timed",
]

Array = NDArray[np.float64]

PAST = max(HISTORY_STEPS)
"""Steps of the past that a newcomer gets."""
TIMES: Array = np.asarray(np.arange(-PAST, STEPS + 1) * DT, np.float64)
"""When a newcomer's states are, seconds after the present."""
CAR = (4.6, 1.88, 1.6)
"""Size of a newcomer in a car [m]."""
_SOONEST, _LATEST = 20, 52
_SLOWEST_EGO = 3.0
_KEEPS_OFF = 15
_STOPS_MPS2 = 6.0
_MISS_S = 2.6
_PUSH_MPS2 = 1.6


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

    @cached_property
    def rest(self) -> Scenario:
        """The parent from the present on, for 6 s."""
        return cut(self.scenario, self.now)

    @cached_property
    def steady(self) -> Array:
        """[STEPS + 1, 4] what someone drives who minds nobody (`steady_drive`)."""
        return steady_drive(self.rest)

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

    def paced(self, pace: float, at: float, least: float, most: float) -> Array:
        """How far from where it is at a time someone is at `TIMES` [m] who speeds up or slows down
        evenly, as drivers do, and then drives at `pace`, ever between `least` and `most` m/s."""
        t = TIMES - at
        pushes = np.array([(least - pace) / t[-1], (most - pace) / t[-1],
                           (least - pace) / t[0], (most - pace) / t[0]])  # fmt: skip
        low = max(-_PUSH_MPS2, min(pushes[0], pushes[1]), min(pushes[2], pushes[3]))
        high = min(_PUSH_MPS2, max(pushes[0], pushes[1]), max(pushes[2], pushes[3]))
        push = self.uniform(low, high) if low < high else 0.0
        return np.asarray(pace * t + 0.5 * push * t**2)

    def moments(self) -> NDArray[np.int64]:
        """Steps at which the ego drives, and before which there is time to react and to stop."""
        steps = np.arange(_SOONEST, _LATEST)
        speed = self.drive[steps, 3]
        fit: NDArray[np.int64] = steps[(speed > _SLOWEST_EGO) & (steps * DT > needed_s(speed))]
        return fit

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

    def put_in(
        self, kind: str, states: Array, at: int, wish: float, told: dict[str, Any], *,
        who: AgentKind = AgentKind.VEHICLE, size: tuple[float, float, float] = CAR,
        freedom: float = 0.2, with_them: tuple[Newcomer, ...] = (),
    ) -> Iterator[Attack]:  # fmt: skip
        """The attack of a newcomer, if there is room for it."""
        if self.fits(states, who, size):
            newcomer = Newcomer(who, size, states)
            yield Attack(
                kind, -1, (newcomer, *with_them), states[PAST:], at, wish, freedom, told
            )  # fmt: skip

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


def eased(share: Array) -> Array:
    """From 0 to 1, smoothly at both ends."""
    k = np.clip(share, 0.0, 1.0)
    return np.asarray(k**2 * (3.0 - 2.0 * k))


def timed(path: Path, station: Array, left: Array | float = 0.0) -> Array:
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


def joined(
    tracks: Tracks, names: Sequence[str], newcomers: Sequence[Newcomer], states: Array,
    valid: NDArray[np.bool_],
) -> Tracks:  # fmt: skip
    """Tracks with K newcomers after those who were there; they react to nobody.

    Args:
        states: [K, T, 5] as `StateIndex`; valid: [K, T].
    """
    kinds = np.array([int(one.kind) for one in newcomers], np.int8)
    sizes = np.array([one.size for one in newcomers], np.float64).reshape(-1, 3)
    return Tracks(
        (*tracks.id, *names), np.concatenate([tracks.kind, kinds]),
        np.concatenate([tracks.size, sizes]), np.concatenate([tracks.state, states]),
        np.concatenate([tracks.valid, valid]),
        np.concatenate([tracks.reactive, np.zeros(len(newcomers), np.bool_)]),
    )  # fmt: skip
