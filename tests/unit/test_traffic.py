"""Reactive traffic against closed forms and plain expectations, scene by scene."""

from __future__ import annotations

import numpy as np
import pytest
from crossing_scenes import MAP, drive_standing, overlaps, poses_along, way
from roads import CAR, PERSON, Agent, Lane, make_map, make_scenario, straight_road
from roadworthy.scenario import DT, HISTORY, AgentKind, LaneKind, Scenario, SignalState
from roadworthy_simulators.traffic.idm import (
    ACCELERATION,
    DECELERATION,
    EMERGENCY,
    HEADWAY,
    JAM_GAP,
    equilibrium_gap,
    idm_acceleration,
)
from roadworthy_simulators.traffic.lane_kernels import project
from roadworthy_simulators.traffic.lanes import lanes_of
from roadworthy_simulators.traffic.state import Mode
from roadworthy_simulators.world import World

FAR = (-500.0, 500.0, 0.0, 0.0)
NOW = HISTORY - 1


def played(scenario: Scenario, steps: int | None = None) -> World:
    """The world after `steps`, with an ego that stands where it starts."""
    world = World([scenario])
    drive_standing(world, scenario.horizon if steps is None else steps)
    return world


def speed_of(world: World, agent: int) -> np.ndarray:
    return np.hypot(world.agents[0, agent, NOW:, 3], world.agents[0, agent, NOW:, 4])


def test_idm_is_the_published_formula() -> None:
    v, wish, gap, lead = 11.0, 14.0, 23.0, 8.0
    desired = JAM_GAP + v * HEADWAY + v * (v - lead) / (2 * np.sqrt(ACCELERATION * DECELERATION))
    expected = ACCELERATION * (1 - (v / wish) ** 4 - (desired / gap) ** 2)
    assert idm_acceleration(v, wish, gap, lead) == pytest.approx(expected, rel=1e-12)
    assert idm_acceleration(v, wish, equilibrium_gap(v, wish), v) == pytest.approx(0.0, abs=1e-12)
    assert idm_acceleration(20.0, 20.0, 1.0, 0.0) == -EMERGENCY
    assert idm_acceleration(5.0, 10.0, -0.3, 5.0) == -EMERGENCY


def test_followers_settle_at_the_equilibrium_gap() -> None:
    road = straight_road(1, length=1500.0, limit=12.5)
    slow, fast = Agent(x=60.0, speed=10.0), Agent(x=20.0, speed=12.0)
    world = played(make_scenario(road, [slow, fast], ego=FAR, seconds=100.0))
    end = world.agents[0, :, -1]
    gap = end[0, 0] - end[1, 0] - CAR[0]
    assert speed_of(world, 0)[-1] == pytest.approx(10.0, abs=1e-6)
    assert speed_of(world, 1)[-1] == pytest.approx(10.0, abs=0.02)
    assert gap == pytest.approx(equilibrium_gap(10.0, 12.0), rel=0.01)


def signal_road(stop: float | None = None) -> object:
    """200 m, then a connector that a signal governs, then 200 m more."""
    x = np.linspace(0.0, 200.0, 41)
    flat = np.zeros(41)
    lanes = {
        "in": Lane(np.column_stack([x, flat]), next=("box",)),
        "box": Lane(
            np.column_stack([200.0 + x[:11], flat[:11]]), kind=LaneKind.CONNECTOR, next=("out",)
        ),
        "out": Lane(np.column_stack([250.0 + x, flat])),
    }
    lines = {} if stop is None else {"in": np.array([[stop, -2.0], [stop, 2.0]])}
    return make_map(lanes, lines)


