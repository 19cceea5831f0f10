"""Attacks: who could get into the ego's way, and roughly how. Sampling makes it real.

Each kind looks for occasions that the map and the traffic give, and proposes a motion for one
agent, there already or put in, that meets the ego's drive at a given step. `severity` from 0 to 1
says how exactly it meets: at 0 it misses by a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice

from roadworthy_generators.behaviour.attacks.ahead import hard_brake
from roadworthy_generators.behaviour.attacks.junctions import crossing
from roadworthy_generators.behaviour.attacks.lanes import cut_in, oncoming, pull_out
from roadworthy_generators.behaviour.attacks.light import (
    cyclist,
    jaywalker,
    occluded_pedestrian,
)
from roadworthy_generators.behaviour.attacks.stage import (
    PAST,
    Attack,
    Newcomer,
    Stage,
    eased,
    joined,
    needed_s,
    timed,
)
from roadworthy_generators.behaviour.attacks.survival import survivable

__all__ = [
    "KINDS",
    "LIGHT",
    "PAST",
    "Attack",
    "Newcomer",
    "Stage",
    "eased",
    "joined",
    "needed_s",
    "occasions",
    "timed",
]

_PASSES = 6
_EACH = {"hard_brake": 2, "occluded_pedestrian": 2, "jaywalker": 2, "cyclist": 2}
_MOST = 6

KINDS: Mapping[str, Callable[[Stage], Iterator[Attack]]] = {
    "crossing": crossing,
    "cut_in": cut_in,
    "pull_out": pull_out,
    "oncoming": oncoming,
    "hard_brake": hard_brake,
    "occluded_pedestrian": occluded_pedestrian,
    "jaywalker": jaywalker,
    "cyclist": cyclist,
}
"""Kinds of attack; "crossing" is told as "red_light" where there is one."""
LIGHT = frozenset(("occluded_pedestrian", "jaywalker", "cyclist"))
"""Those by people on foot or bicycle."""


def occasions(stage: Stage, kinds: tuple[str, ...], most: int) -> list[Attack]:
    """Up to `most` proposals, the kinds in turn; a kind gives its turns up to the others when
    it has been searched a few times over."""
    streams = {kind: _searched(stage, kind) for kind in kinds}
    found: list[Attack] = []
    while streams:
        for kind in tuple(streams):
            if len(found) == most:
                return found
            attack = next(streams[kind], None)
            if attack is None:
                del streams[kind]
            else:
                found.append(attack)
    return found


def _searched(stage: Stage, kind: str) -> Iterator[Attack]:
    """Those of a kind that meet nobody but the ego, and that can be survived."""
    passes = (KINDS[kind](stage) for _ in range(_PASSES))
    free = filter(stage.free, chain.from_iterable(passes))
    fit = (attack for attack in free if survivable(stage, attack))
    return islice(fit, _EACH.get(kind, _MOST))
