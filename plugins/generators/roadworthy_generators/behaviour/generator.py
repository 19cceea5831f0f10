"""The generator `behaviour`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.admission import admit
from roadworthy.errors import DataError, ScenarioError, SuiteError, did_you_mean
from roadworthy.scenario import (
    DT,
    STATE_SIZE,
    AgentKind,
    Lineage,
    Scenario,
    Signals,
    Tracks,
)
from roadworthy.solvability import drive_of, solve, steady_drive
from roadworthy.solvability.kernels import first_contact
from roadworthy.splits import root_of
from roadworthy.trial import drive_with
from roadworthy.variants import check_variant

from roadworthy_generators.behaviour.attacks import (
    KINDS,
    LIGHT,
    PAST,
    Attack,
    Stage,
    needed_s,
    occasions,
)
from roadworthy_generators.behaviour.examples import future_of
from roadworthy_generators.behaviour.guidance import (
    CollisionCourse,
    Guidance,
    NoOverlap,
    OnRoad,
    SpeedLimit,
    Term,
    TimeToCollision,
    Unlikely,
)
from roadworthy_generators.behaviour.kinematics import ACTIONS, STEPS, actions_of
from roadworthy_generators.behaviour.network import Scenes
from roadworthy_generators.behaviour.sampling import GIVEN, rolled, sample, surprise
from roadworthy_generators.behaviour.scene import (
    STILL_COLUMN,
    Body,
    Tokens,
    bodies_of,
    ego_centre,
    tokens_of,
)
from roadworthy_generators.behaviour.statistics import distance, histograms
from roadworthy_generators.behaviour.threads import one_thread
from roadworthy_generators.behaviour.traffic import ModelTraffic
from roadworthy_generators.behaviour.weights import (
    DEFAULT,
    SURPRISE_PERCENTILES,
    Model,
    load_model,
)

__all__ = ["Behaviour", "Draft"]

Array = NDArray[np.float64]

_REACH_M = 80.0
_CELL_M = 2.0
_STEPS_BETWEEN = 20
_MOVES_M = 18.0
_PRESENTS = 5
_DISTURBED_M = 0.8
_DISTURBED_LEVEL = 100
_LEVELS = 1000
_UNDISTURBED_M = 0.25
_PLACES = 4
_GUESSES = 3
_SHARE_ON_FOOT = 0.25
_LIGHT_TURNS = 2


@dataclass(frozen=True, eq=False)
class Draft:
    """One sample, before anything was asked of it.

    Attributes:
        attack: what it was made from.
        variant: the scene, admitted, or None where it is no scene at all.
        problems: of `check_variant`, or what admission said.
        surprise: of the adversary, and its percentile among logged agents of its kind.
        contact: step at which the planner aimed at meets someone in it, -1 for never.
        solvable: whether someone who reacts after a second survives it (`roadworthy.solvability`);
            asked of those in which the planner fails.
    """

    attack: Attack
    variant: Scenario | None
    problems: tuple[str, ...]
    surprise: float
    percentile: float
    contact: int = -1
    solvable: bool = True


class Behaviour:
    """Hard variants from a diffusion model of how traffic behaves.

    An attack (`attacks.KINDS`) proposes a motion that meets the drive of the planner aimed at; the
    model makes it real by partial diffusion, with those whom it disturbs, guided to collide, to be
    foreseeable, to stay on the road, to keep off the others and to do what the model thinks likely.
    Everyone else, the map, the signals and the logged ego stay as they are. A variant begins where
    its parent drives, and lasts 6 s.

    Of `draws` samples those are kept that are fit (`roadworthy.variants.check_variant`) and no
    more surprising than logged agents are; those come first that can be survived and in which the
    planner fails, kinds in turn.

    Args:
        model: weights file; the bundled one if not given.
        planner: whom to aim at.
        kinds: of attacks; all if not given.
        severity: 0 misses by a second or two, 1 meets exactly.
        strength: of the guidance, 1 as usual.
        draws: samples of each parent.
        steps: of the sampler.
        realism: percentile of logged agents that an adversary's surprise may not exceed.
        device: where the network runs.

    Raises:
        SuiteError: an argument is out of range or unknown.
        DataError: the model cannot be used.
    """

    def __init__(
        self,
        model: str = "",
        planner: str = "idm",
        kinds: Sequence[str] | None = None,
        severity: float = 1.0,
        strength: float = 1.0,
        draws: int = 16,
        steps: int = 6,
        realism: float = 99.9,
        device: str = "cpu",
    ) -> None:
        chosen = tuple(KINDS) if kinds is None else tuple(kinds)
        for kind in chosen:
            if kind not in KINDS:
                raise SuiteError(
                    f"behaviour: unknown kind {kind!r}", hint=did_you_mean(kind, KINDS)
                )
        for name, value, low, high in (
            ("severity", severity, 0.0, 1.0), ("strength", strength, 0.0, 4.0),
            ("draws", draws, 1, 256), ("steps", steps, 1, 50), ("realism", realism, 50.0, 100.0),
        ):  # fmt: skip
            if not (math.isfinite(value) and low <= value <= high):
                raise SuiteError(
                    f"behaviour: {name} is {value!r}", hint=f"Give {low:g} to {high:g}."
                )
        if not chosen:
            raise SuiteError("behaviour: no kinds", hint=f"Known: {', '.join(KINDS)}.")
        self._model = load_model(Path(model) if model else DEFAULT, device)
        self._options: dict[str, Any] = {
            "planner": planner, "kinds": list(chosen), "severity": float(severity),
            "strength": float(strength), "draws": int(draws), "steps": int(steps),
            "realism": float(realism),
        }  # fmt: skip
        self._planner = planner
        self._kinds = chosen
        self._severity = float(severity)
        self._strength = float(strength)
        self._draws = int(draws)
        self._steps = int(steps)
        self._realism = float(realism)
        self._device = device

    @property
    def model(self) -> Model:
        """The model in use."""
        return self._model

    def generate(self, scenario: Scenario, n: int, rng: np.random.Generator) -> Iterator[Scenario]:
        """Up to `n` variants, the hardest first; fewer where the scene has no occasion for more.

        Raises:
            DataError: the scene is empty, has no lanes or no 6 s to go, or its ego starts in a
                collision.
        """
        drafts = self.drafts(scenario, int(rng.integers(2**63)))
        yield from (draft.variant for draft in self.chosen(drafts, n) if draft.variant is not None)

    def traffic(self, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> ModelTraffic:
        """What drives the agents of scenes in closed loop, for simulators."""
        return ModelTraffic(self._model, scenarios, seeds)

    def chosen(self, drafts: Sequence[Draft], n: int) -> list[Draft]:
        """The `n` best of drafts: fit, likely, those with a failure first, kinds in turn.

        Of those on foot or bicycle there are at most two of a kind, for most of those who move on
        roads drive.
        """
        fit = [
            d for d in drafts
            if d.variant is not None and not d.problems and d.percentile <= self._realism
        ]  # fmt: skip
        fit.sort(key=lambda d: (not d.solvable, d.contact < 0, d.percentile))
        turns: dict[tuple[bool, bool, str, int], int] = {}
        ranked = []
        for draft in fit:
            group = (not draft.solvable, draft.contact < 0)
            key = (*group, draft.attack.kind, draft.attack.agent)
            turn = turns[key] = turns.get(key, -1) + 1
            if draft.attack.kind in LIGHT and turn >= _LIGHT_TURNS:
                continue
            ranked.append((*group, turn, len(ranked), draft))
        ranked.sort(key=lambda r: r[:-1])
        return [r[-1] for r in ranked[:n]]

    def drafts(self, scenario: Scenario, seed: int) -> list[Draft]:
        """Everything that one seed draws, in a fixed order; see `generate`."""
        _require_usable(scenario)
        with one_thread(), torch.no_grad():
            return self._drafts(scenario, seed)

    def again(self, parent: Scenario, variant: Scenario) -> Scenario:
        """A variant made afresh from its lineage.

        Raises:
            DataError: it was not made by this model with these options from this parent.
        """
        lineage = variant.lineage
        if lineage is None or lineage.generator != "behaviour" or lineage.parent != parent.hash:
            raise DataError(f"{variant.id}: was not made by 'behaviour' from {parent.id}")
        told = lineage.parameters
        if told["model"] != self._model.hash or told["options"] != self._options:
            raise DataError(
                f"{variant.id}: made by model {told['model'][:12]} with {told['options']}",
                hint="Use the same model and options.",
            )
        made = self.drafts(parent, lineage.seed)[int(told["draw"])].variant
        if made is None:
            raise DataError(f"{variant.id}: draw {told['draw']} gives no scene any more")
        return made

    def _drafts(self, scenario: Scenario, seed: int) -> list[Draft]:
        rng = np.random.Generator(np.random.Philox(seed))
        stage, attacks = self._set(scenario, rng)
        if not attacks:
            return []
        now = stage.now
        _, known = future_of(scenario, stage.body, now)
        batch = _Batch(stage, attacks, known.all(1), self._device)
        noise = rng.standard_normal((1 + _GUESSES, *batch.proposal.shape)).astype(np.float32)
        drawn = torch.from_numpy(noise).to(self._device)
        context = self._model.network.context(batch.scenes)
        actions = sample(
            self._model.network, context, batch.proposal, batch.level, batch.half,
            steps=self._steps, noise=drawn[0],
            guidance=Guidance(batch.terms(stage), self._strength),
        )  # fmt: skip
        # Who walks keeps more of the proposal: the model's own error would make it sway.
        actions = torch.lerp(batch.proposal, actions, batch.share)
        states = rolled(actions, batch.scenes).double().cpu().numpy()
        odd = surprise(self._model.network, context, actions, drawn[1:]).cpu().numpy()
        drafts = []
        log = histograms(scenario, now, np.flatnonzero(scenario.agents.valid[:, now]).tolist())
        for i, attack in enumerate(attacks):
            agent = batch.agent_of(attack)
            kind = AgentKind(int(batch.kind[i, agent]))
            percentile = self._percentile(kind, float(odd[i, agent]))
            told = {
                "root": root_of(scenario), "model": self._model.hash, "options": self._options,
                "draw": i, "start": now, "attack": attack.kind, "at": attack.at,
                "surprise": round(float(odd[i, agent]), 6), "percentile": percentile, **attack.told,
            }  # fmt: skip
            variant, problems = _variant(
                scenario, stage, attack, batch, i, states[i], seed, told, log
            )  # fmt: skip
            drafts.append(Draft(attack, variant, problems, float(odd[i, agent]), percentile))
        fit = [k for k, d in enumerate(drafts) if d.variant is not None and not d.problems]
        driven = drive_with(self._planner, [drafts[k].variant for k in fit])  # type: ignore[misc]
        for k, one in zip(fit, driven, strict=True):
            drafts[k] = replace(drafts[k], contact=one.contact)
            if one.contact >= 0 and drafts[k].percentile <= self._realism:
                scene = drafts[k].variant
                solvable = solve(scene, base=steady_drive(scene)).solvable
                drafts[k] = replace(drafts[k], solvable=solvable)
        return drafts

    def _set(self, scenario: Scenario, rng: np.random.Generator) -> tuple[Stage, list[Attack]]:
        """Of a few moments, that which has occasions for most kinds of attack, and those."""
        presents = _presents(scenario, rng)
        driven = drive_with(self._planner, [_cut(scenario, now) for now in presents])
        found: list[tuple[Stage, list[Attack]]] = []
        for now, one in zip(presents, driven, strict=True):
            drive = ego_centre(one.ego, scenario.vehicle.rear_axle_to_centre)
            drive[:, 2] = np.unwrap(drive[:, 2])
            body = bodies_of(scenario, now)
            future, _ = future_of(scenario, body, now)
            stage = Stage(scenario, now, body, future, drive, rng, self._severity)
            found.append((stage, occasions(stage, self._kinds, self._draws)))
        return max(found, key=lambda one: len({(a.kind, a.agent) for a in one[1]}))

    def _percentile(self, kind: AgentKind, value: float) -> float:
        """The largest of the card's percentiles that the logged do not exceed, or 100."""
        points = self._model.card.surprise.get(kind.name.lower())
        if not points:
            return 100.0
        share = np.interp(value, points, SURPRISE_PERCENTILES, right=100.0)
        return round(float(share), 3)


