"""Variants of scenes: what a generator made is checked, certified, and stored with the proof.

A variant is admitted if it lies on its parent's very map, if nobody overlaps at the present or
collides with anyone but the ego later (unless the parent had it so), if whoever was changed moves
as such a thing can, and if it is *solvable* (`roadworthy.solvability`). What is not solvable is
kept apart with the certificate that says so, and is no case to score a planner on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from roadworthy.admission import admit
from roadworthy.errors import DataError, PluginError, ScenarioError
from roadworthy.protocols import Generator
from roadworthy.recognition import LeftOut, find_sources, read_scenes
from roadworthy.rings import polygon_of
from roadworthy.scenario import DT, AgentKind, Scenario, StateIndex
from roadworthy.scenario_store import ScenarioStore, StoreWriter
from roadworthy.seeding import generator as random_numbers
from roadworthy.solvability import (
    REACTION_S,
    Certificate,
    read_certificates,
    recheck,
    solve,
    steady_drive,
    write_certificates,
)
from roadworthy.solvability.search import road_rings
from roadworthy.splits import require_disjoint
from roadworthy.store import write_file
from roadworthy.trial import drive_with
from roadworthy.vehicle import EgoIndex

__all__ = [
    "BOUNDS",
    "MANIFEST",
    "SPLIT",
    "TRIALS",
    "Bounds",
    "Explained",
    "GeneratedSet",
    "Trial",
    "check_variant",
    "explained",
    "generate_set",
    "scenes_named",
    "unsolvable_folder",
]

MANIFEST = "generation.json"
TRIALS = "trials.jsonl"
SPLIT = "variants"
"""The split that variants get in the store."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a kind of agent can do: acceleration along and across its heading [m/s²], yaw rate
    [rad/s], and how far a step may differ from its velocity [m]."""

    along: float
    across: float
    yaw_rate: float
    drift: float = 0.15


BOUNDS: dict[AgentKind, Bounds] = {
    AgentKind.VEHICLE: Bounds(8.5, 6.0, 1.2),
    AgentKind.BICYCLE: Bounds(6.0, 5.0, 2.5),
    AgentKind.PEDESTRIAN: Bounds(8.0, 8.0, 8.0),
}
"""By kind. Friction on a dry road for vehicles; static objects are not bounded. What a parent's
track exceeds by itself (noise of the log) its variants may exceed as far, and no farther."""

_KERB = 0.3


class GeneratedSet(msgspec.Struct, frozen=True, kw_only=True):
    """What `generation.json` holds.

    Attributes:
        format: version of this layout.
        generator, options: what made the variants.
        seed: of everything.
        reaction_s: the reaction time of the certificates.
        parents: how many scenes were varied.
        barren: parents of which no variant was admitted, by name.
        unfit: parents that the generator would not vary, and why.
        asked, made: variants asked for, and given by the generator.
        refused: how many for which reason.
        labels: how many by the weakest manoeuvre that suffices, `unsolvable` among them.
        clairvoyant: how many only someone survives who acts before the hazard can be foreseen;
            they are among the unsolvable, and tagged so.
        reference: the planner that was tried on each variant, "" for none.
        survived: in how many of the stored ones it met nobody; `trials.jsonl` says which.
        stored: how many variants are in this store.
    """

    format: int = 1
    generator: str
    options: dict[str, object]
    seed: int
    reaction_s: float
    parents: int
    barren: tuple[str, ...]
    unfit: dict[str, str] = {}
    asked: int
    made: int
    refused: dict[str, int]
    labels: dict[str, int]
    clairvoyant: int = 0
    reference: str = ""
    survived: int = 0
    stored: int


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What `trials.jsonl` holds of a variant.

    Attributes:
        scenario: content hash of the scene.
        planner: who drove it, in closed loop with reactive traffic.
        contact: step after the present at which it met someone, -1 for never.
    """

    scenario: str
    planner: str
    contact: int


