"""How those who were changed move, beside those who moved in the logs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from roadworthy.report.plots import histogram
from roadworthy.scenario import DT, AgentKind, Scenario, StateIndex

__all__ = ["realism"]

_EVERY = 5
_FAR = 40.0
_COLUMNS = (
    ("Speed", "m/s", (0.0, 25.0)),
    ("Acceleration", "m/s²", (-9.0, 9.0)),
    ("Yaw rate", "rad/s", (-1.2, 1.2)),
    ("Nearest other", "m", (0.0, _FAR)),
)
Floats = NDArray[np.float64]


def realism(
    triples: Sequence[tuple[Scenario, Scenario | None, Sequence[int]]],
) -> list[tuple[str, str, Markup]]:
    """Histograms of the changed agents of variants, beside all who move in their parents.

    Args:
        triples: a variant, its parent, and who was changed in it.

    Returns:
        (title, unit, picture); nothing without parents. Values beyond the ends of an axis are
        counted at its ends.
    """
    changed: list[Floats] = []
    logged: list[Floats] = []
    seen: set[str] = set()
    for variant, parent, adversaries in triples:
        if parent is None:
            continue
        changed += [_motion(variant, variant.start, a) for a in adversaries]
        key = f"{parent.hash} {variant.start}"
        if key not in seen:
            seen.add(key)
            logged += [_motion(parent, variant.start, a) for a in _movers(parent, variant.start)]
    if not changed or not logged:
        return []
    both = [np.concatenate(changed), np.concatenate(logged)]
    out = []
    for k, (title, unit, (low, high)) in enumerate(_COLUMNS):
        series = [np.clip(part[:, k][np.isfinite(part[:, k])], low, high) for part in both]
        if all(len(part) for part in series):
            picture = histogram(
                title, ["changed, in variants", "moving, in the logs"], series, of="moments"
            )
            out.append((title, unit, picture))
    return out


def _movers(scene: Scenario, begin: int) -> list[int]:
    """Vehicles, pedestrians and cyclists who are there at a step and go 2 m or more."""
    tracks = scene.agents
    alive = np.isin(tracks.kind, [AgentKind.VEHICLE, AgentKind.PEDESTRIAN, AgentKind.BICYCLE])
    found = []
    for a in np.flatnonzero(alive & tracks.valid[:, begin]).tolist():
        xy = tracks.state[a, begin:, :2][tracks.valid[a, begin:]]
        if np.hypot(*(xy - xy[0]).T).max() > 2.0:
            found.append(a)
    return found


def _motion(scene: Scenario, begin: int, agent: int) -> Floats:
    """[N, 4] of an agent from a step on, every half second: speed, acceleration along its heading,
    yaw rate, distance of centres to the nearest other agent."""
    tracks = scene.agents
    state, valid = tracks.state[agent, begin:], tracks.valid[agent, begin:]
    yaw = state[:, StateIndex.YAW]
    speed = state[:, StateIndex.VX] * np.cos(yaw) + state[:, StateIndex.VY] * np.sin(yaw)
    others = np.delete(np.arange(len(tracks)), agent)
    gap = np.hypot(*np.moveaxis(tracks.state[others, begin:, :2] - state[None, :, :2], 2, 0))
    gap = np.where(tracks.valid[others, begin:], gap, _FAR)
    nearest = gap.min(axis=0) if len(others) else np.full(len(state), _FAR)
    turn = np.angle(np.exp(1j * np.diff(yaw)))
    out = np.column_stack([speed[1:], np.diff(speed) / DT, turn / DT, nearest[1:]])
    out[~(valid[1:] & valid[:-1])] = np.nan
    return out[::_EVERY]
