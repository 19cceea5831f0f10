r"""The expert who drives each ego: PDM-Closed, with a hand as unsteady as a human's.

A draft, in which a driver of the town is the ego, is driven again from its present on: by
PDM-Closed, among reactive traffic, with the tracker and the vehicle model that every planner is
driven with. PDM-Closed itself stops half a metre behind others and drives along the very kerb,
which nobody should learn; so first it drives *carefully*: once a second it plans for a car that
needs more room. Where that drive is a success (`success`: no collision at fault, never off the
road) and gets ahead, it becomes the log, its traffic included. Then PDM-Closed as it is drives the
scene with that log, to tell whether it survives it; where the careful one did not, this drive
becomes the log.

What is logged of the ego is that drive as a hand and a foot would do it: it slows down for bends,
which PDM-Closed takes at up to 7 m/s² to the side, to 4; its pace errs by
$\Delta s(t)$ and its path wanders by $d(s)$, both uniform cubic B-splines whose coefficients are
normal and correlated (0.75 from one to the next, 1 s and 10 m apart), and zero at the present, so
that planners begin where PDM-Closed did.

Where neither is an example, the draft is dropped, and the town's next one is driven. But rare
scenes that PDM-Closed does not survive are worth keeping: there the log is the evasive drive that
`roadworthy.solvability` finds, if that is an example. A rare scene that nobody survives, neither
the driver nor any manoeuvre, is "unsolvable"; its log is the driver's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from roadworthy.host import PlannerHost
from roadworthy.rollout import Case, RolloutBatch
from roadworthy.scenario import DT, Scenario, SignalState
from roadworthy.solvability import Certificate, solve, steady_drive
from roadworthy.vehicle import PACIFICA, EgoIndex
from roadworthy_metrics.success import Success
from roadworthy_planners.pdm_closed import PDMClosed
from roadworthy_simulators.closed_loop import ClosedLoop

from roadworthy_sources.towns import exact
from roadworthy_sources.towns.people import MEMORY, Draw
from roadworthy_sources.towns.scenes import ego_states, fit, touched
from roadworthy_sources.towns.town import Town

__all__ = ["log_expert"]

Array = NDArray[np.float64]

REPLAN_HZ = 2.0
"""Plans per second of PDM-Closed as it is, whose survival is told."""
CAREFUL_HZ = 1.0
"""Plans per second of the careful one."""
_ROOMY = replace(
    PACIFICA,
    width=PACIFICA.width + 0.3,
    front=PACIFICA.front + 0.8,
    rear=PACIFICA.rear + 0.2,
)
"""The car in which PDM-Closed drives carefully."""

_MILLIMETRE = 1e-3
"""Driven poses are rounded to this [m], and headings to a tenth of it [rad], so that the last bits
of cosines, which differ between processors, do not matter."""
_PACE = (0.1, 0.35)
"""Range of a hand's standard deviation of the error along the path [m]."""
_WANDER = (0.03, 0.12)
"""Range of a hand's standard deviation across the path [m]."""
_BRISK = 6.0
"""Below this speed the error along the path shrinks with it [m/s]."""
_SECOND = 10
_KNOT_M = 10.0
_BEYOND = 40.0
_HANDS = (1.0, 0.4, 0.0)
_SIDEWAYS = 4.0
_SLOWING = 2.5
_CATCHING_UP = 1.5
_SPACING = 0.3
_BESIDE = 2.0
_STALLS = 0.6
"""Whoever gets less far than this share of the driver's way is no example."""


def log_expert(
    town: Town, drafts: Sequence[Scenario], harmed: Sequence[bool], draws: Sequence[Draw]
) -> list[Scenario | None]:
    """Let the expert drive some drafts of one town.

    Args:
        town: where.
        drafts: not admitted yet; the driver of each drove to the end.
        harmed: whether that driver touched someone.
        draws: one per draft, for the hand.

    Returns:
        Per draft the scenario with the expert's log, tagged with what is known of its solvability;
        None where nobody's drive is an example: someone touches another, or the ego runs a red
        light, stalls, or brakes harder than the occasion calls for.
    """
    if not drafts:
        return []
    roomy = [replace(draft, vehicle=_ROOMY) for draft in drafts]
    careful, cautious = _drive(roomy, CAREFUL_HZ)
    out: list[Scenario | None] = []
    for row, draft in enumerate(drafts):
        logged = _driven(town, draft, careful, row, draws[row]) if cautious[row] else None
        out.append(logged)
    again = [logged or draft for logged, draft in zip(out, drafts, strict=True)]
    plain, survived = _drive(again, REPLAN_HZ)
    for row, draft in enumerate(drafts):
        logged = out[row]
        if logged is None and survived[row]:
            logged = _driven(town, draft, plain, row, draws[row])
        verdict = "pdm-closed:survives" if survived[row] else "pdm-closed:fails"
        if logged is not None:
            words = ("solvable", verdict, "expert:pdm-closed")
            out[row] = replace(logged, tags=(*draft.tags, *words))
        elif "rare" in draft.tags and not survived[row]:
            out[row] = _evaded(town, draft, harmed[row])
    return out


