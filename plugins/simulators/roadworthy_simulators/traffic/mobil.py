r"""Lane changes by MOBIL.

A change is made where it is safe, $\tilde a_n > -b_{safe}$, and gains enough for the driver and,
weighed by politeness p, for the new follower n and the old follower o:

$$\tilde a_c - a_c + p\,(\tilde a_n - a_n + \tilde a_o - a_o) > \Delta a_{th}$$

A. Kesting, M. Treiber and D. Helbing, "General lane-changing model MOBIL for car-following
models", Transportation Research Record 1999 (2007) 86.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.scenario import LaneKind

from .following import leader, wish_on
from .idm import idm_acceleration
from .lane_kernels import project
from .occupancy import hinted, insert, next_lane
from .state import Real, Whole

if TYPE_CHECKING:
    from .lanes import Lanes
    from .occupancy import Occupancy

__all__ = ["POLITENESS", "REST_STEPS", "SAFE_DECELERATION", "THRESHOLD", "change_lane"]

POLITENESS = 0.3
"""p."""
THRESHOLD = 0.2
"""Delta a_th [m/s^2]."""
SAFE_DECELERATION = 3.0
"""b_safe [m/s^2]; less than IDM's emergency braking, so that a change never forces one."""
REST_STEPS = 50
"""Steps of 0.1 s before the next change."""
_LANE_ENDS = 2.0
_OFF_ROUTE = 0.5
_MIN_GAP = 1.0
_FOLLOWER_RANGE = 60.0

_KIND_LANE = int(LaneKind.LANE)


@njit(cache=True, nogil=True, error_model="numpy")
def _behind(lanes: Lanes, occ: Occupancy, l: int, s: float) -> tuple[float, int]:
    """The last body at or before s on a lane, or on a lane before it.

    Returns:
        Offset to add to that entry's arc lengths to have them on lane `l`, and the entry, -1
        for none within 60 m.
    """
    found = -1
    e = occ.head[l]
    while e >= 0 and occ.where[e, 0] <= s:
        if occ.what[e, 3] != 2:
            found = e
        e = occ.what[e, 0]
    if found >= 0 or s > _FOLLOWER_RANGE:
        return 0.0, found
    shift, nearest = 0.0, np.inf
    for k in range(lanes.prev_start[l], lanes.prev_start[l + 1]):
        m = lanes.prev_lane[k]
        e, last = occ.head[m], -1
        while e >= 0:
            if occ.what[e, 3] != 2:
                last = e
            e = occ.what[e, 0]
        if last >= 0:
            back = lanes.length[m] - occ.where[last, 0]
            if back < min(nearest, _FOLLOWER_RANGE - s):
                nearest, found, shift = back, last, -lanes.length[m]
    return shift, found


