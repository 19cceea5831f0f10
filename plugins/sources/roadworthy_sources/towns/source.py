"""The source: a numbered sequence of drives through towns, any of which is made on its own."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from roadworthy.admission import admit
from roadworthy.errors import ScenarioError, SuiteError, did_you_mean
from roadworthy.scenario import Lineage, Rejected, Scenario
from roadworthy.seeding import generator

from roadworthy_sources.towns.expert import log_expert
from roadworthy_sources.towns.log import Log, run_log
from roadworthy_sources.towns.people import Draw
from roadworthy_sources.towns.rare import KINDS, Event, actors, bites, far_from, happen, plan_event
from roadworthy_sources.towns.scenes import FEATURES, Drive, cut, drives, features, judge
from roadworthy_sources.towns.town import Town, make_town

__all__ = ["Towns"]

Distribution = Literal["common", "rare", "mixed"]
Split = Literal["train", "validation", "mining", "test"]

MAX_COUNT = 10_000_000
RARE_SHARE = 0.015
"""Share of the logs in which something rare happens, with "mixed"."""
_ATTEMPTS = 40
_TOWN_ATTEMPTS = 8
_PATIENCE = 6
_TOWNS_KEPT = 64
_LOGS_KEPT = 4

_Found = tuple[Log, Drive, tuple[str, ...], frozenset[int]]


class Towns:
    """Drives through procedural towns: equal arguments, equal bytes, on any machine.

    Scenario i depends on i and the arguments other than `count` alone, and is made without those
    before it, but for those of its log: `per_log` scenarios share one. Logs take turns among the
    towns; where a town has no drive of the wanted kind, the next one helps out. Splits have no
    town in common.

    Everyone drives by IDM and MOBIL and minds the right of way, with tempers and errors of their
    own; the ego is driven by PDM-Closed with an unsteady hand (see `expert`), or, in rare scenes
    that PDM-Closed does not survive, by a manoeuvre that does.

    Tags are "towns", "common" or "rare", the rare kind, what the ego meets (see `features`),
    `log:SPLIT-SEED-TOWN-N`, `split:NAME`, "solvable" or "unsolvable", "pdm-closed:survives" or
    "pdm-closed:fails", `expert:` with who drove the logged ego, and `evasion:` with the weakest
    manoeuvre that suffices where that is not PDM-Closed.

    Args:
        seed: any non-negative number.
        count: how many scenarios.
        split: "train", "validation", "mining" or "test".
        distribution: "common", "rare", or "mixed": 1.5 % of the logs are rare.
        features: keep drives that meet one of these; default any.
        towns: how many towns the split has.
        per_log: scenarios that are cut out of one log. They share its traffic, and count as one
            where it is judged how sure a mean is; fewer make more logs of as many scenarios.
        solvable_only: leave out scenarios that neither PDM-Closed nor a driver of the town nor
            any manoeuvre of `roadworthy.solvability` survives.

    Raises:
        SuiteError: an argument is out of range or unknown.
    """

    def __init__(
        self,
        seed: int = 0,
        count: int = 20,
        split: Split = "train",
        distribution: Distribution = "mixed",
        features: Sequence[str] | None = None,
        towns: int = 50,
        per_log: int = 5,
        solvable_only: bool = True,
    ) -> None:
        if not 0 <= seed < 2**64:
            raise SuiteError(f"towns: seed is {seed}", hint="Give 0 to 2**64 - 1.")
        if not 0 < count <= MAX_COUNT:
            raise SuiteError(f"towns: count is {count}", hint=f"Give 1 to {MAX_COUNT}.")
        if not 0 < towns <= 100_000:
            raise SuiteError(f"towns: towns is {towns}", hint="Give 1 to 100000.")
        if not 0 < per_log <= 20:
            raise SuiteError(f"towns: per_log is {per_log}", hint="Give 1 to 20.")
        for name, value, known in (
            ("split", split, get_args(Split)),
            ("distribution", distribution, get_args(Distribution)),
        ):
            if value not in known:
                raise SuiteError(f"towns: {name} is {value!r}", hint=did_you_mean(value, known))
        wanted = FEATURES if features is None else tuple(features)
        for name in wanted:
            if name not in FEATURES:
                raise SuiteError(
                    f"towns: unknown feature {name!r}", hint=did_you_mean(name, FEATURES)
                )
        if not wanted:
            raise SuiteError("towns: features is empty", hint=f"Known: {', '.join(FEATURES)}.")
        self.seed = seed
        self.count = count
        self.split = split
        self.distribution = distribution
        self.features = wanted
        self.towns = towns
        self.per_log = per_log
        self.solvable_only = solvable_only
        self._towns: OrderedDict[int, Town] = OrderedDict()
        self._logs: OrderedDict[int, list[Scenario]] = OrderedDict()

    def __len__(self) -> int:
        return self.count

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Admitted scenarios in order."""
        for index in range(self.count):
            yield self.scenario(index)

    def town(self, number: int) -> Town:
        """Town `number` of the split; the last few dozen are kept."""
        if number not in self._towns:
            self._towns[number] = make_town(self.seed, self.split, number)
        self._towns.move_to_end(number)
        while len(self._towns) > _TOWNS_KEPT:
            self._towns.popitem(last=False)
        return self._towns[number]

    def scenario(self, index: int) -> Scenario | Rejected:
        """Scenario number `index`, made on its own."""
        at, slot = divmod(index, self.per_log)
        if at not in self._logs:
            self._logs[at] = self._log(at)
            while len(self._logs) > _LOGS_KEPT:
                self._logs.popitem(last=False)
        made = self._logs[at]
        if slot < len(made):
            return made[slot]
        name = self._name(index)
        error = ScenarioError(
            f"scenario {name!r}: none of {_ATTEMPTS} logs has such a drive",
            hint="Choose another seed, or more features.",
        )
        return Rejected(name, "towns", type(error).__name__, str(error))

    def _name(self, index: int) -> str:
        kind = "" if self.distribution == "mixed" else f"{self.distribution}-"
        return f"towns-{kind}{self.split}-{self.seed}-{index:07d}"

    def is_rare(self, at: int) -> bool:
        """Whether something rare happens in log `at`."""
        if self.distribution != "mixed":
            return self.distribution == "rare"
        town, turn = at % self.towns, at // self.towns
        return bool(generator(self.seed, "rare", self.split, town, turn).random() < RARE_SHARE)

    def _log(self, at: int) -> list[Scenario]:
        """The scenarios of log `at`."""
        first, turn = at % self.towns, at // self.towns
        rare = self.is_rare(at)
        made: list[Scenario] = []
        for attempt in range(_ATTEMPTS):
            number = (first + attempt // _TOWN_ATTEMPTS) % self.towns
            town = self.town(number)
            rng = generator(self.seed, "log", self.split, number, turn, attempt)
            log = run_log(town, rng)
            lineage = Lineage("", "towns", self.seed, {"log": at, "attempt": attempt})
            tags = (f"log:{self.split}-{self.seed}-{number}-{turn}", f"split:{self.split}")
            found = (
                self._rare(
                    log, rng, at * self.per_log + len(made), self.per_log - len(made), attempt
                )
                if rare
                else self._common(log, rng)
            )
            while some := list(itertools.islice(found, self.per_log - len(made))):
                drafts = [
                    cut(driven, drive, "draft", ("towns", *words, *tags), scripted)
                    for driven, drive, words, scripted in some
                ]
                hands = [
                    Draw(generator(self.seed, "hand", self.split, number, turn, attempt, d.agent))
                    for _, d, _, _ in some
                ]
                harmed = [drive.harmed for _, drive, _, _ in some]
                for logged in log_expert(town, drafts, harmed, hands):
                    if logged is None or (self.solvable_only and "unsolvable" in logged.tags):
                        continue
                    name = self._name(at * self.per_log + len(made))
                    made.append(admit(replace(logged, id=name, lineage=lineage)))
            if len(made) >= self.per_log:
                break
        return made

    def _common(self, log: Log, rng: np.random.Generator) -> Iterator[_Found]:
        """Drives in which nothing happens."""
        candidates = drives(log)
        for k in rng.permutation(len(candidates)):
            drive = judge(log, candidates[int(k)], "common")
            met = () if drive is None else features(log, drive)
            if drive is not None and set(met) & set(self.features):
                yield log, drive, ("common", *met), frozenset()

    def _rare(
        self, log: Log, rng: np.random.Generator, first: int, wanted: int, attempt: int
    ) -> Iterator[_Found]:
        """Up to `wanted` drives with an event each, their kinds in turn; after some attempts any
        kind will do. Events of one log are far apart."""
        draw = Draw(rng)
        candidates = drives(log)
        candidates = [candidates[int(k)] for k in rng.permutation(len(candidates))]
        names = list(KINDS)
        events: list[Event] = []
        for slot in range(first, first + wanted):
            kind = names[slot % len(names)]
            kinds = [kind] if attempt < _PATIENCE else [kind, *names]
            event = next(
                (
                    event
                    for name in kinds
                    for agent in candidates
                    if far_from(log, agent, events)
                    and (event := plan_event(log, agent, name, draw)) is not None
                ),
                None,
            )
            if event is not None:
                events.append(event)
        if not events:
            return
        driven = happen(log, events, draw)
        for event in events:
            drive = judge(driven, event.ego, "rare") if bites(log, driven, event) else None
            met = () if drive is None else features(driven, drive)
            who = frozenset(actors(driven, event))
            if drive is not None and set(met) & set(self.features) and who & set(drive.others):
                yield driven, drive, ("rare", event.kind, *met), who
