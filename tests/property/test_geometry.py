"""Geometry kernels against shapely and brute force."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from roadworthy.geometry.boxes import (
    box_corners,
    box_distance,
    box_in_ring,
    box_intersects_ring,
    boxes_intersect,
    ring_distance_to_box,
    segment_box_distance,
    segment_intersects_box,
)
from roadworthy.geometry.polygons import build_polygon_index, point_in_ring, polygons_at
from roadworthy.geometry.polylines import (
    build_polyline,
    interpolate_path,
    project,
    wrap_angle,
)

ORIGINS = st.sampled_from([(0.0, 0.0), (365_000.0, 3_900_000.0), (-1234.5, 4_699_999.25)])
SMALL = st.floats(-20.0, 20.0)
SIZE = st.floats(0.1, 6.0)
ANGLE = st.floats(-7.0, 7.0)
BOX = st.tuples(SMALL, SMALL, ANGLE, SIZE, SIZE)
SEEDS = st.integers(0, 2**32 - 1)
NEAR = 1e-6


def as_box(box, origin):
    x, y, yaw, half_length, half_width = box
    row = [x + origin[0], y + origin[1], np.cos(yaw), np.sin(yaw), half_length, half_width]
    return np.array(row)


def corners_of(box):
    out = np.empty((4, 2))
    box_corners(*box, out)
    return out


def star(seed, origin=(0.0, 0.0), grid=False):
    """A simple polygon around the origin; on a coarse grid if asked for."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 40))
    angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, n))
    radius = rng.uniform(2.0, 15.0, n)
    ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    if grid:
        ring = np.round(ring)
    ring = ring + np.array(origin)
    if rng.random() < 0.5:
        ring = ring[::-1].copy()
    return ring


def is_simple(ring):
    return shapely.Polygon(ring).is_valid


@given(BOX, BOX, ORIGINS)
def test_box_intersection_is_shapelys(a, b, origin):
    a, b = as_box(a, origin), as_box(b, origin)
    one, other = shapely.Polygon(corners_of(a)), shapely.Polygon(corners_of(b))
    gap = one.distance(other)
    got = boxes_intersect(*a, *b)
    assert got == boxes_intersect(*b, *a)
    shrunk = as_box((0, 0, 0, 1, 1), origin)
    shrunk[:] = a
    shrunk[4:] -= NEAR
    margin = shapely.Polygon(corners_of(shrunk)).intersects(other)
    if gap > NEAR or margin:
        assert got == one.intersects(other)
    assert box_distance(a, b) == pytest.approx(gap, abs=NEAR)


def test_touching_boxes_intersect():
    a = np.array([0.0, 0.0, 1.0, 0.0, 2.0, 1.0])
    for x, y in ((4.0, 0.0), (0.0, 2.0), (4.0, 2.0), (-4.0, -2.0)):
        assert boxes_intersect(*a, x, y, 1.0, 0.0, 2.0, 1.0)
    assert not boxes_intersect(*a, np.nextafter(4.0, 5.0), 0.0, 1.0, 0.0, 2.0, 1.0)


@given(BOX, SMALL, SMALL, SMALL, SMALL, ORIGINS)
def test_segment_and_box_are_shapelys(box, px, py, qx, qy, origin):
    box = as_box(box, origin)
    ends = np.array([[px, py], [qx, qy]]) + origin
    line, shape = shapely.LineString(ends), shapely.Polygon(corners_of(box))
    gap = line.distance(shape)
    assert segment_box_distance(*ends.ravel(), box) == pytest.approx(gap, abs=NEAR)
    inner = box.copy()
    inner[4:] -= min(NEAR, *(0.5 * inner[4:]))
    if gap > NEAR or line.intersects(shapely.Polygon(corners_of(inner))):
        assert segment_intersects_box(*ends.ravel(), *box) == line.intersects(shape)


@given(BOX, SEEDS, ORIGINS)
def test_box_and_polygon_are_shapelys(box, seed, origin):
    ring, box = star(seed, origin), as_box(box, origin)
    corners = corners_of(box)
    area, shape = shapely.Polygon(ring), shapely.Polygon(corners)
    if not area.is_valid:
        return
    gap, edge = area.distance(shape), area.exterior.distance(shape)
    assert ring_distance_to_box(box, ring) == pytest.approx(gap, abs=NEAR)
    if gap > NEAR or area.intersection(shape).area > 1e-4:
        assert box_intersects_ring(*box, ring) == area.intersects(shape)
    if edge > NEAR:
        assert box_in_ring(corners, ring) == area.contains(shape)


