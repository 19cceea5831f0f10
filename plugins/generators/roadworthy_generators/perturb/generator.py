"""The generator `perturb`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError, SuiteError
from roadworthy.scenario import AgentKind, Lineage, Scenario, StateIndex, Tracks
from roadworthy.splits import root_of
from roadworthy.variants import check_variant

from roadworthy_generators.perturb.retime import Warp, only_run, retimed

__all__ = ["Perturb"]

_NEAR_M = 60.0
_ATTEMPTS = 30
_STANDING = 0.1
_BODIES: dict[AgentKind, tuple[tuple[AgentKind, tuple[float, float, float], float], ...]] = {
    AgentKind.VEHICLE: (
        (AgentKind.VEHICLE, (4.2, 1.8, 1.5), math.inf),
        (AgentKind.VEHICLE, (5.4, 2.0, 2.2), math.inf),
        (AgentKind.VEHICLE, (8.5, 2.4, 3.2), math.inf),
    ),
    AgentKind.PEDESTRIAN: ((AgentKind.BICYCLE, (1.8, 0.65, 1.7), math.inf),),
    AgentKind.BICYCLE: (
        (AgentKind.PEDESTRIAN, (0.6, 0.6, 1.75), 2.5),
        (AgentKind.VEHICLE, (2.1, 0.85, 1.5), math.inf),
    ),
    AgentKind.TRAFFIC_CONE: ((AgentKind.BARRIER, (2.0, 0.5, 1.0), math.inf),),
    AgentKind.BARRIER: ((AgentKind.TRAFFIC_CONE, (0.4, 0.4, 0.7), math.inf),),
    AgentKind.CZONE_SIGN: ((AgentKind.TRAFFIC_CONE, (0.4, 0.4, 0.7), math.inf),),
    AgentKind.GENERIC_OBJECT: ((AgentKind.BARRIER, (2.0, 0.5, 1.0), math.inf),),
}
"""What a thing may turn into: kind, length, width, height [m], up to which speed [m/s]."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What happens to one agent: motion, factors of length and width, and another body."""

    agent: int
    warp: Warp
    size: tuple[float, float]
    body: tuple[AgentKind, tuple[float, float, float]] | None


