"""Plain variations: what changes, what never does, and what is stored of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from roadworthy.cli import main
from roadworthy.errors import DataError, PluginError, SuiteError
from roadworthy.exit_codes import ExitCode
from roadworthy.runner import run_suite
from roadworthy.scenario import HISTORY, AgentKind, Lineage, Scenario, StateIndex
from roadworthy.scenario_store import ScenarioStore, StoreWriter
from roadworthy.solvability import read_certificates, recheck, write_certificates
from roadworthy.splits import LeakError, origin_of, root_of
from roadworthy.suite import parse_suite
from roadworthy.testing.scenes import straight_road_scenario
from roadworthy.variants import (
    BOUNDS,
    check_variant,
    generate_set,
    read_generated,
    read_trials,
    unsolvable_folder,
)
from roadworthy_generators.perturb import Perturb
from roadworthy_generators.perturb.retime import Warp, retimed
from roadworthy_sources.procedural import Procedural


@cache
def parents() -> tuple[Scenario, ...]:
    scenes = Procedural(seed=21, count=10).scenarios()
    return tuple(scene for scene in scenes if isinstance(scene, Scenario))


def variants(scene: Scenario, n: int = 4, seed: int = 0, **options: float) -> list[Scenario]:
    return list(Perturb(**options).generate(scene, n, np.random.default_rng(seed)))


def boxes(scene: Scenario, step: int) -> list[shapely.Polygon]:
    tracks = scene.agents
    out = []
    for a in np.flatnonzero(tracks.valid[:, step]):
        x, y, yaw = tracks.state[a, step, :3]
        length, width = tracks.size[a, :2]
        square = shapely.box(-0.5 * length, -0.5 * width, 0.5 * length, 0.5 * width)
        turned = shapely.affinity.rotate(square, yaw, origin=(0, 0), use_radians=True)
        out.append(shapely.affinity.translate(turned, x, y))
    return out


@settings(max_examples=15, deadline=None)
@given(index=st.integers(0, 9), seed=st.integers(0, 2**63 - 1))
def test_every_variant_is_fit_to_be_driven(index: int, seed: int) -> None:
    parent = parents()[index]
    made = Perturb().vary(parent, seed)
    if made is None:
        return
    assert made.map.hash == parent.map.hash
    assert made.hash != parent.hash
    assert np.array_equal(made.ego, parent.ego)
    assert check_variant(parent, made) == ()
    assert made.lineage is not None
    assert (made.lineage.parent, made.lineage.generator) == (parent.hash, "perturb")
    assert root_of(made) == parent.hash
    now = boxes(made, made.start)
    car = made.vehicle
    x, y, yaw = made.ego[made.start, :3]
    square = shapely.box(-car.rear, -0.5 * car.width, car.front, 0.5 * car.width)
    turned = shapely.affinity.rotate(square, yaw, origin=(0, 0), use_radians=True)
    assert not any(shapely.affinity.translate(turned, x, y).intersects(box) for box in now)
    changed = {change["agent"] for change in made.lineage.parameters["changes"]}
    for a, name in enumerate(made.agents.id):
        if name not in changed:
            assert np.array_equal(made.agents.state[a], parent.agents.state[a])
            continue
        bounds = BOUNDS.get(AgentKind(int(made.agents.kind[a])))
        both = made.agents.valid[a, 1:] & made.agents.valid[a, :-1]
        speed = np.hypot(*made.agents.state[a, :, StateIndex.VX :].T)
        logged = np.hypot(*parent.agents.state[a, :, StateIndex.VX :].T)
        if bounds is not None and both.any():
            own = np.abs(np.diff(logged)[parent.agents.valid[a, 1:] & parent.agents.valid[a, :-1]])
            most = max(bounds.along, 10.0 * own.max(initial=0.0)) + 0.5
            assert (np.abs(np.diff(speed))[both] * 10.0).max() <= most


def test_the_same_random_numbers_give_the_same_variants_and_others_others() -> None:
    scene = parents()[1]
    first, again, other = variants(scene), variants(scene), variants(scene, seed=1)
    assert [v.hash for v in first] == [v.hash for v in again]
    assert {v.hash for v in first}.isdisjoint(v.hash for v in other)
    assert len({v.id for v in first + other}) == len(first + other)
    for made in first:
        assert made.lineage is not None
        remade = Perturb().vary(scene, made.lineage.seed)
        assert remade is not None
        assert remade.hash == made.hash


def test_each_option_changes_what_it_says() -> None:
    off = {"speed": 0.0, "gap_m": 0.0, "timing_s": 0.0, "size": 0.0, "kinds": 0.0, "agents": 3}
    scene = parents()[3]
    seen = {"speed": 0, "gap_m": 0, "timing_s": 0, "size": 0, "kinds": 0}
    for option, value in (
        ("speed", 0.4), ("gap_m", 6.0), ("timing_s", 1.5), ("size", 0.1), ("kinds", 1.0),
    ):  # fmt: skip
        for made in variants(scene, 6, **(off | {option: value})):
            old, new, now = scene.agents, made.agents, scene.start
            here = old.valid[:, now] & new.valid[:, now]
            shifted = np.hypot(*(new.state[here, now, :2] - old.state[here, now, :2]).T)
            speed = np.hypot(*np.moveaxis(new.state[here, now, 3:], 1, 0))
            before = np.hypot(*np.moveaxis(old.state[here, now, 3:], 1, 0))
            seen["speed"] += bool((np.abs(speed - before) > 1e-6).any())
            seen["gap_m"] += bool((shifted > 1e-6).any())
            seen["size"] += not np.array_equal(old.size, new.size)
            seen["kinds"] += bool((np.abs(new.size / old.size - 1.0) > 0.11).any())
            if option == "timing_s":
                moved = ~np.isclose(old.state[:, -1], new.state[:, -1]).all()
                seen["timing_s"] += bool(moved) and not (shifted > 1e-6).any()
            if option in ("speed", "timing_s"):
                assert (shifted < 1e-6).all()
                assert np.array_equal(old.size, new.size)
    assert all(seen.values()), seen


def straight_track(speed: float, steps: int = 100) -> tuple[np.ndarray, np.ndarray]:
    state = np.zeros((steps, 5))
    state[:, StateIndex.X] = speed * 0.1 * np.arange(steps)
    state[:, StateIndex.VX] = speed
    return state, np.ones(steps, bool)


@given(
    speed=st.floats(0.2, 25.0),
    factor=st.floats(0.6, 1.4),
    delay=st.floats(-1.4, 1.4),
    gap=st.floats(-10.0, 10.0),
)
def test_a_retimed_track_goes_on_moving_as_its_velocity_says(
    speed: float, factor: float, delay: float, gap: float
) -> None:
    state, valid = straight_track(speed)
    made = retimed(state, valid, HISTORY - 1, Warp(factor, delay, gap))
    if made is None:
        return
    out, there = made
    both = there[1:] & there[:-1]
    moved = np.diff(out[:, StateIndex.X])[both]
    mean = 0.05 * (out[1:, StateIndex.VX] + out[:-1, StateIndex.VX])[both]
    assert np.allclose(moved, mean, atol=0.02 + 0.02 * speed)
    assert (out[there, StateIndex.VX] > 0.0).all()
    assert np.isclose(out[HISTORY - 1, StateIndex.X], state[HISTORY - 1, StateIndex.X] + gap)
    assert np.isclose(out[HISTORY - 1, StateIndex.VX], factor * speed)


def test_a_delayed_agent_is_late_by_the_delay() -> None:
    state, valid = straight_track(10.0)
    made = retimed(state, valid, HISTORY - 1, Warp(delay=1.0))
    assert made is not None
    assert np.allclose(made[0][70:, StateIndex.X], state[60:-10, StateIndex.X], atol=0.02)


def test_a_track_with_gaps_is_left_alone() -> None:
    state, valid = straight_track(10.0)
    valid[50] = False
    assert retimed(state, valid, HISTORY - 1, Warp(delay=1.0)) is None


def test_each_fault_of_a_variant_is_found() -> None:
    parent = parents()[1]
    made = next(iter(variants(parent)))
    agents = made.agents
    assert made.lineage is not None
    moving = int(
        np.argmax(
            (agents.kind == AgentKind.VEHICLE)
            * agents.valid[:, made.start]
            * np.hypot(*agents.state[:, made.start, 3:].T)
        )
    )

    def with_states(change: np.ndarray) -> Scenario:
        state = agents.state.copy()
        state[moving, :, :2] += change
        return replace(made, agents=replace(agents, state=state))

    others = np.flatnonzero(agents.valid[:, made.start])
    other = int(others[others != moving][0])
    onto = agents.state[other, made.start, :2] - agents.state[moving, made.start, :2]
    jerky = np.zeros((made.steps, 2))
    jerky[made.start + 20 :] = 3.0
    elsewhere = straight_road_scenario().map
    for fault, word in (
        (replace(made, map=elsewhere), "map"),
        (replace(made, lineage=None), "lineage"),
        (replace(made, lineage=Lineage("0" * 32, "perturb", 1)), "lineage"),
        (with_states(onto), "overlap"),
        (with_states(jerky), "motion"),
        (with_states(np.array([900.0, 900.0])), "off_road"),
    ):
        assert word in check_variant(parent, fault), word
    assert check_variant(parent, made) == ()


def test_arguments_are_checked() -> None:
    with pytest.raises(SuiteError, match=r"speed is 2\.0"):
        Perturb(speed=2.0)
    with pytest.raises(SuiteError, match="gap_m is nan"):
        Perturb(gap_m=float("nan"))
    with pytest.raises(SuiteError, match="nothing may change"):
        Perturb(speed=0.0, gap_m=0.0, timing_s=0.0, size=0.0, kinds=0.0)
    assert variants(straight_road_scenario(agents=0)) == []


def test_many_agents_and_one(tmp_path: Path) -> None:
    for agents in (1, 200):
        scene = straight_road_scenario(agents=agents, lanes=4)
        for made in variants(scene, 2):
            assert check_variant(scene, made) == ()
    alone = straight_road_scenario(agents=0)
    with pytest.raises(DataError, match="no variant was admitted: 0 made"):
        generate_set([alone], Perturb, "perturb", 3, 0, tmp_path / "out")
    with pytest.raises(DataError, match="no scene to vary"):
        generate_set([], Perturb, "perturb", 3, 0, tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_generator_that_breaks_is_said_to(tmp_path: Path) -> None:
    class Broken:
        def generate(
            self, scenario: Scenario, n: int, rng: np.random.Generator
        ) -> Iterator[Scenario]:
            raise KeyError("lost")
            yield scenario

    with pytest.raises(PluginError, match=r"generator .broken. failed on procedural/.*KeyError"):
        generate_set(parents()[:1], Broken, "broken", 1, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_reference_that_fails_in_some_drives_is_counted(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(
        "import itertools\n"
        "turns = itertools.count()\n"
        "class Odd:\n"
        "    def reset(self, brief):\n"
        "        assert next(turns) % 2, 'not this time'\n"
        "    def plan(self, observation):\n"
        "        from roadworthy import Trajectory\n"
        "        import numpy as np\n"
        "        return Trajectory(np.zeros((8, 3)), dt=0.5)\n"
    )
    out, odd = tmp_path / "out", f"{tmp_path / 'odd.py'}:Odd"
    made = generate_set(parents()[:2], Perturb, "perturb", 3, 0, out, reference=odd)
    assert 0 < made.untried < made.stored
    assert len(read_trials(out)) == made.stored - made.untried
    assert read_generated(out) == made


def test_what_would_come_to_nothing_is_said_before_any_work(tmp_path: Path) -> None:
    class Never:
        def generate(
            self, scenario: Scenario, n: int, rng: np.random.Generator
        ) -> Iterator[Scenario]:
            raise AssertionError("it was asked")

    out = tmp_path / "out"
    for taken in (out, unsolvable_folder(out)):
        (taken / "something").mkdir(parents=True)
        with pytest.raises(DataError, match="is there already"):
            generate_set(parents()[:1], Never, "never", 1, 0, out)
        (taken / "something").rmdir()
    with pytest.raises(PluginError, match="pdm-close"):
        generate_set(parents()[:1], Never, "never", 1, 0, out, reference="pdm-close")


def test_a_generator_that_gives_no_scenes_or_ends_the_program_is_said_to(tmp_path: Path) -> None:
    class GivesNone:
        def generate(self, scenario: Scenario, n: int, rng: object) -> Iterator[None]:
            yield None

    class ReturnsNone:
        def generate(self, scenario: Scenario, n: int, rng: object) -> None: ...

    class Exits:
        def generate(self, scenario: Scenario, n: int, rng: object) -> None:
            raise SystemExit(0)

    for kind, said in ((GivesNone, "it gave None"), (ReturnsNone, "TypeError"), (Exits, "Exit: 0")):
        build: Any = kind
        with pytest.raises(PluginError, match=f"generator .odd. failed on procedural/.*{said}"):
            generate_set(parents()[:1], build, "odd", 1, 0, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_of_a_generator_that_never_ends_as_many_are_taken_as_were_asked_for(tmp_path: Path) -> None:
    class Endless:
        def generate(
            self, scenario: Scenario, n: int, rng: np.random.Generator
        ) -> Iterator[Scenario]:
            for number in itertools.count():
                lineage = Lineage(scenario.hash, "endless", number, {})
                yield replace(scenario, id=f"again-{number}", lineage=lineage)

    assert generate_set(parents()[:1], Endless, "endless", 2, 0, tmp_path / "out").made == 2


def test_what_a_generator_may_not_do_is_refused(tmp_path: Path) -> None:
    class Mover:
        """Moves the road."""

        def generate(
            self, scenario: Scenario, n: int, rng: np.random.Generator
        ) -> Iterator[Scenario]:
            lineage = Lineage(scenario.hash, "mover", 1, {})
            limits = scenario.map.lane_speed_limit + 1.0
            moved = replace(scenario.map, lane_speed_limit=limits)
            yield replace(scenario, map=moved, lineage=lineage)
            yield replace(scenario, id="as-it-was", lineage=lineage)

    made = generate_set(parents()[:1], Mover, "mover", 2, 0, tmp_path / "out")
    assert (made.made, made.stored, made.refused) == (2, 1, {"map": 1})


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    with StoreWriter(folder / "parents") as store:
        for scene in parents()[:6]:
            store.add(scene)
    command = ["generate", str(folder / "parents"), "--generator", "perturb", "-n", "3"]
    assert main([*command, "--seed", "4", "--out", str(folder / "a")]) == ExitCode.OK
    assert main([*command, "--seed", "4", "--out", str(folder / "b")]) == ExitCode.OK
    return folder


def test_generated_stores_are_the_same_bytes_each_time(generated: Path) -> None:
    for name in sorted(path.name for path in (generated / "a").iterdir()):
        assert (generated / "a" / name).read_bytes() == (generated / "b" / name).read_bytes()


def test_two_processes_make_the_bytes_of_one_and_say_what_broke(tmp_path: Path) -> None:
    scenes = list(Procedural(seed=22, count=16).scenarios())
    made = [
        generate_set(scenes, Perturb, "perturb", 2, 4, tmp_path / name, workers=workers)
        for name, workers in (("one", 1), ("two", 2))
    ]
    assert made[0] == made[1]
    assert made[0].stored > 16
    for one, two in (
        (tmp_path / "one", tmp_path / "two"),
        (unsolvable_folder(tmp_path / "one"), unsolvable_folder(tmp_path / "two")),
    ):
        for name in sorted(path.name for path in one.iterdir()):
            assert (one / name).read_bytes() == (two / name).read_bytes()
    with pytest.raises(PluginError, match=r"generator 'broken' failed on .*: AttributeError"):
        generate_set(scenes, object, "broken", 2, 4, tmp_path / "broken", workers=2)


def test_every_stored_variant_has_a_certificate_that_holds(generated: Path) -> None:
    certificates = read_certificates(generated / "a")
    known = {scene.hash for scene in parents()}
    scenes = list(ScenarioStore(generated / "a").scenarios())
    assert len(scenes) == len(certificates) > 6
    for scene in scenes:
        assert isinstance(scene, Scenario)
        assert certificates[scene.hash].solvable
        assert recheck(scene, certificates[scene.hash]) == ()
        assert root_of(scene) in known
    assert main(["verify", str(generated / "a")]) == ExitCode.OK
    apart = unsolvable_folder(generated / "a")
    if apart.exists():
        assert not any(one.solvable for one in read_certificates(apart).values())


def test_verify_finds_a_false_and_an_absent_certificate(
    generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_certificates(generated / "a")
    evasive = next(k for k, one in found.items() if one.weakest and one.weakest.states)
    target = tmp_path / "false"
    target.mkdir()
    for path in (generated / "a").iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    weakest = found[evasive].weakest
    assert weakest is not None
    keep = msgspec.structs.replace(weakest, states=(), excused=())
    false = msgspec.structs.replace(found[evasive], weakest=keep)
    write_certificates(target, (found | {evasive: false}).values())
    assert main(["verify", str(target)]) == ExitCode.GATE_FAILED
    assert "without a drive" in capsys.readouterr().out
    write_certificates(target, [one for key, one in found.items() if key != evasive])
    assert main(["verify", str(target)]) == ExitCode.GATE_FAILED
    assert "has no certificate" in capsys.readouterr().out


def test_variants_are_driven_by_a_suite(generated: Path, tmp_path: Path) -> None:
    text = f"""
name = "variants"
metrics = ["pdms"]
sources = [{{name = "store", path = "{generated / "a"}"}}]
planners = ["idm"]
[simulator]
name = "closed-loop"
duration_s = 2.0
[run]
executor = "inline"
"""
    run = run_suite(parse_suite(text, str(tmp_path / "v.toml")), tmp_path / "run")
    assert {record.status.value for record in run.records} == {"ok"}


def test_a_variant_is_related_to_its_parent_and_may_not_be_trained_on(tmp_path: Path) -> None:
    scene = parents()[0]
    made = next(iter(variants(scene)))
    assert origin_of(made).keys & origin_of(scene).keys
    with pytest.raises(LeakError, match="variants would leak into test"):
        generate_set([scene], Perturb, "perturb", 1, 0, tmp_path / "out", against={"test": [made]})
