"""One page of a set of hard cases: what was made, how hard it is, how real, and how it looks."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

import roadworthy
from roadworthy.errors import RunError
from roadworthy.mining import MinedSet
from roadworthy.plainfile import read_plain
from roadworthy.replay import Replay
from roadworthy.report.maps import MapCrop
from roadworthy.report.mined import mined_rows, mined_words
from roadworthy.report.numbers import format_value
from roadworthy.report.page import render
from roadworthy.report.payload import inert_json
from roadworthy.report.plots import histogram
from roadworthy.report.realism import realism
from roadworthy.report.replays import encode_replay
from roadworthy.report.scenes import log_replay
from roadworthy.report.severity import Dial, dial_of, dial_rows, draw_dial
from roadworthy.scenario import DT, HISTORY, AgentKind, Scenario
from roadworthy.scenario_store import ScenarioStore
from roadworthy.solvability import Certificate, read_certificates
from roadworthy.solvability.certificate import CERTIFICATES, Manoeuvre
from roadworthy.stats import interval_of_ratios
from roadworthy.store import write_file
from roadworthy.variants import (
    GeneratedSet,
    changed_agents,
    read_generated,
    read_trials,
    unsolvable_folder,
)

__all__ = ["is_hard_set", "write_hard_cases"]

BUDGET = 8_000_000
"""Bytes of the page that replays may take."""
_STYLES = ("base.css", "parts.css", "player.css", "phone.css")
_SCRIPTS = (
    "base.js",
    "decode.js",
    "motion.js",
    "picture.js",
    "traces.js",
    "player.js",
    "case.js",
    "gallery.js",
    "variants.js",
)
_FEW = 5
_DRIVES = ("drives on", "parent", "a way out")
_KINDS = {AgentKind.VEHICLE: "vehicle", AgentKind.PEDESTRIAN: "pedestrian",
          AgentKind.BICYCLE: "bicycle"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Variant:
    """A stored variant.

    Attributes:
        scene, certificate: of it.
        parent: what it was made from, where it is at hand.
        survives: planner tried -> whether it met nobody.
    """

    scene: Scenario
    certificate: Certificate
    parent: Scenario | None
    survives: Mapping[str, bool]

    @property
    def told(self) -> Mapping[str, Any]:
        """What its generator says of it."""
        return self.scene.lineage.parameters if self.scene.lineage else {}

    @property
    def attack(self) -> str:
        """What was done to make it hard."""
        return str(self.told.get("attack", "variation")).replace("_", " ")

    @property
    def root(self) -> str:
        """Its parent's hash."""
        return self.scene.lineage.parent if self.scene.lineage else ""

    @property
    def severity(self) -> float | None:
        """Where the generator's dial stood."""
        options = self.told.get("options")
        value = options.get("severity") if isinstance(options, Mapping) else None
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def hazard(self) -> str:
        """Whom who drives on would meet."""
        agent = self.certificate.contact_agent
        if self.certificate.contact < 0:
            return "nobody"
        return _KINDS.get(AgentKind(int(self.scene.agents.kind[agent])), "object")


def is_hard_set(folder: Path) -> bool:
    """Whether a folder is a store of variants."""
    return (folder / CERTIFICATES).is_file()


