"""nuPlan's comfort checks over whole rollouts, with the share of steps within bounds."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.rollout import RolloutBatch
from roadworthy.score import SHARE, Column, MetricSpec, Scores

from .pdm.comfort import ComfortFilters, comfort_filters
from .pdm.savgol import apply_savgol

__all__ = ["BOUNDS", "Comfort"]

BOUNDS = {
    "lon_accel": (-4.05, 2.40),
    "lat_accel": (-4.89, 4.89),
    "jerk": (-8.37, 8.37),
    "lon_jerk": (-4.13, 4.13),
    "yaw_accel": (-1.93, 1.93),
    "yaw_rate": (-0.95, 0.95),
}
"""nuPlan's bounds, strict: m/s2, m/s2, m/s3, m/s3, rad/s2, rad/s."""

_LIMITS = np.array(list(BOUNDS.values()))

_COLUMNS = (
    Column(
        "comfortable",
        doc="1 where all six signals stay within nuPlan's bounds at every step, else 0",
        headline=True,
        bounds=SHARE,
    ),
    Column(
        "share_within",
        doc="Share of the steps at which all six signals are within bounds",
        bounds=SHARE,
    ),
    Column("max_lon_accel", "lower", "m/s2", "Largest longitudinal acceleration"),
    Column("max_braking", "lower", "m/s2", "Largest longitudinal deceleration, at least 0"),
    Column("max_lat_accel", "lower", "m/s2", "Largest absolute lateral acceleration"),
    Column("max_jerk", "lower", "m/s3", "Largest absolute rate of the acceleration's magnitude"),
    Column("max_lon_jerk", "lower", "m/s3", "Largest absolute longitudinal jerk"),
    Column("max_yaw_accel", "lower", "rad/s2", "Largest absolute yaw acceleration"),
    Column("max_yaw_rate", "lower", "rad/s", "Largest absolute yaw rate"),
)


@njit(cache=True, nogil=True, error_model="numpy")
def _signals(
    states: NDArray[np.float64], filters: ComfortFilters, out: NDArray[np.float64]
) -> None:
    """The six filtered signals of one series, in the order of `BOUNDS`.

    Args:
        states: [T, 11] `EgoIndex`, T >= 4, at 10 Hz.
        filters: `comfort_filters(T, 2)`.
        out: [6, T], overwritten.
    """
    n = states.shape[0]
    yaw, lat, lon, a = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    turns = 0.0
    for t in range(n):
        if t > 0:
            turns += np.rint((states[t, 2] - states[t - 1, 2]) / (2.0 * math.pi))
        yaw[t] = states[t, 2] - 2.0 * math.pi * turns
        lon[t] = states[t, 5]
    apply_savgol(yaw, filters.yaw_accel, out[4])
    apply_savgol(yaw, filters.yaw_rate, out[5])
    for t in range(n):
        lat[t] = states[t, 3] * out[5, t]
    apply_savgol(lon, filters.accel, out[0])
    apply_savgol(lat, filters.accel, out[1])
    for t in range(n):
        a[t] = math.sqrt(lon[t] * lon[t] + lat[t] * lat[t])
    apply_savgol(a, filters.smooth, yaw)
    apply_savgol(yaw, filters.jerk, out[2])
    apply_savgol(lon, filters.smooth, yaw)
    apply_savgol(yaw, filters.jerk, out[3])


@njit(cache=True, nogil=True, error_model="numpy")
def _summarise(
    states: NDArray[np.float64],
    filters: ComfortFilters,
    limits: NDArray[np.float64],
    within: NDArray[np.float64],
    row: NDArray[np.float64],
) -> None:
    """Write `within` [T] (1 where all six signals are in bounds) and `row` [9] (`_COLUMNS`)."""
    n = states.shape[0]
    signal = np.empty((6, n))
    _signals(states, filters, signal)
    good = 0
    for t in range(n):
        inside = True
        for k in range(6):
            inside = inside and limits[k, 0] < signal[k, t] < limits[k, 1]
        within[t] = 1.0 if inside else 0.0
        good += inside
    row[0] = 1.0 if good == n else 0.0
    row[1] = good / n
    row[2] = signal[0].max()
    row[3] = max(0.0, -signal[0].min())
    for k in range(1, 6):
        row[3 + k] = max(signal[k].max(), -signal[k].min())


class Comfort:
    """Six comfort checks of nuPlan on the driven steps of each rollout.

    Signals are Savitzky-Golay filtered as nuPlan does (windows 8 and 15 samples for
    acceleration and jerk, 5 for the heading's derivatives). The lateral acceleration is speed
    times yaw rate: a simulated bicycle reports 0 for it, which would leave that check empty.
    Only driven steps count (no logged history), so nothing here is the log's fault.
    """

    spec = MetricSpec(
        name="comfort",
        version="1",
        columns=_COLUMNS,
        source="nuPlan (Karnchanachari et al., ICRA 2024, arXiv 2403.04133), comfort metrics",
        formula="comfortable = 1 if share_within = 1 else 0",
    )

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout; NaN for a rollout of fewer than four states (0.3 s)."""
        count, now = len(rollouts), rollouts.now
        table = np.full((count, len(_COLUMNS)), np.nan)
        within = np.full((count, rollouts.ego.shape[1] - now), np.nan)
        for i, length in enumerate(rollouts.length.tolist()):
            if length >= 3:
                states = rollouts.ego[i, now : now + length + 1]
                filters = comfort_filters(length + 1, 2)
                _summarise(states, filters, _LIMITS, within[i, : length + 1], table[i])
        values = {column.name: table[:, k] for k, column in enumerate(_COLUMNS)}
        return Scores(self.spec, values, {"within_bounds": within})