@settings(max_examples=60, deadline=None)
@given(SEEDS, ORIGINS, st.booleans(), st.floats(0.3, 5.0))
def test_index_is_brute_force_exactly(seed, origin, grid, cell):
    """Random points, vertices, points on edges, on grid lines and half-grid points."""
    rng = np.random.default_rng(seed)
    rings = [star(seed + k, origin, grid) + np.round(rng.uniform(-9, 9, 2)) for k in range(6)]
    offsets = np.cumsum([0, *(len(r) for r in rings)])
    index = build_polygon_index(np.concatenate(rings), offsets, cell)
    points = [rng.uniform(-30.0, 30.0, (150, 2)) + origin]
    points.append(np.round(rng.uniform(-20.0, 20.0, (150, 2)) * 2.0) / 2.0 + origin)
    points.append(np.concatenate(rings))
    points.append(np.concatenate([0.5 * (r + np.roll(r, -1, axis=0)) for r in rings]))
    steps = rng.integers(0, 10, (100, 2)) * cell
    points.append(np.array([index.x0, index.y0]) + steps)
    found = np.empty(len(rings), bool)
    for x, y in np.concatenate(points):
        polygons_at(index, x, y, found)
        brute = [point_in_ring(x, y, ring) for ring in rings]
        assert found.tolist() == brute, (x, y)


@settings(max_examples=100, deadline=None)
@given(SEEDS, ORIGINS, st.booleans())
def test_point_in_ring_is_shapelys(seed, origin, grid):
    ring = star(seed, origin, grid)
    if not is_simple(ring):
        return
    rng = np.random.default_rng(seed)
    area = shapely.Polygon(ring)
    points = np.concatenate(
        [
            rng.uniform(-16.0, 16.0, (60, 2)) + origin,
            np.round(rng.uniform(-16.0, 16.0, (60, 2))) + origin,
            ring,
            0.5 * (ring + np.roll(ring, -1, axis=0)),
        ]
    )
    want = shapely.contains_xy(area, points[:, 0], points[:, 1])
    got = [point_in_ring(x, y, ring) for x, y in points]
    assert got == want.tolist()


def test_the_boundary_is_outside():
    ring = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 2.0], [0.0, 4.0]])
    for x, y in ((0, 0), (2, 0), (4, 1), (3, 3), (2, 2), (0, 3)):
        assert not point_in_ring(float(x), float(y), ring)
    assert point_in_ring(2.0, np.nextafter(2.0, 0.0), ring)
    assert point_in_ring(0.1, 2.0, ring)


def test_an_index_without_polygons_holds_nothing():
    index = build_polygon_index(np.zeros((0, 2)), np.zeros(1, np.int64))
    found = np.empty(0, bool)
    polygons_at(index, 0.0, 0.0, found)
    assert index.nx == 0


@pytest.mark.parametrize("offsets", [[0, 2], [1, 3], [0, 4, 3]])
def test_bad_offsets_are_refused(offsets):
    with pytest.raises(ValueError, match="offsets"):
        build_polygon_index(np.zeros((3, 2)), np.array(offsets))


@given(SEEDS, ORIGINS)
def test_projection_is_shapelys(seed, origin):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 90))
    turn = np.cumsum(rng.normal(0.0, 0.3, n))
    step = rng.choice([0.0, 0.5, 1.0, 2.0], n, p=[0.1, 0.3, 0.3, 0.3])
    points = np.cumsum(step[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1), 0) + origin
    if np.ptp(points, axis=0).max() == 0.0:
        return
    line, oracle = build_polyline(points), shapely.LineString(points)
    assert line.arc[-1] == pytest.approx(oracle.length)
    hint = 0
    for x, y in points[rng.integers(0, n, 8)] + rng.uniform(-5.0, 5.0, (8, 2)):
        arc, distance, run = project(line, x, y, hint)
        point = shapely.Point(x, y)
        assert distance == pytest.approx(oracle.distance(point), abs=1e-9)
        at = oracle.interpolate(arc)
        assert at.distance(point) == pytest.approx(distance, abs=1e-8)
        assert project(line, x, y, 0)[:2] == (arc, distance)
        hint = run


@given(st.floats(-5.0, 60.0))
def test_interpolation_is_linear_and_clamped(s):
    arc = np.array([0.0, 10.0, 10.0, 40.0])
    poses = np.array([[0, 0, 3.0], [10, 0, 3.2], [10, 0, 3.2], [10, 30, 6.0]], float)
    out = np.empty(3)
    interpolate_path(arc, poses, s, out)
    want = [np.interp(s, [0, 10, 40], poses[[0, 1, 3], k]) for k in range(3)]
    assert out[:2] == pytest.approx(want[:2])
    assert np.cos(out[2] - want[2]) == pytest.approx(1.0)
    assert -np.pi <= out[2] < np.pi


@given(st.floats(-1e4, 1e4))
def test_wrapped_angles_are_equal_and_in_range(angle):
    wrapped = wrap_angle(angle)
    assert -np.pi <= wrapped < np.pi
    assert np.cos(wrapped - angle) == pytest.approx(1.0, abs=1e-9)
    assert wrap_angle(wrapped) == wrapped
