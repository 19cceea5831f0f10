"""The `splat` simulator: pictures in the observation, and what they are worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from roadworthy.errors import SimulatorError
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case
from roadworthy.trajectory import Trajectory, TrajectoryBatch
from roadworthy_metrics.camera_validity import CameraValidity
from roadworthy_simulators.closed_loop import ClosedLoop
from roadworthy_simulators.splat.cameras import Cameras, Rendering
from roadworthy_simulators.splat.procedural.street import LIGHTS, make_street
from roadworthy_simulators.splat.scenes.folder import write_scene
from roadworthy_simulators.splat.scenes.scene import View
from roadworthy_simulators.splat.simulator import Splat
from roadworthy_simulators.splat.validity import Coverage
from roadworthy_sources.procedural.source import Procedural

RIG = [{"name": "front", "width": 64, "height": 36}, {"name": "back", "width": 48, "height": 30,
                                                      "yaw_deg": 180.0}]  # fmt: skip


@pytest.fixture(scope="module")
def cases():
    source = Procedural(seed=5, count=2, families=["straight", "curve"])
    return [Case(s, 0, i) for i, s in enumerate(source.scenarios())]


class Ahead:
    """Goes straight on, and keeps what it was shown."""

    def __init__(self):
        self.seen = []

    def reset(self, brief):
        self.speed = 0.0

    def plan(self, observation):
        self.seen.append((observation.step, dict(observation.images)))
        poses = np.zeros((40, 3))
        poses[:, 0] = 0.1 * np.arange(1, 41) * observation.ego_state[-1, 3]
        return Trajectory(poses, 0.1)


def drive(cases, **options):
    planners = []

    def factory():
        planners.append(Ahead())
        return planners[-1]

    simulator = Splat(rig=RIG, duration_s=1.0, **options)
    return simulator.run(cases, PlannerHost(factory)), planners


def test_the_planner_sees_pictures_and_drives_as_in_the_closed_loop(cases):
    rollouts, planners = drive(cases)
    assert rollouts.errors == (None, None)
    plain = ClosedLoop(duration_s=1.0).run(cases, PlannerHost(Ahead))
    assert np.array_equal(rollouts.ego, plain.ego)
    assert np.array_equal(rollouts.agents, plain.agents)
    for planner in planners:
        assert [step for step, _ in planner.seen] == [0, 5]
        for _, images in planner.seen:
            assert {n: (i.shape, i.dtype) for n, i in images.items()} == {
                "front": ((36, 64, 3), np.uint8), "back": ((30, 48, 3), np.uint8),
            }  # fmt: skip
            assert images["front"].std() > 10
    first, later = (images["front"] for _, images in planners[0].seen)
    assert not np.array_equal(first, later)


def test_pictures_do_not_depend_on_the_batch_or_on_threads(cases):
    _, together = drive(cases, threads=2)
    for case, planner in zip(cases, together, strict=True):
        _, (alone,) = drive([case])
        for (_, a), (_, b) in zip(planner.seen, alone.seen, strict=True):
            assert all(np.array_equal(a[n], b[n]) for n in a)


def test_the_light_follows_the_seed(cases):
    shown = [
        drive([replace(cases[0], seed=seed)])[1][0].seen[0][1]["front"]
        for seed in range(len(LIGHTS))
    ]
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])
    named = drive([cases[0]], traversal=list(LIGHTS)[1])[1][0].seen[0][1]["front"]
    assert np.array_equal(named, shown[1])
    with pytest.raises(SimulatorError, match="noon"):
        Splat(traversal="non")


def test_validity_reaches_the_scores(cases, tmp_path):
    rollouts, _ = drive(cases)
    scores = CameraValidity().score(rollouts)
    assert scores.values["valid_share"].tolist() == [1.0, 1.0]
    assert scores.values["hollow"].max() < 0.01
    assert len(rollouts.select([1]).frames) == 1
    street = make_street(cases[0].scenario, reach=30.0)
    away = replace(street, path=street.path + np.array([0.0, 40.0]), reach=10.0)
    write_scene(away, tmp_path)
    far, _ = drive(cases[:1], scenes=[str(tmp_path)])
    judged = CameraValidity().score(far)
    assert judged.values["valid_share"].tolist() == [0.0]
    assert judged.values["off_path"][0] > 10.0
    assert judged.events[0] == [
        {"kind": "invalid_picture", "step": 0}, {"kind": "invalid_picture", "step": 5},
    ]  # fmt: skip
    nothing = CameraValidity().score(ClosedLoop(duration_s=1.0).run(cases, PlannerHost(Ahead)))
    assert np.isnan(nothing.values["valid_share"]).all()


def test_a_scene_of_another_map_is_refused(cases, tmp_path):
    write_scene(make_street(cases[0].scenario, reach=20.0), tmp_path)
    with pytest.raises(SimulatorError, match="no scene is aligned"):
        drive(cases[1:], scenes=[str(tmp_path)])
    loose = make_street(cases[0].scenario, reach=20.0)
    loose = replace(loose, alignment=replace(loose.alignment, map_hash=""))
    write_scene(loose, tmp_path)
    with pytest.raises(SimulatorError, match="aligned to no map"):
        Splat(scenes=[str(tmp_path)])


def test_coverage_counts_what_no_view_has_seen():
    k = np.array([[[32.0, 0, 32], [0, 32, 18], [0, 0, 1]]])
    here = Cameras(np.eye(4)[None], k, 64, 36)
    wall = np.full((1, 36, 64), 5.0, np.float32)
    shown = Rendering(np.zeros((1, 36, 64, 3), np.float32), np.ones_like(wall), wall)

    def view(**change):
        good = {"fx": 32.0, "fy": 32.0, "cx": 32.0, "cy": 18.0, "width": 64, "height": 36}
        pose = change.pop("pose", np.eye(4))
        return View("a", tuple(np.ravel(pose)), **(good | change))

    aside, back, off = np.eye(4), np.diag([-1.0, 1.0, -1.0, 1.0]), np.eye(4)
    aside[0, 3], off[2, 3] = -5.0, 40.0
    assert Coverage(()).unseen(here, shown)[0] == 0.0
    assert Coverage((view(),)).unseen(here, shown)[0] == 0.0
    assert Coverage((view(pose=back),)).unseen(here, shown)[0] == 1.0
    assert Coverage((view(pose=off),)).unseen(here, shown)[0] == 1.0
    assert Coverage((view(pose=aside),)).unseen(here, shown)[0] == pytest.approx(0.5)
    assert Coverage((view(pose=aside), view())).unseen(here, shown)[0] == 0.0


def test_a_batch_planner_sees_them_too(cases):
    class Batch:
        shapes: list = []  # noqa: RUF012

        def reset_batch(self, briefs):
            pass

        def plan_batch(self, observations):
            self.shapes.append({n: i.shape for n, i in observations.images.items()})
            poses = np.zeros((len(observations), 10, 3))
            return TrajectoryBatch(poses, 0.1)

    Splat(rig=RIG, duration_s=0.5).run(cases, PlannerHost(Batch))
    assert Batch.shapes == [{"front": (2, 36, 64, 3), "back": (2, 30, 48, 3)}]
