"""Other motion along the way that an agent went.

Log time is *warped*: at step t the agent is where it was in the log at u(t). So it keeps to its
path, and its velocity is the log's times du/dt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.scenario import DT, StateIndex

__all__ = ["EXTRA_STEPS", "Warp", "only_run", "retimed"]

EXTRA_STEPS = 20
"""How far a track that the log begins or ends with is continued straight on, at most."""

_SPEED_BACK_S = 6.0
_LEAST_RATE = 0.05
_STANDS_M = 1.0

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Warp:
    """How an agent's motion differs from the log's.

    Attributes:
        speed: factor of its speed up to the present; within 6 s it is the log's again.
        delay: by how much it is late from then on [s]; it loses the time over 2 s or, for a delay
            of more than half a second, four times the delay.
        gap: how far ahead of the log it is on its path [m].
    """

    speed: float = 1.0
    delay: float = 0.0
    gap: float = 0.0

    def times(self, steps: int, start: int) -> tuple[Array, Array] | None:
        """Log time and its rate at every step, in steps: (u [T], du/dt [T]); u(start) = start.

        None where time would (all but) stand still.
        """
        after: Array = np.asarray((np.arange(steps) - start) * DT, np.float64)
        rate = 1.0 + (self.speed - 1.0) * (1.0 - _smooth(after / _SPEED_BACK_S))
        span = max(2.0, 4.0 * abs(self.delay))
        share = np.clip(after / span, 0.0, 1.0)
        rate -= self.delay / span * 6.0 * share * (1.0 - share)
        if rate.min() < _LEAST_RATE:
            return None
        moved = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]))])
        return start + moved - moved[start], rate


def only_run(valid: NDArray[np.bool_]) -> tuple[int, int] | None:
    """First and last valid step, or None where there are gaps between, or fewer than four."""
    seen = np.flatnonzero(valid)
    if len(seen) < 4 or seen[-1] - seen[0] + 1 != len(seen):
        return None
    return int(seen[0]), int(seen[-1])


def retimed(
    state: Array, valid: NDArray[np.bool_], start: int, warp: Warp
) -> tuple[Array, NDArray[np.bool_]] | None:
    """A track with other timing.

    Args:
        state: [T, 5] `StateIndex`.
        valid: bool [T], one run of steps.
        start: the present.
        warp: how it differs.

    Returns:
        State and validity. A track that begins after the log does, or ends before, begins or
        ends at the same place; one that is cut off by the log is continued by at most 2 s. None
        where nothing of it is left, or `valid` is not one run.
    """
    run = only_run(valid)
    times = warp.times(len(state), start)
    if run is None or times is None:
        return None
    first, last = run
    u, rate = times
    low = first - (EXTRA_STEPS if first == 0 else 0)
    high = last + (EXTRA_STEPS if last == len(state) - 1 else 0)
    there = (u >= low) & (u <= high)
    if not there.any():
        return None
    rows = np.arange(first, last + 1, dtype=np.float64)
    track = state[first : last + 1].copy()
    track[:, StateIndex.YAW] = np.unwrap(track[:, StateIndex.YAW])
    yaw = track[:, StateIndex.YAW]
    cos, sin = np.cos(yaw), np.sin(yaw)
    along = track[:, StateIndex.VX] * cos + track[:, StateIndex.VY] * sin
    aside = track[:, StateIndex.VY] * cos - track[:, StateIndex.VX] * sin
    inside = np.clip(u, first, last)
    beyond = (u - inside) * DT * np.interp(inside, rows, along)
    at, ahead = inside, np.zeros(len(u))
    station = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(track[:, :2], axis=0).T))])
    if station[-1] < _STANDS_M:
        ahead = np.full(len(u), warp.gap)
    elif warp.gap:
        wanted = np.interp(inside, rows, station) + warp.gap
        at = np.interp(wanted, station, rows)
        ahead = wanted - np.clip(wanted, 0.0, station[-1])
    ahead = ahead + beyond
    heading = np.interp(at, rows, yaw)
    velocity = np.interp(inside, rows, along) * rate
    drift = np.interp(inside, rows, aside) * rate
    out = np.zeros_like(state)
    cos, sin = np.cos(heading), np.sin(heading)
    out[:, StateIndex.X] = np.interp(at, rows, track[:, StateIndex.X]) + ahead * cos
    out[:, StateIndex.Y] = np.interp(at, rows, track[:, StateIndex.Y]) + ahead * sin
    out[:, StateIndex.YAW] = heading
    out[:, StateIndex.VX] = velocity * cos - drift * sin
    out[:, StateIndex.VY] = velocity * sin + drift * cos
    out[~there] = 0.0
    return out, there


def _smooth(share: Array) -> Array:
    s = np.clip(share, 0.0, 1.0)
    return np.asarray(s * s * (3.0 - 2.0 * s))
