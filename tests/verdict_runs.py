"""Small run directories, written through the store, for tests of what is said about runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from roadworthy.rollout import Status
from roadworthy.score import Column, MetricSpec
from roadworthy.seeding import derive_seed
from roadworthy.store import FORMAT, CaseRecord, ErrorRecord, Manifest, Run, RunDirectory, read_run

SPEC = MetricSpec(
    name="drive",
    version="1",
    columns=(
        Column("score", headline=True),
        Column("hits", "lower", headline=True, per_distance=True),
        Column("success", headline=True),
        Column("jerk", "lower", "m/s3"),
        Column("distance_m", "neither", "m"),
    ),
)
PROTOCOL = {"simulator": "closed-loop", "replan_hz": 2}

Scores = Mapping[str, Sequence[float] | np.ndarray[Any, Any]]


def write_run(
    path: Path,
    planners: Mapping[str, Scores],
    *,
    repetitions: int = 1,
    logs: int = 0,
    version: str = "1",
    protocol: Mapping[str, Any] = PROTOCOL,
    seed: int = 0,
    content: str = "scene",
    failures: Mapping[tuple[str, int], Status] | None = None,
    order: Sequence[int] | None = None,
    suite: Mapping[str, Any] | None = None,
    privileged: Sequence[str] = (),
) -> Run:
    """A complete run.

    Args:
        path: the folder to be written.
        planners: label -> column -> one value per case; scenarios in order, each with its
            repetitions.
        repetitions: cases per scenario.
        logs: scenarios i, i + logs, .. share a log; 0: none is named.
        version: of the metric.
        protocol: of the run.
        seed: of the suite.
        content: what the scenarios' hashes are made of.
        failures: (planner, case) -> how it ended instead.
        order: in which cases finished.
        suite: what the manifest says of the suite.
        privileged: planners that see the log.
    """
    spec = msgspec.to_builtins(SPEC) | {"version": version}
    records = []
    for label, scores in planners.items():
        for i in range(len(next(iter(scores.values())))):
            scenario, repetition = divmod(i, repetitions)
            case_seed = derive_seed(seed, scenario, repetition)
            status = (failures or {}).get((label, i), Status.OK)
            good = status is Status.OK
            values = {name: float(column[i]) for name, column in scores.items()}
            records.append(
                CaseRecord(
                    index=scenario,
                    planner=label,
                    key=f"{content}-{scenario}-{repetition}-{case_seed}-{sorted(protocol.items())}",
                    scenario=f"s{scenario:04d}",
                    source="test",
                    scenario_hash=f"{content}-{scenario}",
                    repetition=repetition,
                    seed=case_seed,
                    status=status,
                    tags=(f"log:{scenario % logs}",) if logs else (),
                    error=None if good else ErrorRecord(type="Fault", message="it broke"),
                    values={"drive": dict(values)} if good else {},
                )
            )
    manifest = Manifest(
        format=FORMAT,
        suite={"name": "verdicts", **(suite or {})},
        config_hash="c",
        planners={label: {"privileged": label in privileged} for label in planners},
        metrics={"drive": spec},
        protocol=dict(protocol),
        provenance={},
        scenarios=len({r.scenario for r in records}),
        complete=True,
    )
    with RunDirectory(path) as folder:
        folder.write_manifest(manifest)
        folder.append([records[i] for i in order] if order is not None else records)
    return read_run(path)


def scores(n: int, seed: int = 0, shift: float = 0.0, spread: float = 0.1) -> np.ndarray[Any, Any]:
    """Scores of a good planner: near 0.8, a tenth of them 0; the failures are the same for
    every `shift`."""
    rng = np.random.default_rng(12)
    base = np.where(rng.random(n) < 0.1, 0.0, rng.beta(8.0, 2.0, n))
    own = np.random.default_rng(1000 + seed).normal(shift, spread, n)
    return np.where(base > 0.0, base + own, 0.0)
