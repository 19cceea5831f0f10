"""What came out of a flywheel, as figures: every arm on every set, with intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.comparison.casetable import ColumnKey, column_name, columns_of, tabulate
from roadworthy.errors import RunError
from roadworthy.flywheel.config import Flywheel
from roadworthy.flywheel.equivalence import equivalence
from roadworthy.flywheel.evaluating import RUN, Evaluation
from roadworthy.flywheel.judging import Round, of_group
from roadworthy.flywheel.units import BASE, Turned
from roadworthy.plainfile import read_plain
from roadworthy.rollout import Status
from roadworthy.scenario import Scenario
from roadworthy.stats.crossed import Crossed, Spread, crossed
from roadworthy.store import Run, read_run

__all__ = [
    "RESULTS",
    "Cell",
    "DataEquivalence",
    "Results",
    "SetSize",
    "read_results",
    "results_of",
    "size_of",
]

RESULTS = "results.json"
GROUPS = ("rare", "common")


class SetSize(msgspec.Struct, frozen=True, kw_only=True):
    """How many scenes a set has, and how many of them are rare."""

    scenes: int
    rare: int


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One column of one arm on one group of scenes.

    Means are over scenes and seeds; intervals resample both (`roadworthy.stats.crossed`). Changes
    are of this arm against a reference on the same scenes.

    Attributes:
        arm: label.
        set, group, open_loop: the scenes, and whether by the second simulator.
        column, better, unit: as the metric says.
        scenes, seeds: how many.
        errors: cases that ended in an error, and are in no mean.
        mean: [value, low, high], null where undefined.
        against: reference -> [difference, low, high, relative change, low, high]; the base, and
            the arm's own reference.
        by_seed: mean of each seed.
    """

    arm: str
    set: str
    group: str
    open_loop: bool
    column: str
    better: str
    unit: str
    scenes: int
    seeds: int
    errors: int
    mean: tuple[float | None, float | None, float | None]
    against: dict[str, tuple[float | None, ...]]
    by_seed: tuple[float | None, ...]


