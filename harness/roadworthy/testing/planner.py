"""Reviews a planner."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roadworthy.observation import ObservationBatch
from roadworthy.scenario import Scenario, SignalState, content_hash
from roadworthy.testing.report import (
    TIME_LIMIT_S,
    Fault,
    Outcome,
    Remark,
    Report,
    Review,
    Watch,
    unwatched,
)
from roadworthy.testing.scenes import brief_of, moved, observe, straight_road_scenario
from roadworthy.trajectory import Trajectory, TrajectoryBatch, check_trajectory

__all__ = ["check_planner"]

STEPS = (0, 5, 20)
"""The steps of each scene at which plans are asked for; the ego follows the log between them."""

SLOW_MS = 100.0
WANTED_S = 4.0
FASTEST = 60.0  # [m/s], beyond which a plan is not a road vehicle's
FRAME_TOLERANCE = 0.5  # [m]
BATCH_TOLERANCE = 1e-3  # [m], [rad]

Factory = Callable[[], Any]
Plans = list[tuple[NDArray[np.float64], float]]


def check_planner(
    factory: Factory,
    name: str = "",
    time_limit_s: float = TIME_LIMIT_S,
    watch: Watch = unwatched,
) -> Report:
    """Reviews a planner on small scenes made in code.

    Args:
        factory: makes a fresh planner; called many times.
        name: for the report; the factory's by default.
        time_limit_s: for one check; one that takes longer is the last.
        watch: told of each check as it begins and ends.

    Returns:
        One finding per check. The first two must pass for the others to be made.
    """
    title = name or getattr(factory, "__name__", type(factory).__name__)
    review = Review("planner", title, time_limit_s, watch)
    plain = straight_road_scenario()
    if not review.check("interface", lambda: _interface(factory)):
        return review.report()
    if not review.check("trajectory", lambda: _trajectory(factory, plain)):
        return review.report()
    for check, examine in (
        ("frame", _frame),
        ("deterministic", _deterministic),
        ("reset", _reset),
        ("independent", _independent),
        ("observation kept", _observation_kept),
        ("batch", _batch),
        ("no peeking", _no_peeking),
    ):
        review.check(check, lambda examine=examine: examine(factory, plain))  # type: ignore[misc]
    for title, scene in _edge_scenes().items():
        review.check(title, lambda scene=scene: _edge(factory, scene))  # type: ignore[misc]
    review.check("picklable", lambda: _picklable(factory))
    review.check("speed", lambda: _speed(factory))
    return review.report()


def _interface(factory: Factory) -> str:
    planner = factory()
    single = [callable(getattr(planner, n, None)) for n in ("reset", "plan")]
    batched = [callable(getattr(planner, n, None)) for n in ("reset_batch", "plan_batch")]
    if not (all(single) or all(batched)):
        raise Fault(
            f"{type(planner).__name__} offers neither reset(brief) and plan(observation) nor "
            "reset_batch(briefs) and plan_batch(observations); define one of these pairs."
        )
    if batched[1] and not batched[0]:
        raise Fault("it has plan_batch but no reset_batch; define reset_batch(briefs).")
    if all(single) and all(batched):
        return "it plans one case at a time and in batches."
    return "it plans in batches." if all(batched) else "it plans one case at a time."


def _trajectory(factory: Factory, scene: Scenario) -> str:
    poses, dt = _drive(factory(), [scene], 0)[0]
    steps = np.diff(poses[:, :2], axis=0, prepend=0.0)
    fastest = float(np.hypot(steps[:, 0], steps[:, 1]).max()) / dt
    if fastest > FASTEST:
        raise Fault(
            f"the plan moves at {fastest:.0f} m/s; give metres in the ego frame, at dt = {dt:g} s."
        )
    widest = float(np.abs(poses[:, 2]).max())
    if widest > 2.0 * np.pi:
        raise Fault(f"the plan's heading reaches {widest:.1f}; give radians relative to the ego.")
    covers = dt * len(poses)
    found = f"{len(poses)} poses at {dt:g} s, {covers:.1f} s in all, up to {fastest:.1f} m/s"
    if len(poses) > 1 and not steps[0].any() and steps[1].any():
        raise Remark(
            Outcome.WARN, f"{found}; the first pose is the present one, and should be at dt."
        )
    if covers < WANTED_S - 1e-9:
        raise Remark(
            Outcome.WARN, f"{found}; most metrics judge {WANTED_S:g} s, so plan at least that far."
        )
    return f"{found}."


def _frame(factory: Factory, scene: Scenario) -> str:
    """The world's origin must not matter."""
    elsewhere = moved(scene, 3000.0, 1000.0, 2.0)
    here, there = (_drive(factory(), [s], 0)[0][0] for s in (scene, elsewhere))
    off = _difference([(here, 1.0)], [(there, 1.0)])
    if off > FRAME_TOLERANCE:
        raise Fault(
            f"moving and turning the whole scene changes the plan by {off:.2f}; "
            "give poses relative to the ego's present pose, x forward and y left."
        )
    return "moving and turning the whole scene leaves the plan as it is."


