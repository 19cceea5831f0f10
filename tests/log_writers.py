"""Writes small synthetic logs: ScenarioNet pickles, CommonRoad XML, Waymo records.

All show one street: two lanes ahead (along +x, y = 0 and 3.5), one back (y = 7), a junction
from x = 100 to 120 and a road that goes on; cars drive at 8 m/s.
"""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

STEPS = 60
SPEED = 8.0
CUTS = (-40.0, 100.0, 120.0, 300.0)
LANES = {"a": 0.0, "b": 3.5}


def lane_line(x0: float, x1: float, y: float) -> np.ndarray:
    x = np.linspace(x0, x1, max(2, int(abs(x1 - x0)) // 2))
    return np.stack([x, np.full_like(x, y)], axis=1)


def track(y: float, x0: float, speed: float = SPEED, steps: int = STEPS) -> np.ndarray:
    """x, y, heading, vx, vy [steps, 5] of a car at even speed."""
    x = x0 + speed * 0.1 * np.arange(steps)
    zero = np.zeros(steps)
    return np.stack([x, zero + y, zero + (np.pi if speed < 0 else 0.0), zero + speed, zero], axis=1)


# ScenarioNet ------------------------------------------------------------------------------


def description(dataset: str = "nuplan", steps: int = STEPS, dt: float = 0.1) -> dict[str, Any]:
    """A `ScenarioDescription` with lane outlines, links and one traffic light."""
    count = round((steps - 1) * dt / 0.1) + 1

    def car(kind: str, y: float, x0: float, speed: float, size: tuple[float, ...]) -> dict:
        full = track(y, x0, speed, count)
        at = np.linspace(0, count - 1, steps).round().astype(int)
        state = full[at]
        return {
            "type": kind,
            "state": {
                "position": np.column_stack([state[:, :2], np.zeros(steps)]),
                "heading": state[:, 2],
                "velocity": state[:, 3:],
                "valid": np.ones(steps),
                **{n: np.full(steps, v) for n, v in zip(("length", "width", "height"), size,
                                                        strict=True)},
            },
        }  # fmt: skip

    features: dict[str, Any] = {}
    for name, y in LANES.items():
        for k in range(3):
            inside = k == 1
            x0, x1 = CUTS[k], CUTS[k + 1]
            features[f"{name}{k}"] = {
                "type": "LANE_SURFACE_UNSTRUCTURE" if inside else "LANE_SURFACE_STREET",
                "polyline": lane_line(x0, x1, y),
                "polygon": np.array(
                    [[x0, y - 1.75], [x1, y - 1.75], [x1, y + 1.75], [x0, y + 1.75]]
                ),
                "exit_lanes": [f"{name}{k + 1}"] if k < 2 else [],
                "left_neighbor": ["b" + str(k)] if name == "a" else [],
                "right_neighbor": ["a" + str(k)] if name == "b" else [],
                "speed_limit_kmh": 50.0,
            }
    features["line"] = {"type": "ROAD_LINE_SOLID_SINGLE_YELLOW",
                        "polyline": lane_line(-40, 300, 5.25)}  # fmt: skip
    features["walk"] = {
        "type": "CROSSWALK",
        "polygon": np.array([[90.0, -2], [94, -2], [94, 6], [90, 6]]),
    }
    return {
        "id": "street",
        "version": dataset,
        "length": steps,
        "metadata": {"dataset": dataset, "sdc_id": "ego", "ts": np.arange(steps) * dt},
        "tracks": {
            "ego": car("VEHICLE", 0.0, 0.0, SPEED, (4.6, 1.9, 1.5)),
            "7": car("VEHICLE", 3.5, 10.0, SPEED, (4.4, 1.8, 1.5)),
            "8": car("PEDESTRIAN", 5.0, 60.0, 0.0, (0.6, 0.6, 1.7)),
            "9": car("TRAFFIC_CONE", -1.5, 70.0, 0.0, (0.4, 0.4, 0.9)),
        },
        "map_features": features,
        "dynamic_map_states": {
            "a1": {
                "type": "TRAFFIC_LIGHT",
                "lane": "a1",
                "state": {
                    "object_state": ["TRAFFIC_LIGHT_GREEN"] * (steps // 2)
                    + ["TRAFFIC_LIGHT_RED"] * (steps - steps // 2)
                },
            }
        },
    }


def write_pickle(path: Path, content: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


# CommonRoad -------------------------------------------------------------------------------


def _bound(tag: str, line: np.ndarray, marking: str) -> str:
    points = "".join(f"<point><x>{x:.4f}</x><y>{y:.4f}</y></point>" for x, y in line)
    return f"<{tag}>{points}<lineMarking>{marking}</lineMarking></{tag}>"


def _exact(tag: str, value: float) -> str:
    return f"<{tag}><exact>{value}</exact></{tag}>"


def obstacle(name: int, states: np.ndarray, kind: str = "car", dt: float = 0.1) -> str:
    def state(tag: str, row: np.ndarray, step: int) -> str:
        point = f"<position><point><x>{row[0]:.4f}</x><y>{row[1]:.4f}</y></point></position>"
        speed = float(np.hypot(row[3], row[4]))
        return (
            f"<{tag}>{point}{_exact('orientation', row[2])}{_exact('time', step)}"
            f"{_exact('velocity', speed)}</{tag}>"
        )

    rows = "".join(state("state", row, k + 1) for k, row in enumerate(states[1:]))
    return (
        f'<dynamicObstacle id="{name}"><type>{kind}</type><shape><rectangle><length>4.5</length>'
        f"<width>1.9</width></rectangle></shape>{state('initialState', states[0], 0)}"
        f"<trajectory>{rows}</trajectory></dynamicObstacle>"
    )


def commonroad(
    steps: int = STEPS, tags: str = "<urban/>", dt: float = 0.1, version: str = "2020a",
    extra: str = "", obstacles: list[str] | None = None,
) -> str:  # fmt: skip
    """A file with six lanelets, a light, a sign and three cars of which two move."""
    lanelets = []
    for offset, (name, y) in enumerate(LANES.items()):
        for k in range(3):
            key = 100 * (offset + 1) + k
            line = lane_line(CUTS[k], CUTS[k + 1], y)
            aside = np.array([0.0, 1.75])
            up, down = line + aside, line - aside
            more = f'<successor ref="{key + 1}"/>' if k < 2 else ""
            side = "adjacentLeft" if name == "a" else "adjacentRight"
            more += f'<{side} ref="{200 - 100 * offset + k}" drivingDir="same"/>'
            if k == 0:
                more += (
                    "<stopLine><lineMarking>solid</lineMarking></stopLine>"
                    '<trafficLightRef ref="900"/>'
                )
            marking = ("dashed", "solid") if name == "a" else ("solid", "dashed")
            lanelets.append(
                f'<lanelet id="{key}">{_bound("leftBound", up, marking[0])}'
                f"{_bound('rightBound', down, marking[1])}{more}"
                '<laneletType>urban</laneletType><trafficSignRef ref="800"/></lanelet>'
            )
    if obstacles is None:
        obstacles = [
            obstacle(1, track(0.0, 0.0, SPEED, steps)),
            obstacle(2, track(3.5, 12.0, SPEED, steps)),
            obstacle(3, track(0.0, 60.0, 0.0, steps), "pedestrian"),
        ]
    start = "<initialState><position><point><x>1</x><y>0.2</y></point></position></initialState>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><commonRoad benchmarkID="TST_Street-1_1_T-1" '
        f'commonRoadVersion="{version}" timeStepSize="{dt}" source="written by hand">'
        f"<scenarioTags>{tags}</scenarioTags>{''.join(lanelets)}"
        '<trafficSign id="800"><trafficSignElement><trafficSignID>274</trafficSignID>'
        "<additionalValue>13.5</additionalValue></trafficSignElement></trafficSign>"
        '<trafficLight id="900"><cycle><cycleElement><duration>20</duration><color>red</color>'
        "</cycleElement><cycleElement><duration>80</duration><color>green</color></cycleElement>"
        "<timeOffset>5</timeOffset></cycle><direction>all</direction><active>true</active>"
        '</trafficLight><intersection id="700"><incoming id="701"><incomingLanelet ref="100"/>'
        '<incomingLanelet ref="200"/><successorsStraight ref="101"/><successorsStraight ref="201"/>'
        f"</incoming></intersection>{''.join(obstacles)}{extra}"
        f'<planningProblem id="1000">{start}</planningProblem></commonRoad>'
    )


# Waymo ------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number: int, value: int | float | bytes | str) -> bytes:
    """One protocol buffers field; a float is written as a double."""
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def single(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def waymo_scenario(name: str = "abc", steps: int = 91) -> bytes:
    """A serialized `Scenario` of the street."""

    def points(number: int, line: np.ndarray) -> bytes:
        return b"".join(
            field(number, field(1, float(x)) + field(2, float(y)) + field(3, 0.0)) for x, y in line
        )

    def road_user(key: int, kind: int, states: np.ndarray, size: tuple[float, ...]) -> bytes:
        rows = b"".join(
            field(3, field(2, float(s[0])) + field(3, float(s[1])) + field(4, 0.0)
                  + b"".join(single(n, v) for n, v in zip((5, 6, 7), size, strict=True))
                  + b"".join(single(n, float(s[k])) for n, k in ((8, 2), (9, 3), (10, 4)))
                  + field(11, 1))
            for s in states
        )  # fmt: skip
        return field(1, key) + field(2, kind) + rows

    out = field(5, name) + b"".join(field(1, 0.1 * k) for k in range(steps))
    out += field(10, 10) + field(6, 1)
    out += field(2, road_user(7, 1, track(3.5, 10.0, SPEED, steps), (4.4, 1.8, 1.5)))
    out += field(2, road_user(1, 1, track(0.0, 0.0, SPEED, steps), (5.3, 2.3, 2.3)))
    out += field(2, road_user(9, 2, track(6.0, 40.0, 1.0, steps), (0.8, 0.8, 1.8)))
    for step in range(steps):
        state = 4 if step < 50 else 6
        out += field(7, field(1, field(1, 11) + field(2, state)))
    for k in range(3):
        for base, y in ((10, 0.0), (20, 3.5)):
            lane = field(1, 30.0) + field(2, 2) + field(3, int(k == 1))
            lane += points(8, lane_line(CUTS[k], CUTS[k + 1], y))
            if k < 2:
                lane += field(10, varint(base + k + 1))
            if base == 10:
                lane += field(11, field(1, 20 + k) + field(2, 0) + field(3, 5))
            out += field(8, field(1, base + k) + field(3, lane))
    line = field(1, 7) + points(2, lane_line(-40.0, 300.0, 5.25))
    return out + field(8, field(1, 50) + field(4, line))


def record(data: bytes) -> bytes:
    """One TFRecord."""
    from roadworthy_sources.waymo.tfrecord import masked_crc

    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked_crc(head)) + data + struct.pack("<I", masked_crc(data))
