"""Run directories made through the store's own functions, with everything that can go wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from roadworthy.replay import save_replay
from roadworthy.rollout import Case, Plans, RolloutBatch, Status
from roadworthy.scenario import DT, Scenario, SignalState
from roadworthy.score import Column, MetricSpec
from roadworthy.store import FORMAT, CaseRecord, ErrorRecord, Manifest, Run, RunDirectory, read_run
from roadworthy.testing import logged_rollouts, straight_road_scenario
from roadworthy.vehicle import EgoIndex

HOSTILE_PLANNER = "<img src=x onerror=alert(1)>"
HOSTILE_NAMES = (
    "<img src=x onerror=alert(document.domain)>",
    "</script><script>alert(2)</script>",
    "quotes \" ' ` and & and <!-- and ]]>",
    "{{ 7 * 7 }} {% raise %} ${alert(3)}",
    "عربى \u202e right to left \u202c 道路 🚗",
    "very-long-" + "x" * 300,
    "control \x00\x08\x1f and lone \ufffe",
    "| markdown | [link](javascript:alert(4)) **bold**",
)
ERRORS = (
    Status.PLANNER_ERROR,
    Status.SIMULATOR_ERROR,
    Status.TIMEOUT,
    Status.METRIC_ERROR,
    Status.INVALID_SCENARIO,
)
TOTAL = MetricSpec(
    name="total",
    version="3",
    columns=(
        Column("total", doc="Everything <b>considered</b>", headline=True),
        Column("collision", "lower", doc="1 where it hit something", headline=True),
        Column("top_speed", "neither", "m/s", "Highest speed"),
        Column("sometimes", doc="Often undefined"),
    ),
    source="Made up & <tested>",
    formula="total = 1 - collision",
)


def scenario(index: int, name: str = "", agents: int = 8, seconds: float = 6.0) -> Scenario:
    """A straight road of its own, with traffic."""
    made = straight_road_scenario(
        agents=agents,
        seconds=seconds,
        signal=SignalState(index % 4) if index % 2 else None,
        origin=(500.0 + 40.0 * index, -200.0, 0.3 * index),
        seed=index,
    )
    tags = ("rare", "cut_in") if index % 3 == 0 else ("common",)
    return replace(made, id=name or f"scene-{index:03d}", tags=tags)


def driven(scenes: list[Scenario], rushing: bool) -> RolloutBatch:
    """The log, or the log driven faster, to the left, and planned as if all were well."""
    batch = logged_rollouts(scenes, protocol={"simulator": "made-up", "replan_hz": 2})
    if not rushing:
        return batch
    ego = batch.ego.copy()
    time = DT * np.arange(ego.shape[1] - batch.now)
    for row in range(len(scenes)):
        now = ego[row, batch.now :]
        yaw = now[:, EgoIndex.YAW]
        ahead, aside = 0.35 * time**2, 0.06 * time**2
        now[:, EgoIndex.X] += np.cos(yaw) * ahead - np.sin(yaw) * aside
        now[:, EgoIndex.Y] += np.sin(yaw) * ahead + np.cos(yaw) * aside
        now[:, EgoIndex.VX] += 0.7 * time
    steps = np.arange(0, int(batch.length[0]), 5)
    distance = np.linspace(0.5, 30.0, 40)
    poses = np.stack([distance, 0.01 * distance**2, np.zeros(40)], -1)
    plans = Plans(steps, np.repeat(poses[None], len(steps), axis=0), DT)
    return replace(batch, ego=ego, plans=(plans,) * len(scenes))


def make_run(
    path: Path,
    *,
    planners: tuple[str, ...] = ("careful", HOSTILE_PLANNER),
    cases: int = 24,
    hostile: bool = True,
    errors: bool = True,
    agents: int = 8,
    seconds: float = 6.0,
    noise: float = 0.0,
) -> Run:
    """A run of `planners`; every second one rushes and fails one case in three.

    Args:
        path: the run directory to make.
        planners: their labels, which may be hostile.
        cases: scenarios.
        hostile: name the first scenarios after `HOSTILE_NAMES`.
        errors: let the last cases end in an error of each kind.
        agents, seconds: of each scenario.
        noise: standard deviation of everyone's position [m], as real logs have it.
    """
    names = HOSTILE_NAMES if hostile else ()
    scenes = [
        scenario(i, names[i] if i < len(names) else "", agents, seconds) for i in range(cases)
    ]
    with RunDirectory(path) as folder:
        for p, planner in enumerate(planners):
            batch = driven(scenes, rushing=p % 2 == 1)
            if noise:
                rng = np.random.default_rng(p)
                batch.agents[..., :2] += rng.normal(0.0, noise, batch.agents[..., :2].shape)
            records = []
            for i, case in enumerate(batch.cases):
                status = Status.OK
                if errors and cases - i <= len(ERRORS):
                    status = ERRORS[cases - i - 1]
                records.append(record(planner, i, case, status, rushing=p % 2 == 1))
                if status is not Status.INVALID_SCENARIO:
                    save_replay(path, planner, batch, i)
            folder.append(records)
        folder.write_manifest(manifest(planners, cases))
    return read_run(path)


def record(planner: str, index: int, case: Case, status: Status, rushing: bool) -> CaseRecord:
    """One case's record."""
    hit = rushing and index % 3 == 0
    error = None
    values: dict[str, dict[str, float | None]] = {}
    events: dict[str, list[dict[str, Any]]] = {}
    if status is Status.OK:
        values["total"] = {
            "total": 0.0 if hit else 0.5 + 0.5 * math.cos(index) ** 2,
            "collision": float(hit),
            "top_speed": 8.0 + index / 7.0,
            "sometimes": None if index % 2 else 0.25,
        }
        found: list[dict[str, Any]] = []
        if hit:
            found.append({"kind": "collision", "how": "active_front", "step": 30, "agent": 0})
            found.append({"kind": "<b>odd</b>", "step": 31})
        if index % 4 == 0:
            found.append({"kind": "ttc", "step": 22, "agent": 0})
        if index % 5 == 0:
            found.append({"kind": "collision", "step": 40, "agent": 1, "at_fault": False})
        events = {"total": found} if found else {}
    else:
        error = ErrorRecord(
            type="ValueError",
            message=f"<script>alert('{status}')</script> at 100% & more",
            step=12 if status is Status.PLANNER_ERROR else -1,
            traceback='Traceback:\n  File "x.py"\nValueError: </script>\x1b[31m' * 3,
        )
    scene = case.scenario
    return CaseRecord(
        index=index,
        planner=planner,
        key=case.key,
        scenario=scene.id,
        source=scene.source,
        scenario_hash=scene.hash,
        repetition=0,
        seed=case.seed,
        status=status,
        tags=scene.tags,
        error=error,
        steps=scene.horizon,
        values=values,
        events=events,
        seconds={"planner": 0.01, "total": 0.02},
    )


def manifest(planners: tuple[str, ...], cases: int) -> Manifest:
    """A manifest with something hostile in every text."""
    return Manifest(
        format=FORMAT,
        suite={
            "name": "made <up> & tested",
            "description": "A suite with <i>markup</i> in its description",
            "seed": 7,
            "repetitions": 1,
            "sources": [{"name": "testing", "label": ""}],
        },
        config_hash="c" * 32,
        planners={
            label: {
                "name": label,
                "options": {"path": "<u>option</u>"},
                "distribution": "roadworthy",
                "version": "1",
                "content_hash": "",
                "privileged": i == 0,
            }
            for i, label in enumerate(planners)
        },
        metrics={"total": msgspec.to_builtins(TOTAL)},
        protocol={"simulator": "made-up", "replan_hz": 2},
        provenance={"roadworthy": "0", "python": "3", "packages": {"numpy": "2"}, "git": {}},
        notices=("left out: <script>alert(5)</script>",),
        scenarios=cases,
        data_hash="d" * 32,
        repairs={"testing/scene-008": ("dropped <agent>",)},
        complete=True,
    )
