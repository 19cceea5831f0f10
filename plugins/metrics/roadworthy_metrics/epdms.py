"""EPDMS, the extended PDM Score, version 2 (Cao et al., CoRL 2025)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import make_profile, track_step
from roadworthy.dynamics.tracker import interpolate_plan, velocity_operator
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import DT
from roadworthy.score import SHARE, Column, MetricSpec, Scores
from roadworthy.vehicle import EGO_STATE_SIZE

from .driven import DAC, EP, NC, OFFICIAL, TTC, driven
from .pdm.comfort import extended_comfort
from .pdm.evaluate import Term
from .pdm.totals import epdms

__all__ = ["EPDMS", "plan_agreement"]

_APART = 5
_HORIZON = 40
_SHORTEST = 4


def plan_agreement(rollouts: RolloutBatch, row: int) -> float:
    """Extended comfort (EC) of the plans made during one rollout.

    Each plan is compared with the latest one made at most 0.5 s before it (0.5 s earlier where
    there is one), at most twice a second. Both are simulated from the ego's state at the time,
    over 4 s or as far as they reach, and compared as EC defines.

    Returns:
        The share of pairs that agree; NaN where no two plans can be compared.
    """
    plans = rollouts.plans[row]
    steps = np.asarray(plans.step, np.int64)
    if len(steps) < 2:
        return float("nan")
    reach = min(_HORIZON, round(plans.poses.shape[1] * plans.dt / DT))
    pairs: list[tuple[int, int]] = []
    last = -_APART
    for k in range(1, len(steps)):
        if steps[k] - last < _APART:
            continue
        near = np.flatnonzero((steps[:k] >= steps[k] - _APART) & (steps[:k] < steps[k]))
        if len(near) and reach + 1 - (steps[k] - steps[near[0]]) >= _SHORTEST:
            pairs.append((k, int(near[0])))
            last = int(steps[k])
    if not pairs:
        return float("nan")
    used, place = np.unique(pairs, return_inverse=True)
    now, then = place.reshape(-1, 2).T
    states = np.empty((len(used), reach + 1, EGO_STATE_SIZE))
    _simulate_plans(
        rollouts.ego[row, rollouts.now + steps[used]],
        np.ascontiguousarray(plans.poses[used], np.float64),
        float(plans.dt),
        velocity_operator(reach),
        rollouts.cases[row].scenario.vehicle.as_array(),
        states,
    )
    apart = steps[used[now]] - steps[used[then]]
    agree = np.empty(len(pairs))
    for gap in np.unique(apart):
        chosen = apart == gap
        agree[chosen], _ = extended_comfort(states[now[chosen]], states[then[chosen]], gap * DT)
    return float(agree.mean())


@njit(cache=True, nogil=True, error_model="numpy")
def _simulate_plans(
    initial: NDArray[np.float64],
    plans: NDArray[np.float64],
    interval: float,
    operator: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Simulate P plans from P states.

    Args:
        initial: [P, 11] (`EgoIndex`), world frame.
        plans: [P, N, 3], poses in the ego frame of `initial` at interval, 2 interval, ...
        interval: spacing of the poses [s].
        operator: `velocity_operator(T - 1)`.
        vehicle: [6] `Vehicle.as_array()`.
        out: [P, T, 11], overwritten.
    """
    reference = np.empty((out.shape[1], 3))
    for p in range(out.shape[0]):
        interpolate_plan(initial[p, :3], plans[p], interval, reference)
        profile = make_profile(reference, operator)
        out[p, 0] = initial[p]
        for t in range(out.shape[1] - 1):
            track_step(out[p, t], profile, t, vehicle, out[p, t + 1])


class EPDMS:
    """EPDMS of rollouts. Terms lie in [0, 1]; more is better.

    Of a plan (a rollout in open loop) it is NAVSIM's, by `roadworthy_metrics.plans`: EP against
    PDM-Closed, the human filter, and no EC, which needs a second plan. Of a drive, EP is measured
    against the log and nothing is filtered. The column `official` tells the two apart.
    """

    spec = MetricSpec(
        name="epdms",
        version="2",
        columns=(
            Column(
                "epdms",
                doc="Extended PDM Score, version 2",
                headline=True,
                drivable_area=True,
                bounds=SHARE,
            ),
            NC,
            DAC,
            Column(
                "ddc",
                doc="Driving direction compliance: 0.5 from 2 m off-route, 0 from 6 m",
                bounds=SHARE,
            ),
            Column(
                "tlc",
                doc="Traffic light compliance: 0 if a red connector is ever touched",
                bounds=SHARE,
            ),
            EP,
            TTC,
            Column(
                "lk", doc="Lane keeping: 0 if over 0.5 m from the centreline for 2 s", bounds=SHARE
            ),
            Column(
                "hc", doc="History comfort: 1 if all six signals stay within bounds", bounds=SHARE
            ),
            Column(
                "ec",
                doc="Extended comfort: share of plans that agree with the one before",
                bounds=SHARE,
            ),
            OFFICIAL,
        ),
        source="NAVSIM v2 (Cao et al., CoRL 2025, arXiv 2506.04218)",
        formula="epdms = nc * dac * ddc * tlc * (5 ep + 5 ttc + 2 lk + 2 hc + 2 ec) / 16, "
        "without ec / 14 where it is undefined",
    )

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout; NaN where the case failed, `ec` also where it has no two plans."""
        found = driven(rollouts, 2)
        ec = np.array(
            [
                float("nan") if rollouts.errors[i] is not None else plan_agreement(rollouts, i)
                for i in range(len(rollouts))
            ]
        )
        values = {
            "epdms": epdms(found.value, found.ep, ec),
            "nc": found.value[:, Term.NC],
            "dac": found.value[:, Term.DAC],
            "ddc": found.value[:, Term.DDC],
            "tlc": found.value[:, Term.TLC],
            "ep": found.ep,
            "ttc": found.value[:, Term.TTC],
            "lk": found.value[:, Term.LK],
            "hc": found.value[:, Term.COMFORT],
            "ec": ec,
            "official": found.official,
        }
        return Scores(self.spec, values, found.per_step, found.events)
