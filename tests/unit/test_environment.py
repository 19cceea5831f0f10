"""The gymnasium environment: by gymnasium's own checker, and against the simulator itself."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case
from roadworthy.testing.scenes import straight_road_scenario
from roadworthy.trajectory import TrajectoryBatch
from roadworthy_simulators.closed_loop import ClosedLoop
from roadworthy_sources.towns import Towns

gymnasium = pytest.importorskip("gymnasium")
from gymnasium.utils.env_checker import check_env  # noqa: E402
from roadworthy_simulators.environment import FEATURES, DrivingEnv  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def towns() -> list:
    return list(Towns(split="train", distribution="common", count=5, towns=2).scenarios())


def test_gymnasiums_own_checker_is_content(towns: list) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*not have a render mode|.*no render.*")
        warnings.filterwarnings("ignore", message=".*different .* unwrapped.*")
        check_env(DrivingEnv(towns), skip_render_check=True)


def test_equal_seeds_give_equal_episodes(towns: list) -> None:
    def episode() -> list[np.ndarray]:
        env = DrivingEnv(towns)
        observation, _ = env.reset(seed=5)
        env.action_space.seed(6)
        seen = [observation]
        done = False
        while not done:
            observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            seen += [observation, np.array([reward])]
            done = terminated or truncated
        return seen

    first, second = episode(), episode()
    assert len(first) == len(second)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_an_episode_that_has_ended_is_not_driven_on(towns: list) -> None:
    env = DrivingEnv(towns)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(2, np.float32))
    env.reset(options={"scenario": 0})
    done = False
    while not done:  # full speed beside the route, into whatever comes
        _, _, terminated, truncated, _ = env.step(np.ones(2, np.float32))
        done = terminated or truncated
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="traffic = 'IDM'"):
        DrivingEnv(towns, traffic="IDM")  # type: ignore[arg-type]


def test_a_restored_moment_goes_on_alike(towns: list) -> None:
    env = DrivingEnv(towns)
    env.reset(options={"scenario": 1})
    env.step(np.array([0.3, 0.0], np.float32))
    saved = env.save()
    action = np.array([-0.2, 0.1], np.float32)
    first = [env.step(action) for _ in range(3)]
    env.restore(saved)
    second = [env.step(action) for _ in range(3)]
    for (a, r, *_), (b, q, *_) in zip(first, second, strict=True):
        assert (a == b).all()
        assert r == q


def test_it_drives_as_the_simulator_drives_the_same_plans(towns: list) -> None:
    env = DrivingEnv(towns)
    env.reset(options={"scenario": 0})
    made = []
    plan = env._plan
    env._plan = lambda *a: made.append(plan(*a)) or made[-1]  # type: ignore[method-assign]
    done = False
    while not done:
        *_, terminated, truncated, info = env.step(np.array([0.0, 0.0], np.float32))
        done = terminated or truncated

    class Same:
        def reset_batch(self, briefs: object) -> None: ...

        def plan_batch(self, observations: object) -> TrajectoryBatch:
            return TrajectoryBatch(made.pop(0)[None], 0.1)

    steps = info["step"]
    rollouts = ClosedLoop(duration_s=steps / 10).run([Case(towns[0], 0, 0)], PlannerHost(Same))
    assert rollouts.errors == (None,)
    assert env._world is not None
    rows = slice(0, rollouts.now + steps + 1)
    assert (rollouts.ego[0, rows] == env._world.ego[0, rows]).all()


def test_full_throttle_into_a_standing_car_ends_the_episode() -> None:
    from dataclasses import replace

    scene = straight_road_scenario()
    state = scene.agents.state.copy()
    if not len(scene.agents):
        pytest.skip("the scene has nobody in it")
    now = scene.start
    ahead = 30.0
    yaw = scene.ego[now, 2]
    state[0, :, 0] = scene.ego[now, 0] + ahead * np.cos(yaw)
    state[0, :, 1] = scene.ego[now, 1] + ahead * np.sin(yaw)
    state[0, :, 2] = yaw
    state[0, :, 3:] = 0.0
    valid = scene.agents.valid.copy()
    valid[0] = True
    env = DrivingEnv([replace(scene, agents=replace(scene.agents, state=state, valid=valid))],
                     traffic="replay")  # fmt: skip
    observation, _ = env.reset()
    assert observation.shape == (FEATURES,)
    total = 0.0
    for _ in range(40):
        _, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0], np.float32))
        total += reward
        if terminated or truncated:
            break
    assert terminated
    assert info["collision_at_fault"]
    assert reward < -3.0


def test_bad_arguments_are_refused(towns: list) -> None:
    with pytest.raises(ValueError, match="replan_hz"):
        DrivingEnv(towns, replan_hz=3.0)
    with pytest.raises(ValueError, match="no scenario"):
        DrivingEnv([])
    with pytest.raises(RuntimeError, match="reset"):
        DrivingEnv(towns).step(np.zeros(2, np.float32))


def test_the_documented_example_learns() -> None:
    page = (ROOT / "docs" / "gymnasium.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "docs/gymnasium.md", "exec"), {"__name__": "example"})
    before, after = map(float, re.findall(r"return (\S+) before, (\S+) after", said.getvalue())[0])
    assert after > before + 0.1
    assert f"`{said.getvalue().strip()}`" in page