def _drive(
    scenarios: Sequence[Scenario], replan_hz: float
) -> tuple[RolloutBatch, NDArray[np.bool_]]:
    """What PDM-Closed does in scenarios, and which of them it survives."""
    cases = [Case(scenario, 0, 0) for scenario in scenarios]
    simulator = ClosedLoop(replan_hz=replan_hz, traffic="idm")
    rollouts = simulator.run(cases, PlannerHost(PDMClosed, 600.0))
    return rollouts, np.asarray(Success().score(rollouts).values["success"]) > 0.5


def _driven(
    town: Town, draft: Scenario, rollouts: RolloutBatch, row: int, draw: Draw
) -> Scenario | None:
    """A draft with the drive of a rollout as its log, or None where no hand is steady enough."""
    now, count, last = draft.start, len(draft.agents), draft.steps
    state = draft.agents.state.copy()
    moved = rollouts.agents[row, :count, :last]
    changed = (moved != state).any(axis=(1, 2))
    state[changed, now + 1 :, :2] = exact.rounded(moved[changed, now + 1 :, :2], _MILLIMETRE)
    state[changed, now + 1 :, 2:] = exact.rounded(moved[changed, now + 1 :, 2:], 0.1 * _MILLIMETRE)
    valid = rollouts.agents_valid[row, :count, :last].copy()
    agents = replace(draft.agents, state=state, valid=valid)
    drive = rollouts.ego[row, now:last, : EgoIndex.VX + 1]
    if drive[:, EgoIndex.VX].sum() < _STALLS * draft.ego[now:, EgoIndex.VX].sum():
        return None
    hand = (draw.uniform(*_PACE), draw.uniform(*_WANDER), _coefficients(draw), _coefficients(draw))
    for share in _HANDS:
        ego = _with_drive(draft, _unsteady(drive, hand, share))
        logged = replace(draft, ego=ego, agents=agents)
        if _is_example(town, logged):
            return logged
    return None


def _is_example(town: Town, logged: Scenario) -> bool:
    """Whether one may learn from a log."""
    gentle = fit(town, logged.ego, "rare" if "rare" in logged.tags else "common")
    return gentle and not touched(logged) and not _runs_red(logged)


def _runs_red(scenario: Scenario) -> bool:
    """Whether the ego's front enters a lane of its route while its signal is red."""
    c, s = exact.cos_sin(scenario.ego[:, EgoIndex.YAW])
    front = scenario.ego[:, :2] + PACIFICA.front * np.stack([c, s], axis=1)
    for lane, state in zip(scenario.signals.lane, scenario.signals.state, strict=True):
        if int(lane) in scenario.route.lanes:
            x, y, yaw = scenario.map.lane_centreline[int(lane)][0]
            along, across = (float(v) for v in exact.cos_sin(yaw))
            gone = along * (front[:, 0] - x) + across * (front[:, 1] - y)
            aside = along * (front[:, 1] - y) - across * (front[:, 0] - x)
            enters = (gone[:-1] < 0.0) & (gone[1:] >= 0.0) & (np.abs(aside[1:]) < _BESIDE)
            if (state[1:][enters] == SignalState.RED).any():
                return True
    return False


def _with_drive(draft: Scenario, pose: Array) -> Array:
    """Ego states [T, 11]: the draft's to the present, then those of poses [T - start + 3, 3] from
    the present on."""
    now = draft.start
    before = np.concatenate([np.repeat(draft.ego[:1, :3], 3, axis=0), draft.ego[:now, :3]])
    states = ego_states(np.concatenate([before, pose]))
    states[: now + 1] = draft.ego[: now + 1]
    return states


def _coefficients(draw: Draw) -> Array:
    """Coefficients [64] of a spline: none at first, then normal, each like the one before."""
    out = draw.normal(64)
    fresh = float(np.sqrt(1.0 - MEMORY * MEMORY))
    for k in range(1, len(out)):
        out[k] = MEMORY * out[k - 1] + fresh * out[k]
    out[:4] = 0.0
    return out


def _spline(coefficients: Array, at: Array) -> tuple[Array, Array]:
    """A uniform cubic B-spline and its derivative [N] at points in units of its knots."""
    k = np.clip(np.floor(at).astype(np.int64), 0, len(coefficients) - 4)
    u = at - k
    w = 1.0 - u
    a, b, c, d = (coefficients[k + j] for j in range(4))
    value = a * w * w * w + b * (3.0 * u * u * u - 6.0 * u * u + 4.0)
    value = value + c * (3.0 * w * w * w - 6.0 * w * w + 4.0) + d * u * u * u
    slope = -a * w * w + b * (3.0 * u * u - 4.0 * u) - c * (3.0 * w * w - 4.0 * w) + d * u * u
    return value / 6.0, 0.5 * slope


