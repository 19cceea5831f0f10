"""PDMS, the PDM Score version 1 (NAVSIM; Dauner et al., NeurIPS 2024)."""

from __future__ import annotations

from roadworthy.rollout import RolloutBatch
from roadworthy.score import SHARE, Column, MetricSpec, Scores

from .driven import DAC, EP, NC, OFFICIAL, TTC, driven
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
            Column(
                "pdms", doc="PDM Score, version 1", headline=True, drivable_area=True, bounds=SHARE
            ),
            NC,
            DAC,
            EP,
            TTC,
            Column("comfort", doc="Comfort: 1 if all six signals stay within bounds", bounds=SHARE),
            Column("ddc", doc="Driving direction compliance (not part of the total)", bounds=SHARE),
            OFFICIAL,
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