class _Batch:
    """The attacks on one stage as tensors: one scene each, tokens of everyone and of newcomers."""

    def __init__(
        self, stage: Stage, attacks: Sequence[Attack], known: NDArray[np.bool_], device: str
    ) -> None:
        self.bodies = len(stage.body.index)
        common = tokens_of(stage.scenario, stage.body, stage.now)
        extra = max(len(a.newcomers) for a in attacks)
        count, wide = len(attacks), self.bodies + extra
        base = actions_of(stage.future[..., 2], stage.future[..., 3])
        base[0] = actions_of(stage.drive[:, 2], stage.drive[:, 3])
        proposal = np.zeros((count, wide, ACTIONS, 2))
        level = np.full((count, wide), GIVEN)
        there = np.zeros((count, wide), np.bool_)
        there[:, : self.bodies] = True
        rows: list[Tokens] = []
        self.attacks = tuple(attacks)
        movable = known & ~stage.body.still
        movable[0] = False
        for i, attack in enumerate(attacks):
            tokens = common
            if attack.newcomers:
                tokens = _joined(common, tokens_of(stage.scenario, _body(attack), stage.now))
            rows.append(tokens)
            there[i, : len(tokens)] = True
            proposal[i, : self.bodies] = base
            for k, one in enumerate(attack.newcomers):
                proposal[i, self.bodies + k] = actions_of(
                    one.states[PAST:, 2], one.states[PAST:, 3]
                )
            agent = self.agent_of(attack)
            if attack.agent >= 0:
                rows[-1] = _about_to_move(tokens, agent)
                proposal[i, agent] = actions_of(attack.path[:, 2], attack.path[:, 3])
            level[i, : self.bodies][_disturbed(stage, attack) & movable] = _DISTURBED_LEVEL
            level[i, agent] = int(attack.freedom * _LEVELS)
        origin = stage.drive[0, :2]

        def stacked(name: str, dtype: type) -> torch.Tensor:
            first = getattr(rows[0], name)
            out = np.zeros((count, wide, *first.shape[1:]), dtype)
            for i, tokens in enumerate(rows):
                out[i, : len(tokens)] = getattr(tokens, name)
            return torch.from_numpy(out).to(device)

        self.kind = stacked("kind", np.int64).cpu().numpy()
        self.origin = origin
        light = (self.kind == AgentKind.PEDESTRIAN) | (self.kind == AgentKind.BICYCLE)
        share = np.where(light, _SHARE_ON_FOOT, 1.0)[..., None, None]
        self.share = torch.from_numpy(share).float().to(device)
        pose = stacked("pose", np.float64)
        pose[..., :2] -= torch.from_numpy(origin).to(device) * (
            torch.from_numpy(there)[..., None].to(device)
        )
        scales = stacked("scales", np.float32)
        scales[scales == 0.0] = 1.0
        self.scenes = Scenes(
            stacked("features", np.float32), stacked("polylines", np.float32),
            stacked("near", np.bool_), pose.float(), stacked("speed", np.float64).float(),
            stacked("limits", np.float32), scales, torch.from_numpy(there).to(device),
        )  # fmt: skip
        self.half = 0.5 * stacked("size", np.float64).float()
        self.proposal = (
            torch.from_numpy(proposal).float().to(device) / scales.unsqueeze(-2)
        ).clamp(-8.0, 8.0)
        self.level = torch.from_numpy(level).to(device)
        self._device = device

    def agent_of(self, attack: Attack) -> int:
        """The adversary's token."""
        return attack.agent if attack.agent >= 0 else self.bodies

    def terms(self, stage: Stage) -> tuple[tuple[float, Term], ...]:
        """The guidance of these attacks."""
        device = self._device
        agent = torch.tensor([self.agent_of(a) for a in self.attacks], device=device)
        at = torch.tensor([a.at for a in self.attacks], device=device)
        aside = torch.tensor(
            np.array([a.path[a.at, :2] - stage.drive[a.at, :2] for a in self.attacks]),
            device=device,
        ).float()  # fmt: skip
        lead = torch.tensor(
            [int(needed_s(float(stage.drive[a.at, 3])) / DT) for a in self.attacks], device=device
        )
        wish = torch.tensor([1.15 * a.wish for a in self.attacks], device=device)
        depth, origin = stage.roads.depth(self.origin, _REACH_M, _CELL_M)
        first = origin - self.origin
        vehicle = torch.from_numpy(self.kind == AgentKind.VEHICLE).to(device)
        return (
            (1.0, CollisionCourse(agent, at, aside)),
            (stage.severity, TimeToCollision(agent, at, lead, aside)),
            (2.0, NoOverlap(agent)),
            (
                1.0,
                OnRoad(
                    torch.from_numpy(depth)[None, None].to(device),
                    (float(first[0]), float(first[1])), _CELL_M, vehicle,
                ),
            ),
            (0.3, SpeedLimit(agent, wish.float())),
            (0.5, Unlikely(agent)),
        )  # fmt: skip


