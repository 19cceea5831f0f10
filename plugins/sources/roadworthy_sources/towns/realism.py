r"""How far the traffic of towns is from recorded traffic.

For each quantity the distributions P (recorded) and Q (towns) over stated bins are compared by
the Jensen-Shannon divergence to base 2, $\tfrac12 D(P\,|\,M) + \tfrac12 D(Q\,|\,M)$ with
$M = \tfrac12(P + Q)$, which is 0 for equal and 1 for disjoint ones (Lin, IEEE Transactions on
Information Theory 37 (1991) 145).

Both sides are measured alike: vehicles that move, at every step at which they are within 40 m of
the ego (sensors see no further with certainty), the ego included. Speeds, accelerations and yaw
rates come from positions and headings by a quadratic fitted to 1.5 s (NGSIM is noisy).

    python -m roadworthy_sources.towns.realism --data DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from roadworthy.kinematics import smooth_derivative
from roadworthy.scenario import AgentKind, Rejected, Scenario
from roadworthy.vehicle import EgoIndex

__all__ = ["QUANTITIES", "Quantity", "compare", "divergence", "histograms", "recorded", "table"]

Array = NDArray[np.float64]

_WINDOW = 15
_NEAR = 40.0
_MOVED = 2.0
_ROLLING = 0.5
_DRIVING = 1.0
_BESIDE = 1.5
_ALIGNED = 0.87


@dataclass(frozen=True)
class Quantity:
    """What is compared.

    Attributes:
        name: with its unit.
        edges: [K + 1] of its bins; what lies outside counts in the outermost bins.
    """

    name: str
    edges: Array


QUANTITIES: Mapping[str, Quantity] = {
    "speed": Quantity("speed [m/s], all steps", np.arange(0.0, 26.0, 1.0)),
    "acceleration": Quantity("acceleration [m/s²], above 0.5 m/s", np.arange(-4.0, 4.1, 0.5)),
    "yaw_rate": Quantity("yaw rate [rad/s], above 1 m/s", np.arange(-0.475, 0.5, 0.05)),
    "nearest": Quantity("nearest other vehicle, centres [m]", np.arange(0.0, 41.0, 2.0)),
    "headway": Quantity("time headway [s], above 1 m/s, to 6 s", np.arange(0.0, 6.1, 0.5)),
}


def divergence(p: Array, q: Array) -> float:
    """Jensen-Shannon divergence to base 2 of two histograms [K], each made to sum to 1."""
    p, q = p / p.sum(), q / q.sum()
    m = 0.5 * (p + q)
    parts = []
    for one in (p, q):
        some = one > 0.0
        parts.append(float(np.sum(one[some] * np.log2(one[some] / m[some]))))
    return 0.5 * sum(parts)


def histograms(scenarios: Iterable[Scenario]) -> dict[str, Array]:
    """Counts of every quantity over its bins."""
    out = {name: np.zeros(len(q.edges) - 1) for name, q in QUANTITIES.items()}
    for scenario in scenarios:
        for name, values in _measure(scenario).items():
            edges = QUANTITIES[name].edges
            inside = np.clip(values, edges[0], edges[-1] - 1e-9)
            out[name] += np.histogram(inside, edges)[0]
    return out


def _tracks(scenario: Scenario) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Box centres and headings [A, T, 3], sizes [A, 2] and presence [A, T] of all vehicles,
    the ego first."""
    cars = np.flatnonzero(scenario.agents.kind == AgentKind.VEHICLE)
    ego, car = scenario.ego, scenario.vehicle
    yaw = ego[:, EgoIndex.YAW]
    back = car.rear_axle_to_centre
    mine = np.stack([ego[:, 0] + back * np.cos(yaw), ego[:, 1] + back * np.sin(yaw), yaw], axis=1)
    pose = np.concatenate([mine[None], scenario.agents.state[cars, :, :3]])
    size = np.concatenate([[[car.length, car.width]], scenario.agents.size[cars, :2]])
    there = np.concatenate([np.ones((1, scenario.steps), bool), scenario.agents.valid[cars]])
    return pose, size, there


