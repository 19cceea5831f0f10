"""A camera rig: named pinhole cameras on the ego vehicle.

A rig file is TOML, one table per camera:

    [[cameras]]
    name = "front"
    width = 480                 # pixels
    height = 270
    horizontal_fov_deg = 70.0
    position = [1.5, 0.0, 1.5]  # metres from the rear axle: forward, left, up from the ground
    yaw_deg = 0.0               # to the left
    pitch_deg = 0.0             # upwards
    roll_deg = 0.0              # clockwise as the camera sees it
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.plainfile import read_plain

__all__ = ["THREE_CAMERAS", "Pinhole", "Rig", "parse_rig", "read_rig"]

MAX_CAMERAS = 32
_MAX_SIDE = 8192
_TO_OPENCV = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


class Pinhole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera, without distortion; square pixels, its axis through the image's middle.

    Attributes:
        name: unique within the rig.
        width, height: image size [pixels].
        horizontal_fov_deg: full angle of view, in [0.001, 170) degrees.
        position: [m] forward, left and up of the rear axle's middle on the ground.
        yaw_deg, pitch_deg, roll_deg: where it looks: left, up, and clockwise about its axis.

    Raises:
        ValueError: a value out of range.
    """

    name: str
    width: int = 480
    height: int = 270
    horizontal_fov_deg: float = 70.0
    position: tuple[float, float, float] = (1.5, 0.0, 1.5)
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"name {self.name!r} is not made of letters, digits, - and _")
        for field in ("width", "height"):
            if not 1 <= getattr(self, field) <= _MAX_SIDE:
                raise ValueError(f"{field} {getattr(self, field)} is not within [1, {_MAX_SIDE}]")
        if not 0.001 <= self.horizontal_fov_deg < 170.0:
            raise ValueError(f"horizontal_fov_deg {self.horizontal_fov_deg} is not in [0.001, 170)")
        pose = (*self.position, self.yaw_deg, self.pitch_deg, self.roll_deg)
        if not all(math.isfinite(v) and abs(v) <= 360.0 for v in pose):
            raise ValueError(f"pose {pose} is not finite, or beyond 360")

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """[3, 3] pixels; pixel (i, j) has its centre at (j + 0.5, i + 0.5)."""
        focal = 0.5 * self.width / math.tan(math.radians(0.5 * self.horizontal_fov_deg))
        return np.array(
            [[focal, 0.0, 0.5 * self.width], [0.0, focal, 0.5 * self.height], [0.0, 0.0, 1.0]]
        )

    @property
    def from_vehicle(self) -> NDArray[np.float64]:
        """[4, 4], vehicle frame (rear axle, ground) to camera (x right, y down, z forward)."""
        yaw, pitch, roll = (math.radians(v) for v in (self.yaw_deg, self.pitch_deg, self.roll_deg))
        cy, sy, cp, sp, cr, sr = (
            math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch),
            math.cos(roll), math.sin(roll),
        )  # fmt: skip
        turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
        tilt = np.array([[cp, 0.0, -sp], [0.0, 1.0, 0.0], [sp, 0.0, cp]])
        lean = np.array([[1.0, 0.0, 0.0], [0.0, cr, -sr], [0.0, sr, cr]])
        out = np.eye(4)
        out[:3, :3] = _TO_OPENCV @ (turn @ tilt @ lean).T
        out[:3, 3] = -out[:3, :3] @ np.array(self.position)
        return out


class Rig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cameras, in order.

    Raises:
        ValueError: none, too many, or two of one name.
    """

    cameras: tuple[Pinhole, ...]

    def __post_init__(self) -> None:
        names = [c.name for c in self.cameras]
        if not 1 <= len(names) <= MAX_CAMERAS:
            raise ValueError(f"{len(names)} cameras, not 1 to {MAX_CAMERAS}")
        if len(set(names)) < len(names):
            raise ValueError(f"two cameras of one name: {', '.join(names)}")


THREE_CAMERAS = Rig(
    cameras=(
        Pinhole(name="left", yaw_deg=55.0),
        Pinhole(name="front"),
        Pinhole(name="right", yaw_deg=-55.0),
    )
)
"""The default rig: three cameras of 480x270, 70 degrees each, 180 together."""


def parse_rig(cameras: Sequence[Mapping[str, Any]], where: str = "cameras") -> Rig:
    """The rig of plain values, as TOML has them.

    Raises:
        DataError: what is wrong, where, and what is wanted.
    """
    try:
        return msgspec.convert({"cameras": cameras}, Rig)
    except msgspec.ValidationError as error:
        raise DataError(f"{where}: {error}", hint=_HINT) from error


def read_rig(path: Path) -> Rig:
    """Read a rig file.

    Raises:
        DataError: it is absent, not TOML, or not a rig.
    """
    try:
        return msgspec.toml.decode(read_plain(Path(path)), type=Rig)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: {error}", hint=_HINT) from error


_HINT = (
    "A camera has a name, width, height, horizontal_fov_deg, position, yaw_deg, pitch_deg and "
    "roll_deg."
)