def _require_usable(scenario: Scenario) -> None:
    name = f"{scenario.source}/{scenario.id}"
    if not len(scenario.map.lane_id):
        raise DataError(
            f"{name}: its map has no lanes", hint="Vary it with 'perturb', which needs none."
        )
    if scenario.horizon < STEPS:
        raise DataError(
            f"{name}: {scenario.horizon} steps to go, wanted {STEPS}", hint="Give longer scenes."
        )
    now, tracks, car = scenario.start, scenario.agents, scenario.vehicle
    met = _ego_overlaps(scenario, now)
    if met >= 0:
        raise DataError(
            f"{name}: its ego overlaps {tracks.id[met]!r} at the present",
            hint=f"Check sizes and positions; the ego is {car.length:g} by {car.width:g} m.",
        )


def _ego_overlaps(scenario: Scenario, now: int) -> int:
    tracks, car = scenario.agents, scenario.vehicle
    span = slice(now, now + 1)
    _, agent = first_contact(
        drive_of(scenario.ego[span]), 0,
        np.array([0.5 * car.length, 0.5 * car.width, car.rear_axle_to_centre]), 0.0,
        np.ascontiguousarray(tracks.state[:, span]), np.ascontiguousarray(tracks.valid[:, span]),
        0.5 * tracks.size[:, :2].copy(), np.zeros(len(tracks), np.bool_),
        np.zeros(len(tracks), np.bool_),
    )  # fmt: skip
    return int(agent)


