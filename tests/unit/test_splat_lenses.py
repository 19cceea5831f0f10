"""Distorted lenses: the model's closed forms, its inverse, and images through it."""

from __future__ import annotations

import numpy as np
import pytest
from roadworthy.errors import DataError
from roadworthy_simulators.splat import Cameras, Gaussians, render
from roadworthy_simulators.splat.lenses import OpenCVLens, render_distorted, sample

BARREL = {"radial": (-0.28, 0.07), "tangential": (0.001, -0.0005)}


def lens(**changes: object) -> OpenCVLens:
    values: dict = {"fx": 90.0, "fy": 95.0, "cx": 62.0, "cy": 41.0, "width": 120, "height": 80}
    return OpenCVLens(**(values | changes))


def test_no_distortion_is_the_identity():
    points = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    assert np.array_equal(lens().distort(points), points)
    np.testing.assert_allclose(lens().undistort(points), points, atol=1e-15)


def test_each_coefficient_has_its_closed_form():
    x, y = 0.3, -0.4
    s = x * x + y * y
    at = np.array([x, y])

    def seen(radial=(), tangential=(0.0, 0.0)):
        return lens(radial=radial, tangential=tangential).distort(at)

    for k in range(3):
        c = (0.0,) * k + (0.1,)
        np.testing.assert_allclose(seen(c), at * (1 + 0.1 * s ** (k + 1)))
        c = (0.0,) * (k + 3) + (0.1,)
        np.testing.assert_allclose(seen(c), at / (1 + 0.1 * s ** (k + 1)))
    np.testing.assert_allclose(
        seen(tangential=(0.01, 0.0)), at + 0.01 * np.array([2 * x * y, s + 2 * y * y])
    )
    np.testing.assert_allclose(
        seen(tangential=(0.0, 0.01)), at + 0.01 * np.array([s + 2 * x * x, 2 * x * y])
    )


@pytest.mark.parametrize(
    "radial", [(-0.28, 0.07), (0.2,), (0.1, -0.05, 0.01), (-0.3, 0.1, 0.0, 0.05, 0.02, 0.0)]
)
def test_undistort_undoes_distort(radial):
    bent = lens(radial=radial, tangential=(0.002, -0.001))
    pixels = bent._pixels()
    np.testing.assert_allclose(bent.distort(bent.undistort(pixels)), pixels, atol=1e-9)


def test_a_lens_that_folds_the_image_is_named():
    with pytest.raises(DataError, match="nothing is seen"):
        lens(radial=(-2.0,)).pinhole()


@pytest.mark.parametrize(
    "changes",
    [{"fx": 0.0}, {"fx": np.nan}, {"radial": (0.0,) * 7}, {"width": 0}, {"tangential": (1.0,)}],
)
def test_a_lens_that_cannot_be_is_a_typed_error(changes):
    with pytest.raises(DataError, match="lens"):
        lens(**changes)


def test_sampling_a_plane_is_exact_and_the_border_repeats():
    y, x = np.mgrid[0:7, 0:9] + 0.5
    image = (2 * x - 3 * y)[..., None].astype(np.float32)
    places = np.random.default_rng(1).uniform([0.5, 0.5], [8.5, 6.5], (4, 5, 2))
    got = sample(image, places)[..., 0]
    np.testing.assert_allclose(got, 2 * places[..., 0] - 3 * places[..., 1], atol=1e-5)
    corner = sample(image, np.array([[[-50.0, -50.0]]]))
    assert corner[0, 0, 0] == image[0, 0, 0]
    with pytest.raises(DataError):
        sample(image, np.full((1, 1, 2), np.nan))


def test_a_gaussian_shows_where_the_model_says():
    bent = lens(**BARREL)
    point = np.array([0.55, -0.33])
    g = Gaussians(
        means=[[*(point * 4.0), 4.0]], quats=[[1, 0, 0, 0]], scales=[[0.03] * 3],
        opacities=[0.9], sh=[[[1.0, 1.0, 1.0]]],
    )  # fmt: skip
    image = render_distorted(g, np.eye(4)[None], bent, detail=2.0, backend="cpu")
    assert image.rgb.shape == (1, 80, 120, 3)
    alpha = image.alpha[0].astype(np.float64)
    y, x = np.mgrid[0:80, 0:120] + 0.5
    centre = np.array([(alpha * x).sum(), (alpha * y).sum()]) / alpha.sum()
    wanted = bent.distort(point) * (90.0, 95.0) + (62.0, 41.0)
    np.testing.assert_allclose(centre, wanted, atol=0.05)
    straight = point * (90.0, 95.0) + (62.0, 41.0)
    assert np.linalg.norm(centre - straight) > 3.0


def test_no_distortion_renders_what_the_pinhole_renders():
    rng = np.random.default_rng(2)
    g = Gaussians(
        means=rng.uniform([-2, -1.5, 3], [2, 1.5, 6], (80, 3)), quats=rng.normal(size=(80, 4)),
        scales=np.full((80, 3), 0.15), opacities=np.full(80, 0.8), sh=rng.normal(size=(80, 1, 3)),
    )  # fmt: skip
    plain = lens()
    k = np.float32([[[90, 0, 62], [0, 95, 41], [0, 0, 1]]])
    straight = render(g, Cameras(np.eye(4)[None], k, 120, 80), backend="cpu")
    bent = render_distorted(g, np.eye(4)[None], plain, backend="cpu")
    np.testing.assert_allclose(bent.rgb, straight.rgb, atol=2e-4)
    np.testing.assert_allclose(bent.depth, straight.depth, atol=2e-3)


def test_straighten_undoes_bend():
    bent = lens(**BARREL)
    k, width, height = bent.pinhole()
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([np.sin(x / 9.0), np.cos(y / 7.0)], axis=-1).astype(np.float32)
    again = bent.straighten(bent.bend(image, k), k, width, height)
    inner = (slice(height // 5, -height // 5), slice(width // 5, -width // 5))
    assert np.abs(again - image)[inner].max() < 0.02