def _eased(walked: Array, yaw: Array, speed: Array) -> Array:
    """How far [N] someone is who drives as far as `walked` [N], but not through bends at more than
    4 m/s² to the side: slower there and before, and catching up later."""
    if np.abs(np.diff(yaw) * speed[1:]).max() <= _SIDEWAYS * DT:
        return walked
    keep = np.concatenate([[True], np.diff(walked) > _SPACING])
    at, turn = walked[keep], yaw[keep]
    bend = np.abs(np.diff(turn)) / np.diff(at)
    limit = np.sqrt(_SIDEWAYS / np.maximum(np.concatenate([bend, bend[-1:]]), 1e-4))
    for k in range(len(limit) - 2, -1, -1):
        before = np.sqrt(limit[k + 1] * limit[k + 1] + 2.0 * _SLOWING * (at[k + 1] - at[k]))
        limit[k] = min(limit[k], before)
    out, pace = walked.copy(), speed[0]
    for k in range(1, len(out)):
        behind = walked[k] - out[k - 1]
        pace = min(pace + _SLOWING * DT, behind / DT, speed[k] + _CATCHING_UP)
        pace = min(pace, float(np.interp(out[k - 1], at, limit)))
        out[k] = out[k - 1] + pace * DT
    return out


def _unsteady(drive: Array, hand: tuple[float, float, Array, Array], share: float) -> Array:
    """Poses [N + 3, 3] of a drive [N, 4] as a hand does it, going on for three steps.

    Args:
        drive: x, y, yaw of the rear axle and speed, from the present on.
        hand: standard deviations along and across, coefficients along and across.
        share: of the hand's errors.
    """
    xy = exact.rounded(drive[:, :2], _MILLIMETRE)
    yaw = exact.unwrapped(exact.rounded(drive[:, 2], 0.1 * _MILLIMETRE))
    speed = exact.rounded(np.maximum(drive[:, EgoIndex.VX], 0.0), _MILLIMETRE)
    c, s = (float(v) for v in exact.cos_sin(yaw[-1]))
    hop = np.diff(xy, axis=0)
    walked = np.concatenate([[0.0], np.cumsum(exact.length(hop[:, 0], hop[:, 1]))])
    ahead = 0.1 * float(speed[-1]) * np.arange(1, 4)
    gone = _eased(walked, yaw, speed)
    gone = np.concatenate([gone, gone[-1] + ahead])
    speed = np.concatenate([speed, np.repeat(speed[-1:], 3)])
    along, across, early, aside = hand
    error, _ = _spline(early, np.arange(len(gone)) / _SECOND)
    brisk = np.minimum(speed / _BRISK, 1.0)
    at = np.maximum.accumulate(gone + share * along * brisk * error)
    at = np.maximum(at, 0.0)
    keep = np.concatenate([[True], np.diff(walked) > 1e-6])
    line = np.column_stack([walked, xy, yaw])[keep]
    end = [line[-1, 0] + _BEYOND, line[-1, 1] + _BEYOND * c, line[-1, 2] + _BEYOND * s, line[-1, 3]]
    line = np.concatenate([line, [end]])
    left, slope = _spline(aside, at / _KNOT_M)
    left, slope = share * across * left, share * across / _KNOT_M * slope
    turn = np.interp(at, line[:, 0], line[:, 3])
    c, s = exact.cos_sin(turn)
    x = np.interp(at, line[:, 0], line[:, 1]) - left * s
    y = np.interp(at, line[:, 0], line[:, 2]) + left * c
    return np.column_stack([x, y, turn + exact.angle(np.ones_like(slope), slope)])


def _evaded(town: Town, draft: Scenario, harmed: bool) -> Scenario | None:
    """A draft that PDM-Closed does not survive, with the drive that does; None where that is no
    example."""
    certificate = solve(draft, base=steady_drive(draft))
    words = ("pdm-closed:fails", f"evasion:{certificate.label}")
    if certificate.weakest is None:
        tags = (*draft.tags, "unsolvable", *words, "expert:none")
        return replace(draft, tags=tags) if harmed else None
    ego = _with_drive(draft, _poses_of(certificate))
    tags = (*draft.tags, "solvable", *words, "expert:evasion")
    logged = replace(draft, ego=ego, tags=tags)
    return logged if _is_example(town, logged) else None


def _poses_of(certificate: Certificate) -> Array:
    """Poses [N + 3, 3] of the drive that a certificate holds, going on for three steps."""
    assert certificate.weakest is not None
    drive = certificate.weakest.drive(np.array(certificate.base))
    xy = exact.rounded(drive[:, :2], _MILLIMETRE)
    yaw = exact.unwrapped(exact.rounded(drive[:, 2], 0.1 * _MILLIMETRE))
    c, s = (float(v) for v in exact.cos_sin(yaw[-1]))
    ahead = 0.1 * float(exact.rounded(drive[-1, 3], _MILLIMETRE)) * np.arange(1, 4)
    beyond = np.column_stack([xy[-1, 0] + ahead * c, xy[-1, 1] + ahead * s, np.full(3, yaw[-1])])
    return np.concatenate([np.column_stack([xy, yaw]), beyond])