@njit(cache=True, nogil=True, error_model="numpy")
def _wish_of(lanes: Lanes, real: NDArray[np.float64], agent: int, l: int) -> float:
    """Desired speed of a follower; the ego (number A) is taken to want the limit."""
    if agent < len(real):
        return wish_on(lanes, l, real[agent, Real.FACTOR], real[agent, Real.WISH])
    return wish_on(lanes, l, 1.0, 15.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _gain(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    real: NDArray[np.float64],
    a: int,
    l: int,
    m: int,
    at: float,
) -> tuple[float, float]:
    """MOBIL's balance of moving agent `a` from lane `l` to arc length `at` of lane `m`.

    Returns:
        Left minus right side of the incentive criterion (minus infinity where unsafe), and
        the agent's acceleration on the new lane [m/s^2].
    """
    speed, half = real[a, Real.SPEED], real[a, Real.HALF_LENGTH]
    own = hints[a]
    wish = wish_on(lanes, l, real[a, Real.FACTOR], real[a, Real.WISH])
    wish_new = wish_on(lanes, m, real[a, Real.FACTOR], real[a, Real.WISH])
    shift, n = _behind(lanes, occ, m, at)
    gap_new, lead_new, ahead = leader(lanes, occ, own, a, m, n if shift == 0.0 else -1, at + half)
    if gap_new < _MIN_GAP:
        return -np.inf, 0.0
    accel_new = idm_acceleration(speed, wish_new, gap_new, lead_new)
    if accel_new < -SAFE_DECELERATION:
        return -np.inf, 0.0
    others = 0.0
    if n >= 0:
        gap_n = at - half - occ.where[n, 2] - shift
        v_n = occ.where[n, 3]
        if gap_n < _MIN_GAP:
            return -np.inf, 0.0
        if v_n > 0.0:
            wish_n = _wish_of(lanes, real, occ.what[n, 2], m)
            after = idm_acceleration(v_n, wish_n, gap_n, speed)
            if after < -SAFE_DECELERATION:
                return -np.inf, 0.0
            before = wish_n
            gap_before = gap_n + 2.0 * half + gap_new if ahead >= 0 else np.inf
            before = idm_acceleration(v_n, wish_n, gap_before, lead_new)
            others += after - before
    gap, lead, _ = leader(lanes, occ, own, a, l, occ.own[a], real[a, Real.S] + half)
    accel = idm_acceleration(speed, wish, gap, lead)
    e, o = occ.head[l], -1
    while e >= 0 and e != occ.own[a]:
        if occ.what[e, 3] != 2:
            o = e
        e = occ.what[e, 0]
    if o >= 0 and occ.where[o, 3] > 0.0:
        v_o = occ.where[o, 3]
        gap_o = real[a, Real.S] - half - occ.where[o, 2]
        wish_o = _wish_of(lanes, real, occ.what[o, 2], l)
        others += idm_acceleration(v_o, wish_o, gap_o + 2.0 * half + gap, lead)
        others -= idm_acceleration(v_o, wish_o, gap_o, speed)
    bias = 0.0
    onward = lanes.next_start[m + 1] > lanes.next_start[m]
    if lanes.next_start[l + 1] == lanes.next_start[l] and onward:
        bias += _LANE_ENDS
    if hinted(lanes, own, l) and not hinted(lanes, own, m):
        bias -= _OFF_ROUTE
    return accel_new - accel + POLITENESS * others + bias - THRESHOLD, accel_new


@njit(cache=True, nogil=True, error_model="numpy")
def change_lane(
    lanes: Lanes,
    occ: Occupancy,
    hints: NDArray[np.int64],
    real: NDArray[np.float64],
    whole: NDArray[np.int64],
    a: int,
) -> None:
    """Move agent `a` to a neighbouring lane if MOBIL says so.

    Changes are begun on ordinary lanes only (not inside intersections), where 2.5 s of
    travel and 15 m are left before the next intersection, and not during another change.
    From then on the agent belongs to the new lane, with its lateral offset to be made good,
    and keeps its place in the old lane while its body is there.

    Args:
        lanes, occ: lanes and who is on them; the new place is entered at once.
        hints: int64 [A + 1, *].
        real, whole: one scenario's agents; row `a` is changed.
        a: the agent.
    """
    l = whole[a, Whole.LANE]
    if lanes.kind[l] != _KIND_LANE or whole[a, Whole.LEFT_LANE] >= 0 or real[a, Real.SPEED] < 1.0:
        return
    best, target, to, accel = 0.0, -1, 0.0, 0.0
    for k in range(2):
        m = lanes.side[l, k]
        if m < 0 or lanes.kind[m] != _KIND_LANE:
            continue
        u = real[a, Real.S] / lanes.spacing[l]
        i = lanes.first[l] + min(lanes.first[l + 1] - lanes.first[l] - 2, max(0, int(u)))
        f = min(1.0, max(0.0, u - (i - lanes.first[l])))
        at = lanes.beside[i, k] + f * (lanes.beside[i + 1, k] - lanes.beside[i, k])
        if not at >= 0.0:
            continue
        room = lanes.length[m] - at
        n = next_lane(lanes, hints[a], m)
        if n >= 0 and lanes.kind[n] == _KIND_LANE:
            room += lanes.length[n]
        if room < 2.5 * real[a, Real.SPEED] + 15.0:
            continue
        gain, accel_new = _gain(lanes, occ, hints, real, a, l, m, at)
        if gain > best:
            best, target, to, accel = gain, m, at, accel_new
    if target < 0:
        return
    s, d, _ = project(
        lanes, target, int(to / lanes.spacing[target]), real[a, Real.X], real[a, Real.Y]
    )
    whole[a, Whole.LEFT_LANE] = l
    whole[a, Whole.LANE] = target
    whole[a, Whole.REST] = REST_STEPS
    real[a, Real.S], real[a, Real.D] = s, d
    real[a, Real.ACCEL] = min(real[a, Real.ACCEL], accel)
    half = real[a, Real.HALF_LENGTH]
    occ.leaving[a] = occ.own[a]
    occ.own[a] = insert(occ, target, a, s, s - half, s + half, real[a, Real.SPEED], 0.0, 0)
