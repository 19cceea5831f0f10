"""Time of the metrics of whole rollouts: 64 procedural scenes, everyone driving as logged.

    pytest benchmarks/test_rollout_metrics.py --benchmark-columns=min,median

Each round scores a fresh batch object, so that nothing kept per batch is found; `shared` is what
the metrics read in common. Microseconds per scenario-step are in the extra column.
"""

from dataclasses import replace

import pytest
from roadworthy.scenario import Scenario
from roadworthy.testing.scenes import logged_rollouts
from roadworthy_metrics.comfort import Comfort
from roadworthy_metrics.contacts import conduct
from roadworthy_metrics.hd_score import HDScore
from roadworthy_metrics.neuroncap import NeuroNCAP
from roadworthy_metrics.progress import route_progress
from roadworthy_metrics.safety import Safety
from roadworthy_metrics.success import Success
from roadworthy_sources.procedural.source import Procedural

METRICS = (None, Safety(), Success(), Comfort(), NeuroNCAP(), HDScore())
NAMES = ["shared" if metric is None else metric.spec.name for metric in METRICS]


def shared(rollouts):
    conduct(rollouts)
    route_progress(rollouts)


@pytest.fixture(scope="module")
def logged():
    scenes = [s for s in Procedural(seed=1, count=64).scenarios() if isinstance(s, Scenario)]
    return logged_rollouts(scenes)


@pytest.mark.parametrize("metric", METRICS, ids=NAMES)
def test_score(benchmark, logged, metric):
    def fresh():
        batch = replace(logged)
        if metric is not None:
            shared(batch)
        return (batch,), {}

    benchmark.pedantic(metric.score if metric else shared, setup=fresh, rounds=20, warmup_rounds=1)
    steps = int(logged.length.sum()) + len(logged)
    benchmark.extra_info["agents"] = logged.agents.shape[1]
    benchmark.extra_info["us_per_step"] = benchmark.stats.stats.min / steps * 1e6
