"""No at-fault collision and time to collision (specification, section 5)."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import boxes_intersect, segment_intersects_box

from .motion import Motion
from .scene import FAR, Agents

__all__ = ["CollisionKind", "collisions", "overlapping", "time_to_collision"]


class CollisionKind(IntEnum):
    """How the ego met an object (nuPlan's collision types)."""

    STOPPED_EGO = 0
    STOPPED_TRACK = 1
    ACTIVE_FRONT = 2
    ACTIVE_REAR = 3
    ACTIVE_LATERAL = 4


_STOPPED = 0.05
_TTC_STOPPED = 0.005
_COS_AHEAD = math.cos(math.radians(30.0))
_COS_BEHIND = math.cos(math.radians(150.0))
_WINDOW = 41
_LOOK_AHEAD = 10
_TOUCHY = 3  # Area.MULTIPLE_LANES | Area.NON_DRIVABLE
_CROSSING = 16  # Area.AXLE_IN_INTERSECTION


@njit(cache=True, nogil=True, error_model="numpy")
def overlapping(
    agents: Agents,
    frame: int,
    x: float,
    y: float,
    c: float,
    s: float,
    half_length: float,
    half_width: float,
    out: NDArray[np.bool_],
) -> None:
    """Which objects' boxes intersect a box at a frame.

    Args:
        agents: the objects.
        frame: index into their frames.
        x, y, c, s, half_length, half_width: the box, as in `roadworthy.geometry.boxes`.
        out: bool [A], overwritten.
    """
    for a in range(agents.radius.shape[0]):
        out[a] = agents.x[frame, a] < FAR and boxes_intersect(
            x, y, c, s, half_length, half_width,
            agents.x[frame, a], agents.y[frame, a],
            math.cos(agents.yaw[frame, a]), math.sin(agents.yaw[frame, a]),
            agents.half_length[a], agents.half_width[a],
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _meets(
    motion: Motion, t: int, x: float, y: float, agents: Agents, frame: int, a: int, reach: float
) -> bool:
    """Whether the ego's box, centred at (x, y) with the heading of step t, meets object a."""
    dx, dy = agents.x[frame, a] - x, agents.y[frame, a] - y
    circle = reach + agents.radius[a]
    if dx * dx + dy * dy > circle * circle * (1.0 + 1e-9):
        return False
    yaw = agents.yaw[frame, a]
    return boxes_intersect(
        x, y, motion.cos[t], motion.sin[t], motion.half_length, motion.half_width,
        agents.x[frame, a], agents.y[frame, a], math.cos(yaw), math.sin(yaw),
        agents.half_length[a], agents.half_width[a],
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _kind(motion: Motion, t: int, agents: Agents, a: int) -> int:
    """The `CollisionKind` of ego and object a, whose boxes intersect at step t.

    An object's speed is that of the first frame, in the 41 frames up to t, in which it is seen.
    """
    if motion.speed[t] <= _STOPPED:
        return 0
    if agents.static[a]:
        return 1
    for frame in range(max(0, t - _WINDOW + 1), t + 1):
        if agents.x[frame, a] < FAR:
            if agents.speed[frame, a] <= _STOPPED:
                return 1
            break
    dx, dy = agents.x[t, a] - motion.x[t], agents.y[t, a] - motion.y[t]
    c, s = motion.cos[t], motion.sin[t]
    if dx * c + dy * s < _COS_BEHIND * math.sqrt(dx * dx + dy * dy):
        return 3
    front_x = motion.centre_x[t] + motion.half_length * c
    front_y = motion.centre_y[t] + motion.half_length * s
    wx, wy = -motion.half_width * s, motion.half_width * c
    yaw = agents.yaw[t, a]
    if segment_intersects_box(
        front_x + wx, front_y + wy, front_x - wx, front_y - wy,
        agents.x[t, a], agents.y[t, a], math.cos(yaw), math.sin(yaw),
        agents.half_length[a], agents.half_width[a],
    ):  # fmt: skip
        return 2
    return 4


@njit(cache=True, nogil=True, error_model="numpy")
def collisions(
    motion: Motion,
    flags: NDArray[np.uint8],
    agents: Agents,
    ignored: NDArray[np.bool_],
    events: NDArray[np.int32],
) -> tuple[float, int, int, int, int]:
    """No at-fault collision (NC) of one trajectory.

    Args:
        motion: the trajectory, T steps; the agents must have at least T frames.
        flags: uint8 [T], `Area` flags.
        agents: the objects.
        ignored: bool [A], scratch.
        events: int32 [E, 3], overwritten with (step, object, `CollisionKind`) of every
            evaluation as far as they fit; E = 0 to stop at the first collision with an agent
            at fault.

    Returns:
        NC (0, 0.5 or 1), first step at fault (-1: none), its object, its kind, evaluations.
    """
    ignored[:] = False
    value, first, who, how, count = 1.0, -1, -1, -1, 0
    reach = math.sqrt(motion.half_length**2 + motion.half_width**2)
    for t in range(motion.x.shape[0]):
        for a in range(agents.radius.shape[0]):
            if not _meets(motion, t, motion.centre_x[t], motion.centre_y[t], agents, t, a, reach):
                continue
            if ignored[a]:
                continue
            kind = _kind(motion, t, agents, a)
            if count < events.shape[0]:
                events[count, 0], events[count, 1], events[count, 2] = t, a, kind
            count += 1
            if kind == 1 or kind == 2 or (kind == 4 and flags[t] & _TOUCHY):
                if first < 0:
                    first, who, how = t, a, kind
                value = min(value, 0.5 if agents.static[a] else 0.0)
                if value == 0.0 and events.shape[0] == 0:
                    return value, first, who, how, count
            else:
                ignored[a] = True
    return value, first, who, how, count


@njit(cache=True, nogil=True, error_model="numpy")
def time_to_collision(
    motion: Motion, flags: NDArray[np.uint8], agents: Agents, ignored: NDArray[np.bool_]
) -> tuple[float, int, int]:
    """Time to collision within bound (TTC) of one trajectory.

    The ego's box is moved on at its speed and heading by 0, 0.3, 0.6 and 0.9 s and tested
    against the objects' boxes then. Steps are those whose whole second ahead lies within the
    agents' frames: 0..40 for 51 frames (version 1), 0..31 for 41 frames (version 2), and all
    but the last nine of a closed-loop rollout.

    Args:
        motion: the trajectory.
        flags: uint8 [T], `Area` flags.
        agents: the objects.
        ignored: bool [A], scratch.

    Returns:
        TTC (0 or 1), first failing step (-1: none), its object.
    """
    ignored[:] = False
    reach = math.sqrt(motion.half_length**2 + motion.half_width**2)
    for t in range(min(motion.x.shape[0], agents.x.shape[0] - _LOOK_AHEAD + 1)):
        speed = motion.speed[t]
        if speed < _TTC_STOPPED:
            continue
        wide = flags[t] & (_TOUCHY | _CROSSING)
        for ahead in range(0, 10, 3):
            shift = speed * 0.1 * ahead
            x = motion.centre_x[t] + shift * motion.cos[t]
            y = motion.centre_y[t] + shift * motion.sin[t]
            frame = t + ahead
            for a in range(agents.radius.shape[0]):
                if not _meets(motion, t, x, y, agents, frame, a, reach) or ignored[a]:
                    continue
                dx, dy = agents.x[frame, a] - motion.x[t], agents.y[frame, a] - motion.y[t]
                along = dx * motion.cos[t] + dy * motion.sin[t]
                distance = math.sqrt(dx * dx + dy * dy)
                if (
                    along > _COS_AHEAD * distance
                    or distance == 0.0
                    or (wide and along >= _COS_BEHIND * distance)
                ):
                    return 0.0, t, a
                ignored[a] = True
    return 1.0, -1, -1
