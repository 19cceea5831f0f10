"""The generator `behaviour`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from roadworthy.errors import DataError, SuiteError, did_you_mean
from roadworthy.scenario import AgentKind, Scenario
from roadworthy.solvability import solvable
from roadworthy.splits import root_of
from roadworthy.trial import drive_with

from roadworthy_generators.behaviour.attacks import KINDS, LIGHT, Attack, Stage, occasions
from roadworthy_generators.behaviour.batch import Batch
from roadworthy_generators.behaviour.examples import future_of
from roadworthy_generators.behaviour.guidance import Guidance
from roadworthy_generators.behaviour.parents import cut, presents, require_usable
from roadworthy_generators.behaviour.sampling import rolled, sample, surprise
from roadworthy_generators.behaviour.scene import bodies_of, ego_centre
from roadworthy_generators.behaviour.statistics import histograms
from roadworthy_generators.behaviour.threads import one_thread
from roadworthy_generators.behaviour.traffic import ModelTraffic
from roadworthy_generators.behaviour.variant import variant_of
from roadworthy_generators.behaviour.weights import (
    DEFAULT,
    SURPRISE_PERCENTILES,
    Model,
    load_model,
)

__all__ = ["Behaviour", "Draft"]

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

    def _drafts(self, scenario: Scenario, seed: int) -> list[Draft]:
        stage, attacks = self.staged(scenario, seed)
        if not attacks:
            return []
        now = stage.now
        batch = Batch(stage, attacks, self._device)
        noise = stage.rng.standard_normal((1 + _GUESSES, *batch.proposal.shape))
        drawn = torch.from_numpy(noise.astype(np.float32)).to(self._device)
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
            variant, problems = variant_of(
                scenario, stage, attack, batch, i, states[i], seed, told, log
            )  # fmt: skip
            drafts.append(Draft(attack, variant, problems, float(odd[i, agent]), percentile))
        fit = [k for k, d in enumerate(drafts) if d.variant is not None and not d.problems]
        driven = drive_with(self._planner, [drafts[k].variant for k in fit])  # type: ignore[misc]
        for k, one in zip(fit, driven, strict=True):
            drafts[k] = replace(drafts[k], contact=one.contact)
            if one.contact >= 0:
                found = solvable(drafts[k].variant, base=stage.steady)
                drafts[k] = replace(drafts[k], solvable=found)
        return drafts

    def _percentile(self, kind: AgentKind, value: float) -> float:
        """The largest of the card's percentiles that the logged do not exceed, or 100."""
        points = self._model.card.surprise.get(kind.name.lower())
        if not points:
            return 100.0
        share = np.interp(value, points, SURPRISE_PERCENTILES, right=100.0)
        return round(float(share), 3)
