"""Whether one planner is better than another: paired, clustered, with intervals and tests.

Cases are paired by key; the repetitions of a scenario are averaged first; scenarios of one
log are one cluster. Differences are B - A over the cases that both drove without an error.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from roadworthy import stats
from roadworthy.comparison.casetable import ColumnKey, bounds_of, column_name, columns_of
from roadworthy.comparison.pairing import Contestant, Entry, Pairs, contestants, pair
from roadworthy.errors import RunError
from roadworthy.rollout import Status
from roadworthy.store import CaseRecord

__all__ = [
    "CaseRef",
    "Challenge",
    "ColumnDifference",
    "Comparison",
    "Mean",
    "Side",
    "Transitions",
    "compare",
]

Verdict = Literal["better", "worse", "different", "unclear", "equal", ""]


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean with its confidence interval.

    Attributes:
        value: the mean over scenarios, null if there are none.
        low, high: ends of the interval, null if there is none.
        interval: how it was found; see `roadworthy.stats.intervals`.
    """

    value: float | None
    low: float | None
    high: float | None
    interval: str


class CaseRef(msgspec.Struct, frozen=True, kw_only=True):
    """Which case; the key links it to the report."""

    key: str
    source: str
    scenario: str
    repetition: int


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One planner of a comparison.

    Attributes:
        label: unique in the comparison.
        planner, run: its label in the run, and the run directory.
        cases: its cases.
        status: how many of them ended in each way.
        privileged: whether it sees the whole log.
        complete: whether its run has a record of every case.
    """

    label: str
    planner: str
    run: str
    cases: int
    status: dict[str, int]
    privileged: bool
    complete: bool


class ColumnDifference(msgspec.Struct, frozen=True, kw_only=True):
    """One metric column of A and B, over the scenarios in which both have it.

    Attributes:
        metric, column, better, unit, headline: as the metric says.
        scenarios, clusters: compared, and how many of them are independent.
        a, b: means.
        difference: mean of B - A; `constant` means that no scenario differs.
        p: two-sided p-value of the sign-flip test, null without scenarios.
        p_holm: corrected over the headline columns of all challengers; null for others.
        verdict: of B, for headline columns: `better`, `worse`, `different` (where neither way
            is better), `unclear` (no difference shown), or `equal` (none seen in any case).
        detectable: smallest true difference that would be found with probability 0.8.
        effect: the difference that `needed` is for: the one asked for, or the observed one.
        needed: scenarios needed to find it with probability 0.8, null where unknown.
    """

    metric: str
    column: str
    better: str
    unit: str
    headline: bool
    scenarios: int
    clusters: int
    a: Mean
    b: Mean
    difference: Mean
    p: float | None
    p_holm: float | None
    verdict: Verdict
    detectable: float | None
    effect: float | None
    needed: int | None

    @property
    def name(self) -> str:
        """`pdms.nc`, or `success` where metric and column have one name."""
        return column_name(self.metric, self.column)

    def power_sentence(self) -> str:
        """What this comparison could have seen, in one sentence."""
        if not self.scenarios:
            return f"{self.name}: no scenario was driven and judged on both sides."
        if self.detectable is None:
            return f"{self.name}: {self._why_unknown()}, so that nothing is known of the spread."
        if self.detectable > 1.0 and self.a.interval == self.b.interval == "exact":
            return f"{self.name}: {self.scenarios} scenarios are too few to show any difference."
        seen = f"{self.scenarios} scenarios show a difference of {self.detectable:.3g}"
        more = ""
        if self.needed is not None and self.effect is not None:
            more = f"; one of {self.effect:.3g} takes about {self.needed:,}"
        return f"{self.name}: {seen} with probability 0.8{more}."

    def _why_unknown(self) -> str:
        if not self.difference.value:
            return "no scenario differs"
        if self.scenarios == 1:
            return "there is one scenario"
        if self.clusters == 1:
            return f"all {self.scenarios} scenarios are of one log"
        return "all scenarios differ alike"


class Transitions(msgspec.Struct, frozen=True, kw_only=True):
    """Cases by whether A and B failed; a case fails as the report's reasons say.

    Attributes:
        fixed: A failed, B did not.
        broken: B failed, A did not.
        still_failing: both failed.
        still_fine: neither failed.
    """

    fixed: tuple[CaseRef, ...]
    broken: tuple[CaseRef, ...]
    still_failing: tuple[CaseRef, ...]
    still_fine: tuple[CaseRef, ...]


class Errored(msgspec.Struct, frozen=True, kw_only=True):
    """A case that left the denominator, and how each side ended."""

    case: CaseRef
    a: str
    b: str


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """B against A.

    Attributes:
        b: the challenger.
        cases, scenarios: compared.
        only_a, only_b: cases that the other side lacks.
        errored: cases in which one side or both ended in an error.
        columns: every column that both have, in the suite's order.
        transitions: fixed, broken, still failing, still fine.
        left_out: metrics that only one side has.
    """

    b: Side
    cases: int
    scenarios: int
    only_a: tuple[CaseRef, ...]
    only_b: tuple[CaseRef, ...]
    errored: tuple[Errored, ...]
    columns: tuple[ColumnDifference, ...]
    transitions: Transitions
    left_out: tuple[str, ...]

    @property
    def headline(self) -> tuple[ColumnDifference, ...]:
        """The columns that the verdict is about."""
        return tuple(c for c in self.columns if c.headline)

    @property
    def transitions_sentence(self) -> str:
        """How many cases were fixed and broken, in one sentence."""
        if not self.cases:
            return "no case was driven by both without an error."
        t = self.transitions
        return (
            f"{len(t.fixed)} fixed, {len(t.broken)} broken, {len(t.still_failing)} still failing, "
            f"{len(t.still_fine)} still fine."
        )

    def errored_by_kind(self) -> dict[str, int]:
        """`timeout / ok` -> number of cases."""
        return dict(Counter(f"{e.a} / {e.b}" for e in self.errored))


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Challengers against A.

    Attributes:
        a: the reference.
        challenges: one per challenger.
        confidence: level of all intervals; 1 - confidence is the level of the tests.
        method: the bootstrap behind the intervals.
        family: number of p-values corrected together.
    """

    a: Side
    challenges: tuple[Challenge, ...]
    confidence: float
    method: str
    family: int

    @property
    def errors(self) -> int:
        """Cases that could not be compared because one side ended in an error."""
        return sum(len(c.errored) for c in self.challenges)