def _deterministic(factory: Factory, scene: Scenario) -> str:
    _want_equal(
        _drive_all(factory(), scene),
        _drive_all(factory(), scene),
        "two runs of one case differ by {off:.3g}; draw numbers only from a generator "
        "seeded with brief.seed.",
    )
    return "two runs of one case give the same bytes."


def _reset(factory: Factory, scene: Scenario) -> str:
    planner = factory()
    fresh = _drive_all(planner, scene)
    _drive_all(planner, straight_road_scenario(lanes=3, speed=3.0, agents=20, seed=5))
    _want_equal(
        fresh,
        _drive_all(planner, scene),
        "after another case its plans differ by {off:.3g}; forget everything in reset().",
    )
    return "another case in between leaves no trace."


def _independent(factory: Factory, scene: Scenario) -> str:
    other = straight_road_scenario(lanes=3, speed=3.0, agents=20, seed=5)
    alone = _drive_all(factory(), scene)
    one, two = factory(), factory()
    if one is two:
        raise Fault("the factory returns one object again and again; make a fresh one each time.")
    turns = [_steps(one, [scene]), _steps(two, [other])]
    mixed: Plans = []
    for plans, _ in zip(*turns, strict=True):
        mixed += plans
    _want_equal(
        alone,
        mixed,
        "driving two instances in turn changes the plans by {off:.3g}; keep state in the "
        "instance, not in the class or module.",
    )
    return "two instances driven in turn do not disturb each other."


def _observation_kept(factory: Factory, scene: Scenario) -> str:
    planner = factory()
    briefs = [brief_of(scene, needs_log=_privileged(planner))]
    _begin(planner, briefs)
    seen: Any = observe([scene], 0, briefs)
    ask = planner.plan_batch if _batched(planner) else planner.plan
    seen = seen if _batched(planner) else seen[0]
    before = _arrays_hash(seen)
    ask(seen)
    after = _arrays_hash(seen)
    if before != after:
        raise Fault("it writes into the observation; copy an array before changing it.")
    return "the observation is left as it was; the brief cannot be written to."


def _batch(factory: Factory, scene: Scenario) -> str:
    planner = factory()
    if not _batched(planner):
        raise Remark(Outcome.SKIP, "it offers no plan_batch; a learned planner gains much by one.")
    scenes = [
        scene,
        straight_road_scenario(agents=0, lanes=1),
        straight_road_scenario(agents=40, lanes=3, speed=4.0, signal=SignalState.RED, seed=2),
        straight_road_scenario(agents=3, speed=0.0, seed=3),
    ]
    together = _drive(factory(), scenes, 0)
    worst = 0.0
    for what, plans in (
        ("alone", [_drive(factory(), [s], 0)[0] for s in scenes]),
        ("in another order", _drive(factory(), scenes[::-1], 0)[::-1]),
        ("when other rows have ended", _drive(factory(), scenes, 0, rows=[1, 3])),
    ):
        wanted = [together[1], together[3]] if len(plans) == 2 else together
        off = _difference(wanted, plans)
        worst = max(worst, off)
        if off > BATCH_TOLERANCE:
            raise Fault(
                f"a case planned {what} gets a plan that differs by {off:.3g}; let each row "
                "depend on its own observation alone, and find its brief by observations.rows."
            )
    if callable(getattr(planner, "plan", None)):
        off = _difference(together, [_drive_single(factory(), s) for s in scenes])
        worst = max(worst, off)
        if off > BATCH_TOLERANCE:
            raise Fault(f"plan and plan_batch differ by {off:.3g}; let one call the other.")
    if worst > 0.0:
        raise Remark(
            Outcome.WARN,
            f"rows agree within {worst:.1g}, not to the bit; a resumed run may differ in its "
            "last digits.",
        )
    return "a row's plan is the same to the bit alone, in any order, and when others have ended."


def _no_peeking(factory: Factory, scene: Scenario) -> str:
    if _privileged(factory()):
        raise Remark(
            Outcome.NOTE,
            "needs_log = True: it is shown the future, and every report marks it privileged.",
        )
    ego, agents = scene.ego.copy(), scene.agents.state.copy()
    late = scene.start + max(STEPS) + 1
    ego[late:, :3] += (30.0, -10.0, 1.0)
    agents[:, late:, :2] -= 25.0
    altered = replace(scene, ego=ego, agents=replace(scene.agents, state=agents))
    _want_equal(
        _drive_all(factory(), scene),
        _drive_all(factory(), altered),
        "altering the log's future changes the plan by {off:.3g}; plan from the observation "
        "alone, or declare needs_log = True.",
    )
    return "altering the log's future does not change the plan."