class Perturb:
    """Varies speeds, gaps, timing, sizes and kinds of some agents at random.

    Each variant changes one to `agents` agents near the ego. One that moves keeps to its path:
    what changes is when it is where. Ego, route, signals and map are the parent's; agents may
    have left earlier or later. A variant that overlaps, makes agents collide, moves beyond what
    such agents can or leaves the road (`roadworthy.variants.check_variant`) is drawn again, 30
    times at most, each time a tenth milder.

    Equal scenes and random numbers give equal variants. Each has a seed of its own, drawn from
    them in turn, and is made again from it by `vary`.

    Args:
        speed: largest relative change of the speed at the present.
        gap_m: largest shift along an agent's path [m].
        timing_s: how much earlier or later an agent comes to be where it was, at most [s].
        size: largest relative change of length and of width.
        kinds: probability that an agent changed is of another kind or class of size.
        agents: how many agents are changed at most.

    Raises:
        SuiteError: an argument is out of range, or nothing would change.
    """

    def __init__(
        self,
        speed: float = 0.25,
        gap_m: float = 8.0,
        timing_s: float = 1.5,
        size: float = 0.12,
        kinds: float = 0.15,
        agents: int = 4,
    ) -> None:
        most = {
            "speed": (speed, 0.9),
            "gap_m": (gap_m, 50.0),
            "timing_s": (timing_s, 5.0),
            "size": (size, 0.5),
            "kinds": (kinds, 1.0),
            "agents": (agents, 100),
        }
        for name, (value, bound) in most.items():
            least = 1 if name == "agents" else 0
            if not least <= value <= bound:
                raise SuiteError(
                    f"perturb: {name} is {value!r}", hint=f"Give {least} to {bound:g}."
                )
        if not any((speed, gap_m, timing_s, size, kinds)):
            raise SuiteError(
                "perturb: nothing may change",
                hint="Give one of speed, gap_m, timing_s, size, kinds above 0.",
            )
        self.speed = float(speed)
        self.gap_m = float(gap_m)
        self.timing_s = float(timing_s)
        self.size = float(size)
        self.kinds = float(kinds)
        self.agents = int(agents)

    def generate(self, scenario: Scenario, n: int, rng: np.random.Generator) -> Iterator[Scenario]:
        """Up to `n` variants; fewer where all draws of one are unfit, none without agents."""
        for _ in range(n):
            made = self.vary(scenario, int(rng.integers(2**63)))
            if made is not None:
                yield made

    def vary(self, scenario: Scenario, seed: int) -> Scenario | None:
        """The variant of a seed, as its `Lineage.seed` says; None if every draw is unfit."""
        near = _near(scenario)
        if not len(near):
            return None
        rng = np.random.Generator(np.random.Philox(seed))
        for attempt in range(_ATTEMPTS):
            changes = self._draw(scenario, near, 0.9**attempt, rng)
            tracks = _applied(scenario, changes)
            if tracks is None:
                continue
            lineage = Lineage(
                parent=scenario.hash,
                generator="perturb",
                seed=seed,
                parameters={
                    "root": root_of(scenario),
                    "attempt": attempt,
                    "options": {
                        name: getattr(self, name)
                        for name in ("speed", "gap_m", "timing_s", "size", "kinds", "agents")
                    },
                    "changes": [_told(scenario, change) for change in changes],
                },
            )
            try:
                variant = admit(
                    replace(
                        scenario,
                        id=f"{scenario.id[:200]}+perturb-{seed:016x}",
                        agents=tracks,
                        tags=tuple(dict.fromkeys((*scenario.tags, "variant"))),
                        lineage=lineage,
                        repairs=(),
                    )
                )
            except ScenarioError:
                continue
            if len(variant.agents) and not check_variant(scenario, variant):
                return variant
        return None

    def _draw(
        self, scenario: Scenario, near: NDArray[np.int64], scale: float, rng: np.random.Generator
    ) -> list[_Change]:
        """What happens to whom; at least one agent is changed."""
        count = int(rng.integers(1, min(self.agents, len(near)) + 1))
        chosen = np.sort(rng.choice(near, count, replace=False))
        return [self._change(scenario, int(a), scale, rng) for a in chosen]

    def _change(
        self, scenario: Scenario, agent: int, scale: float, rng: np.random.Generator
    ) -> _Change:
        state, valid = scenario.agents.state[agent], scenario.agents.valid[agent]
        fastest = float(np.hypot(*state[valid, StateIndex.VX :].T).max())
        draw = scale * rng.uniform(-1.0, 1.0, 5)
        moves = fastest > _STANDING
        warp = Warp(
            speed=1.0 + self.speed * draw[0] if moves else 1.0,
            delay=self.timing_s * draw[1] if moves else 0.0,
            gap=self.gap_m * draw[2],
        )
        body = None
        bodies = [
            (kind, size)
            for kind, size, limit in _BODIES[AgentKind(int(scenario.agents.kind[agent]))]
            if fastest <= limit
        ]
        pick = int(rng.integers(8))
        if rng.random() < self.kinds and bodies:
            body = bodies[pick % len(bodies)]
        return _Change(agent, warp, (1.0 + self.size * draw[3], 1.0 + self.size * draw[4]), body)


def _near(scenario: Scenario) -> NDArray[np.int64]:
    """Agents whose track is one run and that come within 60 m of the ego from the present on."""
    tracks, now = scenario.agents, scenario.start
    gap = np.hypot(*np.moveaxis(tracks.state[:, now:, :2] - scenario.ego[None, now:, :2], 2, 0))
    close = (np.where(tracks.valid[:, now:], gap, np.inf) < _NEAR_M).any(axis=1)
    return np.array(
        [a for a in np.flatnonzero(close) if only_run(tracks.valid[a]) is not None], np.int64
    )


def _applied(scenario: Scenario, changes: list[_Change]) -> Tracks | None:
    """The tracks with the changes; None where one of them leaves nothing of its agent."""
    old = scenario.agents
    kind, size = old.kind.copy(), old.size.copy()
    state, valid = old.state.copy(), old.valid.copy()
    for change in changes:
        a = change.agent
        made = retimed(old.state[a], old.valid[a], scenario.start, change.warp)
        if made is None:
            return None
        state[a], valid[a] = made
        if change.body is not None:
            kind[a], size[a] = change.body
        size[a, :2] *= change.size
    return Tracks(old.id, kind, size, state, valid, old.reactive)


def _told(scenario: Scenario, change: _Change) -> dict[str, Any]:
    """A change as the lineage records it."""
    kind = scenario.agents.kind[change.agent] if change.body is None else change.body[0]
    return {
        "agent": scenario.agents.id[change.agent],
        "speed": change.warp.speed,
        "delay_s": change.warp.delay,
        "gap_m": change.warp.gap,
        "length": change.size[0],
        "width": change.size[1],
        "kind": AgentKind(int(kind)).name.lower(),
    }
