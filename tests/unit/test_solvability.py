"""What can be survived, what cannot, and that a false certificate is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roadworthy.admission import admit
from roadworthy.errors import DataError
from roadworthy.scenario import AgentKind, Lineage, Scenario, StateIndex, Tracks
from roadworthy.scenario_store import ScenarioStore
from roadworthy.solvability import (
    Certificate,
    Limits,
    Manoeuvre,
    drive_of,
    read_certificates,
    recheck,
    solvable,
    solve,
    steady_drive,
    write_certificates,
)
from roadworthy.testing.scenes import moved, straight_road_scenario
from roadworthy.variants import generate_set, unsolvable_folder
from roadworthy.vehicle import PACIFICA
from roadworthy_sources.procedural import Procedural

ORIGIN = (500.0, -200.0, 0.6)
LENGTH, WIDTH = 0.6, 40.0


def walled(gap: float, speed: float, width: float = WIDTH, *, since: int = 0) -> Scenario:
    """An empty two-lane road with a wall across it.

    Args:
        gap: from the ego's bumper at the present to the wall [m].
        speed: of the ego [m/s].
        width: of the wall, about the middle of the ego's lane [m].
        since: step after the present from which on it is there.
    """
    road = straight_road_scenario(speed=speed, agents=0, length=400.0, origin=(0.0, 0.0, 0.0))
    state = np.zeros((1, road.steps, 5))
    state[..., StateIndex.X] = PACIFICA.front + gap + 0.5 * LENGTH
    valid = np.ones((1, road.steps), bool)
    valid[:, : road.start + since] = since == 0
    wall = Tracks(
        id=("wall",),
        kind=np.array([AgentKind.BARRIER], np.int8),
        size=np.array([[LENGTH, width, 1.0]]),
        state=state,
        valid=valid,
    )
    return admit(moved(replace(road, agents=wall), *ORIGIN))


def stopping_distance(speed: float, deceleration: float, jerk: float = 20.0) -> float:
    """Metres to a stop if braking builds up at `jerk`."""
    ramp = deceleration / jerk
    after = speed - 0.5 * jerk * ramp**2
    return speed * ramp - jerk * ramp**3 / 6.0 + after**2 / (2.0 * deceleration)


def test_negative_control_walls_within_the_reaction_distance_are_unsolvable() -> None:
    rng = np.random.default_rng(5)
    for _ in range(40):
        speed, reaction = rng.uniform(4.0, 16.0), rng.uniform(0.3, 1.6)
        gap = rng.uniform(0.1, 0.98) * speed * (np.ceil(10 * reaction) / 10 - 0.1)
        scene = walled(max(gap, 0.05), speed)
        found = solve(scene, np.ceil(10 * reaction) / 10)
        assert not found.solvable
        assert found.label == "unsolvable"
        assert recheck(scene, found) == ()


@settings(max_examples=30, deadline=None)
@given(
    speed=st.floats(4.0, 16.0),
    reaction=st.sampled_from([0.0, 0.5, 1.0, 1.5]),
    spare=st.floats(1.0, 15.0),
)
def test_a_wall_beyond_the_stopping_distance_is_braked_for(
    speed: float, reaction: float, spare: float
) -> None:
    gap = speed * reaction + stopping_distance(speed, 8.0) + spare
    scene = walled(gap, speed)
    found = solve(scene, reaction)
    assert found.solvable
    assert found.weakest is not None
    assert found.weakest.manoeuvre <= Manoeuvre.BRAKE_HARD
    assert recheck(scene, found) == ()


def test_the_weakest_manoeuvre_is_the_one_that_the_distance_asks_for() -> None:
    speed = 12.0
    for least, most, label in (
        (stopping_distance(speed, 3.0), 200.0, "ease_off"),
        (stopping_distance(speed, 4.5), stopping_distance(speed, 3.0), "brake"),
        (stopping_distance(speed, 8.0), stopping_distance(speed, 4.5), "brake_hard"),
    ):
        gap = min(least + 2.0, 0.5 * (least + most))
        assert solve(walled(speed * 0.5 + gap, speed), 0.5).label == label
        assert solvable(walled(speed * 0.5 + gap, speed), 0.5)
    too_near = speed * 0.5 + stopping_distance(speed, 8.0) - 2.0
    assert solve(walled(too_near, speed), 0.5).label == "unsolvable"
    assert not solvable(walled(too_near, speed), 0.5)


def test_an_obstacle_that_leaves_room_is_swerved_around() -> None:
    gap = 1.0 * 12.0 + stopping_distance(12.0, 8.0) - 2.0
    found = solve(scene := walled(gap, 12.0, width=1.0), 1.0)
    assert found.weakest is not None
    assert found.weakest.manoeuvre in (Manoeuvre.SWERVE, Manoeuvre.SWERVE_AND_BRAKE)
    assert recheck(scene, found) == ()


def test_nothing_need_be_done_where_nobody_is_met() -> None:
    scene = straight_road_scenario()
    found = solve(scene)
    assert (found.label, found.contact, found.latest_reaction_s) == ("keep", -1, None)
    assert recheck(scene, found) == ()
    assert solvable(scene)


def test_what_only_a_clairvoyant_survives_is_said_to_be_that() -> None:
    scene = walled(22.0, 14.0, since=8)
    found = solve(scene, 1.0)
    assert not found.solvable
    assert found.onset == 8
    assert found.clairvoyant
    assert recheck(scene, found) == ()


def test_variants_that_only_a_clairvoyant_survives_are_kept_apart_and_tagged(
    tmp_path: Path,
) -> None:
    class Walls:
        """One far enough to brake, one that comes into view too late."""

        def generate(
            self, scenario: Scenario, n: int, rng: np.random.Generator
        ) -> Iterator[Scenario]:
            for name, wall in (("far", walled(60.0, 14.0)), ("late", walled(22.0, 14.0, since=8))):
                lineage = Lineage(scenario.hash, "walls", 0, {})
                yield replace(
                    scenario, id=name, agents=wall.agents, tags=("variant",), lineage=lineage
                )

    made = generate_set([walled(60.0, 14.0)], Walls, "walls", 2, 0, tmp_path / "out")
    assert (made.stored, made.clairvoyant) == (1, 1)
    for folder, tagged in ((tmp_path / "out", False), (unsolvable_folder(tmp_path / "out"), True)):
        (scene,) = ScenarioStore(folder).scenarios()
        assert ("clairvoyant" in scene.tags) is tagged
        certificate = read_certificates(folder)[scene.hash]
        assert certificate.clairvoyant is tagged
        assert recheck(scene, certificate) == ()


def test_the_latest_reaction_is_no_later_than_braking_allows() -> None:
    speed, gap = 12.0, 45.0
    found = solve(walled(gap, speed), 0.5)
    assert found.latest_reaction_s is not None
    # With the best deceleration there is, from the onset on (4 s before the contact at most).
    latest = (gap - found.onset * 0.1 * speed - speed**2 / 2.0 / 8.5) / speed
    assert 0.5 <= found.latest_reaction_s <= latest + 0.1


def test_a_follower_who_can_react_is_excused_and_one_who_cannot_is_not() -> None:
    scene = walled(45.0, 12.0)
    state = np.concatenate([scene.agents.state] * 2)
    ahead = np.array([np.cos(ORIGIN[2]), np.sin(ORIGIN[2])])
    state[1, :, :2] = scene.ego[:, :2] - 9.0 * ahead
    state[1, :, StateIndex.YAW] = ORIGIN[2]
    state[1, :, StateIndex.VX :] = 12.0 * ahead
    for reactive in (True, False):
        tracks = Tracks(
            ("wall", "follower"),
            np.array([AgentKind.BARRIER, AgentKind.VEHICLE], np.int8),
            np.array([[LENGTH, WIDTH, 1.0], [4.6, 1.9, 1.5]]),
            state,
            np.ones(state.shape[:2], bool),
            np.array([False, reactive]),
        )
        followed = admit(replace(scene, agents=tracks))
        found = solve(followed, 0.5)
        assert found.weakest is not None
        # Who can react is braked in front of; for who cannot, the ego has to make way.
        swerves = found.weakest.manoeuvre >= Manoeuvre.SWERVE
        assert (swerves, found.weakest.excused) == ((False, (1,)) if reactive else (True, ()))
        assert recheck(followed, found) == ()


def test_every_certificate_of_procedural_scenes_holds() -> None:
    scenes = [s for s in Procedural(seed=5, count=15).scenarios() if isinstance(s, Scenario)]
    found = []
    for scene in scenes:
        for drive in (None, steady_drive(scene)):
            one = solve(scene, 1.0, base=drive)
            assert recheck(scene, one) == ()
            found.append(one)
    assert {one.label for one in found} > {"keep"}
    assert any(one.solvable and one.contact >= 0 for one in found)


@pytest.fixture(scope="module")
def held() -> tuple[Scenario, Certificate]:
    scene = walled(40.0, 12.0)
    return scene, solve(scene, 1.0)


def test_a_false_certificate_is_found_out(held: tuple[Scenario, Certificate]) -> None:
    scene, good = held
    weakest = good.weakest
    assert weakest is not None
    states = np.array(weakest.states)

    def with_states(changed: np.ndarray, **more: object) -> Certificate:
        rows = tuple(map(tuple, changed.tolist()))
        return msgspec.structs.replace(
            good, weakest=msgspec.structs.replace(weakest, states=rows, **more)
        )

    steady = np.array(drive_of(scene.ego[scene.start :]))[weakest.begin :]
    faster = states.copy()
    faster[5:, 3] += 3.0
    beside = states.copy()
    beside[5:, :2] += 5.0
    for false, sentence in (
        (with_states(steady), "meets agent 0"),
        (with_states(faster), "beside its speed"),
        (with_states(beside), "beside its speed"),
        (with_states(states[1:]), "states from step"),
        (with_states(states, begin=weakest.begin - 2), "states from step"),
        (with_states(np.full_like(states, np.nan)), "not finite"),
        (msgspec.structs.replace(good, onset=good.onset - 3), "foreseen from"),
        (msgspec.structs.replace(good, contact=good.contact + 1), "the base drive first meets"),
        (msgspec.structs.replace(good, reaction_s=1.4), "before the reaction time"),
        (msgspec.structs.replace(good, combined=1.0), "combined acceleration"),
        (msgspec.structs.replace(good, scenario="0" * 32), "it is of scene"),
    ):
        problems = recheck(scene, false)
        assert any(sentence in problem for problem in problems), (sentence, problems)


def test_a_base_drive_that_nobody_can_drive_is_found_out() -> None:
    scene = walled(60.0, 12.0)
    steady = steady_drive(scene)
    jump, swift = steady.copy(), steady.copy()
    jump[:, :2] += 2.0
    swift[30:, 3] += 20.0
    for base, sentence in ((jump, "does not begin where"), (swift, "base drive: ")):
        problems = recheck(scene, solve(scene, 1.0, base=base))
        assert any(sentence in problem for problem in problems), problems
    assert recheck(scene, solve(scene, 1.0, base=steady)) == ()


def test_a_steady_driver_slows_down_for_curves_and_for_nobody() -> None:
    scene = walled(30.0, 12.0)
    assert np.allclose(steady_drive(scene)[:, 3], 12.0)
    for curved in Procedural(seed=8, count=6, families=["curve", "four_way"]).scenarios():
        assert isinstance(curved, Scenario)
        drive = steady_drive(curved)
        rate = np.abs(np.diff(np.unwrap(drive[:, 2]))) * 10.0
        assert (rate * drive[1:, 3]).max() < 4.0
        assert (np.abs(np.diff(drive[:, 3])) * 10.0).max() < 4.1


def test_a_certificate_survives_being_written(
    held: tuple[Scenario, Certificate], tmp_path: Path
) -> None:
    scene, good = held
    write_certificates(tmp_path, [good])
    again = read_certificates(tmp_path)
    assert again == {scene.hash: good}
    assert recheck(scene, again[scene.hash]) == ()
    (tmp_path / "certificates.jsonl").write_bytes(b'{"version": 1}\n')
    with pytest.raises(DataError, match=r"certificates\.jsonl:1"):
        read_certificates(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_certificates(tmp_path / "nowhere")


def walker(van: bool) -> Scenario:
    """Someone walks into the ego's way at 2 m/s, from behind a van or in the open."""
    road = straight_road_scenario(speed=8.0, agents=0, length=400.0, origin=(0.0, 0.0, 0.0))
    steps = np.arange(road.steps) - road.start
    state = np.zeros((2, road.steps, 5))
    at = 8.0 * 4.0
    state[0, :, StateIndex.X] = at
    state[0, :, StateIndex.Y] = 2.0 * 0.1 * (steps - 40)
    state[0, :, StateIndex.YAW] = 0.5 * np.pi
    state[0, :, StateIndex.VY] = 2.0
    state[1, :, StateIndex.X] = at - 5.0
    state[1, :, StateIndex.Y] = -3.2
    both = Tracks(
        id=("walker", "van"),
        kind=np.array([AgentKind.PEDESTRIAN, AgentKind.VEHICLE], np.int8),
        size=np.array([[0.6, 0.6, 1.75], [5.4, 2.0, 2.2 if van else 1.0]]),
        state=state,
        valid=np.ones((2, road.steps), np.bool_),
    )
    return admit(moved(replace(road, agents=both), *ORIGIN))


