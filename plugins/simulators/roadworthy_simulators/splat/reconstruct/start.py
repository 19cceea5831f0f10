"""Where the Gaussians are before the first step: from points, along rays, and on the sky."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roadworthy_simulators.splat.reconstruct.recording import ActorTrack, Recording

__all__ = [
    "apparent_pixels",
    "colors_from_images",
    "hull_colors",
    "hull_points",
    "neighbour_distance",
    "pick_points",
    "sky_points",
]

_NEAREST, _FARTHEST = 2.0, 80.0  # depths of points along rays [m]
_HULL_POINTS = (150, 2500)


@njit(cache=True, error_model="numpy")
def _three_nearest(points: Any, out: Any) -> None:
    n = points.shape[0]
    for i in range(n):
        a = b = c = np.inf
        for direction in (-1, 1):
            j = i + direction
            while 0 <= j < n:
                dx = points[j, 0] - points[i, 0]
                if dx * dx > c:
                    break
                dy = points[j, 1] - points[i, 1]
                dz = points[j, 2] - points[i, 2]
                d = dx * dx + dy * dy + dz * dz
                if d < a:
                    a, b, c = d, a, b
                elif d < b:
                    b, c = d, b
                elif d < c:
                    c = d
                j += direction
        total, count = 0.0, 0
        for d in (a, b, c):
            if d < np.inf:
                total += d
                count += 1
        out[i] = np.sqrt(total / max(count, 1))


def neighbour_distance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N] root mean squared distance to the three nearest others [m]; 0 where there is none."""
    order = np.lexsort(points.T[::-1])
    found = np.empty(len(points))
    _three_nearest(np.ascontiguousarray(points[order], dtype=np.float64), found)
    out = np.empty_like(found)
    out[order] = found
    return out