def scenes_named(subjects: Sequence[str], data: Path | None) -> Iterator[Scenario]:
    """The admitted scenes of sources, suites, stores, files and folders; refused ones are left
    out.

    Raises:
        RoadworthyError: nothing of that name.
    """
    for subject in subjects:
        for spec in find_sources(subject, {}, data):
            if not isinstance(spec, LeftOut):
                yield from (s for s in read_scenes(spec) if isinstance(s, Scenario))


def unsolvable_folder(out: Path) -> Path:
    """Where what is not solvable is kept: beside the store, never in it."""
    return out.with_name(f"{out.name}-unsolvable")


def check_variant(parent: Scenario, variant: Scenario) -> tuple[str, ...]:
    """What speaks against a variant, one word each; nothing if it is fit to be certified.

    Args:
        parent: what it was made from.
        variant: an admitted scene.

    Returns:
        Of `map` (not the parent's), `lineage` (not the parent's), `overlap` (of two boxes at the
        present), `collision` (of two agents later), `motion` (beyond `BOUNDS`), `off_road` (a
        vehicle's centre, where the parent's was on the road).
    """
    found = []
    if variant.map.hash != parent.map.hash:
        found.append("map")
    if variant.lineage is None or variant.lineage.parent != parent.hash:
        found.append("lineage")
    changed = _changed(parent, variant)
    if _overlap_now(variant, changed):
        found.append("overlap")
    elif _collides(parent, variant, changed):
        found.append("collision")
    before = {name: i for i, name in enumerate(parent.agents.id)}
    for a in changed:
        if _beyond_bounds(parent, before.get(variant.agents.id[a]), variant, a):
            found.append("motion")
            break
    if _leaves_road(parent, before, variant, changed):
        found.append("off_road")
    return tuple(found)