def _presents(scenario: Scenario, rng: np.random.Generator) -> list[int]:
    """Up to three steps from which the ego drives, of those every 2 s that leave 6 s to go; where
    it does at none, the one with most to come."""
    steps = np.arange(scenario.start, scenario.steps - STEPS, _STEPS_BETWEEN)
    way = np.hypot(*(scenario.ego[steps + STEPS, :2] - scenario.ego[steps, :2]).T)
    fit = steps[way > _MOVES_M]
    if not len(fit):
        return [int(steps[way.argmax()])]
    return [int(step) for step in rng.permutation(fit)[:_PRESENTS]]


def _cut(scenario: Scenario, now: int) -> Scenario:
    """A scene that begins at another step and ends 6 s later."""
    end = now + STEPS + 1
    tracks = scenario.agents
    return replace(
        scenario, ego=scenario.ego[:end], start=now,
        agents=replace(tracks, state=tracks.state[:, :end], valid=tracks.valid[:, :end]),
        signals=Signals(scenario.signals.lane, scenario.signals.state[:, :end]),
    )  # fmt: skip


def _body(attack: Attack) -> Body:
    """The newcomers of an attack."""
    states = np.stack([one.states[: PAST + 1] for one in attack.newcomers])
    return Body(
        index=np.full(len(states), -2),
        kind=np.array([int(o.kind) for o in attack.newcomers], np.int8),
        size=np.array([o.size[:2] for o in attack.newcomers]), past=states,
        seen=np.ones(states.shape[:2], np.bool_),
        still=np.array([o.still for o in attack.newcomers]),
    )  # fmt: skip