def pick_points(
    recording: Recording, frames: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most `count` points to begin from: [N, 3] world [m] and their colours [N, 3] in [0, 1].

    The recording's points if it has any (at random); else a random depth, log-uniform from 2 to
    80 m, along a random pixel's ray of one of `frames`.
    """
    have = len(recording.points_world)
    if have:
        pick = rng.permutation(have)[:count]
        return recording.points_world[pick], recording.point_colors[pick] / 255.0
    f = rng.choice(frames, count)
    column = rng.integers(0, recording.width, count)
    row = rng.integers(0, recording.height, count)
    depth = np.exp(rng.uniform(np.log(_NEAREST), np.log(_FARTHEST), count))
    k = recording.Ks[f]
    local = np.stack(
        [(column + 0.5 - k[:, 0, 2]) / k[:, 0, 0], (row + 0.5 - k[:, 1, 2]) / k[:, 1, 1],
         np.ones(count)], axis=1,
    ) * depth[:, None]  # fmt: skip
    rotation = recording.viewmats[f, :3, :3]
    world = np.einsum("nji,nj->ni", rotation, local) + recording.centres_world[f]
    return world, recording.images[f, row, column] / 255.0


def sky_points(
    recording: Recording, points: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], float]:
    """A far shell: `count` points [N, 3] spread evenly over the upper half of a sphere, and the
    distance between neighbours [m].

    Its centre is the middle of the cameras, its radius thrice the distance of the point that 99 %
    are nearer than, 200 m at least. Up is where the tops of the images point on average.
    """
    centre = recording.centres_world.mean(axis=0)
    reach = np.quantile(np.linalg.norm(points - centre, axis=1), 0.99) if len(points) else 0.0
    radius = max(200.0, 3.0 * float(reach))
    index = np.arange(count) + 0.5
    height = 1.0 - 1.1 * index / count  # a little below the horizon
    turn = index * np.pi * (3.0 - np.sqrt(5.0))
    flat = np.sqrt(1.0 - height**2)
    shell = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=1)
    up = -recording.viewmats[:, 1, :3].mean(axis=0)
    up = up / max(float(np.linalg.norm(up)), 1e-9)
    side = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
    side /= max(float(np.linalg.norm(side)), 1e-9)
    shell = shell @ np.stack([side, np.cross(up, side), up])
    return centre + radius * shell, radius * float(np.sqrt(2.2 * np.pi / max(count, 1)))


def colors_from_images(
    recording: Recording, frames: NDArray[np.int64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[N, 3] mean colour in [0, 1] of the pixels that points [N, 3] fall on; grey if on none."""
    total = np.zeros((len(points), 3))
    seen = np.zeros(len(points))
    for f in frames:
        view, k = recording.viewmats[f], recording.Ks[f]
        local = points @ view[:3, :3].T + view[:3, 3]
        ahead = local[:, 2] > 0.1
        z = np.where(ahead, local[:, 2], 1.0)
        u = k[0, 0] * local[:, 0] / z + k[0, 2]
        v = k[1, 1] * local[:, 1] / z + k[1, 2]
        inside = ahead & (u >= 0) & (u < recording.width) & (v >= 0) & (v < recording.height)
        total[inside] += recording.images[f][v[inside].astype(int), u[inside].astype(int)] / 255.0
        seen[inside] += 1
    return np.where(seen[:, None] > 0, total / np.maximum(seen, 1)[:, None], 0.5)


def apparent_pixels(
    recording: Recording, frames: NDArray[np.int64], actor: ActorTrack
) -> NDArray[np.float64]:
    """[F] about how many pixels an actor's side takes in each image; 0 where it is not in view."""
    out = np.zeros(len(recording))
    for f in frames[actor.present[frames]]:
        view, k = recording.viewmats[f], recording.Ks[f]
        x, y, z = view[:3, :3] @ actor.poses_world[f, :3] + view[:3, 3]
        if z > 0.5 * actor.size[0]:
            u, v = k[0, 0] * x / z + k[0, 2], k[1, 1] * y / z + k[1, 2]
            if 0 <= u < recording.width and 0 <= v < recording.height:
                out[f] = k[0, 0] * k[1, 1] * actor.size[0] * actor.size[2] / z**2
    return out


def hull_points(
    actor: ActorTrack, pixels: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """Points [N, 3] on the faces of an actor's box, in its frame, and the distance between
    neighbours [m]: one for each pixel of its nearest view, 150 to 2500."""
    count = int(np.clip(pixels.max(initial=0.0), *_HULL_POINTS))
    half = np.array(actor.size) / 2
    box = rng.uniform(-half, half, (count, 3))
    # Onto the nearest face: a vehicle is its hull.
    face = np.argmax(np.abs(box) / half, axis=1)
    rows = np.arange(count)
    box[rows, face] = np.sign(box[rows, face]) * half[face] * 0.95
    area = 8.0 * (half[0] * half[1] + half[0] * half[2] + half[1] * half[2])
    return box, float(np.sqrt(area / count))


def hull_colors(
    recording: Recording,
    frames: NDArray[np.int64],
    actor: ActorTrack,
    points: NDArray[np.float64],
) -> NDArray[np.float64]:
    """[N, 3] mean colour of the pixels that points [N, 3] of a box fall on, of the faces that look
    at the camera; dark grey if on none."""
    total, seen = np.zeros((len(points), 3)), np.zeros(len(points))
    half = np.array(actor.size) / 2
    face = np.argmax(np.abs(points) / half, axis=1)
    normals = np.eye(3)[face] * np.sign(points[np.arange(len(points)), face])[:, None]
    for f in frames[actor.present[frames]]:
        view, k = recording.viewmats[f], recording.Ks[f]
        x, y, z, yaw = actor.poses_world[f]
        turn = np.array(
            [[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]]
        )
        local = (points @ turn.T + (x, y, z)) @ view[:3, :3].T + view[:3, 3]
        facing = (local * (normals @ turn.T @ view[:3, :3].T)).sum(axis=1) < 0
        depth = np.maximum(local[:, 2], 0.1)
        u = k[0, 0] * local[:, 0] / depth + k[0, 2]
        v = k[1, 1] * local[:, 1] / depth + k[1, 2]
        inside = facing & (local[:, 2] > 0.1) & (u >= 0) & (u < recording.width)
        inside &= (v >= 0) & (v < recording.height)
        total[inside] += recording.images[f][v[inside].astype(int), u[inside].astype(int)] / 255.0
        seen[inside] += 1
    return np.where(seen[:, None] > 0, total / np.maximum(seen, 1)[:, None], 0.25)