class DataEquivalence(msgspec.Struct, frozen=True, kw_only=True):
    """The data-equivalence multiplier of an arm; see `roadworthy.flywheel.equivalence`.

    Attributes:
        column, group: what was compared on the test set.
        multiples: of the data, at which imitation was measured.
        words: the multiplier with its interval.
        value, low, high: the same as numbers; null for beyond the last multiple.
        share_beyond: share of the resamples that are beyond it.
    """

    arm: str
    column: str
    group: str
    multiples: tuple[int, ...]
    words: str
    value: float | None
    low: float | None
    high: float | None
    share_beyond: float


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What `results.json` holds.

    Attributes:
        format: version of this layout.
        name, seeds, generator: of the flywheel.
        sets: how large they are.
        arms: labels in order, the base first.
        rounds: every round.
        evaluations: where each run is.
        table: every cell.
        headline: columns that are shown first.
        equivalence: of the arm that scaling names.
        checkpoints: `arm/seed` -> folder, relative to the flywheel's.
        lookbacks: arm -> stage of what hindsight says of its failures (`flywheel.hindsight`).
        notices: what was left out.
    """

    format: int = 1
    name: str
    seeds: tuple[int, ...]
    generator: str
    sets: dict[str, SetSize]
    arms: tuple[str, ...]
    rounds: tuple[Round, ...]
    evaluations: tuple[Evaluation, ...]
    table: tuple[Cell, ...]
    headline: tuple[str, ...]
    equivalence: tuple[DataEquivalence, ...]
    checkpoints: dict[str, str]
    lookbacks: dict[str, str] = {}
    notices: tuple[str, ...]

    def cell(
        self, arm: str, set_name: str, group: str, column: str, open_loop: bool = False
    ) -> Cell | None:
        """The cell of these, or None."""
        key = (arm, set_name, group, column, open_loop)
        found = (c for c in self.table if (c.arm, c.set, c.group, c.column, c.open_loop) == key)
        return next(found, None)


def read_results(folder: Path) -> Results:
    """The results in a flywheel's folder.

    Raises:
        RunError: there are none, or they are damaged or of another version.
    """
    path = folder / RESULTS
    try:
        return msgspec.json.decode(read_plain(path), type=Results)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: {error}", hint="`roadworthy flywheel` writes it.") from error


def size_of(scenes: Sequence[Scenario], rare: str) -> SetSize:
    """How large a set is, given the tag of rare scenes."""
    return SetSize(scenes=len(scenes), rare=sum(rare in scene.tags for scene in scenes))


def results_of(
    flywheel: Flywheel,
    turned: Turned,
    sets: dict[str, SetSize],
    notices: tuple[str, ...],
    out: Path,
) -> Results:
    """The figures of everything that was evaluated.

    Args:
        flywheel: what was asked.
        turned: what was done.
        sets: how large they are.
        notices: what was left out.
        out: the folder.

    Raises:
        SuiteError: a column that the flywheel names is not there.
    """
    runs = {e.stage: read_run(out / "stages" / e.stage / RUN) for e in turned.evaluations}
    arms = list(dict.fromkeys(e.arm for e in turned.evaluations))
    references = {arm.name: arm.reference for arm in flywheel.arms if arm.reference}
    table: list[Cell] = []
    equivalences: list[DataEquivalence] = []
    for set_name, open_loop in dict.fromkeys((e.set, e.open_loop) for e in turned.evaluations):
        chosen = [e for e in turned.evaluations if (e.set, e.open_loop) == (set_name, open_loop)]
        families = [arm.without[0] for arm in flywheel.arms if arm.without]
        for group in dict.fromkeys([*GROUPS, *families]):
            parts = {
                arm: [of_group(runs[e.stage], group, flywheel.rare) for e in chosen if e.arm == arm]
                for arm in arms
            }
            if not any(part.records for several in parts.values() for part in several):
                continue
            block = _Block(parts, set_name, group, open_loop)
            table += block.cells(references)
            scaling = flywheel.scaling
            wanted = scaling is not None and scaling.group in (group, "all")
            if scaling is not None and wanted and set_name == "test" and not open_loop:
                equivalences.append(block.equivalence(scaling.metric, scaling.multiples,
                                                      scaling.arm))  # fmt: skip
    generation = flywheel.generation
    return Results(
        name=flywheel.name,
        seeds=flywheel.seeds,
        generator=generation.generator.name if generation else "",
        sets=sets,
        arms=tuple(arms),
        rounds=turned.rounds,
        evaluations=turned.evaluations,
        table=tuple(table),
        headline=flywheel.headline or _headline(list(runs.values())),
        equivalence=tuple(equivalences),
        checkpoints={
            f"{arm}/{seed}": str(path.relative_to(out))
            for (arm, seed), path in turned.checkpoints.items()
        },
        lookbacks=turned.lookbacks,
        notices=notices,
    )


@dataclass
class _Block:
    """All arms on one group of scenes of one set."""

    parts: dict[str, list[Run]]
    set_name: str
    group: str
    open_loop: bool

    def __post_init__(self) -> None:
        first = next(part[0] for part in self.parts.values() if part)
        self.specs = columns_of(first.manifest)
        self.keys = list(self.specs)
        self.scenes: dict[tuple[str, str], int] = {}
        groups: list[int] = []
        self.values: dict[str, NDArray[np.float64]] = {}
        tables = {
            arm: [tabulate(run.records, self.keys) for run in several]
            for arm, several in self.parts.items()
            if several
        }
        for several in tables.values():
            for table in several:
                for name, group in zip(table.names, table.groups.tolist(), strict=True):
                    if name not in self.scenes:
                        self.scenes[name] = len(self.scenes)
                        groups.append(group)
        self.groups = np.array(groups, np.int64)
        for arm, several in tables.items():
            values = np.full((len(several), len(self.scenes), len(self.keys)), np.nan)
            for r, table in enumerate(several):
                rows = [self.scenes[name] for name in table.names]
                values[r, rows] = table.scenario_means(table.values)
            self.values[arm] = values
        self.errors = {
            arm: sum(r.status is not Status.OK for run in several for r in run.records)
            for arm, several in self.parts.items()
        }

    def _crossed(self, key: ColumnKey) -> Crossed:
        k = self.keys.index(key)
        return crossed([values[:, :, k] for values in self.values.values()], self.groups)

    def cells(self, references: dict[str, str]) -> list[Cell]:
        arms = list(self.values)
        found = []
        for k, key in enumerate(self.keys):
            if not any(np.isfinite(v[:, :, k]).any() for v in self.values.values()):
                continue
            means = self._crossed(key)
            spec = self.specs[key]
            for i, arm in enumerate(arms):
                values = self.values[arm][:, :, k]
                against: dict[str, tuple[float | None, ...]] = {}
                for other in dict.fromkeys([BASE, references.get(arm, "")]):
                    if other and other != arm and other in arms:
                        j = arms.index(other)
                        against[other] = (
                            *_ends(means.difference(i, j)), *_ends(means.relative(i, j)),
                        )  # fmt: skip
                found.append(
                    Cell(
                        arm=arm,
                        set=self.set_name,
                        group=self.group,
                        open_loop=self.open_loop,
                        column=column_name(*key),
                        better=spec["better"],
                        unit=spec["unit"],
                        scenes=int(np.isfinite(values).any(axis=0).sum()),
                        seeds=len(values),
                        errors=self.errors[arm],
                        mean=_ends(means.mean(i)),
                        against=against,
                        by_seed=tuple(_mean(row) for row in values),
                    )
                )
        return found

    def equivalence(self, column: str, multiples: Sequence[int], arm: str) -> DataEquivalence:
        k = [column_name(*key) for key in self.keys].index(column)
        key = self.keys[k]
        curve = [BASE if m == 1 else f"{BASE}-{m}x" for m in multiples]
        means = crossed([self.values[a][:, :, k] for a in (*curve, arm)], self.groups)
        found = equivalence(means, multiples, len(curve), self.specs[key]["better"])
        return DataEquivalence(
            arm=arm,
            column=column,
            group=self.group,
            multiples=tuple(multiples),
            words=found.words(),
            value=_finite(found.value),
            low=_finite(found.low),
            high=_finite(found.high),
            share_beyond=found.share_beyond,
        )


def _ends(spread: Spread) -> tuple[float | None, float | None, float | None]:
    return _finite(spread.value), _finite(spread.low), _finite(spread.high)


def _finite(x: float) -> float | None:
    return float(f"{x:.9g}") if math.isfinite(x) else None


def _mean(row: NDArray[np.float64]) -> float | None:
    known = row[np.isfinite(row)]
    return _finite(float(known.mean())) if len(known) else None


def _headline(runs: Sequence[Run]) -> tuple[str, ...]:
    """The columns that the metrics show first."""
    found: dict[str, Any] = {}
    for run in runs:
        for key, spec in columns_of(run.manifest).items():
            if spec["headline"]:
                found[column_name(*key)] = None
    return tuple(found)