@pytest.mark.parametrize("stop", [None, 190.0])
def test_red_stops_traffic_before_the_line_and_green_lets_it_go(stop: float | None) -> None:
    line = 200.0 if stop is None else stop
    state = np.full(HISTORY + 300, SignalState.RED)
    state[HISTORY + 150 :] = SignalState.GREEN
    agents = [Agent(x=110.0, speed=13.0), Agent(x=85.0, speed=13.0), Agent(x=60.0, speed=13.0)]
    world = played(
        make_scenario(signal_road(stop), agents, ego=FAR, seconds=30.0, signals={"box": state})
    )
    front = world.agents[0, 0, NOW:, 0] + 0.5 * CAR[0]
    assert front[:150].max() <= line
    assert front[149] > line - 3.0
    assert speed_of(world, 0)[149] < 0.1
    assert front[-1] > line + 50.0
    assert not overlaps(world, 0)


def test_yellow_stops_only_who_can_stop_comfortably() -> None:
    state = np.full(HISTORY + 100, SignalState.YELLOW)
    for start, stops in ((120.0, True), (180.0, False)):
        scenario = make_scenario(
            signal_road(), [Agent(x=start, speed=13.0, last=0)], ego=FAR, seconds=10.0,
            signals={"box": state},
        )  # fmt: skip
        front = played(scenario).agents[0, 0, -1, 0] + 0.5 * CAR[0]
        assert (front <= 200.0) == stops


def test_mobil_overtakes_a_slow_leader_smoothly() -> None:
    road = straight_road(2, length=1500.0, limit=np.nan)
    slow, fast = Agent(x=80.0, speed=5.0), Agent(x=40.0, speed=14.0)
    world = played(make_scenario(road, [slow, fast], ego=FAR, seconds=20.0))
    track = world.agents[0, 1, NOW:]
    assert track[-1, 0] > world.agents[0, 0, -1, 0] + 20.0
    assert track[-1, 1] == pytest.approx(3.5, abs=0.05)
    assert not overlaps(world, 0)
    yaw_rate = np.diff(track[:, 2]) / DT
    speed = speed_of(world, 1)
    assert np.abs(yaw_rate * speed[1:]).max() < 2.0
    assert np.abs(np.diff(yaw_rate)).max() < 0.3
    step = np.hypot(*np.diff(track[:, :2], axis=0).T) / DT
    assert step == pytest.approx(0.5 * (speed[1:] + speed[:-1]), abs=0.05)


def test_mobil_stays_where_a_change_would_force_the_new_follower_to_brake() -> None:
    road = straight_road(2, length=1500.0, limit=np.nan)
    slow, wants = Agent(x=80.0, speed=5.0), Agent(x=55.0, speed=8.0)
    beside = [Agent(x=x, y=3.5, speed=14.0) for x in (45.0, 25.0, 5.0)]
    scenario = make_scenario(road, [slow, wants, *beside], ego=FAR, seconds=4.0)
    world = played(scenario)
    early = world.agents[0, 1, NOW : NOW + 25, 1]
    assert np.abs(early).max() < 1e-9
    assert np.diff(speed_of(world, 2)).min() / DT > -3.0


def test_traffic_stops_behind_an_ego_that_stands_on_its_lane() -> None:
    road = straight_road(1)
    agents = [Agent(x=60.0 - 25.0 * i, speed=12.0) for i in range(3)]
    world = played(make_scenario(road, agents, ego=(120.0, 0.3, 0.05, 0.0), seconds=15.0))
    assert speed_of(world, 0)[-1] < 0.2
    gap = 120.0 - 1.127 - (world.agents[0, 0, -1, 0] + 0.5 * CAR[0])
    assert 0.5 < gap < 4.0
    assert not overlaps(world, 0)


@pytest.mark.parametrize("kind", [AgentKind.PEDESTRIAN, AgentKind.GENERIC_OBJECT])
def test_traffic_stops_for_who_stands_on_its_lane(kind: AgentKind) -> None:
    road = straight_road(1)
    agents = [Agent(x=20.0, speed=12.0), Agent(x=110.0, y=0.4, kind=kind, size=PERSON)]
    world = played(make_scenario(road, agents, ego=FAR))
    assert speed_of(world, 0)[-1] < 0.2
    assert 105.0 < world.agents[0, 0, -1, 0] + 0.5 * CAR[0] < 109.7


