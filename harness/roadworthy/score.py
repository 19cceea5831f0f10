"""Scores: values with the name and version of the metric that gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARE", "Column", "MetricSpec", "Scores"]

SHARE = (0.0, 1.0)
"""Bounds of a share, and of what is 0 or 1."""


@dataclass(frozen=True, slots=True)
class Column:
    """One number that a metric gives per case.

    Attributes:
        name: unique within the metric, such as `nc`.
        better: which way is better; `neither` for descriptions such as a distance driven.
        unit: SI unit, or "" for a plain number.
        doc: one sentence for the report.
        headline: whether the summary table shows it.
        per_distance: whether it counts events, 0 or 1 per case, that are also reported per
            1,000 km: 1e6 times their sum over the sum of the metric's `distance_m`, both over
            the cases in which this column is defined.
        drivable_area: whether it depends on where the map is drivable; such a column is undefined
            for scenes tagged `roadworthy.scenario.NO_DRIVABLE_AREA`.
        bounds: least and greatest value that it can have, such as `SHARE`; intervals end there.
    """

    name: str
    better: Literal["higher", "lower", "neither"] = "higher"
    unit: str = ""
    doc: str = ""
    headline: bool = False
    per_distance: bool = False
    drivable_area: bool = False
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric's identity. Scores of unequal `name` or `version` are never compared.

    Attributes:
        name: as registered, such as `pdms`.
        version: changes whenever a value could.
        columns: what it gives, in order.
        source: paper or specification of the formula.
        formula: the total in terms of the other columns, for readers, or "".
    """

    name: str
    version: str
    columns: tuple[Column, ...]
    source: str = ""
    formula: str = ""


@dataclass(frozen=True, eq=False)
class Scores:
    """What one metric says of S rollouts.

    Attributes:
        spec: which metric.
        values: column name -> [S]; NaN where the column is undefined for a case (it then
            leaves that column's denominator, visibly).
        per_step: name -> [S, T + 1], row 0 is step 0; for plots and mining.
        events: per case a list of plain JSON-like dicts, each with `kind` and `step`, such as
            `{"kind": "collision", "step": 37, "agent": 4, "at_fault": True}`. Leaving the drivable
            area is of kind `off_road`, and is dropped where the map does not know.
    """

    spec: MetricSpec
    values: Mapping[str, NDArray[np.float64]]
    per_step: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    events: tuple[list[dict[str, Any]], ...] = ()
