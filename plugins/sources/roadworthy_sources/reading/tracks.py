"""Tracks as readers collect them: resampled to 10 Hz, and put into one array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.kinematics import smooth_derivative
from roadworthy.scenario import DT, STATE_SIZE, AgentKind, StateIndex, Tracks

__all__ = ["Track", "grid_of", "never_there", "on_grid", "smoothed", "tracks_of"]

MAX_VALUES = 20_000_000
_LONGEST_GAP = 0.6
_MOVING = 1.0


@dataclass(eq=False)
class Track:
    """One road user.

    Attributes:
        id: unique name.
        kind: what it is.
        size: [3] length, width, height.
        state: [T, 5] `StateIndex`, box centre.
        valid: bool [T].
    """

    id: str
    kind: AgentKind
    size: NDArray[np.float64]
    state: NDArray[np.float64]
    valid: NDArray[np.bool_]


def grid_of(where: str, times: NDArray[np.float64], tracks: int = 1) -> NDArray[np.float64]:
    """10 Hz grid from the first to (at most) the last of the times [s]: [T].

    Args:
        where: the file, for messages.
        times: [N] s, increasing.
        tracks: how many tracks will be put on the grid.

    Raises:
        DataError: the tracks would have more values than a scene can sensibly have.
    """
    steps = (times[-1] - times[0]) / DT + 1e-6
    if not steps * max(tracks, 1) * STATE_SIZE < MAX_VALUES:
        raise DataError(
            f"{where}: {tracks} tracks over {times[-1] - times[0]:.0f} s",
            hint="Cut the log into shorter ones.",
        )
    return times[0] + DT * np.arange(int(np.floor(steps)) + 1)


def on_grid(
    times: NDArray[np.float64],
    state: NDArray[np.float64],
    valid: NDArray[np.bool_],
    grid: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A track at other times, linearly between samples at most 0.6 s apart.

    Headings turn the short way. Nothing is carried beyond the first or last valid sample.

    Args:
        times: [N] s, increasing.
        state: [N, 5], read where valid.
        valid: bool [N].
        grid: [T] s, increasing.

    Returns:
        [T, 5] and bool [T]; zeros where not valid.
    """
    out = np.zeros((len(grid), STATE_SIZE))
    seen = np.flatnonzero(valid)
    if not len(seen):
        return out, np.zeros(len(grid), bool)
    at, known = times[seen], state[seen].copy()
    known[:, StateIndex.YAW] = np.unwrap(known[:, StateIndex.YAW])
    slack = 1e-3
    after = np.clip(np.searchsorted(at, grid - slack), 0, len(at) - 1)
    before = np.clip(np.searchsorted(at, grid + slack, "right") - 1, 0, len(at) - 1)
    held = (grid >= at[0] - slack) & (grid <= at[-1] + slack)
    held &= at[after] - at[before] <= _LONGEST_GAP
    for k in range(STATE_SIZE):
        out[held, k] = np.interp(grid[held], at, known[:, k])
    return out, held


def smoothed(state: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """A noisy track by local quadratic fits: positions, and all else derived from them.

    Headings are smoothed over the same window, from those given.

    Args:
        state: [T, 5] `StateIndex`, all valid.
        window: samples in the fit, odd.

    Returns:
        [T, 5]; below 1 m/s the velocity is along the heading.
    """
    out = state.copy()
    out[:, :2] = smooth_derivative(state[:, :2], 0, window)
    velocity = smooth_derivative(state[:, :2], 1, window)
    out[:, StateIndex.YAW] = yaw = smooth_derivative(np.unwrap(state[:, StateIndex.YAW]), 0, window)
    along = np.cos(yaw) * velocity[:, 0] + np.sin(yaw) * velocity[:, 1]
    slow = np.hypot(velocity[:, 0], velocity[:, 1]) < _MOVING
    velocity[slow] = (along[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], axis=1))[slow]
    out[:, StateIndex.VX :] = velocity
    return out


def never_there(tracks: list[Track]) -> list[str]:
    """A sentence on the tracks that `tracks_of` leaves out, if there are any."""
    count = sum(not track.valid.any() for track in tracks)
    return [f"agents: {count} that are never there with the ego left out."] if count else []


def tracks_of(where: str, tracks: list[Track], steps: int) -> Tracks:
    """All tracks in one struct of arrays, in the order given; those never valid are left out.

    Raises:
        DataError: two tracks of one id.
    """
    tracks = [track for track in tracks if track.valid.any()]
    names = [track.id for track in tracks]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{where}: two tracks have the id {twice!r}", hint="Make ids unique.")
    return Tracks(
        id=tuple(names),
        kind=np.array([track.kind for track in tracks], np.int8),
        size=np.array([track.size for track in tracks], np.float64).reshape(-1, 3),
        state=np.array([track.state for track in tracks], np.float64).reshape(
            len(tracks), steps, STATE_SIZE
        ),
        valid=np.array([track.valid for track in tracks], bool).reshape(len(tracks), steps),
    )
