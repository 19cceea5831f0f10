"""The generator `behaviour`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.errors import DataError, SuiteError, did_you_mean
from roadworthy.scenario import AgentKind, Scenario
from roadworthy.solvability import solvable
from roadworthy.splits import root_of
from roadworthy.trial import drive_with
from torch import Tensor

from roadworthy_generators.behaviour.attacks import KINDS, LIGHT, Attack, Stage, occasions
from roadworthy_generators.behaviour.batch import Batch
from roadworthy_generators.behaviour.examples import future_of
from roadworthy_generators.behaviour.guidance import Guidance
from roadworthy_generators.behaviour.kinematics import ACTIONS
from roadworthy_generators.behaviour.network import Context
from roadworthy_generators.behaviour.parents import cut, presents, require_usable
from roadworthy_generators.behaviour.replanning import EVERY, ROUNDS, Driven, replanned
from roadworthy_generators.behaviour.sampling import rolled, sample, surprise
from roadworthy_generators.behaviour.scene import bodies_of, ego_centre
from roadworthy_generators.behaviour.statistics import histograms
from roadworthy_generators.behaviour.threads import one_thread
from roadworthy_generators.behaviour.traffic import ModelTraffic
from roadworthy_generators.behaviour.variant import retold, variant_of
from roadworthy_generators.behaviour.weights import (
    DEFAULT,
    SURPRISE_PERCENTILES,
    Model,
    load_model,
)

__all__ = ["Behaviour", "Draft", "Sampled", "Try"]

_GUESSES = 3
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


@dataclass(frozen=True, eq=False)
class Try:
    """An attack as a scene in which the planner drove; `drive` [STEPS + 1, 11] is its ego's, `met`
    the id of whom it meets at `contact`, "" for nobody, see `Draft` for the others."""

    variant: Scenario | None
    problems: tuple[str, ...]
    drive: NDArray[np.float64] | None = None
    contact: int = -1
    met: str = ""
    solvable: bool = True

    @property
    def hard(self) -> bool:
        """Fit, failed by the planner, and solvable."""
        return not self.problems and self.contact >= 0 and self.solvable


class Sampled(NamedTuple):
    """Attacks on a stage as they came out.

    Attributes:
        stage, batch, context: as they were staged, with their context for the network.
        actions: [B, A, ACTIONS, 2] scaled.
        tries: B of them.
        replans: how often each adversary replanned.
    """

    stage: Stage
    batch: Batch
    context: Context
    actions: Tensor
    tries: list[Try]
    replans: list[int]


class Behaviour:
    """Hard variants from a diffusion model of how traffic behaves.

    An attack (`attacks.KINDS`) proposes a motion that meets the drive of the planner aimed at; the
    model makes it real by partial diffusion, with those whom it disturbs, guided to collide, to be
    foreseeable, to stay on the road, to keep off the others and to do what the model thinks likely.
    Adversaries in vehicles that the planner evades replan at 2 Hz from what it did so far.
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
        replans: how often an adversary in a vehicle may replan, at 2 Hz.
        device: where the network runs.

    Raises:
        SuiteError: an argument is out of range or unknown, or the device cannot be used.
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
        replans: int = ROUNDS,
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
            ("replans", replans, 0, ROUNDS),
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
            "realism": float(realism), "replans": int(replans),
        }  # fmt: skip
        self._planner = planner
        self._kinds = chosen
        self._severity = float(severity)
        self._strength = float(strength)
        self._draws = int(draws)
        self._steps = int(steps)
        self._realism = float(realism)
        self._replans = int(replans)
        self._device = device

    @property
    def model(self) -> Model:
        """The model in use."""
        return self._model

    @property
    def planner(self) -> str:
        """Whom it aims at."""
        return self._planner

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
        ranked: list[tuple[bool, bool, int, int, Draft]] = []
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
        require_usable(scenario)
        with one_thread(), torch.no_grad():
            return self._drafts(scenario, seed)

    def staged(self, scenario: Scenario, seed: int) -> tuple[Stage, list[Attack]]:
        """Of a few moments, that which has occasions for most kinds of attack, and those that one
        seed proposes."""
        rng = np.random.Generator(np.random.Philox(seed))
        steps = presents(scenario, rng)
        driven = drive_with(self._planner, [cut(scenario, now) for now in steps])
        found: list[tuple[Stage, list[Attack]]] = []
        for now, one in zip(steps, driven, strict=True):
            drive = ego_centre(one.ego, scenario.vehicle.rear_axle_to_centre)
            drive[:, 2] = np.unwrap(drive[:, 2])
            body = bodies_of(scenario, now)
            future, _ = future_of(scenario, body, now)
            stage = Stage(scenario, now, body, future, drive, rng, self._severity)
            found.append((stage, occasions(stage, self._kinds, self._draws)))
        return max(found, key=lambda one: len({(a.kind, a.agent) for a in one[1]}))

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

    def sampled(self, scenario: Scenario, seed: int) -> Sampled | None:
        """The attacks that one seed draws, as they come out; None where there is no occasion."""
        with one_thread(), torch.no_grad():
            return self._sampled(scenario, seed)

    def _sampled(self, scenario: Scenario, seed: int) -> Sampled | None:
        stage, attacks = self.staged(scenario, seed)
        if not attacks:
            return None
        batch = Batch(stage, attacks, self._device)
        context = self._model.network.context(batch.scenes)
        actions = sample(
            self._model.network, context, batch.proposal, batch.level, batch.half,
            steps=self._steps, noise=self._noise(stage, batch.proposal.shape),
            guidance=Guidance(batch.terms(stage), self._strength),
        )  # fmt: skip
        # Who walks keeps more of the proposal: the model's own error would make it sway.
        actions = torch.lerp(batch.proposal, actions, batch.share)
        tries = self._tried(stage, batch, actions, range(len(attacks)), seed)
        first = Sampled(stage, batch, context, actions, tries, [0] * len(tries))
        return self._replanned(first, seed)

    def _replanned(self, first: Sampled, seed: int) -> Sampled:
        """Adversaries in vehicles go on at 2 Hz from what the planner does, until one is hard; of
        a share `severity` of them, so that the others still miss."""
        stage, batch, actions = first.stage, first.batch, first.actions
        now, best, replans = list(first.tries), list(first.tries), list(first.replans)
        eager = stage.rng.random(len(best)) < self._severity
        for k in range(1, self._replans + 1):
            driven = {
                i: Driven(one.variant, one.drive) for i, one in enumerate(now)
                if eager[i] and not best[i].hard and batch.attacks[i].kind not in LIGHT
                and one.variant is not None and one.drive is not None
            }  # fmt: skip
            noise = self._noise(stage, (len(best), ACTIONS, 2))
            rows, actions = replanned(
                self._model.network, stage, batch, actions, driven, k * EVERY, noise,
                Guidance((), self._strength),
            )  # fmt: skip
            for i, one in zip(rows, self._tried(stage, batch, actions, rows, seed), strict=True):
                now[i] = one
                if one.hard:
                    best[i], replans[i] = one, k
        kept = torch.tensor([k > 0 for k in replans], device=actions.device)
        actions = torch.where(kept[:, None, None, None], actions, first.actions)
        return Sampled(stage, batch, first.context, actions, best, replans)

    def _tried(
        self, stage: Stage, batch: Batch, actions: Tensor, rows: Sequence[int], seed: int
    ) -> list[Try]:
        """Attacks as scenes, and how the planner fares in them."""
        states = rolled(actions, batch.scenes).double().cpu().numpy()
        made = [variant_of(stage, batch, i, states[i], seed) for i in rows]
        drives = iter(drive_with(self._planner, [v for v, _ in made if v is not None]))
        tries = []
        for variant, problems in made:
            if variant is None:
                tries.append(Try(None, problems))
                continue
            one = next(drives)
            found = one.contact < 0 or bool(problems) or solvable(variant, base=stage.steady)
            met = "" if one.whom < 0 else variant.agents.id[one.whom]
            tries.append(Try(variant, problems, one.ego, one.contact, met, found))
        return tries

    def _noise(self, stage: Stage, shape: Sequence[int]) -> Tensor:
        noise = stage.rng.standard_normal(tuple(shape)).astype(np.float32)
        return torch.from_numpy(noise).to(self._device)

    def _drafts(self, scenario: Scenario, seed: int) -> list[Draft]:
        found = self.sampled(scenario, seed)
        if found is None:
            return []
        batch, now = found.batch, found.stage.now
        guesses = self._noise(found.stage, (_GUESSES, *batch.proposal.shape))
        odd = surprise(self._model.network, found.context, found.actions, guesses).cpu().numpy()
        log = histograms(scenario, now, np.flatnonzero(scenario.agents.valid[:, now]).tolist())
        drafts = []
        for i, (attack, tried) in enumerate(zip(batch.attacks, found.tries, strict=True)):
            agent = batch.agent_of(attack)
            percentile = self._percentile(AgentKind(int(batch.kind[i, agent])), odd[i, agent])
            told = {
                "root": root_of(scenario), "model": self._model.hash, "options": self._options,
                "draw": i, "start": now, "attack": attack.kind, "at": attack.at,
                "surprise": round(float(odd[i, agent]), 6), "percentile": percentile,
                "replans": found.replans[i], "aimed_at": self._planner,
                "contact": tried.contact, "met": tried.met, **attack.told,
            }  # fmt: skip
            variant = tried.variant
            if variant is not None:
                variant = retold(variant, told, log)
            drafts.append(
                Draft(
                    attack, variant, tried.problems, float(odd[i, agent]), percentile,
                    -1 if tried.problems else tried.contact, tried.solvable,
                )
            )  # fmt: skip
        return drafts

    def _percentile(self, kind: AgentKind, value: float) -> float:
        """Which percentile of the logged ones a surprise is, by the card, or 100 beyond all."""
        points = self._model.card.surprise.get(kind.name.lower())
        if not points:
            return 100.0
        share = np.interp(value, points, SURPRISE_PERCENTILES, right=100.0)
        return round(float(share), 3)
