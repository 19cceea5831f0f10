"""HUGSIM's HD-Score: how good the plans were, step by step, times how far the ego came."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.geometry.boxes import box_corners, boxes_intersect
from roadworthy.geometry.polygons import entry_contains
from roadworthy.rollout import RolloutBatch
from roadworthy.score import SHARE, Column, MetricSpec, Scores

from .batch import vehicles
from .contacts import scenes
from .pdm.scene import Scene
from .progress import route_progress

__all__ = ["HDScore"]

_KEY_FRAME_STEPS = 5
_KNOT_S = 0.5
_HORIZON_S = 3.0
_WEIGHT_TTC, _WEIGHT_COMFORT = 5.0, 2.0
_STILL = 1.0

_TERMS = ("nc", "dac", "ttc", "com", "step_score")


@njit(cache=True, nogil=True, error_model="numpy")
def _comfortable(poses: NDArray[np.float64], count: int, tau: float) -> bool:
    """nuPlan's bounds on the finite differences of `count` poses, `tau` seconds apart."""
    if count < 4:
        return True
    speed, accel, rate = 0.0, 0.0, 0.0
    for k in range(1, count):
        hop = math.hypot(poses[k, 0] - poses[k - 1, 0], poses[k, 1] - poses[k - 1, 1])
        turn = poses[k, 2] - poses[k - 1, 2]
        turn = (turn - 2.0 * math.pi * np.rint(turn / (2.0 * math.pi))) / tau
        if abs(turn) > 0.95:
            return False
        v = hop / tau
        if k > 1:
            a = (v - speed) / tau
            if not -4.05 <= a <= 2.40 or abs(turn - rate) / tau > 1.93:
                return False
            if k > 2 and abs(a - accel) / tau > 8.37:
                return False
            accel = a
        speed, rate = v, turn
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _judge_plans(
    ego: NDArray[np.float64],
    vehicle: NDArray[np.float64],
    scene: Scene,
    length: int,
    step: NDArray[np.int64],
    plans: NDArray[np.float64],
    stride: int,
    tau: float,
    out: NDArray[np.float64],
) -> None:
    """Judge the plans of one rollout (terms of `_TERMS`).

    Args:
        ego: [T + 1, 11] `EgoIndex`, row 0 is step 0.
        vehicle: [6] `Vehicle.as_array()`.
        scene: the map and the agents; frame 0 is step 0.
        length: steps driven.
        step: int64 [K], steps of the key frames, each within `length`.
        plans: [K, N, 3], plans made there, in the ego frame then.
        stride: every how manieth pose of a plan is judged.
        tau: time between judged poses [s].
        out: [K, 5], overwritten.
    """
    half_length, half_width = 0.5 * (vehicle[1] + vehicle[2]), 0.5 * vehicle[0]
    to_centre = 0.5 * (vehicle[1] - vehicle[2])
    radius = math.sqrt(half_length * half_length + half_width * half_width)
    agents, index, use = scene.agents, scene.areas.index, scene.areas.use
    first, polygon, ray = index.start, index.polygon, index.ray
    x0, y0, scale, nx, ny = index.x0, index.y0, index.inverse_cell, index.nx, index.ny
    count = min(plans.shape[1] // stride, int(_HORIZON_S / tau + 1e-9)) + 1
    pose, corners = np.empty((count, 3)), np.empty((4, 2))
    for p in range(step.shape[0]):
        start = ego[step[p]]
        c, s = math.cos(start[2]), math.sin(start[2])
        pose[0, 0], pose[0, 1], pose[0, 2] = start[0], start[1], start[2]
        for k in range(1, count):
            x, y, yaw = plans[p, k * stride - 1]
            pose[k, 0], pose[k, 1] = start[0] + c * x - s * y, start[1] + s * x + c * y
            pose[k, 2] = start[2] + yaw
        if math.hypot(pose[count - 1, 0] - start[0], pose[count - 1, 1] - start[1]) < _STILL:
            for k in range(1, count):
                pose[k, 2] = start[2]
        free, drivable, spaced = True, True, True
        for k in range(count):
            c, s = math.cos(pose[k, 2]), math.sin(pose[k, 2])
            x, y = pose[k, 0] + to_centre * c, pose[k, 1] + to_centre * s
            if drivable:
                box_corners(x, y, c, s, half_length, half_width, corners)
                for corner in range(4):
                    fx, fy = (corners[corner, 0] - x0) * scale, (corners[corner, 1] - y0) * scale
                    held = False
                    if 0.0 <= fx < nx and 0.0 <= fy < ny:
                        cell = int(fy) * nx + int(fx)
                        for e in range(first[cell], first[cell + 1]):
                            if use[polygon[e]] & 2 and (
                                ray[e] == 4
                                or entry_contains(index, e, corners[corner, 0], corners[corner, 1])
                            ):
                                held = True
                                break
                    drivable = drivable and held
            q = max(1, min(k, count - 1))
            vx, vy = 0.0, 0.0
            if count > 1:
                vx = (pose[q, 0] - pose[q - 1, 0]) / tau
                vy = (pose[q, 1] - pose[q - 1, 1]) / tau
            frame = min(length, step[p] + int(np.rint(10.0 * tau * k)))
            look = math.hypot(vx, vy) + 1e-6
            for a in range(agents.radius.shape[0]):
                dx, dy = agents.x[frame, a] - x, agents.y[frame, a] - y
                reach = radius + agents.radius[a]
                if dx * dx + dy * dy > (reach + look) ** 2:
                    continue
                for ahead in range(3):
                    ox, oy = dx - 0.5 * ahead * vx, dy - 0.5 * ahead * vy
                    if ox * ox + oy * oy > reach * reach * (1.0 + 1e-9):
                        continue
                    yaw = agents.yaw[frame, a]
                    if boxes_intersect(
                        0.0, 0.0, c, s, half_length, half_width, ox, oy,
                        math.cos(yaw), math.sin(yaw), agents.half_length[a], agents.half_width[a],
                    ):  # fmt: skip
                        if ahead == 0:
                            free = False
                        else:
                            spaced = False
        com = _comfortable(pose, count, tau)
        out[p, 0] = 1.0 if free else 0.0
        out[p, 1] = 1.0 if drivable else 0.0
        out[p, 2] = 1.0 if spaced else 0.0
        out[p, 3] = 1.0 if com else 0.0
        out[p, 4] = (
            out[p, 0] * out[p, 1] * (_WEIGHT_TTC * out[p, 2] + _WEIGHT_COMFORT * out[p, 3])
        ) / (_WEIGHT_TTC + _WEIGHT_COMFORT)


class HDScore:
    """HD-Score = route completion times the mean over key frames of NC DAC (5 TTC + 2 COM) / 7.

    As in HUGSIM's program, a key frame (every 0.5 s) judges the plan made there, not the motion
    that followed: over the plan's poses 0.5 s apart, up to 3 s, against the agents as they moved
    (beyond the end of the rollout: as they last were). NC: no overlap with an agent. DAC: every
    corner on drivable area. TTC: no overlap when the pose is moved on by 0.5 s and 1 s at its
    velocity, agents unmoved. COM: nuPlan's bounds on finite differences of the plan.
    """

    spec = MetricSpec(
        name="hd-score",
        version="1",
        columns=(
            Column(
                "hd_score",
                doc="Route completion times the mean step score",
                headline=True,
                drivable_area=True,
                bounds=SHARE,
            ),
            Column(
                "route_completion", doc="Progress over that of the log, at most 1", bounds=SHARE
            ),
            Column(
                "step_score", doc="Mean over key frames of NC DAC (5 TTC + 2 COM) / 7", bounds=SHARE
            ),
            Column("nc", doc="Share of plans that meet no agent", bounds=SHARE),
            Column(
                "dac",
                doc="Share of plans that stay on drivable area",
                drivable_area=True,
                bounds=SHARE,
            ),
            Column("ttc", doc="Share of plans with a time to collision beyond 1 s", bounds=SHARE),
            Column("com", doc="Share of plans within nuPlan's comfort bounds", bounds=SHARE),
        ),
        source="HUGSIM (Zhou et al., 2024, arXiv 2412.01718)",
        formula="hd_score = route_completion * step_score",
    )

    def score(self, rollouts: RolloutBatch) -> Scores:
        """One row per rollout; NaN where no plan was made."""
        count, now = len(rollouts), rollouts.now
        means = np.full((count, len(_TERMS)), np.nan)
        per_step = np.full((len(_TERMS), count, rollouts.ego.shape[1] - now), np.nan)
        vehicle, around = vehicles(rollouts), scenes(rollouts)
        for i, plans in enumerate(rollouts.plans):
            length = int(rollouts.length[i])
            rows = _key_frames(plans.step, length)
            if not len(rows):
                continue
            stride = max(1, round(_KNOT_S / plans.dt))
            out = np.empty((len(rows), len(_TERMS)))
            _judge_plans(
                rollouts.ego[i, now : now + length + 1], vehicle[i], around[i], length,
                plans.step[rows], plans.poses[rows], stride, stride * plans.dt, out,
            )  # fmt: skip
            means[i] = out.mean(axis=0)
            per_step[:, i, plans.step[rows]] = out.T
        completion = route_progress(rollouts).completion
        values = dict(zip(_TERMS, means.T, strict=True))
        values |= {"route_completion": completion, "hd_score": completion * values["step_score"]}
        named = dict(zip(_TERMS, per_step, strict=True))
        return Scores(self.spec, {c.name: values[c.name] for c in self.spec.columns}, named)


def _key_frames(step: NDArray[np.int64], length: int) -> list[int]:
    """Rows of the plans to judge: the first made at or after each 0.5 s from the one before."""
    rows: list[int] = []
    due = 0
    for row, at in enumerate(step.tolist()):
        if due <= at < length:
            rows.append(row)
            due = at + _KEY_FRAME_STEPS
    return rows
