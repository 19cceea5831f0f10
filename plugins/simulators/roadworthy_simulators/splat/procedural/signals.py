"""Paints traffic lights: a head over the entry of the lane that it governs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from roadworthy.scenario import AgentKind, SignalState

from roadworthy_simulators.splat.procedural.paint import Paint
from roadworthy_simulators.splat.scenes.scene import Actor, Part

__all__ = ["HEAD_HEIGHT", "make_signal"]

HEAD_HEIGHT = 5.2
"""Foot of a head above the ground [m]."""

_LAMPS = (
    (SignalState.RED, (1.0, 0.10, 0.06)),
    (SignalState.YELLOW, (1.0, 0.75, 0.10)),
    (SignalState.GREEN, (0.10, 1.0, 0.45)),
)
_TALL, _WIDE = 1.2, 0.45
_SIZE = (0.3, _WIDE, HEAD_HEIGHT + _TALL)


@cache
def make_signal(state: int) -> Actor:
    """A head at the origin that faces x, red above yellow above green; one lamp lit, or none.

    It hangs where nobody drives into it, and is an actor for the sake of being placed.
    """
    paint = Paint(np.random.default_rng(0), 0.0)
    middle = HEAD_HEIGHT + 0.5 * _TALL
    paint.box((0.0, 0.0, middle), (0.24, _WIDE, _TALL), 0.1, (0.07, 0.07, 0.08))
    for k, (lit, bright) in enumerate(_LAMPS):
        z = HEAD_HEIGHT + _TALL * (0.83 - 0.33 * k)
        colour: Any = np.array(bright) * (1.0 if state == lit else 0.12)
        paint.ball((0.16, 0.0, z), (0.03, 0.16, 0.16), 40, colour)
    part = Part(paint.gaussians())
    return Actor(f"signal-{int(state)}", AgentKind.GENERIC_OBJECT, _SIZE, (part,), albedo=False)
