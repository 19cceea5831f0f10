"""Comfort of one trajectory and agreement of two plans (specification, section 5)."""

from __future__ import annotations

import math
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .savgol import SavgolFilter, apply_savgol, savgol_filter

__all__ = [
    "EXTENDED_COMFORT_BOUNDS",
    "ComfortCheck",
    "ComfortFilters",
    "comfort",
    "comfort_filters",
    "extended_comfort",
    "history_states",
]


class ComfortCheck(IntEnum):
    """The six checks, in order."""

    LON_ACCEL = 0
    LAT_ACCEL = 1
    JERK = 2
    LON_JERK = 3
    YAW_ACCEL = 4
    YAW_RATE = 5


class ComfortFilters(NamedTuple):
    """Filters for series of one length. Build with `comfort_filters`.

    Attributes:
        accel: for longitudinal and lateral acceleration.
        smooth: for accelerations before they are differentiated.
        jerk: first derivative.
        yaw_accel: second derivative of the heading.
        yaw_rate: first derivative of the heading.
        offset: rear axle to box centre where accelerations are taken at the centre, else 0 [m].
    """

    accel: SavgolFilter
    smooth: SavgolFilter
    jerk: SavgolFilter
    yaw_accel: SavgolFilter
    yaw_rate: SavgolFilter
    offset: float


EXTENDED_COMFORT_BOUNDS = (0.7, 0.5, 0.1, 0.1)
"""RMS bounds: acceleration [m/s2], jerk [m/s3], yaw rate [rad/s], yaw acceleration [rad/s2]."""