def walker(y: float = -12.0) -> Agent:
    return Agent(x=50.0, y=y, yaw=0.5 * np.pi, speed=1.4, kind=AgentKind.PEDESTRIAN, size=PERSON)


def test_a_pedestrian_walks_as_logged_where_nothing_is_in_its_way() -> None:
    scenario = make_scenario(straight_road(1), [walker()], ego=FAR)
    world = played(scenario)
    log = scenario.agents.state[0]
    assert np.array_equal(world.agents[0, 0], log)
    assert np.array_equal(world.valid[0, 0], scenario.agents.valid[0])


def test_a_pedestrian_does_not_walk_into_a_standing_vehicle_and_goes_on_when_it_has_left() -> None:
    scenario = make_scenario(straight_road(1), [walker(-5.0)], ego=(50.0 - 1.461, 0.0, 0.0, 0.0))
    world = World([scenario])
    drive_standing(world, 100)
    track = world.agents[0, 0, NOW : NOW + 101]
    edge = -0.5 * 2.297
    assert track[-1, 1] + 0.3 <= edge
    assert track[-1, 1] > edge - 2.5
    assert speed_of(world, 0)[100] == 0.0
    away = np.zeros((1, 20, 3))
    away[0, :, 0] = 12.0 * 0.5 * np.arange(1, 21)
    world.drive(np.arange(1), away, np.array([20]), np.array([0.5]), 50)
    assert world.agents[0, 0, NOW + 150, 1] > track[-1, 1] + 1.5


def test_a_pedestrian_lets_a_moving_vehicle_pass() -> None:
    """The logged paths meet; the one on foot waits, the car is not slowed by one who waits."""
    crossing = Agent(
        x=60.0, y=-5.5, yaw=0.5 * np.pi, speed=1.4, kind=AgentKind.PEDESTRIAN, size=PERSON
    )
    car = Agent(x=0.0, speed=14.0)
    world = played(make_scenario(straight_road(1), [crossing, car], ego=FAR, seconds=12.0))
    assert not overlaps(world, 0)
    assert world.agents[0, 0, -1, 1] > 2.0


def test_objects_and_parked_cars_stay_and_others_off_the_lanes_keep_to_their_log() -> None:
    cone = Agent(x=30.0, y=4.0, kind=AgentKind.TRAFFIC_CONE, size=(0.4, 0.4, 0.8), last=80)
    parked = Agent(x=60.0, y=-3.0, last=40)
    yard = Agent(x=0.0, y=60.0, speed=6.0, first=10, last=100)
    scenario = make_scenario(straight_road(1), [cone, parked, yard], ego=FAR)
    world = played(scenario)
    log, valid = scenario.agents.state, scenario.agents.valid
    for a in (0, 2):
        assert np.array_equal(world.valid[0, a], valid[a])
        assert np.array_equal(world.agents[0, a][valid[a]], log[a][valid[a]])
    assert world.valid[0, 1].all()
    assert np.ptp(world.agents[0, 1, :, :3], axis=0).max() == 0.0


def test_a_vehicle_off_the_lanes_stops_behind_the_ego_on_its_path() -> None:
    yard = Agent(x=0.0, y=60.0, speed=6.0)
    world = played(make_scenario(straight_road(1), [yard], ego=(50.0, 60.0, 0.0, 0.0)))
    assert speed_of(world, 0)[-1] < 0.1
    assert 40.0 < world.agents[0, 0, -1, 0] + 0.5 * CAR[0] < 50.0 - 1.127


