"""A scenario as a picture, or as a page that plays it: what was logged, before any drive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from roadworthy.overview import describe, layers_of, scored_on, traffic_of
from roadworthy.replay import Replay
from roadworthy.scenario import DT, AgentKind, Scenario

__all__ = ["log_replay", "scene_page", "scene_picture"]

_SCRIPTS = (
    "base.js",
    "decode.js",
    "motion.js",
    "picture.js",
    "traces.js",
    "player.js",
    "scene.js",
)


def log_replay(scenario: Scenario) -> Replay:
    """The log as a replay without plans, from its first step on."""
    agents = scenario.agents
    states = np.where(agents.valid[..., None], agents.state, 0.0).astype(np.float32)
    return Replay(
        map_hash=scenario.map.hash,
        vehicle=scenario.vehicle.as_array(),
        route=scenario.route.centreline,
        ego=scenario.ego,
        ego_log=scenario.ego,
        agents=states,
        agents_valid=agents.valid,
        agents_kind=agents.kind,
        agents_size=agents.size,
        signal_lane=scenario.signals.lane,
        signals=scenario.signals.state,
        plan_step=np.zeros(0, np.int64),
        plan_poses=np.zeros((0, 1, 3)),
        plan_dt=DT,
    )


def scene_picture(scenario: Scenario, step: int | None = None, height: int = 720) -> Image.Image:
    """The scene from above at a step of the log; at the present unless given.

    Args:
        scenario: what to draw.
        step: 0 to `scenario.steps - 1`; a later one shows the last.
        height: of the picture [pixels]; it is half again as wide.
    """
    from roadworthy.report.drawing import Pane, draw_step

    pane = Pane(f"{scenario.source}/{scenario.id}", log_replay(scenario), scenario.map)
    return draw_step([pane], scenario.start if step is None else step, height)


def scene_page(scenario: Scenario) -> str:
    """One HTML file that plays the log; nothing is fetched, nothing but its own script runs."""
    from markupsafe import Markup

    from roadworthy.report.maps import MapCrop
    from roadworthy.report.page import render
    from roadworthy.report.payload import inert_json
    from roadworthy.report.replays import encode_replay

    replay = log_replay(scenario)
    crop = MapCrop(scenario.map)
    crop.cover(replay.ego[:, :2])
    blobs = [*encode_replay(replay, crop, set()), crop.encode()]
    data = {
        "entries": [{"label": "the logged ego"}],
        "cases": [{"id": "scene", "results": [{"r": []}]}],
        "replays": {"scene": {"map": 3, "runs": [[0, 1, 2]]}},
        "present": scenario.start,
    }
    return render(
        "scene.html",
        ("base.css", "parts.css", "player.css"),
        _SCRIPTS,
        scenario=scenario,
        facts=_facts(scenario),
        data=Markup(inert_json(data)),
        blobs=[Markup(blob) for blob in blobs],
    )


def _facts(scenario: Scenario) -> Mapping[str, str]:
    """What stands below the player."""
    row = describe(scenario)
    scores = scored_on(scenario)
    kinds = (k.name.lower().replace("_", " ") for k in AgentKind)
    counts = {k: row["agents"].get(k.replace(" ", "_"), 0) for k in kinds}
    facts = {
        "Length": f"{row['seconds']} s, of which the last {row['driven_seconds']} s are driven",
        "Traffic": traffic_of(scenario) or "not said",
        "Agents": _counted(counts) or "none",
        "Map": _counted(layers_of(scenario)),
        "May be scored on": ", ".join(name for name, good in scores.items() if good),
        "Not on": ", ".join(name for name, good in scores.items() if not good) or "–",
        "Tags": ", ".join(scenario.tags) or "none",
        "Scenario hash": scenario.hash,
        "Map hash": scenario.map.hash,
    }
    if scenario.lineage is not None:
        line = scenario.lineage
        parent = f", from {line.parent}" if line.parent else ""
        facts["Made by"] = f"{line.generator}, seed {line.seed}{parent}"
    return facts


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)