def write_hard_cases(
    stores: Sequence[Path],
    out: Path,
    *,
    parents: Iterable[Scenario] = (),
    mined: Sequence[MinedSet] = (),
    figures: Path | None = None,
    title: str = "",
    plays: int = 24,
) -> Path:
    """Write `report.html` of stores that `roadworthy generate` made.

    Args:
        stores: folders with `certificates.jsonl`; what is not solvable is found beside each.
        out: where to write it, made if need be.
        parents: scenes among which the variants' parents are looked up.
        mined: what these were mined for.
        figures: folder of `python -m roadworthy_generators.behaviour.figures`, to show its table
            and the curve of its dial.
        title: of the page.
        plays: how many variants are played at most.

    Raises:
        DataError: a store is none of variants, or damaged.
        RunError: the page cannot be written.
    """
    known = {scene.hash: scene for scene in parents}
    sets = [read_generated(store) for store in stores]
    variants = [v for store in stores for v in _read(store, known)]
    apart = [v for store in stores if is_hard_set(unsolvable_folder(store))
             for v in _read(unsolvable_folder(store), known)]  # fmt: skip
    order = _turn_about(variants)
    blobs, replays = _replays(order, plays)
    cases = [_case(i, v) for i, v in order if f"v{i}" in replays]
    data = {
        "entries": [{"label": label} for label in _DRIVES],
        "columns": [],
        "primary": -1,
        "cases": cases,
        "worst": list(range(len(cases))),
        "replays": replays,
        "texts": [],
    }
    dials = [dial for dial in (_dial(variants),) if dial]
    rows = dial_rows(figures) if figures else []
    dials += [dial_of(rows, fails, of, words) for fails, of, words in _dial_columns(rows)]
    page = render(
        "hard-cases.html",
        _STYLES,
        _SCRIPTS,
        title=title or f"Hard cases: {', '.join(store.name for store in stores)}",
        version=roadworthy.__version__,
        sets=list(zip((store.name for store in stores), sets, strict=True)),
        totals=_totals(sets, variants, apart),
        references=sorted({name for v in variants for name in v.survives}),
        manoeuvres=[m.name.lower().replace("_", " ") for m in Manoeuvre],
        attacks=list(_attacks(variants, apart)),
        mined=mined_rows(mined),
        mined_words=mined_words(mined),
        plots=list(_plots(variants)),
        realism=realism([(v.scene, v.parent, _adversaries(v)) for v in variants if v.parent]),
        dials=[(dial, draw_dial(dial)) for dial in dials],
        table=_figures_table(figures) if figures else [],
        rows=[_row(i, v, f"v{i}" in replays) for i, v in enumerate(variants)],
        shown=len(cases),
        with_parents=sum(v.parent is not None for v in variants),
        data=Markup(inert_json(data)),
        blobs=[Markup(blob) for blob in blobs],
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}") from error
    write_file(out / "report.html", page.encode(errors="replace"))
    return out / "report.html"


def _read(store: Path, parents: Mapping[str, Scenario]) -> Iterator[_Variant]:
    certificates, tried = read_certificates(store), read_trials(store)
    for scene in ScenarioStore(store).scenarios():
        if isinstance(scene, Scenario) and scene.hash in certificates:
            parent = parents.get(scene.lineage.parent) if scene.lineage else None
            found = certificates[scene.hash]
            yield _Variant(scene, found, parent, tried.get(scene.hash, {}))


# Counts


def _totals(
    sets: Sequence[GeneratedSet], variants: Sequence[_Variant], apart: Sequence[_Variant]
) -> list[tuple[str, str, str]]:
    """(number, what, note) of the whole."""
    refused: Counter[str] = Counter()
    for one in sets:
        refused.update(one.refused)
    words = ", ".join(f"{n} {word.replace('_', ' ')}" for word, n in sorted(refused.items()))
    made, parents = sum(one.made for one in sets), sum(one.parents for one in sets)
    clairvoyant = sum(v.certificate.clairvoyant for v in apart)
    barren = sum(len(one.barren) for one in sets)
    return [
        (str(len(variants)), "certified", f"of {made} made"),
        (str(parents), "scenes varied", f"{barren} of them without a variant" if barren else ""),
        (str(sum(refused.values())), "refused", words),
        (str(len(apart)), "not solvable, kept apart",
         f"{clairvoyant} of them for a clairvoyant alone" if clairvoyant else ""),
    ]  # fmt: skip


def _attacks(variants: Sequence[_Variant], apart: Sequence[_Variant]) -> Iterator[dict[str, Any]]:
    """A row per kind of attack, the most frequent first, and one of all."""
    kinds = Counter(v.attack for v in (*variants, *apart))
    for kind in [*(kind for kind, _ in kinds.most_common()), "all"]:
        some = [v for v in variants if kind in (v.attack, "all")]
        other = [v for v in apart if kind in (v.attack, "all")]
        labels = Counter(v.certificate.label for v in some)
        late = [v.certificate.latest_reaction_s for v in some]
        known = [x for x in late if x is not None]
        yield {
            "kind": kind,
            "count": len(some),
            "labels": [labels[m.name.lower()] for m in Manoeuvre],
            "unsolvable": len(other),
            "clairvoyant": sum(v.certificate.clairvoyant for v in other),
            "late": format_value(float(np.median(known))) if known else "–",
            "survives": [
                _share([(v.root, v.survives[name]) for v in some if name in v.survives])
                for name in sorted({n for v in variants for n in v.survives})
            ],
        }


