"""Mining: what a planner failed at, as a set of scenes that any suite can name.

Failed cases (`roadworthy.failures`) are merged into clusters, shared out over strata, and their
scenes, read again from the suite's sources and recognised by their content hash, are written into
a store (`roadworthy.scenario_store`), unchanged: a case of a mined scene is the same case as
before. Beside the scenes lies `mining.json` with what each was mined for.

A *cluster* are cases of one log (the same source and tag `log:...`; a scene without one is its
own log) that failed for the same worst reason within 15 m of each other, and, where they are of
one scene, within 2 s. Its worst case stands for it. A *stratum* are clusters of one reason and
one set of tags (without those that name a log or a split). Where not all are wanted, strata take
turns, each giving its worst first.

Nothing that is mined may be evaluated on: scenes of a test or validation split are left out, and
`against` and `hold_out` keep others away; see `roadworthy.splits` for what relates two scenes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from roadworthy.comparison.casetable import GROUP_TAG
from roadworthy.errors import DataError, RunError
from roadworthy.failures import FailedCase, Failures, Finding, Reason, find_failures
from roadworthy.plainfile import read_plain
from roadworthy.recorded import data_of, scenes_of_run, suite_of
from roadworthy.replay import load_replay
from roadworthy.scenario import Rejected, Scenario
from roadworthy.scenario_store import StoreWriter, require_free
from roadworthy.splits import origin_of, partition, require_disjoint
from roadworthy.store import Run, read_run, write_file
from roadworthy.suite import Suite
from roadworthy.vehicle import EgoIndex

__all__ = [
    "EVALUATION_TAGS",
    "MANIFEST",
    "SPLIT",
    "MinedCase",
    "MinedSet",
    "cluster",
    "mine",
    "read_mined",
    "stratify",
]

MANIFEST = "mining.json"
SPLIT = "mining"
"""The split that mined scenes get in the store."""
EVALUATION_TAGS = frozenset({"test", "validation", "split:test", "split:validation"})
"""Scenes with one of these tags are never mined."""

NEAR_M = 15.0
NEAR_STEPS = 20
_FORMAT = 1


class MinedCase(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster, by its worst case.

    Attributes:
        scenario, source, scenario_hash: the scene; it is in the store.
        planner, key: the record.
        findings: the reasons, worst first.
        severity: of the worst, in [0, 1].
        step: first step at which anything failed, -1 where that is not one moment.
        place: where the ego was then, world [m].
        stratum: the reason and tags by which it was shared out.
        members: how many cases the cluster has.
    """

    scenario: str
    source: str
    scenario_hash: str
    planner: str
    key: str
    findings: tuple[Finding, ...]
    severity: float
    step: int
    place: tuple[float, float]
    stratum: tuple[str, ...]
    members: int


class MinedSet(msgspec.Struct, frozen=True, kw_only=True):
    """What `mining.json` holds.

    Attributes:
        format: version of this layout.
        suite, config_hash: of the run.
        planners: whose failures these are.
        judged, unjudged, failed: cases looked at, not looked at (errors), and failed.
        missing, blind: see `roadworthy.failures.Failures`.
        evaluation_only: failed cases left out because their scene is for evaluation.
        held_out: content hashes of the scenes kept back by `hold_out`, failed or not.
        clusters: how many clusters there were before a limit.
        cases: the clusters that were kept, in the order in which strata gave them.
    """

    format: int = _FORMAT
    suite: str
    config_hash: str
    planners: tuple[str, ...]
    judged: int
    unjudged: int
    failed: int
    missing: dict[Reason, tuple[str, ...]]
    blind: tuple[Reason, ...]
    evaluation_only: int
    held_out: tuple[str, ...]
    clusters: int
    cases: tuple[MinedCase, ...]


@dataclass(frozen=True, slots=True)
class _Located:
    """A failed case, where it happened, and in which log."""

    case: FailedCase
    place: tuple[float, float]
    log: tuple[str, str]


