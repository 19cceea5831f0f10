"""Moments to learn from. Logs, variants and rollouts are all scenarios, and become the same arrays.

A moment is what a planner sees there, its proposals, how far each is from what was driven next, and
the scores of all of them and of what was driven.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from roadworthy.driven import DRIVEN
from roadworthy.observation import Brief, ObservationBatch
from roadworthy.rollout import Case
from roadworthy.scenario import Scenario
from roadworthy.testing import brief_of, observe

from .errors import TrainingError
from .scores import ScoreCache, score_moment

__all__ = ["Frames", "ProposalPlanner", "Proposed", "collect", "grouped", "scores_at"]

AHEAD = 40
"""Steps (4 s) that a moment needs after it."""
KNOTS = np.arange(5, AHEAD + 1, 5)
_BATCH = 32


class Proposed(Protocol):
    """What a planner can choose from at N moments; see `roadworthy_planners.anchor.Proposals`."""

    inputs: Mapping[str, NDArray[Any]]
    plans: NDArray[np.float64]
    dt: float


class ProposalPlanner(Protocol):
    """A planner that can be trained: it proposes plans, and a network scores them.

    Attributes:
        network: a `torch.nn.Module`; called with a dict of tensors [N, ...], it returns logits
            [N, K] of the proposals, or a tuple whose first item they are and whose second, if
            any, are logits of sub-scores [N, K, 8] in the order of `scores.SCORES`.
        mix: how heads are combined; a trainer sets it where it trains heads.
    """

    network: Any

    def reset_batch(self, briefs: Sequence[Brief]) -> None: ...

    def propose(self, observations: ObservationBatch) -> Proposed: ...


Look = Callable[[Sequence[Scenario], ObservationBatch], ObservationBatch]
"""Adds to observations, whose `rows` say of which scenes they are, what cameras show."""


@dataclass(frozen=True, eq=False)
class Frames:
    """N moments with K proposals each.

    Attributes:
        inputs: arrays [N, ...], what the network reads.
        distance: float32 [N, K], mean squared distance [m2] of each proposal from what was driven,
            over eight half seconds.
        expert: bool [N], whether what was driven is an example to follow (it is not in rollouts).
        scores: uint8 [N, K, 9] of the proposals, see `scores`; None where not asked for.
        driven: uint8 [N, 9], of what was driven.
        scene, step: int64 [N], which scenario, and where in it.
        group: int64 [N], index into `groups`.
        groups: names of the sets of scenarios.
    """

    inputs: Mapping[str, NDArray[Any]]
    distance: NDArray[np.float32]
    expert: NDArray[np.bool_]
    scores: NDArray[np.uint8] | None
    driven: NDArray[np.uint8] | None
    scene: NDArray[np.int64]
    step: NDArray[np.int64]
    group: NDArray[np.int64]
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scene)


def grouped(
    cases: Iterable[Case | Scenario] | Mapping[str, Iterable[Case | Scenario]],
) -> dict[str, list[Scenario]]:
    """Scenarios by the name of their set; one nameless set where none are given.

    Raises:
        TrainingError: there is no scenario, or a set is empty.
    """
    sets = cases if isinstance(cases, Mapping) else {"": cases}
    found = {
        name: [case.scenario if isinstance(case, Case) else case for case in members]
        for name, members in sets.items()
    }
    for name, members in found.items():
        if not members:
            raise TrainingError(
                f"the set {name!r} is empty" if name else "there is nothing to train on",
                hint="No scenario was mined, or none was admitted; `roadworthy scenarios list`.",
            )
    if not found:
        raise TrainingError("there is nothing to train on", hint="Give scenarios.")
    return found


def collect(
    planner: ProposalPlanner,
    sets: Mapping[str, Sequence[Scenario]],
    every: int,
    cache: ScoreCache | None,
    look: Look | None = None,
) -> Frames:
    """Make moments of scenarios.

    Args:
        planner: proposes.
        sets: scenarios by set.
        every: steps (0.1 s) between moments.
        cache: where scores are looked up and kept; None: no scores are needed.
        look: for planners that see by cameras.

    Raises:
        TrainingError: no scenario has 4 s after its present.
    """
    parts: list[dict[str, Any]] = []
    scene = 0
    for group, members in enumerate(sets.values()):
        for begin in range(0, len(members), _BATCH):
            batch = members[begin : begin + _BATCH]
            parts += _moments(planner, batch, every, cache, look, group, scene)
            scene += len(batch)
    if not parts:
        raise TrainingError(
            "no scenario has the 4 s after its present that a plan covers",
            hint="Give longer scenarios.",
        )
    joined = {
        key: np.concatenate([part[key] for part in parts])
        for key in parts[0]
        if parts[0][key] is not None and key != "inputs"
    }
    inputs = {
        key: np.concatenate([part["inputs"][key] for part in parts]) for key in parts[0]["inputs"]
    }
    return Frames(
        inputs=inputs,
        distance=joined["distance"],
        expert=joined["expert"],
        scores=joined.get("scores"),
        driven=joined.get("driven"),
        scene=joined["scene"],
        step=joined["step"],
        group=joined["group"],
        groups=tuple(sets),
    )


def scores_at(
    planner: ProposalPlanner, scenario: Scenario, step: int, cache: ScoreCache
) -> NDArray[np.uint8]:
    """uint8 [K + 1, 9], see `scores`: a planner's proposals at one moment, and what was driven.

    Args:
        planner: proposes.
        scenario: with 4 s after the moment.
        step: steps after the present.
        cache: where scores are looked up and kept.
    """
    planner.reset_batch(briefs := [brief_of(scenario)])
    found = planner.propose(observe([scenario], step, briefs, [0]))
    both = _with_driven(found.plans[0], _driven(scenario, step), found.dt)
    return _scored(cache, found.dt, scenario, [(step, both)])[0]


def _moments(
    planner: ProposalPlanner,
    scenarios: Sequence[Scenario],
    every: int,
    cache: ScoreCache | None,
    look: Look | None,
    group: int,
    first: int,
) -> list[dict[str, Any]]:
    """Moments of some scenarios; a scenario's moments are scored together."""
    last = np.array([s.horizon - AHEAD for s in scenarios])
    planner.reset_batch(briefs := [brief_of(s) for s in scenarios])
    parts = []
    proposed: list[list[tuple[int, NDArray[np.float64]]]] = [[] for _ in scenarios]
    for step in range(0, int(last.max(initial=-1)) + 1, every):
        rows = np.flatnonzero(last >= step)
        observed = observe(scenarios, step, briefs, rows.tolist())
        found = planner.propose(look(scenarios, observed) if look else observed)
        future = np.stack([_driven(scenarios[r], step) for r in rows])
        at = np.rint(KNOTS * 0.1 / found.dt).astype(int) - 1
        at = np.minimum(at, found.plans.shape[2] - 1)
        gap = found.plans[:, :, at, :2] - future[:, None, KNOTS - 1, :2]
        part: dict[str, Any] = {
            "inputs": {k: _lean(v) for k, v in found.inputs.items()},
            "distance": (gap**2).sum(axis=-1).mean(axis=-1).astype(np.float32),
            "expert": np.array([DRIVEN not in scenarios[r].tags for r in rows], np.bool_),
            "scene": first + rows,
            "step": np.full(len(rows), step, np.int64),
            "group": np.full(len(rows), group, np.int64),
        }
        if cache is not None:
            dt = found.dt
            for i, r in enumerate(rows):
                proposed[r].append((step, _with_driven(found.plans[i], future[i], dt)))
        parts.append(part)
    if cache is not None and parts:
        score = functools.partial(_scored, cache, dt)
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # the kernels let go of the GIL
            scored = list(pool.map(score, scenarios, proposed))
        for part, step in zip(parts, range(0, int(last.max()) + 1, every), strict=True):
            rows = part["scene"] - first
            both = np.stack([scored[r][step // every] for r in rows])
            part["scores"], part["driven"] = both[:, :-1], both[:, -1]
    return parts


def _scored(
    cache: ScoreCache,
    dt: float,
    scenario: Scenario,
    moments: Sequence[tuple[int, NDArray[np.float64]]],
) -> NDArray[np.uint8]:
    """uint8 [moments, K + 1, 9]: the proposals' scores, and those of what was driven."""
    if not moments:
        return np.zeros((0, 0, 9), np.uint8)
    key = cache.key(scenario, moments, dt)
    scores = cache.find(key, (len(moments), len(moments[0][1]), 9))
    if scores is None:
        scores = np.stack([score_moment(scenario, step, plans, dt) for step, plans in moments])
        cache.keep(key, scores)
    return scores


def _driven(scenario: Scenario, step: int) -> NDArray[np.float64]:
    """What was driven in the 4 s after a moment: [40, 3] in the ego frame, every 0.1 s."""
    now = scenario.start + step
    x, y, yaw = scenario.ego[now, :3]
    poses = scenario.ego[now + 1 : now + AHEAD + 1, :3] - (x, y, yaw)
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.unwrap(np.concatenate([[0.0], (poses[:, 2] + np.pi) % (2 * np.pi) - np.pi]))[1:]
    return np.stack([c * poses[:, 0] + s * poses[:, 1], c * poses[:, 1] - s * poses[:, 0], turn], 1)


def _with_driven(
    plans: NDArray[np.float64], future: NDArray[np.float64], dt: float
) -> NDArray[np.float64]:
    """The proposals [K, P, 3] and, last, what was driven, at the same times."""
    at = np.minimum(np.rint(np.arange(1, plans.shape[1] + 1) * dt / 0.1).astype(int), AHEAD) - 1
    return np.concatenate([plans, future[None, at]])


def _lean(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.float16) if values.ndim >= 3 else values
