"""The behaviour model: motion that can be driven, sampling like others', variants with lineage."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from roadworthy.admission import admit
from roadworthy.cli import main
from roadworthy.errors import DataError, SuiteError
from roadworthy.exit_codes import ExitCode
from roadworthy.scenario import DT, HISTORY, AgentKind, Ragged, Scenario, StateIndex, Tracks
from roadworthy.scenario_store import ScenarioStore, StoreWriter
from roadworthy.solvability import solve, steady_drive
from roadworthy.splits import root_of
from roadworthy.trial import drive_with
from roadworthy.variants import BOUNDS, check_variant
from roadworthy_generators.behaviour import Behaviour
from roadworthy_generators.behaviour.attacks import KINDS as ATTACKS
from roadworthy_generators.behaviour.attacks import LIGHT, PAST, Stage, occasions
from roadworthy_generators.behaviour.attacks.survival import survivable
from roadworthy_generators.behaviour.diffusion import LEVELS, alpha_bar, ddim_levels, ddim_step
from roadworthy_generators.behaviour.examples import examples_of, future_of
from roadworthy_generators.behaviour.guidance import (
    CollisionCourse,
    Futures,
    Goal,
    Guidance,
    SpeedLimit,
    TargetSpeed,
)
from roadworthy_generators.behaviour.kinematics import (
    ACTIONS,
    LIMITS,
    STEPS,
    actions_of,
    limits_of,
    rollout,
)
from roadworthy_generators.behaviour.network import Scenes
from roadworthy_generators.behaviour.replanning import EVERY, ROUNDS
from roadworthy_generators.behaviour.sampling import GIVEN, rolled, sample
from roadworthy_generators.behaviour.scene import bodies_of, tokens_of
from roadworthy_generators.behaviour.training import scenes_in
from roadworthy_generators.behaviour.weights import load_model
from roadworthy_simulators.world import World
from roadworthy_sources.towns import Towns

KINDS = tuple(LIMITS)
ROLLING = tuple(sorted(set(ATTACKS) - LIGHT))


@cache
def parents() -> tuple[Scenario, ...]:
    scenes = Towns(seed=5, count=4, split="validation", towns=3).scenarios()
    return tuple(scene for scene in scenes if isinstance(scene, Scenario))


@cache
def model() -> Behaviour:
    return Behaviour(draws=6)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31), kind=st.sampled_from(KINDS), speed=st.floats(0.0, 20.0),
    size=st.floats(0.1, 30.0),
)  # fmt: skip
def test_whatever_the_actions_the_motion_can_be_driven(
    seed: int, kind: AgentKind, speed: float, size: float
) -> None:
    draws = np.random.default_rng(seed)
    actions = torch.from_numpy(draws.normal(0.0, size, (ACTIONS, 2))).double()
    limits, _ = limits_of(np.array([kind], np.int8))
    states = rollout(
        actions.float(), torch.zeros(3), torch.tensor(speed), torch.from_numpy(limits[0])
    ).double()
    v, yaw = states[:, 3], states[:, 2]
    bounds = BOUNDS[kind]
    assert v.min() >= 0.0
    assert (v.diff() / 0.1).abs().max() <= bounds.along + 1e-3
    rate = yaw.diff() / 0.1
    assert rate.abs().max() <= bounds.yaw_rate + 1e-3
    assert (rate * 0.5 * (v[1:] + v[:-1])).abs().max() <= bounds.across + 1e-3


def test_actions_of_a_motion_give_the_motion_again() -> None:
    scene = parents()[0]
    body = bodies_of(scene, scene.start)
    future, known = future_of(scene, body, scene.start)
    cars = np.flatnonzero(known.all(1) & ~body.still & (body.kind == AgentKind.VEHICLE))
    limits, _ = limits_of(body.kind[cars])
    actions = actions_of(future[cars, :, 2], future[cars, :, 3])
    made = rollout(
        torch.from_numpy(actions).double(), torch.from_numpy(future[cars, 0, :3]),
        torch.from_numpy(future[cars, 0, 3]), torch.from_numpy(limits).double() * 10.0,
    ).numpy()  # fmt: skip
    off = np.hypot(*np.moveaxis(made[..., :2] - future[cars, :, :2], -1, 0))
    assert len(cars) >= 2
    assert off.max() < 0.6


def test_ddim_steps_are_those_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(
        num_train_timesteps=LEVELS, beta_schedule="squaredcos_cap_v2", prediction_type="sample",
        clip_sample=False, timestep_spacing="trailing", set_alpha_to_one=True,
    )  # fmt: skip
    assert torch.allclose(theirs.alphas_cumprod, alpha_bar(torch.arange(LEVELS)), atol=1e-6)
    steps = 8
    theirs.set_timesteps(steps)
    levels = ddim_levels(LEVELS - 1, steps)
    assert theirs.timesteps.tolist() == levels[:-1]
    ours = other = torch.randn(5, 48, generator=torch.Generator().manual_seed(0))
    for k in range(steps):
        clean = torch.tanh(ours) * 0.7
        other = theirs.step(clean, levels[k], other, eta=0.0).prev_sample
        ours = ddim_step(ours, clean, torch.full((5,), levels[k]), torch.full((5,), levels[k + 1]))
        assert torch.allclose(ours, other, atol=1e-4)
    assert torch.allclose(ours, clean, atol=1e-4)


def _scenes(scene: Scenario) -> tuple[Scenes, torch.Tensor, torch.Tensor]:
    made = examples_of(scene, [scene.start])
    batch = {name: torch.from_numpy(value) for name, value in vars(made).items()}
    return scenes_in(batch), batch["actions"].float(), batch["still"] | ~batch["there"]


def test_given_agents_keep_their_actions_and_others_come_out_as_one_scene() -> None:
    network = load_model().network
    scenes, actions, fixed = _scenes(parents()[0])
    level = torch.where(fixed, GIVEN, LEVELS - 1)
    level[:, :2] = GIVEN
    noise = torch.randn(actions.shape, generator=torch.Generator().manual_seed(1))
    half = torch.ones(*level.shape, 2)
    with torch.no_grad():
        made = sample(network, network.context(scenes), actions, level, half, steps=5, noise=noise)
    assert torch.equal(made[level == GIVEN], actions[level == GIVEN])
    assert not torch.allclose(made[level != GIVEN], actions[level != GIVEN])
    states = rolled(made, scenes)
    assert states.isfinite().all()


def test_guidance_lowers_what_it_is_asked_to_and_terms_compose() -> None:
    scenes, actions, _ = _scenes(parents()[0])
    agent = torch.tensor([int(scenes.speed[0, 1:].argmax()) + 1])
    point = rolled(actions, scenes)[0, agent, -1, :2] + 3.0
    half = torch.ones(1, actions.shape[1], 2)
    free = torch.zeros(actions.shape[:2], dtype=torch.bool)
    free[0, agent] = True
    terms = (
        Goal(agent, point), TargetSpeed(agent, torch.tensor([3.0])),
        SpeedLimit(agent, torch.tensor([2.0])),
        CollisionCourse(agent, torch.tensor([30]), torch.zeros(1, 2)),
    )  # fmt: skip

    def cost(of: torch.Tensor, guidance: Guidance) -> float:
        states = rolled(of, scenes)
        return float(guidance.cost(Futures(states, of, actions, half, scenes.there, free)))

    for chosen in [(t,) for t in terms] + [(terms[0], terms[2])]:
        guidance = Guidance(tuple((1.0, t) for t in chosen), steps=6)
        steered = guidance.steered(actions, scenes, half, free)
        assert cost(steered, guidance) < cost(actions, guidance)
        assert torch.equal(steered[~free], actions[~free])
        assert cost(actions, guidance) == pytest.approx(
            sum(cost(actions, Guidance(((1.0, t),))) for t in chosen), rel=1e-5
        )
    still = Guidance(((1.0, terms[0]),), strength=0.0).steered(actions, scenes, half, free)
    assert torch.equal(still, actions)


def test_variants_are_fit_to_be_driven_and_can_be_made_again() -> None:
    made = 0
    for parent in parents():
        variants = list(model().generate(parent, 3, np.random.default_rng(4)))
        twice = list(model().generate(parent, 3, np.random.default_rng(4)))
        assert [v.hash for v in variants] == [v.hash for v in twice]
        for variant in variants:
            made += 1
            assert check_variant(parent, variant) == ()
            assert variant.map.hash == parent.map.hash
            assert root_of(variant) == parent.hash
            assert variant.horizon == STEPS
            assert variant.lineage is not None
            told = variant.lineage.parameters
            adversary = variant.agents.id.index(told["adversary"])
            assert not variant.agents.reactive[adversary]
            assert 0.0 <= told["percentile"] <= 99.9
            assert all(0.0 <= far < 0.5 for far in told["from_log"].values())
        if variants:
            assert model().again(parent, variants[-1]).hash == variants[-1].hash
    assert made >= 4


def test_attacks_begin_where_their_agents_are_and_meet_the_ego_when_they_say() -> None:
    kinds = set()
    for parent in parents():
        body = bodies_of(parent, parent.start)
        future, _ = future_of(parent, body, parent.start)
        for seed in range(6):
            stage = Stage(
                parent, parent.start, body, future, future[0], np.random.default_rng(seed), 1.0
            )
            for attack in occasions(stage, tuple(ATTACKS), 12):
                kinds.add(attack.kind)
                start = (
                    body.past[attack.agent, -1] if attack.agent >= 0
                    else attack.newcomers[0].states[PAST]
                )  # fmt: skip
                assert np.allclose(attack.path[0], start, atol=1e-6)
                assert np.isfinite(attack.path).all()
                gap = np.hypot(*(attack.path[:, :2] - future[0, :, :2]).T)
                near = gap[max(0, attack.at - 6) : attack.at + 7].min()
                # Who follows with a large gap may not reach a leader that stops within 6 s.
                assert near < (20.0 if attack.kind == "hard_brake" else 7.0), attack.kind
                assert survivable(stage, attack)
                path = attack.path.copy()
                path[:] = [*stage.steady[20, :3], 0.0]
                path[:17, 0] += 500.0
                assert not survivable(stage, replace(attack, path=path)), "in view for 0.4 s"
                for one in attack.newcomers:
                    assert one.states.shape == (PAST + STEPS + 1, 4)
    assert len(kinds) >= 3


def test_kinds_of_attack_take_turns_and_variants_of_a_scene_differ_in_kind() -> None:
    kinds = []
    for parent in parents():
        drafts = Behaviour(draws=16).drafts(parent, 2)
        counts = Counter(draft.attack.kind for draft in drafts)
        assert max(counts.values()) <= 12
        chosen = Behaviour(draws=16).chosen(drafts, 8)
        kinds.append(len({draft.attack.kind for draft in chosen}))
    assert sum(kinds) >= 3 * len(kinds)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_model_on_a_gpu_draws_what_it_draws_on_a_cpu() -> None:
    parent = parents()[0]
    here, there = (Behaviour(draws=6, device=d).drafts(parent, 3) for d in ("cpu", "cuda"))
    assert [d.attack.kind for d in here] == [d.attack.kind for d in there]
    for one, other in zip(here, there, strict=True):
        assert one.variant is not None
        assert other.variant is not None
        gap = one.variant.agents.state - other.variant.agents.state
        assert np.abs(gap[one.variant.agents.valid]).max() < 0.2


def test_adversaries_who_replan_go_on_from_what_they_did_and_meet_who_evaded_them() -> None:
    more = 0
    for parent in parents():
        first, again = (
            Behaviour(draws=8, kinds=ROLLING, replans=k).drafts(parent, 5) for k in (0, ROUNDS)
        )
        for one, other in zip(first, again, strict=True):
            assert one.variant is not None
            assert other.variant is not None
            assert other.variant.lineage is not None
            told = other.variant.lineage.parameters
            row = other.variant.agents.id.index(told["adversary"])
            before, after = one.variant.agents.state[row], other.variant.agents.state[row]
            if told["replans"] == 0:
                assert np.array_equal(before, after)
                continue
            more += 1
            assert not np.array_equal(before, after)
            until = other.variant.start + EVERY + 1
            assert np.array_equal(before[:until], after[:until])
            assert one.problems or one.contact < 0 or not one.solvable
            assert other.contact >= 0
            assert other.solvable
            assert not other.problems
            assert solve(other.variant, base=steady_drive(other.variant)).solvable
    assert more >= 2


def test_severity_decides_in_how_many_the_planner_fails() -> None:
    fails = []
    for severity in (0.0, 1.0):
        maker = Behaviour(severity=severity, draws=16, kinds=["jaywalker", "cyclist"])
        drafts = [d for parent in parents() for d in maker.drafts(parent, 2)]
        fit = [d for d in drafts if d.variant is not None and not d.problems]
        fails.append(sum(d.contact >= 0 for d in fit) / len(fit))
    assert fails[1] > fails[0] + 0.2


def test_scenes_with_no_agent_with_one_and_with_200_are_varied() -> None:
    scene = parents()[0]
    none = np.zeros(0, np.int64)
    old = scene.agents
    empty = admit(replace(scene, agents=_some(old, none)))
    alone = admit(replace(scene, agents=_some(old, np.flatnonzero(old.valid[:, scene.start])[:1])))
    assert len(alone.agents) == 1
    many = _some(old, np.arange(200) % len(old))
    far = many.state.copy()
    far[len(old) :, :, StateIndex.X] += 500.0 + 20.0 * np.arange(200 - len(old))[:, None]
    crowd = admit(replace(scene, agents=replace(many, state=far)))
    for parent in (empty, alone, crowd):
        assert len(model().drafts(parent, 3)) > 0


def _some(tracks: Tracks, rows: np.ndarray) -> Tracks:
    return Tracks(
        tuple(f"{tracks.id[i]}-{k}" for k, i in enumerate(rows)), tracks.kind[rows],
        tracks.size[rows], tracks.state[rows], tracks.valid[rows], tracks.reactive[rows],
    )  # fmt: skip


def test_scenes_that_cannot_be_varied_are_refused_with_the_reason() -> None:
    scene = parents()[0]
    now, tracks = scene.start, scene.agents
    state = tracks.state.copy()
    row = int(np.flatnonzero(tracks.valid[:, now])[0])
    state[row, now, :2] = scene.ego[now, :2]
    bare = replace(
        scene.map, lane_id=(), lane_centreline=Ragged.of([], 3), lane_polygon=Ragged.of([], 2)
    )
    short = now + 20
    cases = {
        "overlaps": replace(scene, agents=replace(tracks, state=state)),
        "no lanes": replace(scene, map=bare),
        "steps to go": replace(
            scene, ego=scene.ego[:short],
            agents=replace(tracks, state=tracks.state[:, :short], valid=tracks.valid[:, :short]),
        ),
    }  # fmt: skip
    for words, one in cases.items():
        with pytest.raises(DataError, match=words):
            model().drafts(one, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kinds": ["cut_inn"]}, "cut_in"), ({"kinds": []}, "no kinds"),
        ({"severity": 1.2}, "severity"), ({"strength": float("nan")}, "strength"),
        ({"draws": 0}, "draws"), ({"steps": 0}, "steps"), ({"realism": 10}, "realism"),
        ({"replans": 10}, "replans"),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        Behaviour(**options)  # type: ignore[arg-type]


def test_traffic_of_the_model_is_the_same_twice_and_leaves_alone_who_may_not_react() -> None:
    parent = parents()[0]
    reactive = parent.agents.reactive.copy()
    moving = [
        a for a in np.flatnonzero(parent.agents.valid.all(1) & (parent.agents.kind == 0))
        if np.hypot(*np.ptp(parent.agents.state[a, :, :2], axis=0)) > 10.0
    ]  # fmt: skip
    reactive[moving[0]] = False
    scene = admit(replace(parent, agents=replace(parent.agents, reactive=reactive)))
    drives = [_driven(scene) for _ in range(2)]
    assert np.array_equal(drives[0], drives[1])
    rows = slice(HISTORY, HISTORY + 20)
    log = scene.agents.state[:, rows]
    assert np.array_equal(drives[0][moving[0], rows], log[moving[0]])
    others = drives[0][moving[1:], rows]
    off = np.hypot(*np.moveaxis(others[..., :2] - log[moving[1:], :, :2], -1, 0))
    assert off.max() > 0.05
    assert off.max() < 12.0
    speed = np.hypot(others[..., StateIndex.VX], others[..., StateIndex.VY])
    assert (np.abs(np.diff(speed, axis=1)) / 0.1).max() <= BOUNDS[AgentKind.VEHICLE].along + 1e-3


def _driven(scene: Scenario) -> np.ndarray:
    world = World([scene], traffic="behaviour", steps=20, seeds=[3])
    poses = np.zeros((1, 8, 3))
    poses[0, :, 0] = 4.0 * np.arange(1, 9)
    for _ in range(4):
        world.drive(np.array([0]), poses, np.array([8]), np.array([0.5]), 5)
    return world.agents[0].copy()


def test_generate_by_command_says_where_variants_come_from_and_what_was_not_varied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, folder = parents()[0], tmp_path / "parents"
    end = good.start + 30
    short = admit(
        replace(
            good, id="short", ego=good.ego[:end],
            agents=replace(
                good.agents, state=good.agents.state[:, :end], valid=good.agents.valid[:, :end]
            ),
            signals=replace(good.signals, state=good.signals.state[:, :end]),
        )
    )  # fmt: skip
    with StoreWriter(folder) as store:
        store.add(good, split="train")
        store.add(short, split="train")
    out = tmp_path / "variants"
    command = ["generate", str(folder), "--generator", "behaviour", "-n", "2", "-o", "draws=6"]
    assert main([*command, "--out", str(out), "--reference", "idm"]) == ExitCode.OK
    made = json.loads((out / "generation.json").read_text())
    assert made["stored"] >= 1
    assert made["reference"] == "idm"
    assert list(made["unfit"]) == ["towns/short"]
    assert "steps to go" in made["unfit"]["towns/short"]
    capsys.readouterr()
    assert main(["generate", str(out), "--explain"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == made["stored"]
    assert all("weakest manoeuvre" in line and "idm" in line for line in lines)
    assert sum("idm survives" in line for line in lines) == made["survived"]
    variants = [one for one in ScenarioStore(out).scenarios() if isinstance(one, Scenario)]
    replans = [one.lineage.parameters["replans"] for one in variants if one.lineage]
    words = {AgentKind.VEHICLE: "a vehicle", AgentKind.PEDESTRIAN: "a pedestrian"}
    words[AgentKind.BICYCLE] = "a cyclist"
    hard = 0
    for variant, line in zip(variants, lines, strict=True):
        (drive,) = drive_with("idm", [variant])
        told = variant.lineage.parameters if variant.lineage else {}
        assert (told["aimed_at"], told["contact"]) == ("idm", drive.contact)
        if drive.contact < 0:
            assert "; idm meets nobody;" in line
            continue
        hard += 1
        assert told["met"] == variant.agents.id[drive.whom]
        whom = words[AgentKind(int(variant.agents.kind[drive.whom]))]
        assert f"; idm meets {whom} after {drive.contact * DT:.1f} s;" in line
    assert hard
    said = ["planned anew" in line for line in lines]
    assert said == [count > 0 for count in replans]
    assert main(["verify", str(out)]) == ExitCode.OK
    assert main(["generate", str(folder)]) == ExitCode.USAGE


def test_tokens_need_lanes_and_a_past() -> None:
    scene = parents()[0]
    with pytest.raises(DataError, match="past"):
        bodies_of(scene, 3)
    body = bodies_of(scene, scene.start)
    bare = replace(
        scene.map, lane_id=(), lane_centreline=Ragged.of([], 3), lane_polygon=Ragged.of([], 2)
    )
    with pytest.raises(DataError, match="no lanes"):
        tokens_of(replace(scene, map=bare), body, scene.start)