def mine(
    path: Path,
    out: Path,
    *,
    planners: Sequence[str] = (),
    data: Path | None = None,
    limit: int | None = None,
    hold_out: float = 0.0,
    against: Mapping[str, Iterable[Scenario]] | None = None,
) -> MinedSet:
    """Mine a run into a new store.

    Args:
        path: a run directory.
        out: the store to make.
        planners: whose failures; of all that were not shown the log, unless given.
        data: where relative source paths are looked up first; as it was in the run, if not given.
        limit: how many clusters to keep at most.
        hold_out: share of the run's groups of related scenes that is not mined, so that it can
            be evaluated on; drawn by the suite's seed.
        against: sets by name that will be evaluated on: nothing mined may be related to them.

    Raises:
        RunError: no such run or planner, no column that tells of failures, nothing failed, or
            scenes that the sources no longer give.
        LeakError: a mined scene is related to a set of `against`; nothing is written.
        DataError: `out` is taken or cannot be written.
    """
    if not 0.0 <= hold_out < 1.0:
        raise RunError(f"hold_out is {hold_out!r}", hint="Give a share from 0 up to below 1.")
    if limit is not None and limit < 1:
        raise RunError(f"limit is {limit}", hint="Give at least 1.")
    require_free(out)
    run = read_run(path)
    suite = suite_of(run)
    failures = find_failures(run, planners)
    allowed = [c for c in failures.cases if not EVALUATION_TAGS & set(c.tags)]
    kept_back: frozenset[str] = frozenset()
    scenes: dict[str, Scenario] = {}
    wanted = {case.scenario_hash for case in allowed}
    if wanted:
        scenes, kept_back = _read(suite, data or data_of(run), wanted, hold_out)
    allowed = [c for c in allowed if c.scenario_hash not in kept_back]
    lost = [c for c in allowed if c.scenario_hash not in scenes]
    if lost:
        raise RunError(
            f"{path}: the sources no longer give {len(lost)} failed scenes, such as "
            f"{lost[0].source}/{lost[0].scenario}",
            hint="Use the data and the version of the run, or run the suite again.",
        )
    located = [_locate(path, case, scenes[case.scenario_hash]) for case in allowed]
    clusters = cluster(located)
    chosen = stratify(clusters, limit)
    if not chosen:
        raise RunError(
            f"{path}: nothing to mine: {len(failures.cases)} of {failures.judged} cases failed",
            hint="Mine a run on more or harder scenes."
            if not failures.cases
            else "What failed is held out, or tagged for evaluation.",
        )
    hashes = list(dict.fromkeys(case.scenario_hash for case in chosen))
    found = [scenes[h] for h in hashes]
    for name, others in (against or {}).items():
        require_disjoint(found, others, f"what is mined from {path}", name)
    mined = _describe(run, failures, len(located), kept_back, len(clusters), chosen)
    _write(out, found, mined)
    return mined


def read_mined(folder: Path) -> MinedSet:
    """What a mined store says of its scenes.

    Raises:
        DataError: there is no `mining.json`, or it is damaged or of another version.
    """
    path = folder / MANIFEST
    try:
        mined = msgspec.json.decode(read_plain(path), type=MinedSet)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: {error}", hint="`roadworthy mine` writes it.") from error
    if mined.format != _FORMAT:
        raise DataError(f"{path}: format {mined.format}, this version reads {_FORMAT}")
    return mined


def cluster(cases: Iterable[_Located]) -> list[tuple[_Located, int]]:
    """The worst case of each cluster and the cluster's size, worst first; ties by key."""
    order = sorted(cases, key=lambda c: (-c.case.severity, c.case.key, c.case.planner))
    heads: dict[tuple[tuple[str, str], Reason], list[tuple[_Located, int]]] = {}
    for one in order:
        group = heads.setdefault((one.log, one.case.reason), [])
        for i, (head, size) in enumerate(group):
            if _near(head, one):
                group[i] = (head, size + 1)
                break
        else:
            group.append((one, 1))
    found = [pair for group in heads.values() for pair in group]
    return sorted(found, key=lambda p: (-p[0].case.severity, p[0].case.key, p[0].case.planner))


