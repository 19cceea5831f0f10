"""Six safety metrics in the families of World Engine's production evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.rollout import Case, RolloutBatch
from roadworthy.scenario import AgentKind
from roadworthy.score import SHARE, Column, MetricSpec, Scores

from .batch import distance, half_sizes, vehicles
from .contacts import Conduct, conduct
from .ttc import HORIZON_S, time_to_contact

__all__ = ["GROUPS", "Safety", "in_group"]

GROUPS = ("pedestrian_cyclist", "intersection", "cut_in")
"""Tags of the rare families; a case belongs to one if it also has the tag `rare`."""

_VULNERABLE = (int(AgentKind.PEDESTRIAN), int(AgentKind.BICYCLE))
_FIRST_STATIC = int(AgentKind.TRAFFIC_CONE)


def in_group(case: Case, group: str) -> bool:
    """Whether a case belongs to a rare family of `GROUPS`, or to `common` (not `rare`)."""
    tags = case.scenario.tags
    return "rare" not in tags if group == "common" else "rare" in tags and group in tags


def _event(name: str, doc: str, headline: bool = True) -> Column:
    return Column(name, "lower", doc=doc, headline=headline, per_distance=True, bounds=SHARE)


class Safety:
    """1 where the event happened in a case, 0 where not, NaN outside the metric's group.

    A collision is one with the ego at fault, by NAVSIM's rules; `collision_any` leaves the
    blame out. Every event counts once per scenario.
    """

    spec = MetricSpec(
        name="safety",
        version="1",
        columns=(
            _event(
                "pedestrian_cyclist_collision",
                "At-fault collision with a pedestrian or cyclist, in rare interactions with them",
            ),
            _event("intersection_collision", "At-fault collision, in rare intersection scenes"),
            _event("cut_in_collision", "At-fault collision, in rare cut-ins"),
            _event("cut_in_ttc", "Time to collision below 1 s by PDMS's rules, in rare cut-ins"),
            _event("dynamic_collision", "At-fault collision with a road user, in common driving"),
            _event("static_collision", "At-fault collision with an object, in common driving"),
            _event("collision_at_fault", "At-fault collision with anything, in any case", False),
            _event("collision_any", "Any overlap of the ego's box with another", False),
            _event("ttc", "Time to collision below 1 s by PDMS's rules, in any case", False),
            Column(
                "min_ttc", "neither", "s",
                f"Smallest time to box contact at constant velocity, capped at {HORIZON_S:g} s",
            ),
            Column("distance_m", "neither", "m", "Distance driven by the rear axle"),
        ),
        source="World Engine (Li et al., 2026, arXiv 2606.19836); at fault: NAVSIM "
        "(Dauner et al., NeurIPS 2024, arXiv 2406.15349)",
    )  # fmt: skip

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout; see the class for what NaN means."""
        driven = conduct(rollouts)
        hit = [
            [int(case.scenario.agents.kind[c.agent]) for c in row.contacts if c.at_fault]
            for case, row in zip(rollouts.cases, driven, strict=True)
        ]
        fault = _flags(row.at_fault for row in driven)
        close = _flags(row.ttc_step >= 0 for row in driven)
        ttc = _time_to_contact(rollouts)
        group = {
            name: np.array([in_group(case, name) for case in rollouts.cases], bool)
            for name in (*GROUPS, "common")
        }
        vulnerable = _flags(any(k in _VULNERABLE for k in row) for row in hit)
        dynamic = _flags(any(k < _FIRST_STATIC for k in row) for row in hit)
        static = _flags(any(k >= _FIRST_STATIC for k in row) for row in hit)
        values = {
            "pedestrian_cyclist_collision": _within(group["pedestrian_cyclist"], vulnerable),
            "intersection_collision": _within(group["intersection"], fault),
            "cut_in_collision": _within(group["cut_in"], fault),
            "cut_in_ttc": _within(group["cut_in"], close),
            "dynamic_collision": _within(group["common"], dynamic),
            "static_collision": _within(group["common"], static),
            "collision_at_fault": fault,
            "collision_any": _flags(bool(row.contacts) for row in driven),
            "ttc": close,
            "min_ttc": np.fmin.reduce(ttc, axis=1),
            "distance_m": distance(rollouts),
        }
        events = tuple(_events(row) for row in driven)
        return Scores(self.spec, values, {"time_to_contact": ttc}, events)


def _flags(values: Iterable[bool]) -> NDArray[np.float64]:
    return np.array(list(values), np.float64)


def _within(members: NDArray[np.bool_], event: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(members, event, np.nan)


def _events(driven: Conduct) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = [
        {
            "kind": "collision",
            "step": contact.step,
            "agent": contact.agent,
            "how": contact.kind.name.lower(),
            "at_fault": contact.at_fault,
        }
        for contact in driven.contacts
    ]
    if driven.ttc_step >= 0:
        out.append({"kind": "ttc", "step": driven.ttc_step, "agent": driven.ttc_agent})
    return out


def _time_to_contact(rollouts: RolloutBatch) -> NDArray[np.float64]:
    """[S, T + 1] seconds, NaN beyond a rollout's end."""
    out = np.full((len(rollouts), rollouts.ego.shape[1] - rollouts.now), np.nan)
    time_to_contact(
        rollouts.ego, vehicles(rollouts), rollouts.agents, rollouts.agents_valid,
        half_sizes(rollouts), rollouts.now, rollouts.length, HORIZON_S, out,
        np.empty(out.shape, np.int32),
    )  # fmt: skip
    return out
