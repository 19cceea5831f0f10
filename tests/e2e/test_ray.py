"""A suite on a real Ray cluster of two nodes on this machine, one of which is lost half way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_table import Fault, finished, kept_through, results
from roadworthy.errors import RunStopped, SuiteError
from roadworthy.rollout import Status
from roadworthy.runner import run_suite
from roadworthy.store import read_run
from roadworthy.suite import override, parse_suite

ray = pytest.importorskip("ray", reason="needs Ray, the extra `ray`")

BAD = Path(__file__).parents[1] / "planners" / "bad.py"
SUITE = f"""
name = "far"
seed = 3
metrics = ["pdms", "safety"]
sources = [{{name = "procedural", seed = 3, count = 8}}]
planners = ["idm", {{name = "{BAD}:Good", resources = {{memory_gb = 1.5}}}}]
simulator = {{name = "closed-loop", replan_hz = 2, duration_s = 3.0}}
run = {{executor = "ray", batch_size = 2, plan_time_limit_s = 20.0, save_rollouts = true}}
"""


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """A head, with which this process speaks, and a second node; one CPU each."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "memory": 2 * 2**30, "object_store_memory": 80 * 2**20}
    detect = {
        "health_check_period_ms": 500,
        "health_check_failure_threshold": 4,
        "worker_niceness": 0,
    }
    head = {"include_dashboard": False, "_system_config": detect, **small}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False)
    second = cluster.add_node(**small)
    try:
        yield cluster, second
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("reference") / "run"
    run_suite(override(parse_suite(SUITE, "far.toml"), executor="inline"), folder)
    return results(folder)


def test_a_node_is_lost_half_way(
    two_nodes: Any, reference: dict[str, bytes], tmp_path: Path
) -> None:
    cluster, second = two_nodes
    plans: list[str] = []
    lost: list[bytes] = []

    def watch(progress: Any) -> None:
        if progress.done >= 6 and not lost:
            lost.append(finished(tmp_path / "run"))
            cluster.remove_node(second, allow_graceful=False)

    run = run_suite(
        parse_suite(SUITE, "far.toml"),
        tmp_path / "run",
        announce=lambda plan: plans.append(str(plan)),
        progress=watch,
    )
    assert lost
    assert 6 <= lost[0].count(b"\n") < 16
    assert plans[0].startswith("16 cases in batches of 2; ray, 2 workers, no GPU")
    assert [r.status for r in run.records] == [Status.OK] * 16
    assert len(list((tmp_path / "run" / "rollouts").rglob("*.npz"))) == 16
    fault = Fault("node lost", "tried again")
    kept_through(fault, 16, run, reference, tmp_path / "run", lost[0])


def test_what_a_planner_does_to_its_worker_is_charged_to_it(two_nodes: Any, tmp_path: Path) -> None:
    text = SUITE.replace("count = 8", "count = 1").replace('"idm"', f'"{BAD}:Vanishes"')
    run = run_suite(parse_suite(text, "far.toml"), tmp_path / "run")
    found = {r.planner: (r.status, r.error.type if r.error else "") for r in run.records}
    assert found == {"vanishes": (Status.PLANNER_ERROR, "WorkerDied"), "good": (Status.OK, "")}


def test_a_planner_that_hangs_in_native_code_is_out_of_time(two_nodes: Any, tmp_path: Path) -> None:
    text = SUITE.replace("count = 8", "count = 2").replace('"idm"', f'"{BAD}:HangsInNativeCode"')
    text = text.replace("plan_time_limit_s = 20.0", "plan_time_limit_s = 1.0")
    run = run_suite(parse_suite(text, "far.toml"), tmp_path / "run")
    found = {(r.planner, r.status, r.error.type if r.error else "") for r in run.records}
    assert found == {
        ("hangs-in-native-code", Status.TIMEOUT, "PlannerTimeout"),
        ("good", Status.OK, ""),
    }


def test_a_planner_gets_the_gpu_that_it_asks_for(two_nodes: Any, tmp_path: Path) -> None:
    """The cluster is told of a GPU that is not there: it is counted, and never touched."""
    cluster, _ = two_nodes
    node = cluster.add_node(
        num_cpus=1, num_gpus=1, memory=2 * 2**30, object_store_memory=80 * 2**20
    )
    try:
        plans: list[str] = []
        text = SUITE.replace("count = 8", "count = 2")
        text = text.replace('"idm"', f'{{name = "{BAD}:NeedsGPU", resources = {{gpus = 1}}}}')
        run = run_suite(
            parse_suite(text, "far.toml"),
            tmp_path / "run",
            announce=lambda plan: plans.append(str(plan)),
        )
        assert "1 GPU" in plans[0]
        assert {(r.planner, r.status) for r in run.records} == {
            ("needs-gpu", Status.OK),
            ("good", Status.OK),
        }
        more = text.replace("gpus = 1", "gpus = 2")
        with pytest.raises(SuiteError, match=r"planners\[0\].* 2 GPUs.* on one node"):
            run_suite(parse_suite(more, "far.toml"), tmp_path / "more")

        def lose(progress: Any) -> None:
            if progress.done and node in cluster.list_all_nodes():
                cluster.remove_node(node, allow_graceful=False)

        many = text.replace("count = 2", "count = 12")
        with pytest.raises(RunStopped, match=r"'needs-gpu' needs 1 CPU, 1 GPUs.* on one node"):
            run_suite(parse_suite(many, "far.toml"), tmp_path / "left", progress=lose)
        assert {r.status for r in read_run(tmp_path / "left").records} == {Status.OK}
    finally:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node)


def test_memory_that_no_node_has_is_refused_at_once(two_nodes: Any, tmp_path: Path) -> None:
    text = SUITE.replace("memory_gb = 1.5", "memory_gb = 3.0")
    with pytest.raises(SuiteError, match=r"planners\[1\].* 3 GB on one node"):
        run_suite(parse_suite(text, "far.toml"), tmp_path / "run")


def test_an_address_where_nobody_listens_is_said_at_once(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom roadworthy.cli import main\n"
        "sys.exit(main(['run', 'far.toml', '--ray-address', '127.0.0.1:1', '--out', 'run']))"
    )
    (tmp_path / "far.toml").write_text(SUITE)
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 4
    assert "no Ray cluster at 127.0.0.1:1" in ran.stderr