def _share(outcomes: Sequence[tuple[str, bool]]) -> tuple[str, str]:
    """A share and its interval, parents resampled, in words; of few parents no interval."""
    if not outcomes:
        return "–", ""
    roots = sorted({root for root, _ in outcomes})
    share = format_value(sum(good for _, good in outcomes) / len(outcomes))
    if len(roots) < _FEW:
        return share, ""
    yes = [[sum(good for root, good in outcomes if root == one)] for one in roots]
    all_of = [[sum(root == one for root, _ in outcomes)] for one in roots]
    found = interval_of_ratios(np.array(yes, np.float64), np.array(all_of, np.float64))[0]
    low, high = max(0.0, found.low), min(1.0, found.high)
    return share, f"{format_value(low)} to {format_value(high)}"


def _plots(variants: Sequence[_Variant]) -> Iterator[tuple[str, str, Markup]]:
    """(title, unit, picture) of what the certificates say."""
    columns = {
        "Latest reaction that survives": [v.certificate.latest_reaction_s for v in variants],
        "From foreseeable to contact": [v.certificate.time_to_contact_s for v in variants],
    }
    for title, values in columns.items():
        known = np.array([x for x in values if x is not None], np.float64)
        if len(known):
            yield title, "s", histogram(title, ["variants"], [known], of="variants")


def _dial(variants: Sequence[_Variant]) -> Dial | None:
    """Of the stores themselves: where they were made at several severities, and a planner tried."""
    rows = [
        {"scene": v.root, "severity": v.severity, "tried": len(v.survives),
         "fails": sum(not good for good in v.survives.values())}
        for v in variants if v.severity is not None
    ]  # fmt: skip
    if len({row["severity"] for row in rows}) < 2 or not any(row["tried"] for row in rows):
        return None
    names = " and ".join(sorted({name for v in variants for name in v.survives}))
    return dial_of(rows, "fails", "tried", f"{names} fails, of what is certified here")