def _edge_scenes() -> dict[str, Scenario]:
    return {
        "no agents": straight_road_scenario(agents=0),
        "200 agents": straight_road_scenario(agents=200, lanes=4),
        "one lane": straight_road_scenario(lanes=1),
        "standing ego": straight_road_scenario(speed=0.0),
        "red signals": straight_road_scenario(signal=SignalState.RED),
    }


def _edge(factory: Factory, scene: Scenario) -> str:
    poses, dt = _drive_all(factory(), scene)[0]
    return f"its plan goes {poses[-1, 0]:.1f} m ahead in {dt * len(poses):.1f} s."


def _picklable(factory: Factory) -> str:
    try:
        again = pickle.loads(pickle.dumps(factory))
    except Exception as error:  # pickling runs the plugin's own code
        raise Fault(
            f"the factory cannot be sent to a worker process ({type(error).__name__}: {error}); "
            "use a class or function at the top level of a module."
        ) from error
    again()
    return "the factory can be sent to worker processes."


def _speed(factory: Factory) -> str:
    scene = straight_road_scenario(agents=32, lanes=3)
    planner = factory()
    _drive_all(planner, scene)  # the first plans may compile or load
    begin = time.perf_counter()
    _drive_all(planner, scene)
    each = 1e3 * (time.perf_counter() - begin) / len(STEPS)
    found = f"{each:.2g} ms per plan with 32 agents, reset included"
    if each > SLOW_MS:
        raise Remark(
            Outcome.WARN,
            f"{found}; a 15 s case replanned at 10 Hz takes {0.15 * each:.0f} s.",
        )
    return f"{found}."


def _privileged(planner: Any) -> bool:
    return bool(getattr(planner, "needs_log", False))


def _batched(planner: Any) -> bool:
    return callable(getattr(planner, "plan_batch", None))


def _begin(planner: Any, briefs: Sequence[Any]) -> None:
    if _batched(planner):
        planner.reset_batch(tuple(briefs))
    else:
        planner.reset(briefs[0])


def _ask(planner: Any, observations: ObservationBatch) -> Plans:
    if not _batched(planner):
        return [check_trajectory(planner.plan(observations[0]))]
    plans = planner.plan_batch(observations)
    if not isinstance(plans, TrajectoryBatch):
        raise Fault(
            f"plan_batch() returned {type(plans).__name__}; return a "
            "roadworthy.TrajectoryBatch(poses, dt)."
        )
    shape = np.shape(plans.poses)
    if len(shape) != 3 or shape[0] != len(observations):
        raise Fault(
            f"plan_batch() returned poses of shape {shape}; give [{len(observations)}, N, 3], "
            "one plan per row."
        )
    return [check_trajectory(Trajectory(poses, plans.dt)) for poses in plans.poses]


def _steps(planner: Any, scenes: Sequence[Scenario]) -> Any:
    """Yields the plans at each of `STEPS`."""
    briefs = [brief_of(s, needs_log=_privileged(planner)) for s in scenes]
    _begin(planner, briefs)
    for step in STEPS:
        yield _ask(planner, observe(scenes, step, briefs))


def _drive_all(planner: Any, scene: Scenario) -> Plans:
    return [plans[0] for plans in _steps(planner, [scene])]


def _drive(
    planner: Any, scenes: Sequence[Scenario], step: int, rows: Sequence[int] | None = None
) -> Plans:
    briefs = [brief_of(s, needs_log=_privileged(planner)) for s in scenes]
    _begin(planner, briefs)
    return _ask(planner, observe(scenes, step, briefs, rows))


def _drive_single(planner: Any, scene: Scenario) -> tuple[NDArray[np.float64], float]:
    briefs = [brief_of(scene, needs_log=_privileged(planner))]
    planner.reset(briefs[0])
    return check_trajectory(planner.plan(observe([scene], 0, briefs)[0]))


def _difference(wanted: Plans, got: Plans) -> float:
    """Largest difference between poses [m or rad]; infinity where the shapes or dt differ."""
    worst = 0.0
    for (a, a_dt), (b, b_dt) in zip(wanted, got, strict=True):
        if a.shape != b.shape or a_dt != b_dt:
            return float("inf")
        d = np.abs(a - b)
        d[:, 2] = np.abs((a[:, 2] - b[:, 2] + np.pi) % (2.0 * np.pi) - np.pi)
        worst = max(worst, float(d.max()))
    return worst


def _want_equal(wanted: Plans, got: Plans, sentence: str) -> None:
    same = all(
        a.tobytes() == b.tobytes() and da == db
        for (a, da), (b, db) in zip(wanted, got, strict=True)
    )
    if not same:
        raise Fault(sentence.format(off=_difference(wanted, got)))


def _arrays_hash(observation: Any) -> str:
    arrays = {k: v for k, v in vars(observation).items() if isinstance(v, np.ndarray)}
    return content_hash(tuple(arrays.values()))
