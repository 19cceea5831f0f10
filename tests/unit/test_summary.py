"""The aggregated table: means, intervals, rates, and the time it takes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from roadworthy import stats
from roadworthy.commands._running import _cell
from roadworthy.rollout import Status
from roadworthy.store import FORMAT, CaseRecord, Manifest, Run
from roadworthy.summary import ColumnSummary, summarise
from verdict_runs import scores, write_run


def column(run: Run, name: str) -> ColumnSummary:
    return next(c for c in summarise(run)[0].columns if c.column == name)


def test_a_mean_comes_with_its_interval(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {"p": {"score": scores(50)}})
    found, wanted = column(run, "score"), stats.interval_of_means(scores(50)[:, None])[0]
    assert found.mean == pytest.approx(wanted.value)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-5)
    assert (found.interval, found.scenarios) == ("studentised", 50)
    assert _cell(found, True) == f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
    assert _cell(found, False) == f"{found.mean:.3f}"
    nothing = column(run, "success")
    assert (nothing.mean, nothing.low, nothing.interval) == (None, None, "none")
    assert _cell(nothing, True) == "-"


def test_repetitions_and_logs_are_clusters(tmp_path: Path) -> None:
    values = np.repeat(scores(24), 5)
    once = column(write_run(tmp_path / "1", {"p": {"score": scores(24)}}), "score")
    repeated = write_run(tmp_path / "5", {"p": {"score": values}}, repetitions=5)
    assert column(repeated, "score").low == pytest.approx(once.low)
    tiled = write_run(tmp_path / "l", {"p": {"score": np.tile(scores(24), 5)}}, logs=24)
    assert column(tiled, "score").high == pytest.approx(once.high)
    assert column(tiled, "score").scenarios == 120


def test_rates_have_intervals_too(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    hits = (rng.random(200) < 0.1).astype(float)
    metres = rng.uniform(100.0, 300.0, 200)
    run = write_run(
        tmp_path / "r",
        {
            "p": {"hits": hits, "distance_m": metres},
            "q": {"hits": 0.0 * hits, "distance_m": metres},
        },
    )
    found = column(run, "hits")
    assert found.per_1000_km == pytest.approx(hits.sum() / metres.sum() * 1e6)
    assert found.per_1000_km_low is not None
    assert found.per_1000_km_high is not None
    assert found.per_1000_km_low < found.per_1000_km < found.per_1000_km_high
    spread = 1e6 * np.sqrt(hits.sum()) / metres.sum()  # of a Poisson count
    width = found.per_1000_km_high - found.per_1000_km_low
    assert width == pytest.approx(2 * 1.96 * spread, rel=0.2)
    none = next(c for c in summarise(run)[1].columns if c.column == "hits")
    assert (none.per_1000_km, none.per_1000_km_low) == (0.0, 0.0)
    assert none.per_1000_km_high == pytest.approx(-np.log(0.025) / metres.sum() * 1e6, rel=1e-5)


def test_a_summary_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    names = [f"c{i}" for i in range(40)]
    spec = {"name": "m", "version": "1", "columns": [{"name": name} for name in names]}
    records = tuple(
        CaseRecord(
            index=i, planner=planner, key=str(i), scenario=str(i), source="s", scenario_hash="h",
            repetition=0, seed=i, status=Status.OK,
            values={"m": dict(zip(names, rng.random(40).tolist(), strict=True))},
        )
        for planner in "abc" for i in range(300)
    )  # fmt: skip
    manifest = Manifest(
        format=FORMAT, suite={}, config_hash="", planners={p: {} for p in "abc"},
        metrics={"m": spec}, protocol={}, provenance={},
    )  # fmt: skip
    run = Run(path=tmp_path, manifest=manifest, records=records)
    tables = [msgspec.json.encode(summarise(run)) for _ in range(3)]
    assert len(set(tables)) == 1
