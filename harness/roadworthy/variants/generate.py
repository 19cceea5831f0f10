"""A set of variants: made, checked, certified, and stored with the proof."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from roadworthy.admission import admit
from roadworthy.errors import DataError, PluginError, ScenarioError
from roadworthy.execution.pool import in_order
from roadworthy.foreign import drawn, message_of, plain
from roadworthy.plainfile import read_plain
from roadworthy.plugins import registry
from roadworthy.protocols import Generator
from roadworthy.scenario import Scenario
from roadworthy.scenario_store import StoreWriter, require_free
from roadworthy.seeding import generator as random_numbers
from roadworthy.solvability import (
    REACTION_S,
    Certificate,
    recheck,
    solve,
    steady_drive,
    write_certificates,
)
from roadworthy.splits import require_disjoint
from roadworthy.store import write_file
from roadworthy.trial import Driven, try_out
from roadworthy.variants.checks import check_variant

__all__ = [
    "MANIFEST",
    "SPLIT",
    "TRIALS",
    "GeneratedSet",
    "Trial",
    "generate_set",
    "read_generated",
    "read_trials",
    "unsolvable_folder",
]

MANIFEST = "generation.json"
TRIALS = "trials.jsonl"
SPLIT = "variants"
"""The split that variants get in the store."""
_WORTH_A_WORKER = 8
"""Parents for which it pays to begin a process."""


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
        untried: in how many of the stored ones it failed with an error; they have no trial.
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
    untried: int = 0
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


def read_generated(folder: Path) -> GeneratedSet:
    """What is said of a store of variants.

    Raises:
        DataError: it is no such store, or damaged.
    """
    try:
        return msgspec.json.decode(read_plain(folder / MANIFEST), type=GeneratedSet)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(
            f"{folder / MANIFEST}: {error}", hint="`roadworthy generate` makes stores of variants."
        ) from error


def read_trials(folder: Path) -> dict[str, dict[str, bool]]:
    """Scene hash -> planner -> whether it met nobody; empty where none was tried.

    Raises:
        DataError: the file is damaged.
    """
    tried: dict[str, dict[str, bool]] = {}
    try:
        for line in read_plain(folder / TRIALS).splitlines():
            trial = msgspec.json.decode(line, type=Trial)
            tried.setdefault(trial.scenario, {})[trial.planner] = trial.contact < 0
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"{folder / TRIALS}: {error}") from error
    return tried


def unsolvable_folder(out: Path) -> Path:
    """Where what is not solvable is kept: beside the store, never in it."""
    return out.with_name(f"{out.name}-unsolvable")


def generate_set(
    parents: Iterable[Scenario],
    build: Callable[[], Generator],
    name: str,
    n: int,
    seed: int,
    out: Path,
    *,
    options: Mapping[str, object] | None = None,
    reaction_s: float = REACTION_S,
    against: Mapping[str, Iterable[Scenario]] | None = None,
    reference: str = "",
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GeneratedSet:
    """Vary scenes, and store what is admitted with its certificates.

    Solvable variants go to `out`, others to `unsolvable_folder(out)`; each folder is a store with
    `certificates.jsonl` and `generation.json`. The same seed gives the same bytes.

    Args:
        parents: admitted scenes.
        build: makes the generator, which makes variants of one scene.
        name: its name.
        n: how many variants of each parent to ask for.
        seed: each parent's random numbers come from this and its content hash.
        out: the store to make.
        options: the generator's, for the record.
        reaction_s: of the certificates.
        against: sets by name that will be evaluated on: no parent may be related to them.
        reference: a planner that is tried on each variant, for the record.
        workers: at most so many processes make variants, one for eight parents, each with a
            generator of its own: see `execution.pool.in_order` for what `build` must be then. Their
            number changes no byte.
        progress: told after each parent how many of how many have been varied.

    Raises:
        DataError: `out` or its folder of unsolvable ones is taken, there is nothing to vary, or
            nothing was admitted.
        LeakError: a parent is related to a set of `against`; nothing is written.
        PluginError: the generator raised, or there is no such reference.
    """
    require_free(out)
    require_free(unsolvable_folder(out))
    if reference:
        registry().resolve("planners", reference)  # so that a wrong name is said before any work
    scenes = list(parents)
    if not scenes:
        raise DataError("there is no scene to vary", hint="`roadworthy scenarios list` says why.")
    for other, theirs in (against or {}).items():
        require_disjoint(scenes, theirs, "variants", other)
    refused: Counter[str] = Counter()
    solvable: list[tuple[Scenario, Certificate]] = []
    others: list[tuple[Scenario, Certificate]] = []
    barren, made, unfit = [], 0, {}
    vary = functools.partial(_vary, name=name, n=n, seed=seed, reaction_s=reaction_s)
    workers = max(1, min(workers, len(scenes) // _WORTH_A_WORKER))
    results = in_order(build, vary, scenes, workers)
    for done, (parent, varied) in enumerate(zip(scenes, results, strict=True), 1):
        progress(done, len(scenes))
        parent_name = f"{parent.source}/{parent.id}"
        if varied.unfit:
            unfit[parent_name] = varied.unfit
            continue
        made += varied.made
        refused.update(varied.refused)
        for scene, certificate in varied.admitted:
            if scene.map is not parent.map:  # it was made in another process, and is a copy
                scene = replace(scene, map=parent.map)
            (solvable if certificate.solvable else others).append((scene, certificate))
        if not any(certificate.solvable for _, certificate in varied.admitted):
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


@dataclass(frozen=True)
class _Varied:
    """What came of one parent.

    Attributes:
        made: how many variants the generator gave.
        refused: how many of them for which reason.
        admitted: the others, each with its certificate.
        unfit: why the generator would not vary it.
    """

    made: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    admitted: Sequence[tuple[Scenario, Certificate]] = ()
    unfit: str = ""


def _vary(
    generator: Generator, parent: Scenario, name: str, n: int, seed: int, reaction_s: float
) -> _Varied:
    """Vary one scene, and check and certify what comes of it."""
    try:
        variants = list(_generated(generator, name, parent, n, seed))
    except DataError as error:
        return _Varied(unfit=str(error))
    refused: Counter[str] = Counter()
    found: list[tuple[Scenario, Certificate]] = []
    for variant in variants:
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
        found.append((admitted, certificate))
    return _Varied(len(variants), refused, found)


def _generated(
    generator: Generator, name: str, parent: Scenario, n: int, seed: int
) -> Iterator[Scenario]:
    """The first `n` variants that the generator gives."""
    rng = random_numbers(seed, "generate", name, parent.hash)
    failed = f"generator {name!r} failed on {parent.source}/{parent.id}: "

    def fault(error: BaseException) -> PluginError:
        return PluginError(f"{failed}{type(error).__name__}: {message_of(error)}")

    for scene in itertools.islice(drawn(lambda: generator.generate(parent, n, rng), fault), n):
        if not isinstance(scene, Scenario):
            raise PluginError(
                f"{failed}it gave {plain(repr(scene))}",
                hint="generate() has to give roadworthy.Scenario, at most n of them.",
            )
        yield scene


def _write(
    out: Path, variants: Sequence[tuple[Scenario, Certificate]], described: GeneratedSet
) -> GeneratedSet:
    scenes = [scene for scene, _ in variants]
    trials: list[Trial] = []
    if described.reference:
        driven = zip(scenes, try_out(described.reference, scenes), strict=True)
        trials = [
            Trial(scenario=scene.hash, planner=described.reference, contact=drive.contact)
            for scene, drive in driven
            if isinstance(drive, Driven)
        ]
        described = msgspec.structs.replace(
            described,
            survived=sum(trial.contact < 0 for trial in trials),
            untried=len(scenes) - len(trials),
        )
    with StoreWriter(out) as store:
        for scene in scenes:
            store.add(scene, split=SPLIT)
    write_certificates(out, (certificate for _, certificate in variants))
    if described.reference:
        write_file(out / TRIALS, b"".join(msgspec.json.encode(t) + b"\n" for t in trials))
    text = msgspec.json.format(msgspec.json.encode(described), indent=2)
    write_file(out / MANIFEST, text + b"\n")
    return described
