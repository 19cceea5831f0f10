"""What a scenario holds, and what a drive of it may be scored on, in a few words."""

from __future__ import annotations

from typing import Any

import numpy as np

from roadworthy.scenario import (
    DT,
    NO_DRIVABLE_AREA,
    AgentKind,
    AreaKind,
    LaneKind,
    Rejected,
    Scenario,
    SignalState,
)

__all__ = ["describe", "layers_of", "scored_on", "traffic_of"]


def layers_of(scenario: Scenario) -> dict[str, int]:
    """How much of what the map and the signals hold; what there is none of is left out."""
    lanes, areas = scenario.map.lane_kind, scenario.map.area_kind
    known = (scenario.signals.state != SignalState.UNKNOWN).any(axis=1)
    counts = {
        "lanes": (lanes == LaneKind.LANE).sum(),
        "connectors": (lanes == LaneKind.CONNECTOR).sum(),
        "bike lanes": (lanes == LaneKind.BIKE).sum(),
        "drivable areas": (areas == AreaKind.DRIVABLE).sum(),
        "intersections": (areas == AreaKind.INTERSECTION).sum(),
        "car parks": (areas == AreaKind.CARPARK).sum(),
        "crosswalks": (areas == AreaKind.CROSSWALK).sum(),
        "stop lines": len(scenario.map.stop_line_lane),
        "signals": known.sum(),
    }
    return {name: int(count) for name, count in counts.items() if count}


def scored_on(scenario: Scenario) -> dict[str, bool]:
    """What a drive of this scene may be judged by.

    Comfort, progress along the route, and keeping to its direction need what every admitted
    scene has. Collisions need someone to collide with after the present; the drivable area, a
    map that holds the car that was there; speed limits and signals, those on the route's lanes.
    """
    route = scenario.route.lanes
    mine = np.isin(scenario.signals.lane, route)
    return {
        "comfort": True,
        "progress": True,
        "driving direction": True,
        "collisions": bool(scenario.agents.valid[:, scenario.start :].any()),
        "drivable area": NO_DRIVABLE_AREA not in scenario.tags,
        "speed limits": bool(np.isfinite(scenario.map.lane_speed_limit[route]).any()),
        "signals": bool((scenario.signals.state[mine] != SignalState.UNKNOWN).any()),
    }


def traffic_of(scenario: Scenario) -> str:
    """Whether what the others do was recorded, simulated or made, as far as the tags say;
    "none" where nobody else is there."""
    if not len(scenario.agents):
        return "none"
    if "real" in scenario.tags:
        return "recorded"
    if "simulated_traffic" in scenario.tags:
        return "simulated"
    return "generated" if scenario.lineage is not None else ""


def describe(scene: Scenario | Rejected) -> dict[str, Any]:
    """One row of a listing, plain values; `refused` is "" for what can be driven."""
    if isinstance(scene, Rejected):
        return {"source": scene.source, "id": scene.id, "refused": f"{scene.error}: {scene.reason}"}
    kinds = scene.agents.kind
    return {
        "source": scene.source,
        "id": scene.id,
        "refused": "",
        "hash": scene.hash,
        "map": scene.map.hash,
        "seconds": round((scene.steps - 1) * DT, 1),
        "driven_seconds": round(scene.horizon * DT, 1),
        "traffic": traffic_of(scene),
        "agents": {
            k.name.lower(): int((kinds == k).sum()) for k in AgentKind if (kinds == k).any()
        },
        "layers": layers_of(scene),
        "scored_on": scored_on(scene),
        "tags": list(scene.tags),
        "repairs": list(scene.repairs),
    }
