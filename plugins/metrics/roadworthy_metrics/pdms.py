"""PDMS, the PDM Score version 1 (NAVSIM; Dauner et al., NeurIPS 2024)."""

from __future__ import annotations

from roadworthy.rollout import RolloutBatch
from roadworthy.score import Column, MetricSpec, Scores

from .driven import driven
from .pdm.evaluate import Term
from .pdm.totals import pdms

__all__ = ["PDMS"]


class PDMS:
    """PDMS of rollouts. Terms lie in [0, 1]; more is better.

    Of a plan (a rollout in open loop) it is NAVSIM's, by `roadworthy_metrics.plans`. Of a drive,
    two terms are others: EP is measured against the log, not against PDM-Closed, and TTC ends
    where the rollout does, not a second later. The column `official` tells the two apart.
    """

    spec = MetricSpec(
        name="pdms",
        version="2",
        columns=(
            Column("pdms", doc="PDM Score, version 1", headline=True, drivable_area=True),
            Column(
                "nc", doc="No at-fault collision: 0 with a road user, 0.5 with an object, else 1"
            ),
            Column(
                "dac",
                doc="Drivable area compliance: 0 if a corner ever leaves it",
                drivable_area=True,
            ),
            Column("ep", doc="Ego progress: a plan's over PDM-Closed's, a drive's over the log's"),
            Column("ttc", doc="Time to collision: 0 if ever below 1 s"),
            Column("comfort", doc="Comfort: 1 if all six signals stay within bounds"),
            Column("ddc", doc="Driving direction compliance (not part of the total)"),
            Column(
                "official",
                better="neither",
                doc="1 where a plan was scored as NAVSIM does (open loop), 0 for a drive",
            ),
        ),
        source="NAVSIM (Dauner et al., NeurIPS 2024, arXiv 2406.15349)",
        formula="pdms = nc * dac * (5 ep + 5 ttc + 2 comfort) / 12",
    )

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout; NaN where the case failed."""
        found = driven(rollouts, 1)
        values = {
            "pdms": pdms(found.value, found.ep),
            "nc": found.value[:, Term.NC],
            "dac": found.value[:, Term.DAC],
            "ep": found.ep,
            "ttc": found.value[:, Term.TTC],
            "comfort": found.value[:, Term.COMFORT],
            "ddc": found.value[:, Term.DDC],
            "official": found.official,
        }
        return Scores(self.spec, values, found.per_step, found.events)