def generate_set(
    parents: Iterable[Scenario],
    generator: Generator,
    name: str,
    n: int,
    seed: int,
    out: Path,
    *,
    options: Mapping[str, object] | None = None,
    reaction_s: float = REACTION_S,
    against: Mapping[str, Iterable[Scenario]] | None = None,
    reference: str = "",
) -> GeneratedSet:
    """Vary scenes, and store what is admitted with its certificates.

    Solvable variants go to `out`, others to `unsolvable_folder(out)`; each folder is a store with
    `certificates.jsonl` and `generation.json`. The same seed gives the same bytes.

    Args:
        parents: admitted scenes.
        generator: makes variants of one scene.
        name: its name.
        n: how many variants of each parent to ask for.
        seed: each parent's random numbers come from this and its content hash.
        out: the store to make.
        options: the generator's, for the record.
        reaction_s: of the certificates.
        against: sets by name that will be evaluated on: no parent may be related to them.
        reference: a planner that is tried on each variant, for the record.

    Raises:
        DataError: `out` is taken, there is nothing to vary, or nothing was admitted.
        LeakError: a parent is related to a set of `against`; nothing is written.
        PluginError: the generator raised.
    """
    scenes = list(parents)
    if not scenes:
        raise DataError("there is no scene to vary", hint="`roadworthy scenarios list` says why.")
    for other, theirs in (against or {}).items():
        require_disjoint(scenes, theirs, "variants", other)
    refused: Counter[str] = Counter()
    solvable: list[tuple[Scenario, Certificate]] = []
    others: list[tuple[Scenario, Certificate]] = []
    barren, made, unfit = [], 0, {}
    for parent in scenes:
        before = len(solvable)
        parent_name = f"{parent.source}/{parent.id}"
        try:
            variants = list(_generated(generator, name, parent, n, seed))
        except DataError as error:
            unfit[parent_name] = str(error)
            continue
        for variant in variants:
            made += 1
            try:
                admitted = admit(variant)
            except ScenarioError:
                refused["scenario"] += 1
                continue
            problems = check_variant(parent, admitted)
            if problems:
                refused.update(problems)
                continue
            certificate = solve(admitted, reaction_s, base=steady_drive(admitted))
            if recheck(admitted, certificate):
                refused["certificate"] += 1
                continue
            if certificate.clairvoyant:
                admitted = replace(admitted, tags=(*admitted.tags, "clairvoyant"))
                certificate = msgspec.structs.replace(certificate, scenario=admitted.hash)
            (solvable if certificate.solvable else others).append((admitted, certificate))
        if len(solvable) == before:
            barren.append(parent_name)
    labels = Counter(certificate.label for _, certificate in solvable + others)
    described = GeneratedSet(
        generator=name,
        options=dict(options or {}),
        seed=seed,
        reaction_s=reaction_s,
        parents=len(scenes),
        barren=tuple(barren),
        unfit=unfit,
        asked=n * len(scenes),
        made=made,
        refused=dict(sorted(refused.items())),
        labels=dict(sorted(labels.items())),
        clairvoyant=sum(certificate.clairvoyant for _, certificate in others),
        reference=reference,
        stored=len(solvable),
    )
    if not solvable:
        raise DataError(
            f"{out}: no variant was admitted: {made} made, {dict(refused)} refused, "
            f"{len(others)} unsolvable",
            hint="Ask for more variants, or milder ones.",
        )
    stored = _write(out, solvable, described)
    if others:
        proof = msgspec.structs.replace(described, stored=len(others))
        _write(unsolvable_folder(out), others, proof)
    return stored


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Where a variant comes from, and why it is hard.

    Attributes:
        scenario: its name.
        parent, generator, seed, parameters: its lineage.
        hazard: whom the base drive would meet, "" for nobody; and when that can first be foreseen
            and would come to contact, seconds after the present.
        onset_s, contact_s: of the hazard.
        manoeuvre: the weakest that survives, or `unsolvable`.
        latest_reaction_s: how late one may begin.
        reference: whether the planner tried survives, by its name.
    """

    scenario: str
    parent: str
    generator: str
    seed: int
    parameters: dict[str, object]
    hazard: str
    onset_s: float
    contact_s: float
    manoeuvre: str
    latest_reaction_s: float | None
    reference: dict[str, bool]

    @property
    def sentence(self) -> str:
        """All of it in a few words."""
        attack = self.parameters.get("attack", "variation")
        out = f"{self.scenario}: {attack} by {self.generator}, seed {self.seed}"
        if self.hazard:
            out += (
                f"; who drives on meets {self.hazard!r} after {self.contact_s:.1f} s, to be "
                f"foreseen after {self.onset_s:.1f} s"
            )
        out += f"; weakest manoeuvre {self.manoeuvre}"
        if self.latest_reaction_s is not None:
            out += f", {self.latest_reaction_s:.1f} s after it can be foreseen at the latest"
        for planner, survives in self.reference.items():
            out += f"; {planner} {'survives' if survives else 'fails'}"
        return out


def explained(folder: Path) -> Iterator[Explained]:
    """What is known of every variant in a store, in its order.

    Raises:
        DataError: no store of variants, or one without certificates.
    """
    certificates = read_certificates(folder)
    tried: dict[str, dict[str, bool]] = {}
    if (folder / TRIALS).exists():
        for line in (folder / TRIALS).read_bytes().splitlines():
            try:
                trial = msgspec.json.decode(line, type=Trial)
            except (msgspec.MsgspecError, ValueError) as error:
                raise DataError(f"{folder / TRIALS}: {error}") from error
            tried.setdefault(trial.scenario, {})[trial.planner] = trial.contact < 0
    for scene in ScenarioStore(folder).scenarios():
        if not isinstance(scene, Scenario) or scene.lineage is None:
            continue
        found = certificates.get(scene.hash)
        if found is None:
            raise DataError(f"{folder}: {scene.id} has no certificate")
        yield Explained(
            scenario=f"{scene.source}/{scene.id}",
            parent=scene.lineage.parent,
            generator=scene.lineage.generator,
            seed=scene.lineage.seed,
            parameters=scene.lineage.parameters,
            hazard="" if found.contact < 0 else scene.agents.id[found.contact_agent],
            onset_s=round(found.onset * DT, 3),
            contact_s=round(found.contact * DT, 3),
            manoeuvre=found.label,
            latest_reaction_s=found.latest_reaction_s,
            reference=tried.get(scene.hash, {}),
        )


def _generated(
    generator: Generator, name: str, parent: Scenario, n: int, seed: int
) -> Iterator[Scenario]:
    rng = random_numbers(seed, "generate", name, parent.hash)
    try:
        yield from generator.generate(parent, n, rng)
    except DataError:
        raise
    except Exception as error:  # a generator is a plugin and may raise anything
        raise PluginError(
            f"generator {name!r} failed on {parent.source}/{parent.id}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _write(
    out: Path, variants: Sequence[tuple[Scenario, Certificate]], described: GeneratedSet
) -> GeneratedSet:
    with StoreWriter(out) as store:
        for scene, _ in variants:
            store.add(scene, split=SPLIT)
    write_certificates(out, (certificate for _, certificate in variants))
    if described.reference:
        driven = drive_with(described.reference, [scene for scene, _ in variants])
        trials = [
            Trial(scenario=scene.hash, planner=described.reference, contact=drive.contact)
            for (scene, _), drive in zip(variants, driven, strict=True)
        ]
        write_file(out / TRIALS, b"".join(msgspec.json.encode(t) + b"\n" for t in trials))
        survived = sum(trial.contact < 0 for trial in trials)
        described = msgspec.structs.replace(described, survived=survived)
    text = msgspec.json.format(msgspec.json.encode(described), indent=2)
    write_file(out / MANIFEST, text + b"\n")
    return described


def _changed(parent: Scenario, variant: Scenario) -> list[int]:
    """Agents of a variant that are not, in every respect, as in its parent, as far as both last."""
    before = {name: i for i, name in enumerate(parent.agents.id)}
    old, new = parent.agents, variant.agents
    both = slice(0, min(parent.steps, variant.steps))
    found = []
    for a, name in enumerate(new.id):
        b = before.get(name)
        same = (
            b is not None
            and old.kind[b] == new.kind[a]
            and np.array_equal(old.size[b], new.size[a])
            and np.array_equal(old.valid[b, both], new.valid[a, both])
            and np.array_equal(
                old.state[b, both][old.valid[b, both]], new.state[a, both][new.valid[a, both]]
            )
        )
        if not same:
            found.append(a)
    return found


def _polygons(poses: Array, half_length: Array, half_width: Array) -> NDArray[np.object_]:
    cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    rings = np.empty((len(poses), 4, 2))
    for k, (lon, lat) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        rings[:, k, 0] = poses[:, 0] + lon * half_length * cos - lat * half_width * sin
        rings[:, k, 1] = poses[:, 1] + lon * half_length * sin + lat * half_width * cos
    return np.asarray(shapely.polygons(rings))


def _ego_box(scenario: Scenario, step: int) -> NDArray[np.object_]:
    car, pose = scenario.vehicle, scenario.ego[step, : EgoIndex.YAW + 1].copy()
    ahead = np.array([np.cos(pose[2]), np.sin(pose[2])])
    pose[:2] += car.rear_axle_to_centre * ahead
    return _polygons(pose[None], np.array([0.5 * car.length]), np.array([0.5 * car.width]))


def _pairs(scenario: Scenario, only: Sequence[int], steps: slice) -> set[tuple[str, str]]:
    """Names of agents that overlap at one of some steps, of pairs with one of `only`."""
    tracks = scenario.agents
    state, valid = tracks.state[:, steps], tracks.valid[:, steps]
    reach = 0.5 * np.hypot(tracks.size[:, 0], tracks.size[:, 1])
    found: set[tuple[str, str]] = set()
    for a in only:
        gap = np.hypot(*np.moveaxis(state[:, :, :2] - state[a, None, :, :2], 2, 0))
        close = valid & valid[a] & (gap <= (reach + reach[a])[:, None])
        close[a] = False
        others, at = np.nonzero(close)
        if not len(others):
            continue
        half = 0.5 * tracks.size[:, :2]
        own = np.full(len(at), a)
        mine = _polygons(state[a, at, :3], half[own, 0], half[own, 1])
        theirs = _polygons(state[others, at, :3], half[others, 0], half[others, 1])
        for other in np.unique(others[shapely.intersects(mine, theirs)]):
            first, second = sorted((tracks.id[a], tracks.id[int(other)]))
            found.add((first, second))
    return found


def _overlap_now(variant: Scenario, changed: Sequence[int]) -> bool:
    """Whether the ego overlaps anyone at the present, or someone changed overlaps another."""
    now, tracks = variant.start, variant.agents
    here = np.flatnonzero(tracks.valid[:, now])
    half = 0.5 * tracks.size[here, :2]
    boxes = _polygons(tracks.state[here, now, :3], half[:, 0], half[:, 1])
    if len(boxes) and shapely.intersects(boxes, _ego_box(variant, now)[0]).any():
        return True
    return bool(_pairs(variant, changed, slice(now, now + 1)))


def _collides(parent: Scenario, variant: Scenario, changed: Sequence[int]) -> bool:
    """Whether someone changed meets another agent after the present, and not so in the parent."""
    met = _pairs(variant, changed, slice(variant.start + 1, variant.steps))
    if not met:
        return False
    names = {variant.agents.id[a] for a in changed}
    same = [i for i, name in enumerate(parent.agents.id) if name in names]
    return bool(met - _pairs(parent, same, slice(parent.start, parent.steps)))


def _motion(state: Array, valid: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Largest acceleration along and across, yaw rate, and difference of step and velocity."""
    both = valid[1:] & valid[:-1]
    if not both.any():
        return 0.0, 0.0, 0.0, 0.0
    yaw = state[:, StateIndex.YAW]
    ahead = np.column_stack([np.cos(yaw), np.sin(yaw)])
    velocity = state[:, StateIndex.VX : StateIndex.VY + 1]
    speed = (velocity * ahead).sum(axis=1)
    turn = np.angle(np.exp(1j * np.diff(yaw)))
    along = np.abs(np.diff(speed)) / DT
    rate = np.abs(turn) / DT
    across = np.abs(0.5 * (speed[1:] + speed[:-1])) * rate
    mean = 0.5 * (velocity[1:] + velocity[:-1])
    drift = np.hypot(*(np.diff(state[:, :2], axis=0) - DT * mean).T)
    return tuple(float(value[both].max()) for value in (along, across, rate, drift))  # type: ignore[return-value]


