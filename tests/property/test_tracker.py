"""Reference profiles against dense least squares, and what driving a plan must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roadworthy.dynamics.simulate import (
    make_profile,
    sample_plans,
    simulate_plans,
    simulate_references,
    track_step,
)
from roadworthy.dynamics.tracker import velocity_operator
from roadworthy.vehicle import PACIFICA, EgoIndex

SEEDS = st.integers(0, 2**32 - 1)
DT = 0.1


def plan(seed, n=40, slow=1.0):
    """World poses every 0.1 s of a smooth drive, with noise on the headings."""
    rng = np.random.default_rng(seed)
    speed = slow * np.clip(np.cumsum(rng.normal(0.0, 0.2, n)) + rng.uniform(2.0, 20.0), 0.5, None)
    yaw = np.cumsum(rng.normal(0.0, 0.01, n)) + rng.uniform(-4.0, 4.0)
    hop = DT * speed[:, None] * np.stack([np.cos(yaw), np.sin(yaw)], 1)
    xy = np.concatenate([np.zeros((1, 2)), np.cumsum(hop, axis=0)])
    xy += rng.normal(0.0, 0.01, xy.shape)
    heading = np.append(yaw, yaw[-1]) + rng.normal(0.0, 0.005, n + 1)
    return np.column_stack([xy, (heading + np.pi) % (2 * np.pi) - np.pi])


def dense_profiles(reference):
    """The two least-squares problems written out and solved with pinv (section 2a)."""
    m = len(reference) - 1
    h, hop = reference[:-1, 2], np.diff(reference[:, :2], axis=0)
    turn = (np.diff(reference[:, 2]) + np.pi) % (2 * np.pi) - np.pi
    rows = np.zeros((2 * m, m))
    for i in range(m):
        for axis, factor in enumerate((np.cos(h[i]), np.sin(h[i]))):
            rows[2 * i + axis, 0] = factor * DT
            rows[2 * i + axis, 1 : 1 + i] = factor * DT * DT
    penalty = np.zeros((m, m))
    for j in range(m - 3):
        penalty[1 + j, 1 + j] = 1.0
    penalty[m - 2 :, m - 2 :] += np.array([[1.0, -1.0], [-1.0, 1.0]])
    x = np.linalg.pinv(rows.T @ rows + 1e-4 * penalty) @ rows.T @ hop.ravel()
    speed = np.concatenate([[x[0]], x[0] + DT * np.cumsum(x[1:])])
    rows = np.zeros((m, m))
    for i in range(m):
        rows[i, 0] = speed[i] * DT
        rows[i, 1 : 1 + i] = speed[i] * DT * DT
    penalty = 1e-2 * np.eye(m)
    penalty[0, 0] = 1e-10
    x = np.linalg.pinv(rows.T @ rows + penalty) @ rows.T @ turn
    return speed, np.concatenate([[x[0]], x[0] + DT * np.cumsum(x[1:])])


@given(SEEDS, st.sampled_from([5, 10, 40, 80]))
def test_profiles_are_the_least_squares_ones(seed, n):
    reference = plan(seed, n)
    profile = make_profile(reference, velocity_operator(n))
    speed, curvature = dense_profiles(reference)
    assert profile.speed == pytest.approx(speed, abs=1e-8)
    assert profile.curvature == pytest.approx(curvature, abs=1e-7)


@given(SEEDS)
def test_driving_step_by_step_is_driving_at_once(seed):
    reference = plan(seed)
    state = np.zeros(11)
    state[: EgoIndex.YAW + 1], state[EgoIndex.VX] = reference[0], 8.0
    whole = simulate_references(state, reference[None], PACIFICA)[0]
    profile = make_profile(reference, velocity_operator(40))
    assert (whole[0] == state).all()
    for k in range(40):
        track_step(state, profile, k, PACIFICA.as_array(), state)
        assert (state == whole[k + 1]).all()


@given(SEEDS, st.floats(-3.0, 3.0))
def test_driving_does_not_depend_on_where_and_which_way(seed, angle):
    """Moved by an SE(2) transform, the drive moves along."""
    rng = np.random.default_rng(seed)
    poses = plan(seed)[5::5] - np.array([*plan(seed)[0, :2], 0.0])
    start = np.zeros(11)
    start[EgoIndex.VX] = rng.uniform(0.0, 15.0)
    moved = start.copy()
    moved[:3] = [120.0, -40.0, angle]
    a = simulate_plans(start, poses[None], 0.5, PACIFICA)[0]
    b = simulate_plans(moved, poses[None], 0.5, PACIFICA)[0]
    c, s = np.cos(angle), np.sin(angle)
    x = 120.0 + c * a[:, 0] - s * a[:, 1]
    y = -40.0 + s * a[:, 0] + c * a[:, 1]
    assert b[:, 0] == pytest.approx(x, abs=1e-6)
    assert b[:, 1] == pytest.approx(y, abs=1e-6)
    assert b[:, 3:] == pytest.approx(a[:, 3:], abs=1e-5)


def test_a_steady_plan_is_driven_as_planned():
    speed = 10.0
    poses = np.stack([speed * 0.5 * np.arange(1, 9), np.zeros(8), np.zeros(8)], axis=1)
    start = np.zeros(11)
    start[EgoIndex.VX] = speed
    driven = simulate_plans(start, poses[None], 0.5, PACIFICA)[0]
    assert driven[:, 0] == pytest.approx(np.arange(41), abs=1e-6)
    assert np.abs(driven[:, [1, 2, 7]]).max() < 1e-9


def test_samples_start_at_the_origin_and_end_at_the_plan():
    plans = np.array([[[5.0, 0.0, 0.0], [9.0, 1.0, 0.5]]])
    got = sample_plans(np.array([1.0, 2.0, np.pi / 2]), plans, 1.0, 30)[0]
    assert got[0] == pytest.approx([1.0, 2.0, np.pi / 2])
    assert got[5] == pytest.approx([1.0, 4.5, np.pi / 2])
    assert got[20] == pytest.approx([0.0, 11.0, np.pi / 2 + 0.5])
    assert (got[20:] == got[20]).all()


@pytest.mark.parametrize("bad", [np.zeros((3, 2)), np.zeros((1, 8, 2)), np.full((1, 8, 3), np.nan)])
def test_plans_of_no_use_are_refused(bad):
    with pytest.raises(ValueError, match="plans"):
        sample_plans(np.zeros(3), bad, 0.5)