def _joined(one: Tokens, two: Tokens) -> Tokens:
    return Tokens(
        **{
            name: np.concatenate([getattr(one, name), getattr(two, name)])
            for name in Tokens.__annotations__
        }
    )  # fmt: skip


def _about_to_move(tokens: Tokens, agent: int) -> Tokens:
    """Someone who stood all along in the log is going to move."""
    features = tokens.features.copy()
    features[agent, STILL_COLUMN] = 0.0
    return replace(tokens, features=features)


def _disturbed(stage: Stage, attack: Attack) -> NDArray[np.bool_]:
    """Who would be near the adversary, or those put in with it, were all to do as proposed."""
    paths = [attack.path, *(n.states[PAST:] for n in attack.newcomers[1:])]
    near = np.zeros(len(stage.body.index), np.bool_)
    for path in paths:
        gap = np.hypot(*np.moveaxis(stage.future[..., :2] - path[None, :, :2], -1, 0))
        near |= gap.min(1) < 0.5 * stage.body.size[:, 0] + _DISTURBED_M
    return near


def _variant(
    parent: Scenario, stage: Stage, attack: Attack, batch: _Batch, row: int, states: Array,
    seed: int, told: dict[str, Any], log: dict[str, Array],
) -> tuple[Scenario | None, tuple[str, ...]]:  # fmt: skip
    """A draft as a scene, and what speaks against it."""
    cut = _cut(parent, stage.now)
    now = stage.now
    tracks = cut.agents
    state, valid, reactive = tracks.state.copy(), tracks.valid.copy(), tracks.reactive.copy()
    level = batch.level[row].cpu().numpy()
    changed = []
    for a in range(1, batch.bodies):
        if level[a] == GIVEN:
            continue
        made = _tracked(states[a], batch.origin)
        index = int(stage.body.index[a])
        off = np.hypot(*(made[1:, :2] - state[index, now + 1 :, :2]).T).max()
        if a != attack.agent and off < _UNDISTURBED_M:
            continue
        state[index, now + 1 :] = made[1:]
        valid[index, now:] = True
        changed.append(tracks.id[index])
        if a == attack.agent:
            reactive[index] = False
    ids, kinds, sizes = list(tracks.id), [tracks.kind], [tracks.size]
    states_in, valid_in, reactive_in = [state], [valid], [reactive]
    for k, one in enumerate(attack.newcomers):
        name = f"{attack.kind}-{told['draw']}-{k}"
        past = np.zeros((1, len(cut.ego), STATE_SIZE))
        past[0, now - PAST : now + 1] = _as_tracks(one.states[: PAST + 1])
        future = one.states[PAST:] if one.still else states[batch.bodies + k]
        past[0, now + 1 :] = (_as_tracks(future) if one.still else _tracked(future, batch.origin))[
            1:
        ]
        seen = np.zeros((1, len(cut.ego)), np.bool_)
        seen[0, now - PAST :] = True
        ids.append(name)
        kinds.append(np.array([int(one.kind)], np.int8))
        sizes.append(np.array([one.size]))
        states_in.append(np.round(past, _PLACES))
        valid_in.append(seen)
        reactive_in.append(np.zeros(1, np.bool_))
    adversary = len(tracks) if attack.agent < 0 else int(stage.body.index[attack.agent])
    draft = replace(
        cut,
        id=f"{parent.id[:190]}+{attack.kind}-{seed:016x}-{told['draw']}",
        agents=Tracks(
            tuple(ids), np.concatenate(kinds), np.concatenate(sizes), np.concatenate(states_in),
            np.concatenate(valid_in), np.concatenate(reactive_in),
        ),
        tags=tuple(dict.fromkeys((*parent.tags, "variant", attack.kind))),
        repairs=(),
    )  # fmt: skip
    near = np.flatnonzero(draft.agents.valid[:, now]).tolist()
    told = told | {
        "adversary": ids[adversary], "changed": changed,
        "from_log": distance(histograms(draft, now, near), log),
    }  # fmt: skip
    draft = replace(draft, lineage=Lineage(parent.hash, "behaviour", seed, told))
    try:
        variant = admit(draft)
    except ScenarioError:
        return None, ("scenario",)
    return variant, check_variant(parent, variant)


def _as_tracks(states: Array) -> Array:
    """x, y, yaw, speed [N, 4] as `StateIndex` [N, 5]."""
    yaw, speed = states[:, 2], states[:, 3]
    return np.column_stack([states[:, :3], speed * np.cos(yaw), speed * np.sin(yaw)])


def _tracked(states: Array, origin: Array) -> Array:
    moved = states.copy()
    moved[:, :2] += origin
    return np.round(_as_tracks(moved), _PLACES)