@dataclass(frozen=True)
class _Settings:
    confidence: float
    method: stats.Method
    effect: float | None


def compare(
    entries: Iterable[Entry],
    *,
    confidence: float = 0.95,
    method: stats.Method = "studentised",
    effect: float | None = None,
) -> Comparison:
    """Compare every further planner with the first.

    Args:
        entries: runs (all their planners) or (run, planner) pairs.
        confidence: level of the intervals and tests.
        method: which bootstrap; see `roadworthy.stats.intervals`.
        effect: find the number of scenarios needed for this difference, instead of for the
            observed one.

    Raises:
        RunError: if there are fewer than two, or they must not be compared.
    """
    ready = contestants(entries)
    if len(ready) < 2:
        only = f" ({ready[0].label} alone is named)" if ready else ""
        raise RunError(
            f"a comparison takes two planners{only}",
            hint="Name a second run, or a run with several planners.",
        )
    first, *others = ready
    settings = _Settings(confidence, method, effect)
    challenges = [_challenge(first, other, settings) for other in others]
    return Comparison(
        a=_side(first),
        challenges=tuple(_corrected(challenges, 1.0 - confidence)),
        confidence=confidence,
        method=method,
        family=sum(c.p is not None for ch in challenges for c in ch.headline),
    )


def _challenge(a: Contestant, b: Contestant, settings: _Settings) -> Challenge:
    pairs = pair(a, b)
    mine, theirs = a.run.manifest.metrics, b.run.manifest.metrics
    return Challenge(
        b=_side(b),
        cases=len(pairs.a.records),
        scenarios=len(pairs.a.names),
        only_a=tuple(_ref(r) for r in pairs.only_a),
        only_b=tuple(_ref(r) for r in pairs.only_b),
        errored=tuple(
            Errored(case=_ref(x), a=x.status.value, b=y.status.value) for x, y in pairs.errored
        ),
        columns=_columns(a, pairs, settings),
        transitions=_transitions(a, b, pairs),
        left_out=tuple(name for name in (*mine, *theirs) if not (name in mine and name in theirs)),
    )


