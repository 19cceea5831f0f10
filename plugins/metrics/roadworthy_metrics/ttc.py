"""Time to box contact when everyone keeps their velocity and heading.

With constant velocities and headings the boxes of the ego and of an agent overlap during an
interval of time that has a closed form: along each of the four face normals the two projections
overlap during an interval, and the boxes overlap during the intersection of the four (the
separating axis theorem, swept). No time step is involved.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["HORIZON_S", "contact_interval", "time_to_contact"]

HORIZON_S = 5.0
"""How far `time_to_contact` looks ahead [s]; the value of a step without contact."""

_STOPPED = 0.005
_COS_BEHIND = math.cos(math.radians(150.0))


@njit(cache=True, nogil=True, error_model="numpy")
def _axis(d: float, w: float, reach: float, low: float, high: float) -> tuple[float, float]:
    """Narrow [low, high] to the times at which |d + w t| <= reach."""
    if w == 0.0:
        return (low, high) if abs(d) <= reach else (np.inf, -np.inf)
    a, b = (-reach - d) / w, (reach - d) / w
    return max(low, min(a, b)), min(high, max(a, b))


@njit(cache=True, nogil=True, error_model="numpy")
def contact_interval(
    dx: float,
    dy: float,
    wx: float,
    wy: float,
    ac: float,
    as_: float,
    al: float,
    aw: float,
    bc: float,
    bs: float,
    bl: float,
    bw: float,
) -> tuple[float, float]:
    """When two boxes that keep velocity and heading touch: [first, last] s, first > last for never.

    Args:
        dx, dy: from the centre of a to the centre of b, now [m].
        wx, wy: velocity of b less that of a [m/s].
        ac, as_, al, aw: cosine and sine of a's heading, its half length and half width.
        bc, bs, bl, bw: the same of b.

    Returns:
        The closed interval of times, negative ones (the past) included.
    """
    c, s = abs(ac * bc + as_ * bs), abs(ac * bs - as_ * bc)
    low, high = -np.inf, np.inf
    low, high = _axis(dx * ac + dy * as_, wx * ac + wy * as_, al + bl * c + bw * s, low, high)
    if low > high:
        return low, high
    low, high = _axis(dy * ac - dx * as_, wy * ac - wx * as_, aw + bl * s + bw * c, low, high)
    if low > high:
        return low, high
    low, high = _axis(dx * bc + dy * bs, wx * bc + wy * bs, bl + al * c + aw * s, low, high)
    if low > high:
        return low, high
    return _axis(dy * bc - dx * bs, wy * bc - wx * bs, bw + al * s + aw * c, low, high)


@njit(cache=True, nogil=True, error_model="numpy")
def time_to_contact(
    ego: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    agents: NDArray[np.float64],
    valid: NDArray[np.bool_],
    half_size: NDArray[np.float64],
    now: int,
    length: NDArray[np.int64],
    horizon: float,
    out: NDArray[np.float64],
    who: NDArray[np.int32],
) -> None:
    """Time until the ego's box touches an agent's, at each step of S rollouts.

    From each step on, the ego and the agents go on straight at their velocity, headings fixed.
    Left out, as in NAVSIM's TTC: steps at which the ego stands (below 0.005 m/s), and agents
    behind (bearing of their centre from the rear axle beyond 150 degrees).

    Args:
        ego: [S, F, 11] `EgoIndex`, rear axle, world frame.
        vehicle: [S, 6], a `Vehicle.as_array()` each.
        agents: [S, A, F, 5] `StateIndex`, box centres, world frame.
        valid: bool [S, A, F].
        half_size: [S, A, 2], half length and half width [m].
        now: row of F that is step 0.
        length: int64 [S], steps driven.
        horizon: contacts later than this are not looked for [s].
        out: [S, T + 1], overwritten up to `length`: seconds to contact, 0 where boxes touch,
            `horizon` where there is no contact.
        who: int32 [S, T + 1], overwritten up to `length`: the agent that is first, the lowest
            row of several, -1 for none.
    """
    pose = np.empty((out.shape[1], 6))
    for i in range(ego.shape[0]):
        half_length, half_width = 0.5 * (vehicle[i, 1] + vehicle[i, 2]), 0.5 * vehicle[i, 0]
        to_centre = 0.5 * (vehicle[i, 1] - vehicle[i, 2])
        radius = math.sqrt(half_length * half_length + half_width * half_width)
        steps = length[i] + 1
        for t in range(steps):
            out[i, t], who[i, t] = horizon, -1
            state = ego[i, now + t]
            c, s = math.cos(state[2]), math.sin(state[2])
            pose[t, 0], pose[t, 1], pose[t, 2], pose[t, 3] = state[0], state[1], c, s
            pose[t, 4] = state[3] * c - state[4] * s
            pose[t, 5] = state[3] * s + state[4] * c
        for a in range(agents.shape[1]):
            long, wide = half_size[i, a, 0], half_size[i, a, 1]
            reach = radius + math.sqrt(long * long + wide * wide)
            reach2 = reach * reach * (1.0 + 1e-9)
            for t in range(steps):
                if not valid[i, a, now + t]:
                    continue
                c, s, vx, vy = pose[t, 2], pose[t, 3], pose[t, 4], pose[t, 5]
                f = now + t
                rx, ry = agents[i, a, f, 0] - pose[t, 0], agents[i, a, f, 1] - pose[t, 1]
                dx, dy = rx - to_centre * c, ry - to_centre * s
                wx, wy = agents[i, a, f, 3] - vx, agents[i, a, f, 4] - vy
                d2 = dx * dx + dy * dy
                if d2 > reach2:
                    closing = -(dx * wx + dy * wy)
                    if closing <= 0.0:
                        continue
                    w2 = wx * wx + wy * wy
                    spare = closing * closing - w2 * (d2 - reach2)
                    if spare < 0.0 or closing - math.sqrt(spare) > out[i, t] * w2:
                        continue
                if vx * vx + vy * vy < _STOPPED * _STOPPED:
                    continue
                if rx * c + ry * s < _COS_BEHIND * math.sqrt(rx * rx + ry * ry):
                    continue
                bc, bs = math.cos(agents[i, a, f, 2]), math.sin(agents[i, a, f, 2])
                first, last = contact_interval(
                    dx, dy, wx, wy, c, s, half_length, half_width, bc, bs, long, wide
                )
                first = max(0.0, first)
                if first <= last and first < out[i, t]:
                    out[i, t], who[i, t] = first, a