def stratify(clusters: Sequence[tuple[_Located, int]], limit: int | None) -> tuple[MinedCase, ...]:
    """Clusters as strata give them in turn, up to a limit; strata by their name."""
    strata: dict[tuple[str, ...], list[tuple[_Located, int]]] = {}
    for head, size in clusters:
        strata.setdefault(_stratum(head.case), []).append((head, size))
    turns = [strata[name] for name in sorted(strata)]
    deepest = max((len(turn) for turn in turns), default=0)
    picked = [turn[i] for i in range(deepest) for turn in turns if i < len(turn)]
    return tuple(_mined(head, size) for head, size in picked[:limit])


def _near(a: _Located, b: _Located) -> bool:
    if np.hypot(a.place[0] - b.place[0], a.place[1] - b.place[1]) > NEAR_M:
        return False
    if a.case.scenario_hash != b.case.scenario_hash:
        return True
    return abs(a.case.step - b.case.step) <= NEAR_STEPS


def _stratum(case: FailedCase) -> tuple[str, ...]:
    plain = (t for t in case.tags if not t.startswith((GROUP_TAG, "split:")))
    return (case.reason.value, *sorted(plain))


def _mined(head: _Located, size: int) -> MinedCase:
    case = head.case
    return MinedCase(
        scenario=case.scenario,
        source=case.source,
        scenario_hash=case.scenario_hash,
        planner=case.planner,
        key=case.key,
        findings=case.findings,
        severity=case.severity,
        step=case.step,
        place=head.place,
        stratum=_stratum(case),
        members=size,
    )


def _locate(run: Path, case: FailedCase, scenario: Scenario) -> _Located:
    """Where the ego was at the first failing step: in the replay, or else in the log."""
    step = max(case.step, 0)
    try:
        ego = load_replay(run, case.planner, case.key).ego
    except RunError:  # the run was told to keep no rollouts
        ego = scenario.ego[scenario.start :]
    x, y = ego[min(step, len(ego) - 1), [EgoIndex.X, EgoIndex.Y]].tolist()
    tag = next((t for t in case.tags if t.startswith(GROUP_TAG)), f"/{case.scenario}")
    return _Located(case, (x, y), (case.source, tag))


def _read(
    suite: Suite, data: Path | None, wanted: set[str], hold_out: float
) -> tuple[dict[str, Scenario], frozenset[str]]:
    """The wanted scenes by hash, and the hashes of all that are held out."""
    found: dict[str, Scenario] = {}
    origins, hashes = [], []
    for scene in scenes_of_run(suite, data):
        if isinstance(scene, Rejected):
            continue
        if hold_out:
            origins.append(origin_of(scene))
            hashes.append(scene.hash)
        if scene.hash in wanted:
            found.setdefault(scene.hash, scene)
        if not hold_out and len(found) == len(wanted):
            break
    if not hold_out:
        return found, frozenset()
    parts = partition(origins, {"mining": 1.0 - hold_out, "held out": hold_out}, suite.seed)
    return found, frozenset(hashes[i] for i in parts["held out"])


def _describe(
    run: Run,
    failures: Failures,
    allowed: int,
    held_out: frozenset[str],
    clusters: int,
    chosen: tuple[MinedCase, ...],
) -> MinedSet:
    back = sum(c.scenario_hash in held_out for c in failures.cases)
    return MinedSet(
        suite=str(run.manifest.suite.get("name", "")),
        config_hash=run.manifest.config_hash,
        planners=tuple(dict.fromkeys(c.planner for c in failures.cases)),
        judged=failures.judged,
        unjudged=failures.unjudged,
        failed=len(failures.cases),
        missing=failures.missing,
        blind=failures.blind,
        evaluation_only=len(failures.cases) - allowed - back,
        held_out=tuple(sorted(held_out)),
        clusters=clusters,
        cases=chosen,
    )


def _write(out: Path, scenes: Sequence[Scenario], mined: MinedSet) -> None:
    with StoreWriter(out) as store:
        for scene in scenes:
            store.add(scene, split=SPLIT)
    text = msgspec.json.format(msgspec.json.encode(mined), indent=2)
    write_file(out / MANIFEST, text + b"\n")
