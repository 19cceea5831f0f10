"""What reports show: runs side by side, their cases paired by key.

Every format (HTML, Markdown, JUnit, LaTeX) is written from one `View`, so that they agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from roadworthy.comparison.casetable import column_name
from roadworthy.comparison.pairing import Contestant
from roadworthy.errors import RunError
from roadworthy.report.reasons import Reason, failed, reasons_of
from roadworthy.rollout import Status
from roadworthy.store import CaseRecord, Run
from roadworthy.summary import ColumnSummary, PlannerSummary, summary_of

__all__ = ["Case", "Column", "Entry", "Result", "View", "view_of"]

_NONE: dict[str, float | None] = {}


@dataclass(frozen=True)
class Column:
    """One metric column.

    Attributes:
        key: metric, version and column; columns of unequal versions are different columns.
        label: how it is headed, `pdms` or `pdms.nc`.
        better, unit, doc, headline, per_distance: as its metric says.
    """

    key: tuple[str, str, str]
    label: str
    better: str
    unit: str
    doc: str
    headline: bool
    per_distance: bool


@dataclass(frozen=True)
class Entry:
    """One planner of one run.

    Attributes:
        label: unique in the view.
        planner: its label in the run.
        run: the run.
        summary: its row of the aggregated table.
        described: what the manifest says of it.
    """

    label: str
    planner: str
    run: Run
    summary: PlannerSummary
    described: dict[str, Any]

    @property
    def privileged(self) -> bool:
        """Whether it sees the whole log."""
        return bool(self.described.get("privileged"))

    @property
    def ok(self) -> int:
        """Cases that were judged."""
        return self.summary.status.get("ok", 0)

    def column(self, column: Column) -> ColumnSummary | None:
        """Its aggregate of a column, None where its run has no such column."""
        metric, version, name = column.key
        if self.run.manifest.metrics.get(metric, {}).get("version") != version:
            return None
        for summary in self.summary.columns:
            if (summary.metric, summary.column) == (metric, name):
                return summary
        return None


@dataclass(frozen=True)
class Result:
    """How one planner fared in one case.

    Attributes:
        record: what was recorded.
        reasons: why it failed, or nearly.
        versions: of the metrics of its run.
    """

    record: CaseRecord
    reasons: tuple[Reason, ...]
    versions: Mapping[str, str]

    @property
    def failed(self) -> bool:
        """By error or by judgement."""
        return failed(self.reasons)

    def value(self, column: Column) -> float | None:
        """Its value of a column; None of a metric of another version."""
        metric, version, name = column.key
        if self.versions.get(metric) != version:
            return None
        return self.record.values.get(metric, {}).get(name)

    def values(self, columns: Sequence[Column]) -> tuple[float | None, ...]:
        """`value` of several columns."""
        versions, found = self.versions, self.record.values
        return tuple(
            found.get(metric, _NONE).get(name) if versions.get(metric) == version else None
            for metric, version, name in [column.key for column in columns]
        )


@dataclass(frozen=True)
class Case:
    """One case, and how each entry of the view fared in it.

    Attributes:
        id: shortest unique beginning of its key, at least 12 characters, for links.
        key: the case's key.
        record: any of its records, for what does not depend on the planner.
        results: one per entry, None where its run has not got the case.
    """

    id: str
    key: str
    record: CaseRecord
    results: tuple[Result | None, ...]

    @property
    def name(self) -> str:
        """Source and scenario, and the repetition where there are several."""
        repetition = f" #{self.record.repetition}" if self.record.repetition else ""
        return f"{self.record.source}/{self.record.scenario}{repetition}"


@dataclass(frozen=True)
class View:
    """Everything that is shown.

    Attributes:
        title: what the page is called.
        runs: the runs shown.
        entries: planners of runs.
        columns: columns of all metrics, in order.
        cases: cases, in the first run's order.
    """

    title: str
    runs: tuple[Run, ...]
    entries: tuple[Entry, ...]
    columns: tuple[Column, ...]
    cases: tuple[Case, ...]

    @cached_property
    def headline(self) -> tuple[Column, ...]:
        """The columns that the summary shows, or the first of all if a suite has none."""
        return tuple(c for c in self.columns if c.headline) or self.columns[:1]

    @cached_property
    def primary(self) -> Column | None:
        """The column by which cases are ranked."""
        ranked = [c for c in (*self.headline, *self.columns) if c.better != "neither"]
        return ranked[0] if ranked else None

    @cached_property
    def values(self) -> tuple[tuple[tuple[float | None, ...] | None, ...], ...]:
        """Per entry and case the values of all columns, None where its run has not got the case."""
        return tuple(
            tuple(
                None if (result := case.results[i]) is None else result.values(self.columns)
                for case in self.cases
            )
            for i in range(len(self.entries))
        )

    @cached_property
    def reasons(self) -> tuple[tuple[Reason, tuple[int, ...]], ...]:
        """Every reason with the number of cases per entry, errors first, then by frequency."""
        counts: dict[tuple[str, str], Counter[int]] = {}
        samples: dict[tuple[str, str], Reason] = {}
        for case in self.cases:
            for i, result in enumerate(case.results):
                for reason in result.reasons if result else ():
                    key = (reason.level, reason.text)
                    counts.setdefault(key, Counter())[i] += 1
                    samples.setdefault(key, reason)
        levels = ("error", "fail", "near")
        order = sorted(counts, key=lambda k: (levels.index(k[0]), -counts[k].total(), k[1]))
        entries = range(len(self.entries))
        return tuple((samples[k], tuple(counts[k][i] for i in entries)) for k in order)

    @cached_property
    def statuses(self) -> tuple[str, ...]:
        """Ways in which a case ended, in a fixed order."""
        met = {s for e in self.entries for s in e.summary.status}
        return tuple(s.value for s in Status if s is Status.OK or s.value in met)

    @cached_property
    def ids(self) -> dict[str, str]:
        """Key of a case -> its id in links."""
        return {case.key: case.id for case in self.cases}

    @cached_property
    def worst(self) -> tuple[Case, ...]:
        """All cases, the worst first: failures, then errors, then near misses, then low scores."""
        return tuple(sorted(self.cases, key=self._badness))

    def _badness(self, case: Case) -> tuple[float, ...]:
        results = [r for r in case.results if r is not None]
        levels = [{reason.level for reason in r.reasons} for r in results]
        counts = [sum(level in met for met in levels) for level in ("fail", "error", "near")]
        score = 0.0
        if self.primary is not None:
            values = [v for r in results if (v := r.value(self.primary)) is not None]
            sign = 1.0 if self.primary.better == "higher" else -1.0
            score = sign * sum(values) / len(values) if values else 0.0
        return (*(-float(c) for c in counts), score)


def view_of(players: Sequence[Contestant], title: str = "") -> View:
    """The view of some planners of one or several runs.

    Raises:
        RunError: if there is nothing to show.
    """
    if not players:
        raise RunError("no planner to show", hint="Name at least one run directory.")
    runs = list({player.run.path: player.run for player in players}.values())
    entries = _entries(players, runs)
    names = list(dict.fromkeys(str(run.manifest.suite.get("name", run.path.name)) for run in runs))
    return View(
        title=title or ", ".join(names),
        runs=tuple(runs),
        entries=entries,
        columns=_columns(runs),
        cases=_cases(entries),
    )


def _entries(players: Sequence[Contestant], runs: Sequence[Run]) -> tuple[Entry, ...]:
    summaries = {(run.path, s.planner): s for run in runs for s in summary_of(run)}
    return tuple(
        Entry(
            player.label,
            player.planner,
            player.run,
            summaries[player.run.path, player.planner],
            player.run.manifest.planners[player.planner],
        )
        for player in players
    )


def _columns(runs: Sequence[Run]) -> tuple[Column, ...]:
    versions: dict[str, set[str]] = {}
    for run in runs:
        for metric, spec in run.manifest.metrics.items():
            versions.setdefault(metric, set()).add(spec["version"])
    found: dict[tuple[str, str, str], Column] = {}
    for run in runs:
        for metric, spec in run.manifest.metrics.items():
            mixed = f" (version {spec['version']})" if len(versions[metric]) > 1 else ""
            for c in spec["columns"]:
                label = column_name(metric, c["name"])
                key = (metric, spec["version"], c["name"])
                found.setdefault(
                    key,
                    Column(
                        key=key,
                        label=label + mixed,
                        better=c["better"],
                        unit=c["unit"],
                        doc=c["doc"],
                        headline=c["headline"],
                        per_distance=bool(c.get("per_distance")),
                    ),
                )
    return tuple(found.values())


def _cases(entries: Sequence[Entry]) -> tuple[Case, ...]:
    results: dict[str, list[Result | None]] = {}
    samples: dict[str, CaseRecord] = {}
    for i, entry in enumerate(entries):
        metrics = entry.run.manifest.metrics
        versions = {metric: str(spec["version"]) for metric, spec in metrics.items()}
        for record in entry.run.records:
            if record.planner == entry.planner:
                row = results.setdefault(record.key, [None] * len(entries))
                row[i] = Result(record, reasons_of(record, metrics), versions)
                samples.setdefault(record.key, record)
    length = 12
    while len({key[:length] for key in results}) < len(results):
        length += 4
    return tuple(Case(key[:length], key, samples[key], tuple(row)) for key, row in results.items())
