"""`Recording`: what a scene is reconstructed from, in memory, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.cameras import check_pose

__all__ = ["ActorTrack", "Recording"]


@dataclass(frozen=True, slots=True)
class ActorTrack:
    """A road user whose box is known while it moves.

    Attributes:
        name: unique in the recording.
        kind: what it is, in the words of the recording.
        size: length, width, height of the box [m].
        poses_world: float64 [F, 4] centre x, y, z [m] and yaw [rad] at the instant of each image;
            the length lies along local x.
        present: bool [F] whether the box is known then; the pose of an absent one has no meaning.
    """

    name: str
    kind: str
    size: tuple[float, float, float]
    poses_world: NDArray[np.float64]
    present: NDArray[np.bool_]


def _no_points() -> NDArray[Any]:
    return np.zeros((0, 3))


@dataclass(frozen=True, slots=True)
class Recording:
    """F images of one place, from one or more drives past it.

    Attributes:
        name: what messages call it.
        images: uint8 [F, H, W, 3], sRGB as stored. Undistorted.
        viewmats: float64 [F, 4, 4] world to camera, OpenCV axes, rigid.
        Ks: float64 [F, 3, 3] intrinsics [pixels of these images]; a pixel's centre is at + 0.5.
        frames: F names, such as the images' paths.
        traversal: int [F] which drive an image belongs to, an index of `traversals`.
        traversals: names of the drives.
        times: float64 [F] when each was taken [s]; only the order within a drive and the spacing
            matter.
        test: bool [F] images that the recording itself sets apart for testing.
        points_world: float64 [P, 3] points on surfaces that do not move [m]; P may be 0.
        point_colors: uint8 [P, 3].
        actors: moving road users with boxes.
        camera: int [F] which camera of the rig took it; all the same one if not given.

    Raises:
        DataError: arrays that do not fit, a pose that is not finite and rigid, intrinsics that no
            camera has, or points or boxes that are not finite. Names the frame.
    """

    name: str
    images: NDArray[np.uint8]
    viewmats: NDArray[np.float64]
    Ks: NDArray[np.float64]
    frames: tuple[str, ...]
    traversal: NDArray[np.int64]
    traversals: tuple[str, ...]
    times: NDArray[np.float64]
    test: NDArray[np.bool_]
    points_world: NDArray[np.float64] = field(default_factory=_no_points)
    point_colors: NDArray[np.uint8] = field(
        default_factory=lambda: np.zeros((0, 3), dtype=np.uint8)
    )
    actors: tuple[ActorTrack, ...] = ()
    camera: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        f = len(self.frames)
        if not len(self.camera):
            object.__setattr__(self, "camera", np.zeros(f, dtype=np.int64))
        if f == 0:
            raise DataError(f"{self.name}: there are no images")
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[3] != 3:
            raise DataError(
                f"{self.name}: images are {self.images.dtype} {self.images.shape}, "
                "not uint8 (F, H, W, 3)"
            )
        wanted = {
            "images": (self.images, (f, *self.images.shape[1:])),
            "viewmats": (self.viewmats, (f, 4, 4)),
            "Ks": (self.Ks, (f, 3, 3)),
            "traversal": (self.traversal, (f,)),
            "camera": (self.camera, (f,)),
            "test": (self.test, (f,)),
            "times": (self.times, (f,)),
            "points_world": (self.points_world, (len(self.points_world), 3)),
            "point_colors": (self.point_colors, (len(self.points_world), 3)),
        }
        for name, (array, shape) in wanted.items():
            if array.shape != shape:
                raise DataError(f"{self.name}: {name} has shape {array.shape}, not {shape}")
        if not np.isfinite(self.times).all():
            raise DataError(f"{self.name}: not every time is finite")
        if ((self.traversal < 0) | (self.traversal >= len(self.traversals))).any():
            raise DataError(f"{self.name}: a traversal that has no name")
        for frame, view, k in zip(self.frames, self.viewmats, self.Ks, strict=True):
            check_pose(f"{self.name}: {frame}", view)
            check_intrinsics(f"{self.name}: {frame}", k)
        if not np.isfinite(self.points_world).all():
            index = int(np.flatnonzero(~np.isfinite(self.points_world).all(axis=1))[0])
            raise DataError(f"{self.name}: point {index} is {self.points_world[index].tolist()}")
        for actor in self.actors:
            poses = actor.poses_world
            if poses.shape != (f, 4) or actor.present.shape != (f,):
                raise DataError(f"{self.name}: actor {actor.name} does not have one pose an image")
            sized = np.isfinite(actor.size).all() and min(actor.size) > 0
            if not sized or not np.isfinite(poses[actor.present]).all():
                raise DataError(
                    f"{self.name}: actor {actor.name} has a pose or size that is not finite",
                    hint="Length, width and height must be greater than 0.",
                )

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def width(self) -> int:
        """Of every image [pixels]."""
        return int(self.images.shape[2])

    @property
    def height(self) -> int:
        """Of every image [pixels]."""
        return int(self.images.shape[1])

    @property
    def centres_world(self) -> NDArray[np.float64]:
        """[F, 3] where the cameras were [m]."""
        return -np.einsum("fji,fj->fi", self.viewmats[:, :3, :3], self.viewmats[:, :3, 3])


def check_intrinsics(origin: str, k: NDArray[np.float64]) -> None:
    """Raises DataError unless a [3, 3] is a finite pinhole camera without skew."""
    zeros = (k[0, 1], k[1, 0], k[2, 0], k[2, 1])
    if not np.isfinite(k).all() or min(k[0, 0], k[1, 1]) <= 0 or any(zeros) or k[2, 2] != 1:
        raise DataError(
            f"{origin}: the intrinsics are {k.tolist()}",
            hint="They must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0.",
        )
