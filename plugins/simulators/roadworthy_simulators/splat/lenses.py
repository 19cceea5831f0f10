"""Distorted lenses: the radial-tangential model of OpenCV, by rendering a pinhole and bending it.

A point at (x, y) = (X / Z, Y / Z), r^2 = x^2 + y^2, is seen at

    x' = x (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6)
         + 2 p1 x y + p2 (r^2 + 2 x^2)
    y' = the same with y + p1 (r^2 + 2 y^2) + 2 p2 x y

(Brown 1966; OpenCV's `calib3d`). Rolling shutter is out of scope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_simulators.splat.cameras import MAX_SIDE, Cameras, Rendering, RenderOptions
from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.render import Backend, render

__all__ = ["OpenCVLens", "render_distorted", "sample"]

_WIDEST = 8.0  # |x|, |y| that a pinhole image can still show: 166 degrees across
_NEWTON_STEPS = 60
_CONVERGED = 1e-9  # of x and y


@dataclass(frozen=True, slots=True)
class OpenCVLens:
    """Intrinsics and distortion of one camera.

    Attributes:
        fx, fy: focal lengths [pixels].
        cx, cy: principal point [pixels]. A pixel's centre is at (j + 0.5, i + 0.5); a calibration
            of OpenCV itself counts from pixel centres, so add 0.5 to its values.
        width, height: image size [pixels].
        radial: k1, k2, k3, k4, k5, k6; fewer are filled up with zeros.
        tangential: p1, p2.

    Raises:
        DataError: a value that no camera has.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    radial: tuple[float, ...] = ()
    tangential: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.radial) > 6 or len(self.tangential) != 2:
            raise DataError(
                f"lens: {len(self.radial)} radial and {len(self.tangential)} tangential "
                "coefficients, not up to 6 and 2"
            )
        object.__setattr__(self, "radial", (*self.radial, *(0.0,) * (6 - len(self.radial))))
        values = (self.fx, self.fy, self.cx, self.cy, *self.radial, *self.tangential)
        if not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise DataError(f"lens: not every value is finite, or a focal length not > 0: {self}")
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            raise DataError(f"lens: size is {self.width} x {self.height}")

    def distort(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points [..., 2] at (X / Z, Y / Z) are seen: (x', y'), the same shape."""
        return _distort(points, self.radial, self.tangential)[0]

    def undistort(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of `distort`, by Newton's method from the identity.

        Raises:
            DataError: a point has no inverse near the axis: the coefficients fold the image over.
        """
        points = np.array(seen, dtype=np.float64)
        kept, best = points, np.full(points.shape[:-1], np.inf)
        with np.errstate(all="ignore"):
            for _ in range(_NEWTON_STEPS):
                got, ((a, b), (c, d)) = _distort(points, self.radial, self.tangential)
                dx, dy = got[..., 0] - seen[..., 0], got[..., 1] - seen[..., 1]
                det = a * d - b * c
                # A step that leads off, or over the fold, is halved.
                good = ((dx * dx + dy * dy <= best) & (det > 0))[..., None]
                best = np.where(good[..., 0], dx * dx + dy * dy, best)
                step = np.stack([d * dx - b * dy, a * dy - c * dx], axis=-1) / det[..., None]
                kept, points = (
                    np.where(good, points, kept),
                    np.where(good, points - step, 0.5 * (points + kept)),
                )
                if np.abs(points - kept).max(initial=0.0) < _CONVERGED:
                    break
            got, ((a, b), (c, d)) = _distort(points, self.radial, self.tangential)
            good = (np.abs(got - seen).max(axis=-1) < 1e-6) & (a * d - b * c > 0)
        if not good.all():
            x, y = seen.reshape(-1, 2)[np.flatnonzero(~good.reshape(-1))[0]]
            raise DataError(
                f"lens: nothing is seen at ({x * self.fx + self.cx:.1f}, "
                f"{y * self.fy + self.cy:.1f}) pixels",
                hint="The distortion folds the image over there: check the coefficients.",
            )
        return points

    def pinhole(self, detail: float = 1.0) -> tuple[NDArray[np.float32], int, int]:
        """The smallest pinhole image that shows all that the lens sees.

        Args:
            detail: its focal length over that of the lens.

        Returns:
            Intrinsics [3, 3], width, height.

        Raises:
            DataError: the lens is folded over, or wider than a pinhole can be.
        """
        points = self.undistort(self._pixels())
        low, high = points.reshape(-1, 2).min(axis=0), points.reshape(-1, 2).max(axis=0)
        if max(-low.min(), high.max()) > _WIDEST:
            raise DataError("lens: sees too far to the side for a pinhole image to show it")
        fx, fy = self.fx * detail, self.fy * detail
        # A pixel of margin, so that every sample lies between pixel centres.
        cx, cy = float(np.ceil(-low[0] * fx)) + 1.0, float(np.ceil(-low[1] * fy)) + 1.0
        width, height = int(np.ceil(high[0] * fx + cx)) + 1, int(np.ceil(high[1] * fy + cy)) + 1
        k = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float32)
        return k, width, height

    def _pixels(self) -> NDArray[np.float64]:
        """(x', y') of every pixel centre, [H, W, 2]."""
        x = (np.arange(self.width) + 0.5 - self.cx) / self.fx
        y = (np.arange(self.height) + 0.5 - self.cy) / self.fy
        return np.stack(np.meshgrid(x, y), axis=-1)

    def bend(self, image: NDArray[np.float32], k: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the lens makes of a pinhole image [h, w, channels] with intrinsics `k`."""
        points = self.undistort(self._pixels())
        places = points * (k[0, 0], k[1, 1]) + (k[0, 2], k[1, 2])
        return sample(image, places)

    def straighten(
        self, image: NDArray[np.float32], k: NDArray[np.float32], width: int, height: int
    ) -> NDArray[np.float32]:
        """The pinhole image [height, width, channels] with intrinsics `k` of a picture that the
        lens took [H, W, channels]; beyond its border it repeats the border."""
        x = (np.arange(width) + 0.5 - k[0, 2]) / k[0, 0]
        y = (np.arange(height) + 0.5 - k[1, 2]) / k[1, 1]
        seen = self.distort(np.stack(np.meshgrid(x, y), axis=-1))
        return sample(image, seen * (self.fx, self.fy) + (self.cx, self.cy))


def _distort(
    points: NDArray[np.float64], radial: tuple[float, ...], tangential: tuple[float, float]
) -> tuple[NDArray[np.float64], Any]:
    """The distorted points and the Jacobian ((dx'/dx, dx'/dy), (dy'/dx, dy'/dy))."""
    k1, k2, k3, k4, k5, k6 = radial
    p1, p2 = tangential
    x, y = points[..., 0], points[..., 1]
    s = x * x + y * y
    above = 1.0 + s * (k1 + s * (k2 + s * k3))
    below = 1.0 + s * (k4 + s * (k5 + s * k6))
    factor = above / below
    slope = (k1 + s * (2 * k2 + 3 * s * k3) - factor * (k4 + s * (2 * k5 + 3 * s * k6))) / below
    out = np.stack(
        [
            x * factor + 2 * p1 * x * y + p2 * (s + 2 * x * x),
            y * factor + p1 * (s + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=-1,
    )
    cross = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    across = factor + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
    down = factor + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
    return out, ((across, cross), (cross, down))


@njit(cache=True, nogil=True, error_model="numpy")
def _sample(image: Any, places: Any, out: Any) -> None:
    height, width, channels = image.shape
    for i in range(places.shape[0]):
        for j in range(places.shape[1]):
            x = min(max(places[i, j, 0] - 0.5, 0.0), width - 1.0)
            y = min(max(places[i, j, 1] - 0.5, 0.0), height - 1.0)
            x0, y0 = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            u, v = np.float32(x - x0), np.float32(y - y0)
            for c in range(channels):
                top = image[y0, x0, c] + u * (image[y0, x1, c] - image[y0, x0, c])
                bottom = image[y1, x0, c] + u * (image[y1, x1, c] - image[y1, x0, c])
                out[i, j, c] = top + v * (bottom - top)


def sample(image: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bilinear values of an image [h, w, channels] at (x, y) pixel places [H, W, 2].

    A place beyond the outermost pixel centres takes the value at the border.

    Raises:
        DataError: a place is not finite.
    """
    if not np.isfinite(places).all():
        raise DataError("image places to sample are not all finite")
    out = np.empty((*places.shape[:2], image.shape[2]), np.float32)
    image = np.ascontiguousarray(image, dtype=np.float32)
    _sample(image, np.ascontiguousarray(places, dtype=np.float64), out)
    return out


def render_distorted(
    gaussians: Gaussians,
    viewmats: NDArray[np.float32],
    lens: OpenCVLens,
    options: RenderOptions | None = None,
    *,
    detail: float = 1.0,
    backend: Backend = "auto",
    threads: int | None = None,
) -> Rendering:
    """Renders C cameras that share a distorted lens.

    Args:
        gaussians, options, backend, threads: see `render.render`.
        viewmats: [C, 4, 4] world to camera.
        lens: its size is the size of the images.
        detail: resolution of the pinhole image behind it, over that of the lens; more is sharper.

    Raises:
        DataError: see `OpenCVLens.pinhole` and `render.render`.
    """
    k, width, height = lens.pinhole(detail)
    cameras = Cameras(viewmats, np.repeat(k[None], len(viewmats), axis=0), width, height)
    straight = render(gaussians, cameras, options, backend=backend, threads=threads)
    stacked = np.concatenate(
        [straight.rgb, straight.alpha[..., None], straight.depth[..., None]], axis=-1
    )
    bent = np.stack([lens.bend(image, k) for image in stacked])
    parts = (bent[..., :3], bent[..., 3], bent[..., 4])
    return Rendering(*(np.ascontiguousarray(part) for part in parts))
