"""What the model learns from: moments of logged scenes, and what everyone did next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.scenario import Scenario
from roadworthy.seeding import generator

from roadworthy_generators.behaviour.kinematics import ACTION_S, ACTIONS, STEPS, actions_of
from roadworthy_generators.behaviour.scene import (
    HISTORY_STEPS,
    Body,
    Tokens,
    bodies_of,
    ego_centre,
    tokens_of,
    track_states,
)

__all__ = ["PATH_STEPS", "Examples", "examples_of", "future_of", "pack"]

Array = NDArray[np.float64]

PATH_STEPS = tuple(range(5, STEPS + 1, 5))
"""Steps at which paths are compared: every half second."""
TRAINED_TOKENS = 32
_FULLY = 1e-3


@dataclass(frozen=True, eq=False)
class Examples:
    """N moments of up to A tokens, see `scene.Tokens`; padded where `there` says so.

    Attributes:
        actions: float16 [N, A, ACTIONS, 2] in units of the scales; known: bool [N, A, ACTIONS].
        path: float16 [N, A, len(PATH_STEPS), 2] where each was then, in its own frame of the
            moment; along: bool, whether that is known.
    """

    features: NDArray[np.float32]
    polylines: NDArray[np.float16]
    near: NDArray[np.bool_]
    pose: NDArray[np.float32]
    speed: NDArray[np.float32]
    limits: NDArray[np.float32]
    scales: NDArray[np.float32]
    there: NDArray[np.bool_]
    still: NDArray[np.bool_]
    actions: NDArray[np.float16]
    known: NDArray[np.bool_]
    path: NDArray[np.float16]
    along: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.there)


def future_of(scenario: Scenario, body: Body, now: int) -> tuple[Array, NDArray[np.bool_]]:
    """What bodies did after a step: x, y, yaw, speed [A, STEPS + 1, 4] and whether that is known.

    Beyond the log, and where an agent is not seen, the last known state stands.
    """
    steps = np.minimum(now + np.arange(STEPS + 1), scenario.steps - 1)
    inside = now + np.arange(STEPS + 1) < scenario.steps
    ego = ego_centre(scenario.ego[steps], scenario.vehicle.rear_axle_to_centre)
    tracks = scenario.agents
    others = body.index[1:]
    states = np.concatenate([ego[None], track_states(tracks.state[others][:, steps])])
    valid = np.concatenate([np.ones((1, len(steps)), np.bool_), tracks.valid[others][:, steps]])
    valid &= inside
    valid = np.logical_and.accumulate(valid, axis=1)
    last = np.maximum(valid.sum(1) - 1, 0)
    rows = np.minimum(np.arange(STEPS + 1), last[:, None])
    states = np.take_along_axis(states, rows[..., None], 1)
    states[..., 2] = np.unwrap(states[..., 2], axis=1)
    return states, valid


def examples_of(scenario: Scenario, moments: Sequence[int], most: int = TRAINED_TOKENS) -> Examples:
    """Moments of one scene."""
    rows = []
    for now in moments:
        body = bodies_of(scenario, now, most)
        tokens = tokens_of(scenario, body, now)
        rows.append(_example(tokens, *future_of(scenario, body, now), most))
    return Examples(**{f.name: np.stack([r[f.name] for r in rows]) for f in fields(Examples)})


def pack(scenarios: Iterable[Scenario], moments: int, seed: int) -> Examples:
    """`moments` random moments of each scene that is long enough.

    Raises:
        DataError: no scene is.
    """
    parts = []
    for scenario in scenarios:
        first, last = max(HISTORY_STEPS), scenario.steps - 1 - STEPS
        if last < first:
            continue
        rng = generator(seed, "moments", scenario.hash)
        count = min(moments, last - first + 1)
        chosen = first + np.sort(rng.choice(last - first + 1, count, replace=False))
        parts.append(examples_of(scenario, [int(now) for now in chosen]))
    if not parts:
        raise DataError(
            f"no scene is {max(HISTORY_STEPS) + STEPS + 1} steps long", hint="Give longer scenes."
        )
    return Examples(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Examples)}
    )


def _example(
    tokens: Tokens, future: Array, valid: NDArray[np.bool_], most: int
) -> dict[str, NDArray[np.generic]]:
    count = len(tokens)
    actions = actions_of(future[..., 2], future[..., 3]) / tokens.scales[:, None]
    ends = np.ceil((np.arange(ACTIONS) + 1) * ACTION_S * 10.0 - _FULLY).astype(np.int64)
    local = future[:, list(PATH_STEPS), :2] - tokens.pose[:, None, :2]
    cos, sin = np.cos(tokens.pose[:, 2, None]), np.sin(tokens.pose[:, 2, None])
    path = np.stack(
        [local[..., 0] * cos + local[..., 1] * sin, local[..., 1] * cos - local[..., 0] * sin], -1
    )
    made = {
        "features": tokens.features, "polylines": tokens.polylines, "near": tokens.near,
        "pose": tokens.pose - [*tokens.pose[0, :2], 0.0], "speed": tokens.speed,
        "limits": tokens.limits, "scales": tokens.scales, "there": np.ones(count, np.bool_),
        "still": tokens.still, "actions": actions.clip(-8.0, 8.0), "known": valid[:, ends],
        "path": path.clip(-300.0, 300.0), "along": valid[:, list(PATH_STEPS)],
    }  # fmt: skip
    kinds = {f.name: np.dtype(_DTYPES[f.name]) for f in fields(Examples)}
    return {
        name: np.concatenate(
            [value, np.zeros((most - count, *value.shape[1:]), value.dtype)]
        ).astype(kinds[name])
        for name, value in made.items()
    }


_DTYPES = {
    "features": "f4", "polylines": "f2", "near": "?", "pose": "f4", "speed": "f4", "limits": "f4",
    "scales": "f4", "there": "?", "still": "?", "actions": "f2", "known": "?", "path": "f2",
    "along": "?",
}  # fmt: skip