def test_an_agent_appears_once_its_spot_is_free() -> None:
    road = straight_road(1)
    late = Agent(x=-20.0, speed=10.0, first=20)  # at x = 0 at step 20
    free = played(make_scenario(road, [late], ego=FAR)).valid[0, 0, NOW:]
    assert not free[:20].any()
    assert free[20:].all()
    blocked = played(make_scenario(road, [late], ego=(-1.0, 0.0, 0.0, 0.0), seconds=8.0))
    first = int(np.argmax(blocked.valid[0, 0, NOW:]))
    assert first > 20
    assert blocked.agents[0, 0, NOW + first, 0] - 0.5 * CAR[0] > 3.0


def test_an_agent_whose_log_ends_goes_on_to_the_end_of_the_road() -> None:
    agent = Agent(x=60.0, speed=10.0, last=0)
    world = played(make_scenario(straight_road(1, length=100.0), [agent]))
    valid = world.valid[0, 0, NOW:]
    assert valid[:30].all()
    assert not valid[60:].any()
    assert world.agents[0, 0, NOW:][valid][-1, 0] <= 100.0 + CAR[0]


def test_a_cyclist_keeps_its_side_of_the_lane() -> None:
    cyclist = Agent(x=20.0, y=-1.2, speed=5.0, kind=AgentKind.BICYCLE, size=(1.8, 0.6, 1.7))
    scenario = make_scenario(straight_road(1), [cyclist], ego=FAR)
    assert played(scenario, 99)._batch.agent["mode"][0, 0] == Mode.LANE
    world = played(scenario)
    assert world.agents[0, 0, NOW:, 1] == pytest.approx(-1.2, abs=0.01)
    assert speed_of(world, 0)[-1] == pytest.approx(5.0, abs=0.05)


def test_agents_start_where_the_log_has_them() -> None:
    agents = [Agent(x=20.0, y=0.6, yaw=0.05, speed=10.0), Agent(x=60.0, y=-0.4, speed=8.0)]
    scenario = make_scenario(straight_road(1), agents, ego=FAR)
    world = played(scenario, 3)
    assert np.array_equal(world.agents[0, :, NOW], scenario.agents.state[:, NOW])
    drift = world.agents[0, :, NOW + 1] - scenario.agents.state[:, NOW + 1]
    assert np.abs(drift).max() < 0.2


def test_routes_follow_the_logged_turns() -> None:
    poses = {turn: poses_along(way("E", turn), 120.0, 8.0, 15.0) for turn in ("left", "right")}
    for turn, wanted in (("left", "out.S"), ("right", "out.N")):
        world = played(make_scenario(MAP, [Agent(poses=poses[turn])], ego=FAR))
        assert MAP.lane_id[world._batch.agent["lane"][0, 0]] == wanted
        assert np.diff(speed_of(world, 0)).min() / DT > -3.0


def test_conflicts_are_mutual() -> None:
    lanes = lanes_of(MAP)
    pairs = set()
    for l in range(len(lanes.lane)):
        for c in range(lanes.lane[l]["conflict_begin"], lanes.lane[l]["conflict_end"]):
            pairs.add((l, int(lanes.conflict[c]["lane"])))
    assert pairs
    assert pairs == {(m, l) for l, m in pairs}


def test_projection_inverts_the_pose_of_a_lane_follower() -> None:
    rng = np.random.default_rng(0)
    lanes = lanes_of(MAP)
    for name in ("in.N", "W.left", "S.right", "out.E"):
        l = MAP.lane_id.index(name)
        for _ in range(20):
            s, d = rng.uniform(2.0, lanes.lane[l]["length"] - 2.0), rng.uniform(-1.5, 1.5)
            first, step = lanes.lane[l]["first"], lanes.lane[l]["spacing"]
            i, f = int(s / step), s / step - int(s / step)
            p, q = lanes.sample[first + i], lanes.sample[first + i + 1]
            x, y, c, t = (p[k] + f * (q[k] - p[k]) for k in ("x", "y", "cos", "sin"))
            got = project(lanes.lane, lanes.sample, l, i - 3, x - d * t, y + d * c)
            assert got[:2] == pytest.approx((s, d), abs=0.02)
