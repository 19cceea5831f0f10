"""Checks and repairs of the agents' tracks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from roadworthy.admission.checks import FARTHEST, Report, frozen_copy
from roadworthy.scenario import DT, STATE_SIZE, AgentKind, StateIndex, Tracks

__all__ = ["MAX_AGENTS", "MAX_LENGTH", "admit_tracks"]

MAX_AGENTS = 10_000
MAX_LENGTH = 100.0
"""Longest, widest and highest that an agent can be [m]."""

_MAX_SPEED = 70.0
_JITTER = 2.0


def admit_tracks(tracks: Any, steps: int, report: Report) -> Tracks:
    """Validate tracks; drop those that are no objects, and mend validity.

    Raises:
        ScenarioError: wrong shapes or types, unknown kinds, duplicate ids, too many agents.
    """
    if not isinstance(tracks, Tracks):
        raise report.error("agents", None, type(tracks).__name__, "Give a roadworthy.Tracks.")
    count = _check_ids(tracks.id, report)
    kind = frozen_copy(tracks.kind, np.int8, "agents.kind", (count,), report)
    size = frozen_copy(tracks.size, np.float64, "agents.size", (count, 3), report)
    state = frozen_copy(
        tracks.state, np.float64, "agents.state", (count, steps, STATE_SIZE), report
    )
    valid = frozen_copy(tracks.valid, np.bool_, "agents.valid", (count, steps), report)
    reactive = frozen_copy(tracks.reactive, np.bool_, "agents.reactive", (count,), report)
    wrong = (kind < 0) | (kind > max(AgentKind))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise report.error(
            "agents.kind", at, int(kind[at]), f"Kinds are 0 to {max(AgentKind):d} (AgentKind)."
        )
    plain = _plain(size, state, valid)
    given = (tracks.kind, tracks.size, tracks.state, tracks.valid, tracks.reactive)
    if plain.all():
        kept = (kind, size, state, valid, reactive)
        same = all(now is before for now, before in zip(kept, given, strict=True))
        return tracks if same else Tracks(tracks.id, *kept)
    known = (np.abs(state) < FARTHEST).all(axis=2)
    for a in np.flatnonzero((valid & ~known).any(axis=1)):
        lost = int((valid[a] & ~known[a]).sum())
        report.note(f"agents {tracks.id[a]!r}: {lost} steps with values that are not finite "
                    "are no longer valid.")  # fmt: skip
    if not known.all():
        state = np.where(known[..., None], state, 0.0)
        valid = valid & known
    keep = np.array(
        [
            plain[a] or _is_object(tracks.id[a], size[a], state[a], valid[a], report)
            for a in range(count)
        ],
        bool,
    )
    if keep.all() and not state.flags.writeable and not valid.flags.writeable:
        return Tracks(tracks.id, kind, size, state, valid, reactive)
    arrays = [np.ascontiguousarray(array[keep]) for array in (kind, size, state, valid, reactive)]
    for array in arrays:
        array.flags.writeable = False
    return Tracks(tuple(n for n, k in zip(tracks.id, keep, strict=True) if k), *arrays)


def _check_ids(ids: Any, report: Report) -> int:
    if not isinstance(ids, tuple) or not all(isinstance(name, str) for name in ids):
        raise report.error("agents.id", None, type(ids).__name__, "Give a tuple of strings.")
    if len(ids) > MAX_AGENTS:
        raise report.error("agents.id", None, f"{len(ids)} agents", f"At most {MAX_AGENTS}.")
    first: dict[str, int] = {}
    for i, name in enumerate(ids):
        if first.setdefault(name, i) != i:
            raise report.error(
                "agents.id", i, repr(name), f"Agent {first[name]} has that id too: make it unique."
            )
    return len(ids)


@njit(cache=True, nogil=True, error_model="numpy")
def _plain(
    size: NDArray[np.float64], state: NDArray[np.float64], valid: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which tracks are fit as they are: bool [A]. Of the others `_is_object` says what is wrong.

    Args:
        size: [A, 3] [m].
        state: [A, T, 5] `StateIndex`.
        valid: bool [A, T].
    """
    out = np.empty(len(size), np.bool_)
    speed, jitter, step = _MAX_SPEED * (1.0 - 1e-9), _JITTER * (1.0 - 1e-9), _MAX_SPEED * DT
    for a in range(len(size)):
        good, last = True, -1
        for k in range(3):
            good = good and 0.0 < size[a, k] <= MAX_LENGTH
        for t in range(state.shape[1]):
            for k in range(state.shape[2]):
                good = good and abs(state[a, t, k]) < FARTHEST
            if not good:
                break
            if not valid[a, t]:
                continue
            vx, vy = state[a, t, 3], state[a, t, 4]
            good = vx * vx + vy * vy <= speed * speed
            if last >= 0:
                dx = state[a, t, 0] - state[a, last, 0]
                dy = state[a, t, 1] - state[a, last, 1]
                far = step * (t - last) * (1.0 - 1e-9) + jitter
                good = good and dx * dx + dy * dy <= far * far
            last = t
        out[a] = good and last >= 0
    return out


def _is_object(
    name: str,
    size: NDArray[np.float64],
    state: NDArray[np.float64],
    valid: NDArray[np.bool_],
    report: Report,
) -> bool:
    """Whether a track can be kept; what cannot is noted."""
    if not ((size > 0.0) & (size <= MAX_LENGTH)).all():
        report.note(f"agents {name!r} dropped: its size is {size.tolist()} m.")
        return False
    seen = np.flatnonzero(valid)
    if not len(seen):
        report.note(f"agents {name!r} dropped: it is valid at no step.")
        return False
    here = state[seen]
    speed = np.hypot(here[:, StateIndex.VX], here[:, StateIndex.VY])
    if speed.max() > _MAX_SPEED:
        report.note(
            f"agents {name!r} dropped: its speed at step {seen[speed.argmax()]} is "
            f"{speed.max():.0f} m/s."
        )
        return False
    moved = np.hypot(*np.diff(here[:, :2], axis=0).T)
    jump = moved - (_MAX_SPEED * DT * np.diff(seen) + _JITTER)
    if len(jump) and jump.max() > 0.0:
        at = int(jump.argmax())
        report.note(
            f"agents {name!r} dropped: it teleports by {moved[at]:.1f} m before step "
            f"{seen[at + 1]}."
        )
        return False
    return True
