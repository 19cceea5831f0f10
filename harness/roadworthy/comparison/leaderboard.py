"""Ranks planners of one or many runs; where the data cannot tell two apart, they tie."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy import stats
from roadworthy.comparison.casetable import (
    ColumnKey,
    bounds_of,
    column_name,
    columns_of,
    tabulate,
)
from roadworthy.comparison.pairing import Contestant, Entry, contestants, require_comparable
from roadworthy.errors import RunError, did_you_mean
from roadworthy.rollout import Status

__all__ = ["Leaderboard", "Standing", "find_column", "rank"]


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One planner's place.

    Attributes:
        label, planner, run: which planner of which run directory.
        value, low, high: mean over the scenarios that all planners drove, and its interval;
            null where there is none.
        best, worst: the ranks that the data allow: 1 + the planners shown to be better, and
            the number of planners minus those shown to be worse.
        cases, errors: its cases, and how many ended in an error.
        privileged: whether it sees the whole log.
    """

    label: str
    planner: str
    run: str
    value: float | None
    low: float | None
    high: float | None
    best: int
    worst: int
    cases: int
    errors: int
    privileged: bool

    @property
    def place(self) -> str:
        """`2`, or `2–4` where it ties."""
        return str(self.best) if self.best == self.worst else f"{self.best}–{self.worst}"


class Leaderboard(msgspec.Struct, frozen=True, kw_only=True):
    """Planners in the order of one column.

    Attributes:
        metric, column, better: by which column, and which way is better.
        scenarios: scenarios that every planner drove without an error.
        confidence: joint level of all ranks, and of each interval.
        standings: best mean first.
    """

    metric: str
    column: str
    better: str
    scenarios: int
    confidence: float
    standings: tuple[Standing, ...]


def rank(
    entries: Iterable[Entry], column: str | None = None, *, confidence: float = 0.95
) -> Leaderboard:
    """Rank planners by one column over the cases that all of them drove.

    Every pair is tested by sign flips of its differences per scenario, with Holm's correction
    over all pairs. A planner's rank is the interval from 1 + (planners significantly better)
    to K - (planners significantly worse); all K intervals hold jointly with the stated
    confidence (Mogstad, Romano, Shaikh & Wilhelm 2024, section 3).

    Args:
        entries: runs (all their planners) or (run, planner) pairs.
        column: such as `pdms`; the first headline column unless given.
        confidence: joint level of the ranks.

    Raises:
        RunError: if there is none, they must not be compared, or the column is unknown.
    """
    players = contestants(entries)
    if not players:
        raise RunError("no planner to rank", hint="Name at least one run directory.")
    for other in players[1:]:
        require_comparable(players[0], other)
    key = find_column(players, column)
    better = str(columns_of(players[0].run.manifest)[key]["better"])
    values, groups = _common(players, key)
    sign = -1.0 if better == "lower" else 1.0
    least, most = bounds_of([columns_of(players[0].run.manifest)[key]] * len(players))
    means = stats.interval_of_means(values, groups, bounds=(least, most), confidence=confidence)
    above = _shown_better(sign * values, groups, 1.0 - confidence)
    standings = [
        _standing(player, means[i], 1 + int(above[:, i].sum()), len(players) - int(above[i].sum()))
        for i, player in enumerate(players)
    ]
    standings.sort(key=lambda s: (s.value is None, -sign * (s.value or 0.0), s.label))
    return Leaderboard(
        metric=key[0],
        column=key[1],
        better=better,
        scenarios=means[0].scenarios,
        confidence=confidence,
        standings=tuple(standings),
    )


def find_column(players: Iterable[Contestant], name: str | None) -> ColumnKey:
    """The column called `name` that all have, or the first headline column.

    Raises:
        RunError: if there is no such column, or neither way of it is better.
    """
    first, *others = players
    common = {
        key: spec
        for key, spec in columns_of(first.run.manifest).items()
        if all(key in columns_of(o.run.manifest) for o in others)
    }
    ordered = {column_name(*key): key for key, c in common.items() if c["better"] != "neither"}
    if name is None:
        headline = [key for key in ordered.values() if common[key]["headline"]]
        if not (headline or ordered):
            raise RunError("the runs have no column to rank by")
        return (headline or list(ordered.values()))[0]
    if name not in ordered:
        raise RunError(f"no column {name!r} to rank by", hint=did_you_mean(name, ordered))
    return ordered[name]


def _common(
    players: tuple[Contestant, ...], key: ColumnKey
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """[S, K] of the scenarios whose cases every player drove, and their groups."""
    driven = [{r.key: r for r in p.records if r.status is Status.OK} for p in players]
    keys = [k for k in driven[0] if all(k in other for other in driven[1:])]
    tables = [tabulate((records[k] for k in keys), [key]) for records in driven]
    values = np.hstack([t.values for t in tables])
    values[~np.isfinite(values).all(axis=1)] = np.nan
    return tables[0].scenario_means(values), tables[0].groups


def _shown_better(
    values: NDArray[np.float64], groups: NDArray[np.int64], level: float
) -> NDArray[np.bool_]:
    """bool [K, K]: whether row is shown to be better than column."""
    count = values.shape[1]
    pairs = list(itertools.combinations(range(count), 2))
    shown = np.zeros((count, count), bool)
    if not pairs:
        return shown
    first, second = np.array(pairs).T
    totals = np.zeros((int(groups.max(initial=-1)) + 1, len(pairs)))
    np.add.at(totals, groups, np.nan_to_num(values[:, first] - values[:, second]))
    p = stats.holm(stats.sign_flip(totals))
    ahead = totals.sum(axis=0) > 0.0
    for i, j, adjusted, up in zip(first, second, p, ahead, strict=True):
        if adjusted <= level:
            shown[(i, j) if up else (j, i)] = True
    return shown


def _standing(player: Contestant, mean: stats.Interval, best: int, worst: int) -> Standing:
    records = player.records
    described = player.run.manifest.planners[player.planner]
    return Standing(
        label=player.label,
        planner=player.planner,
        run=str(player.run.path),
        value=mean.value if mean.scenarios else None,
        low=mean.low if math.isfinite(mean.low) else None,
        high=mean.high if math.isfinite(mean.high) else None,
        best=best,
        worst=worst,
        cases=len(records),
        errors=sum(r.status is not Status.OK for r in records),
        privileged=bool(described.get("privileged")),
    )
