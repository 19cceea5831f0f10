"""EPDMS, the extended PDM Score, version 2 (Cao et al., CoRL 2025)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from roadworthy.dynamics.simulate import simulate_plans
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import DT
from roadworthy.score import Column, MetricSpec, Scores

from .driven import driven
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
    vehicle = rollouts.cases[row].scenario.vehicle
    steps = np.asarray(plans.step, np.int64)
    if len(steps) < 2:
        return float("nan")
    reach = min(_HORIZON, round(plans.poses.shape[1] * plans.dt / DT))
    simulated: dict[int, NDArray[np.float64]] = {}

    def states(k: int) -> NDArray[np.float64]:
        if k not in simulated:
            start = rollouts.ego[row, rollouts.now + int(steps[k])]
            poses = plans.poses[k][None]
            simulated[k] = simulate_plans(start, poses, plans.dt, vehicle, reach)
        return simulated[k]

    agree: list[float] = []
    last = -_APART
    for k in range(1, len(steps)):
        if steps[k] - last < _APART:
            continue
        near = np.flatnonzero((steps[:k] >= steps[k] - _APART) & (steps[:k] < steps[k]))
        if len(near) == 0:
            continue
        before = int(near[0])
        apart = int(steps[k] - steps[before])
        if reach + 1 - apart < _SHORTEST:
            continue
        now, then = states(k), states(before)
        agree.append(float(extended_comfort(now, then, apart * DT)[0][0]))
        last = int(steps[k])
    return float(np.mean(agree)) if agree else float("nan")


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
            Column("epdms", doc="Extended PDM Score, version 2", headline=True),
            Column(
                "nc", doc="No at-fault collision: 0 with a road user, 0.5 with an object, else 1"
            ),
            Column("dac", doc="Drivable area compliance: 0 if a corner ever leaves it"),
            Column("ddc", doc="Driving direction compliance: 0.5 from 2 m off-route, 0 from 6 m"),
            Column("tlc", doc="Traffic light compliance: 0 if a red connector is ever touched"),
            Column("ep", doc="Ego progress: a plan's over PDM-Closed's, a drive's over the log's"),
            Column("ttc", doc="Time to collision: 0 if ever below 1 s"),
            Column("lk", doc="Lane keeping: 0 if over 0.5 m from the centreline for 2 s"),
            Column("hc", doc="History comfort: 1 if all six signals stay within bounds"),
            Column("ec", doc="Extended comfort: share of plans that agree with the one before"),
            Column(
                "official",
                better="neither",
                doc="1 where a plan was scored as NAVSIM does (open loop), 0 for a drive",
            ),
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
