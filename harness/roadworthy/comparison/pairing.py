"""Pairs the cases of two planners, and refuses what must not be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.comparison.casetable import CaseTable, ColumnKey, columns_of, tabulate
from roadworthy.errors import RunError, did_you_mean
from roadworthy.rollout import Status
from roadworthy.store import CaseRecord, Run, read_run

__all__ = [
    "Contestant",
    "Entry",
    "Pairs",
    "contestants",
    "pair",
    "read_contestants",
    "require_comparable",
]

_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Contestant:
    """One planner of one run.

    Attributes:
        run: the run.
        planner: its label there.
        label: what comparisons call it, unique among those compared.
    """

    run: Run
    planner: str
    label: str

    @property
    def records(self) -> tuple[CaseRecord, ...]:
        """Its records, in suite order."""
        return tuple(r for r in self.run.records if r.planner == self.planner)


Entry = Run | tuple[Run, str] | Contestant
"""What can be compared: a run (all its planners), one of its planners, or a contestant."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Two planners' cases, matched by key.

    Attributes:
        columns: columns that both have.
        a, b: tables of the cases that both drove without an error, in the same order.
        both: every matched pair of records, whatever became of them.
        only_a, only_b: records that the other lacks.
    """

    columns: tuple[ColumnKey, ...]
    a: CaseTable
    b: CaseTable
    both: tuple[tuple[CaseRecord, CaseRecord], ...]
    only_a: tuple[CaseRecord, ...]
    only_b: tuple[CaseRecord, ...]

    @property
    def errored(self) -> tuple[tuple[CaseRecord, CaseRecord], ...]:
        """Matched pairs of which at least one is not `ok`."""
        return tuple(p for p in self.both if any(r.status is not Status.OK for r in p))

    def scenario_values(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """(A, B, B - A) [S, K]: means per scenario over the cases where both are defined."""
        defined = np.isfinite(self.a.values) & np.isfinite(self.b.values)
        a = np.where(defined, self.a.values, np.nan)
        b = np.where(defined, self.b.values, np.nan)
        mean = self.a.scenario_means
        return mean(a), mean(b), mean(b - a)


def contestants(entries: Iterable[Entry]) -> tuple[Contestant, ...]:
    """Runs (all their planners) or (run, planner) pairs as contestants with unique labels.

    Raises:
        RunError: if a run has no planner of that name, or an entry is given twice.
    """
    pairs: list[tuple[Run, str]] = []
    for entry in entries:
        if isinstance(entry, Contestant):
            entry = (entry.run, entry.planner)
        run, wanted = (entry, None) if isinstance(entry, Run) else entry
        if wanted is not None and wanted not in run.manifest.planners:
            raise RunError(
                f"{run.path}: has no planner {wanted!r}",
                hint=did_you_mean(wanted, run.manifest.planners),
            )
        for planner in [wanted] if wanted is not None else run.manifest.planners:
            if any(r.path == run.path and p == planner for r, p in pairs):
                raise RunError(f"{run.path}:{planner} is named twice")
            pairs.append((run, planner))
    forms = (
        [planner for _, planner in pairs],
        [f"{run.path.name}/{planner}" for run, planner in pairs],
        [f"{run.path}/{planner}" for run, planner in pairs],
    )
    labels = next((form for form in forms if len(set(form)) == len(form)), forms[-1])
    return tuple(Contestant(run, p, label) for (run, p), label in zip(pairs, labels, strict=True))


def read_contestants(texts: Sequence[str]) -> tuple[Contestant, ...]:
    """What the command line names: run directories, or `directory:planner`.

    One directory alone stands for all of its planners; among several, a directory with more
    than one planner has to say which.

    Raises:
        RunError: if one cannot be read, or does not say which planner.
    """
    entries: list[Entry] = []
    runs: dict[Path, Run] = {}
    for text in texts:
        head, _, tail = text.rpartition(":")
        whole = not head or Path(text).is_dir()
        path = Path(text if whole else head)
        run = runs.setdefault(path, read_run(path)) if path not in runs else runs[path]
        planners = list(run.manifest.planners)
        if not whole:
            entries.append((run, tail))
        elif len(texts) > 1 and len(planners) != 1:
            named = " or ".join(f"{text}:{planner}" for planner in planners[:_SHOWN])
            raise RunError(
                f"{path}: holds {len(planners)} planners, so it is not clear which is meant",
                hint=f"Say {named}." if planners else "Run a suite that names a planner.",
            )
        else:
            entries.append(run)
    return contestants(entries)


def pair(a: Contestant, b: Contestant) -> Pairs:
    """Match the cases of two planners by key.

    Raises:
        RunError: if they were not judged in the same way on the same scenes; it says what
            differs.
    """
    require_comparable(a, b)
    first = {r.key: r for r in a.records}
    second = {r.key: r for r in b.records}
    both = tuple((r, second[key]) for key, r in first.items() if key in second)
    if not both:
        raise RunError(
            f"{a.label} and {b.label} have no case in common",
            hint="Run both on the same suite.",
        )
    good = [p for p in both if p[0].status is Status.OK and p[1].status is Status.OK]
    known = columns_of(b.run.manifest)
    columns = tuple(key for key in columns_of(a.run.manifest) if key in known)
    return Pairs(
        columns=columns,
        a=tabulate((p[0] for p in good), columns),
        b=tabulate((p[1] for p in good), columns),
        both=both,
        only_a=tuple(r for key, r in first.items() if key not in second),
        only_b=tuple(r for key, r in second.items() if key not in first),
    )


def require_comparable(a: Contestant, b: Contestant) -> None:
    """Refuse unequal metric versions, protocols, scenes and seeds, naming them.

    Raises:
        RunError: if the two were not judged in the same way on the same scenes.
    """
    faults = [*_metric_faults(a, b), *_protocol_faults(a, b), *_scene_faults(a, b)]
    if faults:
        raise RunError(
            f"{a.label} ({a.run.path}) and {b.label} ({b.run.path}) cannot be compared: "
            + "; ".join(faults),
            hint="Run both on the same suite with the same version of roadworthy.",
        )


def _metric_faults(a: Contestant, b: Contestant) -> list[str]:
    first, second = a.run.manifest.metrics, b.run.manifest.metrics
    common = [name for name in first if name in second]
    if not common:
        return [f"no metric in common ({_list(first)} and {_list(second)})"]
    return [fault for name in common for fault in _unlike(name, first[name], second[name])]


def _unlike(name: str, first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """How a metric of one run is another than that of the same name in the other."""
    if first["version"] != second["version"]:
        return [f"metric {name} has version {first['version']} and {second['version']}"]
    mine, theirs = first["plugin"], second["plugin"]
    if not (mine["name"] and theirs["name"]):  # a run of before this was written down
        return []
    if mine["options"] != theirs["options"]:
        return [f"metric {name} has options {mine['options']!r} and {theirs['options']!r}"]
    if mine["content_hash"] != theirs["content_hash"]:
        return [f"metric {name} is of two states of its file, but of one version"]
    return []


def _protocol_faults(a: Contestant, b: Contestant) -> list[str]:
    first, second = a.run.manifest.protocol, b.run.manifest.protocol
    return [
        f"protocol: {name} is {first.get(name, 'not set')!r} and {second.get(name, 'not set')!r}"
        for name in dict.fromkeys((*first, *second))
        if first.get(name) != second.get(name)
    ]


def _scene_faults(a: Contestant, b: Contestant) -> list[str]:
    hashes = {(r.source, r.scenario): r.scenario_hash for r in a.records if r.scenario_hash}
    seeds = {(r.source, r.scenario, r.repetition): r.seed for r in a.records if r.scenario_hash}
    changed: dict[str, None] = {}
    reseeded: dict[str, None] = {}
    for r in b.records:
        name = f"{r.source}/{r.scenario}"
        if not r.scenario_hash:
            continue
        if hashes.get((r.source, r.scenario), r.scenario_hash) != r.scenario_hash:
            changed[name] = None
        elif seeds.get((r.source, r.scenario, r.repetition), r.seed) != r.seed:
            reseeded[name] = None
    faults = []
    if changed:
        faults.append(f"unequal content of {_list(changed)}")
    if reseeded:
        faults.append(f"unequal seeds in {_list(reseeded)}")
    return faults


def _list(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