def test_who_is_hidden_cannot_be_foreseen() -> None:
    hidden, open_ = solve(walker(True)), solve(walker(False))
    assert (hidden.contact, hidden.contact_agent) == (open_.contact, open_.contact_agent)
    assert open_.contact_agent == 0
    # In the open it can be foreseen from 4 s before on. The line from the middle of the ego's box
    # past the van's far corner says when it comes into view.
    assert open_.onset == 0
    corner = np.array([8.0 * 4.0 - 5.0 + 2.7, -2.2])
    for k in range(hidden.contact):
        eye = 8.0 * 0.1 * k + PACIFICA.rear_axle_to_centre
        body = np.array([[0.3, 0.3], [0.3, -0.3], [-0.3, 0.3], [-0.3, -0.3], [0.0, 0.0]])
        body += [32.0, 0.2 * (k - 40)]
        over = body[:, 1] - corner[1] * (body[:, 0] - eye) / (corner[0] - eye)
        assert bool((over > 0.0).any()) == (k >= hidden.onset)
    for scene, found in ((walker(True), hidden), (walker(False), open_)):
        assert recheck(scene, found) == ()
    assert recheck(walker(True), msgspec.structs.replace(hidden, onset=0))


def test_arguments_are_checked() -> None:
    scene = straight_road_scenario()
    with pytest.raises(ValueError, match="reaction_s"):
        solve(scene, -1.0)
    with pytest.raises(ValueError, match="base has shape"):
        solve(scene, base=np.zeros((3, 4)))
    with pytest.raises(ValueError, match="lateral"):
        solve(scene, limits=Limits(lateral=float("nan")))