@lru_cache(maxsize=64)
def comfort_filters(length: int, version: int, offset: float = 0.0) -> ComfortFilters:
    """The filters of version 1 (C, window 41, rear axle) or 2 (HC, windows 8 and 15, centre).

    Args:
        length: samples of the series, at least 4.
        version: 1 or 2.
        offset: rear axle to box centre [m], used by version 2.

    Raises:
        ValueError: fewer than four samples.
    """
    if length < 4:
        raise ValueError(f"comfort needs at least 4 samples, got {length}")
    accel, jerk = (41, 41) if version == 1 else (8, 15)
    return ComfortFilters(
        savgol_filter(length, accel, 2, 0),
        savgol_filter(length, 8, 2, 0),
        savgol_filter(length, jerk, 2, 1),
        savgol_filter(length, 5, 3, 2),
        savgol_filter(length, 5, 2, 1),
        float(offset) if version == 2 else 0.0,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _unwrap(heading: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    turns = 0.0
    for i in range(heading.shape[0]):
        if i > 0:
            turns += np.rint((heading[i] - heading[i - 1]) / (2.0 * math.pi))
        out[i] = heading[i] - 2.0 * math.pi * turns


@njit(cache=True, nogil=True, error_model="numpy")
def _check(signal: NDArray[np.float64], low: float, high: float) -> int:
    """The first sample that is not strictly between the bounds, -1 if none."""
    for i in range(signal.shape[0]):
        if not low < signal[i] < high:
            return i
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def comfort(
    states: NDArray[np.float64],
    history: NDArray[np.float64],
    filters: ComfortFilters,
    first: NDArray[np.int64],
) -> None:
    """The six comfort checks of one trajectory.

    Args:
        states: float64 [T, 11] (`EgoIndex`).
        history: float64 [H, 11], states before them at 10 Hz; H = 0 for none.
        filters: `comfort_filters(H + T, ...)`.
        first: int64 [6], overwritten: the first sample of history + states that fails each
            `ComfortCheck`, -1 where it passes.
    """
    h = history.shape[0]
    n = h + states.shape[0]
    lon, lat, size, yaw = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        row = history[i] if i < h else states[i - h]
        lon[i] = row[5] + filters.offset * (row[9] * row[9] + row[10])
        lat[i] = row[6]
        size[i] = math.sqrt(row[5] * row[5] + row[6] * row[6])
        yaw[i] = row[2]
    a, b = np.empty(n), np.empty(n)
    apply_savgol(lon, filters.accel, a)
    first[0] = _check(a, -4.05, 2.40)
    apply_savgol(lat, filters.accel, a)
    first[1] = _check(a, -4.89, 4.89)
    apply_savgol(size, filters.smooth, a)
    apply_savgol(a, filters.jerk, b)
    first[2] = _check(b, -8.37, 8.37)
    apply_savgol(lon, filters.smooth, a)
    apply_savgol(a, filters.jerk, b)
    first[3] = _check(b, -4.13, 4.13)
    _unwrap(yaw, a)
    apply_savgol(a, filters.yaw_accel, b)
    first[4] = _check(b, -1.93, 1.93)
    apply_savgol(a, filters.yaw_rate, b)
    first[5] = _check(b, -0.95, 0.95)


@njit(cache=True, nogil=True, error_model="numpy")
def _plan_features(
    states: NDArray[np.float64], filters: ComfortFilters, out: NDArray[np.float64]
) -> None:
    n = states.shape[0]
    a, yaw = np.empty(n), np.empty(n)
    for i in range(n):
        a[i] = math.sqrt(states[i, 5] * states[i, 5] + states[i, 6] * states[i, 6])
    apply_savgol(a, filters.smooth, out[0])
    apply_savgol(out[0], filters.jerk, out[1])
    _unwrap(states[:, 2].copy(), yaw)
    apply_savgol(yaw, filters.yaw_rate, out[2])
    apply_savgol(yaw, filters.yaw_accel, out[3])


@njit(cache=True, nogil=True, error_model="numpy")
def _extended(
    current: NDArray[np.float64],
    previous: NDArray[np.float64],
    shift: int,
    filters: ComfortFilters,
    out: NDArray[np.float64],
) -> None:
    n = current.shape[1] - shift
    now, then = np.empty((4, n)), np.empty((4, n))
    for p in range(current.shape[0]):
        _plan_features(current[p, :n], filters, now)
        _plan_features(previous[p, shift:], filters, then)
        for k in range(4):
            total = 0.0
            for i in range(n):
                total += (now[k, i] - then[k, i]) ** 2
            out[p, k] = math.sqrt(total / n)


def extended_comfort(
    current: NDArray[np.float64], previous: NDArray[np.float64], delta: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two-frame extended comfort (EC, version 2) of P pairs of plans.

    Args:
        current: [P, T, 11], simulated states of the current plans.
        previous: [P, T, 11], of the plans made `delta` earlier.
        delta: time between them [s], 0 < delta < 0.55.

    Returns:
        EC float64 [P] (0 or 1), and the RMS differences float64 [P, 4] of acceleration, jerk,
        yaw rate and yaw acceleration over the steps that both plans cover.

    Raises:
        ValueError: shapes that differ, or delta out of range.
    """
    current = np.require(current, np.float64, ["C", "W"])
    previous = np.require(previous, np.float64, ["C", "W"])
    if current.shape != previous.shape or current.ndim != 3 or current.shape[2] != 11:
        raise ValueError(f"current {current.shape} and previous {previous.shape}: not [P, T, 11]")
    if not 0.0 < delta < 0.55:
        raise ValueError(f"delta = {delta!r} s: must lie in (0, 0.55)")
    shift = round(delta / 0.1)
    length = current.shape[1] - shift
    filters = _extended_filters(length)
    rms = np.empty((len(current), 4))
    _extended(current, previous, shift, filters, rms)
    agree: NDArray[np.bool_] = np.all(rms <= np.array(EXTENDED_COMFORT_BOUNDS), axis=1)
    return agree.astype(np.float64), rms


@lru_cache(maxsize=16)
def _extended_filters(length: int) -> ComfortFilters:
    filters = comfort_filters(length, 2)
    return filters._replace(yaw_accel=savgol_filter(length, 5, 2, 2))


def history_states(past: NDArray[np.float64], time_us: NDArray[np.int64]) -> NDArray[np.float64]:
    """The ego's past at 10 Hz, to be put before a trajectory for HC (version 2).

    Args:
        past: [N, 11], past ego states in time order, the last one now.
        time_us: [N], their time stamps, increasing [microseconds].

    Returns:
        float64 [H, 11], states from the first stamp on, 0.1 s apart, of which the one closest
        to now is left out (as NAVSIM does): 14 for a past of exactly 1.5 s. Steering rate, yaw
        rate and yaw acceleration are 0.

    Raises:
        ValueError: fewer than two states, or stamps that do not increase.
    """
    past = np.asarray(past, np.float64)
    stamp = np.asarray(time_us, np.int64)
    if past.ndim != 2 or past.shape[1] != 11 or len(past) < 2 or stamp.shape != (len(past),):
        raise ValueError(f"past {past.shape} and time_us {stamp.shape}: not [N >= 2, 11] and [N]")
    if (np.diff(stamp) <= 0).any():
        raise ValueError("time_us must increase")
    query = np.arange(stamp[0], stamp[-1], 100_000)[:-1]
    out = np.zeros((len(query), 11))
    for column in (0, 1, 2, 3, 4, 5, 6, 7):
        values = np.unwrap(past[:, column]) if column == 2 else past[:, column]
        out[:, column] = np.interp(query - stamp[0], stamp - stamp[0], values)
    out[:, 2] = (out[:, 2] + np.pi) % (2.0 * np.pi) - np.pi
    return out