def _dial_columns(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Of the figures: (numerator, denominator, words) of each curve."""
    if not rows:
        return
    yield "fails", "fit", "the planner aimed at fails, of all that is fit"
    for key in sorted(k for k in rows[0] if k.startswith("certified_")):
        seconds = key.removeprefix("certified_")
        yield f"fails_{seconds}", key, f"it fails, of what is certified at {seconds} s"


def _figures_table(folder: Path) -> list[list[str]]:
    """The first table of `figures.md`, its head first; nothing if it is not there."""
    try:
        lines = read_plain(folder / "figures.md").decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    begin = next((i for i, line in enumerate(lines) if line.startswith("| ")), len(lines))
    table = itertools.takewhile(lambda line: line.startswith("|"), lines[begin:])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return [row for i, row in enumerate(rows) if i != 1]  # the second is the rule below the head


def _row(i: int, v: _Variant, plays: bool) -> dict[str, Any]:
    found = v.certificate
    return {
        "id": f"v{i}" if plays else "",
        "name": v.scene.id,
        "attack": v.attack,
        "manoeuvre": found.label.replace("_", " "),
        "hazard": v.hazard,
        "foreseeable": f"{found.onset * DT:.1f}" if found.contact >= 0 else "–",
        "contact": f"{found.contact * DT:.1f}" if found.contact >= 0 else "–",
        "latest": format_value(found.latest_reaction_s),
        "severity": "–" if v.severity is None else f"{v.severity:g}",
        "survives": ", ".join(
            f"{name} {'survives' if good else 'fails'}" for name, good in v.survives.items()
        ),
    }


# Replays


def _turn_about(variants: Sequence[_Variant]) -> list[tuple[int, _Variant]]:
    """All of them with their places, kinds of attack taking turns."""
    turn: Counter[str] = Counter()
    order = []
    for i, v in enumerate(variants):
        order.append((turn[v.attack], i, v))
        turn[v.attack] += 1
    return [(i, v) for _, i, v in sorted(order, key=lambda one: one[:2])]


def _replays(
    ordered: Sequence[tuple[int, _Variant]], plays: int
) -> tuple[list[str], dict[str, Any]]:
    """Blobs, and id -> {map, runs}: who drives on, the parent, a way out."""
    blobs: list[str] = []
    crops: dict[str, MapCrop] = {}
    chosen: dict[str, Any] = {}
    spent = 0
    for i, v in ordered[:plays]:
        scene = v.scene
        crop = crops.setdefault(scene.map.hash, MapCrop(scene.map))
        drives = [_driven(v, _base(v)), None, None]
        if v.parent is not None and v.parent.map.hash == scene.map.hash:
            drives[1] = _cut(log_replay(v.parent), *_span(scene))
        if v.certificate.weakest is not None:
            drives[2] = _driven(v, v.certificate.weakest.drive(_base(v)))
        named = {v.certificate.contact_agent, *_adversaries(v)}
        runs: list[list[int] | None] = []
        for drive in drives:
            if drive is None:
                runs.append(None)
                continue
            spent += crop.cover(drive.ego[:, :2])
            made = encode_replay(drive, crop, named)
            spent += sum(len(blob) for blob in made)
            runs.append(list(range(len(blobs), len(blobs) + len(made))))
            blobs += made
        chosen[f"v{i}"] = {"map": scene.map.hash, "runs": runs}
        if spent > BUDGET:
            break
    places = {}
    for name in dict.fromkeys(entry["map"] for entry in chosen.values()):
        places[name] = len(blobs)
        blobs.append(crops[name].encode())
    for entry in chosen.values():
        entry["map"] = places[entry["map"]]
    return blobs, chosen


def _span(scene: Scenario) -> tuple[int, int]:
    """From the present's history on to the end, as steps of the log."""
    return max(0, scene.start + 1 - HISTORY), scene.steps


def _base(v: _Variant) -> NDArray[np.float64]:
    """[N, 4] from the present on: x, y, yaw, speed of who drives on."""
    if v.certificate.base:
        return np.array(v.certificate.base)
    return v.scene.ego[v.scene.start :, :4]


def _driven(v: _Variant, drive: NDArray[np.float64]) -> Replay:
    """The variant with another ego."""
    scene = v.scene
    ego = scene.ego.copy()
    end = min(scene.steps, scene.start + len(drive))
    ego[scene.start : end, :4] = drive[: end - scene.start]
    begin, _ = _span(scene)
    return _cut(replace(log_replay(scene), ego=ego), begin, end)


def _cut(replay: Replay, begin: int, end: int) -> Replay:
    span = slice(begin, end)
    return replace(
        replay,
        ego=replay.ego[span],
        ego_log=replay.ego_log[span],
        agents=replay.agents[:, span],
        agents_valid=replay.agents_valid[:, span],
        signals=replay.signals[:, span],
    )


def _adversaries(v: _Variant) -> list[int]:
    """Who was changed against the ego: whom the lineage names, else whoever is not as before."""
    name = v.told.get("adversary")
    if name in v.scene.agents.id:
        return [v.scene.agents.id.index(str(name))]
    return changed_agents(v.parent, v.scene) if v.parent is not None else []


def _case(i: int, v: _Variant) -> dict[str, Any]:
    """What the page's script is told of a variant that it can play."""
    found, scene = v.certificate, v.scene
    now = scene.start - _span(scene)[0]
    events = []
    if found.contact >= 0:
        whom = found.contact_agent
        events = [
            {"kind": "can be foreseen", "step": now + found.onset, "agent": -1, "near": True},
            {"kind": "contact", "step": now + found.contact, "agent": whom, "near": False},
        ]
    on: dict[str, Any] = {"word": "meets nobody", "r": [], "e": events, "v": []}
    if found.contact >= 0:
        text = f"meets a {v.hazard} after {found.contact * DT:.1f} s"
        on |= {"word": "meets someone", "r": [["fail", text, now + found.contact]]}
    way: dict[str, Any] | None = None
    if found.weakest is not None:
        acts = {"kind": found.label, "step": now + found.weakest.begin, "agent": -1, "near": True}
        words = found.label.replace("_", " ")
        way = {"word": words, "r": [], "e": [*events[:1], acts] if found.contact >= 0 else [],
               "v": []}  # fmt: skip
    facts = [[name.capitalize(), value] for name, value in _row(i, v, plays=True).items()
             if name not in ("id", "name", "survives") and value]  # fmt: skip
    facts += [[f"Tried by {name}", "survives" if good else "fails"]
              for name, good in v.survives.items()]  # fmt: skip
    facts += [["The present", f"{now * DT:.1f} s"], ["Tags", ", ".join(scene.tags)],
              ["Scenario hash", scene.hash], ["Parent's hash", v.root]]  # fmt: skip
    return {
        "id": f"v{i}",
        "name": scene.id,
        "source": f"{scene.source}: {v.attack}",
        "rep": 0,
        "seed": str(scene.lineage.seed) if scene.lineage else "",
        "hash": scene.hash,
        "key": scene.hash,
        "tags": list(scene.tags),
        "facts": facts,
        "results": [
            on,
            {"word": "as logged", "r": [], "v": []} if v.parent is not None else None,
            way,
        ],
    }
