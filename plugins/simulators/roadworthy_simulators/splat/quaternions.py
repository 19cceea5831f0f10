"""Rotations as quaternions w, x, y, z and as matrices, many at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["multiply", "normals_of", "quaternions_of", "yaw_quaternion"]

Floats = NDArray[np.float64]


def quaternions_of(rotations: NDArray[Any]) -> Floats:
    """Unit quaternions [N, 4] of rotation matrices [N, 3, 3], w >= 0 (Shepperd 1978)."""
    m = np.asarray(rotations, np.float64)
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    squares = np.stack(
        [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], axis=1
    )
    yz, zy = m[:, 2, 1], m[:, 1, 2]
    zx, xz = m[:, 0, 2], m[:, 2, 0]
    xy, yx = m[:, 1, 0], m[:, 0, 1]
    rows = np.stack(
        [
            np.stack([squares[:, 0], yz - zy, zx - xz, xy - yx], 1),
            np.stack([yz - zy, squares[:, 1], xy + yx, zx + xz], 1),
            np.stack([zx - xz, xy + yx, squares[:, 2], yz + zy], 1),
            np.stack([xy - yx, zx + xz, yz + zy, squares[:, 3]], 1),
        ],
        axis=1,
    )
    best = np.argmax(squares, axis=1)
    chosen = rows[np.arange(len(m)), best]
    out: Floats = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    return np.where(out[:, :1] < 0.0, -out, out)


def yaw_quaternion(yaw: float) -> Floats:
    """[4], a turn about z [rad]."""
    return np.array([np.cos(0.5 * yaw), 0.0, 0.0, np.sin(0.5 * yaw)])


def multiply(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """Hamilton products a b of quaternions [..., 4]: first b, then a."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a, np.float64), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b, np.float64), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def normals_of(quats: NDArray[Any]) -> Floats:
    """Local z axes [N, 3] of quaternions [N, 4] of any length but 0."""
    q = np.asarray(quats, np.float64)
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    return np.column_stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
