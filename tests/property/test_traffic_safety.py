"""What reactive traffic never does, for random starts that are feasible."""

from __future__ import annotations

import numpy as np
import pytest
from crossing_scenes import busy_crossing, drive_standing, overlaps
from hypothesis import given, settings
from hypothesis import strategies as st
from roads import CAR, Agent, make_scenario, ring_road, ring_scenario, straight_road
from roadworthy.scenario import DT, HISTORY
from roadworthy_simulators.traffic.idm import EMERGENCY
from roadworthy_simulators.world import World

NOW = HISTORY - 1
ROAD = straight_road(1, length=2000.0, limit=20.0)
RING = ring_road()


def accelerations(world: World) -> np.ndarray:
    speed = np.hypot(world.agents[0, :, NOW:, 3], world.agents[0, :, NOW:, 4])
    valid = world.valid[0, :, NOW:]
    return (np.diff(speed) / DT)[valid[:, 1:] & valid[:, :-1]]


@st.composite
def platoons(draw: st.DrawFn) -> list[Agent]:
    """Cars one behind another, each able to stop behind where its leader would come to stand."""
    front, speed = 600.0, draw(st.floats(0.0, 20.0))
    cars = [Agent(x=front, speed=speed)]
    for _ in range(draw(st.integers(1, 7))):
        leader_stops = front - CAR[0] + speed**2 / (2.0 * EMERGENCY)
        speed = draw(st.floats(0.0, 20.0))
        needed = speed**2 / (2.0 * EMERGENCY) + 0.2 * speed + 1.0
        front = min(front - CAR[0] - 1.0, leader_stops - needed) - draw(st.floats(0.0, 30.0))
        cars.append(Agent(x=front, speed=speed))
    return cars


@settings(max_examples=60, deadline=None)
@given(platoons(), st.booleans())
def test_platoons_never_collide(cars: list[Agent], blocked: bool) -> None:
    """Not even when the ego stands in the way of the first."""
    ego = (750.0, 0.0, 0.0, 0.0) if blocked else (-500.0, 300.0, 0.0, 0.0)
    world = World([make_scenario(ROAD, cars, ego=ego, seconds=25.0)])
    drive_standing(world, 250)
    x = world.agents[0, :, NOW:, 0]
    gaps = x[:-1] - x[1:] - CAR[0]
    assert gaps.min() > 0.0
    if blocked:
        assert x[0].max() + 0.5 * CAR[0] < 750.0 - 1.127
    accel = accelerations(world)
    assert accel.min() >= -EMERGENCY - 1e-9
    assert accel.max() <= 1.5 + 1e-9


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(6, 60))
def test_lane_changes_on_a_ring_never_collide_nor_force_hard_braking(seed: int, cars: int) -> None:
    world = World([ring_scenario(RING, cars, seed, seconds=20.0, logged=False)])
    log = world.scenarios[0].ego[NOW:, :3]
    ahead = log[1:] - log[0]
    c, s = np.cos(log[0, 2]), np.sin(log[0, 2])
    plan = np.column_stack([ahead[:, :2] @ [[c, -s], [s, c]], ahead[:, 2]])
    world.drive(np.arange(1), plan[None], np.array([len(plan)]), np.array([DT]), len(plan))
    assert not overlaps(world, 0)
    assert accelerations(world).min() >= -5.0


@pytest.mark.parametrize("seed", range(8))
def test_a_crossing_without_signals_is_cleared_without_contact(seed: int) -> None:
    world = World([busy_crossing(seed, seconds=70.0)])
    drive_standing(world, 700)
    assert not overlaps(world, 0)
    assert not world.valid[0, :, -1].any()
    assert accelerations(world).min() >= -EMERGENCY - 1e-9