def _measure(scenario: Scenario) -> dict[str, Array]:
    pose, size, there = _tracks(scenario)
    ego = pose[0, :, :2]
    near = there & (np.hypot(*(pose[..., :2] - ego).transpose(2, 0, 1)) < _NEAR)
    kept: dict[str, list[Array]] = {name: [] for name in QUANTITIES}
    for a in range(len(pose)):
        steps = np.flatnonzero(there[a])
        if len(steps) < _WINDOW or steps[-1] - steps[0] + 1 != len(steps):
            continue
        xy, yaw = pose[a, steps, :2], np.unwrap(pose[a, steps, 2])
        if np.hypot(*(xy - xy[0]).T).max() < _MOVED:
            continue
        velocity = smooth_derivative(xy, 1, _WINDOW)
        cos, sin = np.cos(yaw), np.sin(yaw)
        speed = np.abs(cos * velocity[:, 0] + sin * velocity[:, 1])
        push = smooth_derivative(xy, 2, _WINDOW)
        accel = cos * push[:, 0] + sin * push[:, 1]
        rate = smooth_derivative(yaw, 1, _WINDOW)
        here = near[a, steps]
        kept["speed"].append(speed[here])
        kept["acceleration"].append(accel[here & (speed > _ROLLING)])
        kept["yaw_rate"].append(rate[here & (speed > _DRIVING)])
        gap = pose[:, steps, :2] - xy[None]
        far = np.where(there[:, steps], np.hypot(gap[..., 0], gap[..., 1]), np.inf)
        far[a] = np.inf
        kept["nearest"].append(far.min(axis=0)[here])
        ahead, aside = gap[..., 0] * cos + gap[..., 1] * sin, gap[..., 1] * cos - gap[..., 0] * sin
        same = np.cos(pose[:, steps, 2] - yaw) > _ALIGNED
        leads = there[:, steps] & (ahead > 0.0) & (np.abs(aside) < _BESIDE) & same
        room = np.where(leads, ahead - 0.5 * (size[:, :1] + size[a, 0]), np.inf).min(axis=0)
        headway = np.maximum(room, 0.0) / np.maximum(speed, _DRIVING)
        kept["headway"].append(headway[here & (speed > _DRIVING) & (headway < 6.0)])
    return {name: np.concatenate([np.zeros(0), *values]) for name, values in kept.items()}


def recorded(data: Path) -> dict[str, dict[str, Array]]:
    """Histograms of recorded city traffic by data set: AV2, nuScenes, and NGSIM's two streets
    (its freeway, US-101, is left out: towns have none).

    Args:
        data: holds av2_logs, nuscenes_mini_scenarionet and ngsim_commonroad; what is missing is
            left out.

    Raises:
        FileNotFoundError: none of them is there.
    """
    from roadworthy_sources.argoverse2 import Argoverse2
    from roadworthy_sources.commonroad import CommonRoad
    from roadworthy_sources.scenarionet import ScenarioNet

    out: dict[str, dict[str, Array]] = {}
    for name, folder, source in (
        ("AV2", "av2_logs", Argoverse2),
        ("nuScenes", "nuscenes_mini_scenarionet", ScenarioNet),
        ("NGSIM", "ngsim_commonroad", CommonRoad),
    ):
        if (data / folder).is_dir():
            found = source(str(data / folder)).scenarios()  # type: ignore[attr-defined]
            out[name] = histograms(
                s for s in found if not isinstance(s, Rejected) and "US101" not in s.id
            )
    if not out:
        raise FileNotFoundError(f"{data}: holds no recorded drives")
    return out


def compare(
    real: Mapping[str, Mapping[str, Array]], towns: Mapping[str, Array]
) -> dict[str, float]:
    """Divergence of each quantity from the mean over data sets, each of equal weight."""
    out = {}
    for name in QUANTITIES:
        sets = [counts[name] / counts[name].sum() for counts in real.values()]
        out[name] = divergence(np.mean(sets, axis=0), towns[name])
    return out


def table(real: Mapping[str, Mapping[str, Array]], towns: Mapping[str, Array]) -> str:
    """The divergences as a table in Markdown, with those between the data sets to compare."""
    values = compare(real, towns)
    sets = list(real)
    lines = [
        "| quantity | bins | towns vs recorded | " + " | ".join(f"vs {s}" for s in sets)
        + " | farthest pair of data sets |",
        "|---|---|---|" + "---|" * (len(sets) + 1),
    ]  # fmt: skip
    for name, q in QUANTITIES.items():
        each = [divergence(real[s][name], towns[name]) for s in sets]
        pairs = [divergence(real[a][name], real[b][name]) for a in sets for b in sets]
        bins = f"{q.edges[0]:g} to {q.edges[-1]:g} by {q.edges[1] - q.edges[0]:g}"
        cells = [q.name, bins, f"{values[name]:.3f}", *(f"{e:.3f}" for e in each)]
        lines.append("| " + " | ".join([*cells, f"{max(pairs):.3f}"]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Write the table."""
    from roadworthy_sources.towns.source import Towns

    parser = argparse.ArgumentParser(description="Realism of towns against recorded drives.")
    parser.add_argument("--data", type=Path, required=True, help="folder of recorded data sets")
    parser.add_argument("--count", type=int, default=300, help="town scenarios")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    drives = Towns(seed=given.seed, count=given.count, distribution="common").scenarios()
    made = histograms(s for s in drives if not isinstance(s, Rejected))
    print(table(recorded(given.data), made))


if __name__ == "__main__":
    main()