def _columns(a: Contestant, pairs: Pairs, settings: _Settings) -> tuple[ColumnDifference, ...]:
    specs = columns_of(a.run.manifest)
    values_a, values_b, change = pairs.scenario_values()
    groups = pairs.a.groups
    level, method = settings.confidence, settings.method
    least, most = bounds_of([specs[key] for key in pairs.columns])
    means_a, means_b = (
        stats.interval_of_means(
            values, groups, bounds=(least, most), confidence=level, method=method
        )
        for values in (values_a, values_b)
    )
    changes = stats.interval_of_means(
        change, groups, shares=False, bounds=(least - most, most - least), confidence=level,
        method=method,
    )  # fmt: skip
    totals = np.zeros((int(groups.max(initial=-1)) + 1, change.shape[1]))
    np.add.at(totals, groups, np.nan_to_num(change))
    p = stats.sign_flip(totals)
    out = []
    for k, key in enumerate(pairs.columns):
        spec, found = specs[key], changes[k]
        effect = settings.effect if settings.effect is not None else found.value
        shares = means_a[k].method == means_b[k].method == "exact"
        power = stats.paired_power(
            found.se,
            found.scenarios,
            effect,
            clusters=found.clusters,
            confidence=level,
        )
        out.append(
            ColumnDifference(
                metric=key[0],
                column=key[1],
                better=spec["better"],
                unit=spec["unit"],
                headline=bool(spec["headline"]),
                scenarios=found.scenarios,
                clusters=found.clusters,
                a=_mean(means_a[k]),
                b=_mean(means_b[k]),
                difference=_of_shares(_mean(found)) if shares else _mean(found),
                p=float(p[k]) if found.scenarios else None,
                p_holm=None,
                verdict="",
                detectable=power.detectable,
                effect=power.effect if math.isfinite(power.effect) else None,
                needed=power.needed,
            )
        )
    return tuple(out)


def _corrected(challenges: list[Challenge], level: float) -> list[Challenge]:
    """With Holm's correction over all headline columns, and the verdicts that follow."""
    family: dict[tuple[int, ColumnKey], float] = {
        (i, (c.metric, c.column)): c.p
        for i, challenge in enumerate(challenges)
        for c in challenge.headline
        if c.p is not None
    }
    adjusted = dict(zip(family, stats.holm(list(family.values())).tolist(), strict=True))
    out = []
    for i, challenge in enumerate(challenges):
        columns = []
        for c in challenge.columns:
            p = adjusted.get((i, (c.metric, c.column)))
            if p is not None:
                c = msgspec.structs.replace(c, p_holm=p, verdict=_verdict(c, p <= level))
            columns.append(c)
        out.append(msgspec.structs.replace(challenge, columns=tuple(columns)))
    return out


def _verdict(column: ColumnDifference, shown: bool) -> Verdict:
    if column.difference.interval == "constant" and column.difference.value == 0.0:
        return "equal"
    if not shown:
        return "unclear"
    if column.better == "neither":
        return "different"
    gain = (column.difference.value or 0.0) > 0.0
    return "better" if gain == (column.better == "higher") else "worse"


def _transitions(a: Contestant, b: Contestant, pairs: Pairs) -> Transitions:
    from roadworthy.report.reasons import failed, reasons_of  # the page shows these same reasons

    cells: dict[tuple[bool, bool], list[CaseRef]] = {}
    for x, y in zip(pairs.a.records, pairs.b.records, strict=True):
        cell = (
            failed(reasons_of(x, a.run.manifest.metrics)),
            failed(reasons_of(y, b.run.manifest.metrics)),
        )
        cells.setdefault(cell, []).append(_ref(x))
    return Transitions(
        fixed=tuple(cells.get((True, False), ())),
        broken=tuple(cells.get((False, True), ())),
        still_failing=tuple(cells.get((True, True), ())),
        still_fine=tuple(cells.get((False, False), ())),
    )


def _side(contestant: Contestant) -> Side:
    records = contestant.records
    ended = Counter(r.status.value for r in records)
    described = contestant.run.manifest.planners[contestant.planner]
    return Side(
        label=contestant.label,
        planner=contestant.planner,
        run=str(contestant.run.path),
        cases=len(records),
        status={s.value: ended[s.value] for s in Status if ended[s.value]},
        privileged=bool(described.get("privileged")),
        complete=contestant.run.manifest.complete,
    )


def _ref(record: CaseRecord) -> CaseRef:
    return CaseRef(
        key=record.key,
        source=record.source,
        scenario=record.scenario,
        repetition=record.repetition,
    )


def _of_shares(difference: Mean) -> Mean:
    """Two shares are no further apart than 1, which Student's t does not know."""
    if difference.low is None or difference.high is None:
        return difference
    low, high = max(difference.low, -1.0), min(difference.high, 1.0)
    return msgspec.structs.replace(difference, low=low, high=high)


def _mean(interval: stats.Interval) -> Mean:
    def known(x: float) -> float | None:
        return float(f"{x:.9g}") if math.isfinite(x) else None

    return Mean(
        value=known(interval.value),
        low=known(interval.low),
        high=known(interval.high),
        interval=interval.method,
    )