def _beyond_bounds(parent: Scenario, before: int | None, variant: Scenario, agent: int) -> bool:
    bounds = BOUNDS.get(AgentKind(int(variant.agents.kind[agent])))
    if bounds is None:
        return False
    new = _motion(variant.agents.state[agent], variant.agents.valid[agent])
    most = (bounds.along, bounds.across, bounds.yaw_rate, bounds.drift)
    if before is not None:
        old = _motion(parent.agents.state[before], parent.agents.valid[before])
        most = (
            max(most[0], old[0]), max(most[1], old[1]), max(most[2], old[2]), max(most[3], old[3]),
        )  # fmt: skip
    return any(value > bound + 1e-6 for value, bound in zip(new, most, strict=True))


def _leaves_road(
    parent: Scenario, before: Mapping[str, int], variant: Scenario, changed: Sequence[int]
) -> bool:
    """Whether a changed vehicle is off the road more often than the parent had it."""
    movers = [a for a in changed if variant.agents.kind[a] == AgentKind.VEHICLE]
    if not movers:
        return False
    tree = shapely.STRtree([polygon_of(ring) for ring in road_rings(variant.map)])
    for a in movers:
        off = _off_road(tree, variant.agents.state[a], variant.agents.valid[a])
        b = before.get(variant.agents.id[a])
        if off and (
            b is None or not _off_road(tree, parent.agents.state[b], parent.agents.valid[b])
        ):
            return True
    return False


def _off_road(tree: shapely.STRtree, state: Array, valid: NDArray[np.bool_]) -> bool:
    points = shapely.points(state[valid, :2])
    return len(np.unique(tree.query(points, predicate="dwithin", distance=_KERB)[0])) < len(points)
