"""Finds out which source reads what a user named.

A source that reads files may offer a class method

    def recognises(cls, path: Path) -> bool

which says, from names and at most a few bytes, whether `path` (a file or a folder) is one
thing of its format: a log, a scenario file, a map, a store. It reads with the option `path`.
Saying yes promises an attempt, not success: a damaged file is better recognised, and then
refused with a reason, than passed over.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roadworthy.admission import admit
from roadworthy.errors import (
    DataError,
    PluginError,
    RoadworthyError,
    ScenarioError,
    did_you_mean,
)
from roadworthy.execution.pool import in_order
from roadworthy.foreign import message_of, plain
from roadworthy.plugins import Entry, FactorySpec, Registry, registry
from roadworthy.resolved import find_source
from roadworthy.scenario import Rejected, Scenario
from roadworthy.suite import load_suite

__all__ = [
    "LeftOut",
    "find_sources",
    "read_numbered",
    "read_scenes",
    "scenes_named",
    "scenes_to_keep_off",
]

_DEEPEST = 12
_PART = 20
"""Scenes that a worker makes at a time."""
_PAPERS = ("README", "LICENSE", "LICENCE", "COPYING", "CITATION")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Files that no source reads, or a source of a suite that cannot be read.

    Attributes:
        path: the file, the folder of such files, or what the suite names.
        reason: in words.
    """

    path: str
    reason: str


def find_sources(
    subject: str, options: Mapping[str, Any], data: Path | None
) -> Iterator[FactorySpec | LeftOut]:
    """The sources that read what was named, in the order of names below a folder.

    Args:
        subject: a registered source or the address of one, a suite, or a file or folder.
        options: for the sources.
        data: where a path is looked for that is not found here.

    Raises:
        RoadworthyError: nothing of that name, or a suite that cannot be used.
    """
    plugins = registry()
    path = _located(subject, data)
    if subject in plugins.names("sources") or (":" in subject and path is None):
        yield _named(subject, options, data, plugins)
    elif path is None:
        raise DataError(
            f"{subject}: no source, suite, file or folder of that name",
            hint=did_you_mean(subject, plugins.names("sources"))
            + " A folder of data is looked for here, and in --data DIR or ROADWORTHY_DATA.",
        )
    elif path.suffix == ".toml":
        yield from _of_suite(path, options, data)
    else:
        yield from _Walk(options, plugins).below(path)


def read_scenes(spec: FactorySpec) -> Iterator[Scenario | Rejected]:
    """A source's scenes, admitted. What goes wrong is the last scene, `Rejected`.

    Raises:
        PluginError: the source cannot be made with its options.
    """
    try:
        for scene in spec.build().scenarios():
            yield _admitted(scene) if isinstance(scene, Scenario) else scene
    except PluginError:
        raise
    except (Exception, SystemExit) as error:  # a source is a plugin and may raise anything
        name = Path(str(spec.options.get("path", spec.entry.name))).name
        yield _rejected(name, spec.entry.name, error)


def scenes_named(subjects: Sequence[str], data: Path | None) -> Iterator[Scenario]:
    """The admitted scenes of sources, suites, stores, files and folders; refused ones are left
    out.

    Raises:
        RoadworthyError: nothing of that name.
    """
    for scene in _all_named(subjects, data):
        if isinstance(scene, Scenario):
            yield scene


def scenes_to_keep_off(subject: str, data: Path | None) -> Iterator[Scenario]:
    """As `scenes_named`, of what must not leak into training: every scene of it has to be known.

    Raises:
        DataError: a scene of it cannot be read, or there is none. What admission refuses is never
            driven, and may be passed over.
        RoadworthyError: nothing of that name.
    """
    count = 0
    for scene in _all_named([subject], data):
        if isinstance(scene, Rejected) and scene.error != ScenarioError.__name__:
            raise DataError(
                f"{subject}: {scene.source}/{scene.id} cannot be kept out of the rest: "
                f"{scene.reason}",
                hint="Mend it or take it away: what is not known cannot be kept apart.",
            )
        if isinstance(scene, Scenario):
            count += 1
            yield scene
    if not count:
        raise DataError(f"{subject}: has no scene to keep out of the rest")


def _all_named(
    subjects: Sequence[str], data: Path | None
) -> Iterator[Scenario | Rejected | LeftOut]:
    for subject in subjects:
        for spec in find_sources(subject, {}, data):
            if isinstance(spec, LeftOut):
                yield spec
            else:
                yield from read_scenes(spec)


def read_numbered(spec: FactorySpec, workers: int) -> Iterator[Scenario | Rejected]:
    """As `read_scenes`, with the work of sources that make scenes by number (`protocols.Source`)
    shared out among processes. Where one of those cannot be made, it is `Rejected` and the others
    are not: the same scenes in the same order, whatever the number of workers.

    Raises:
        PluginError: the source cannot be made with its options.
    """
    source = spec.build()
    if not (hasattr(source, "scenario") and hasattr(source, "__len__")):
        yield from read_scenes(spec)
        return
    firsts = range(0, len(source), _PART)
    read = functools.partial(_read_part, name=spec.entry.name)
    yield from itertools.chain.from_iterable(in_order(spec.build, read, firsts, workers))


def _read_part(source: Any, first: int, name: str) -> list[Scenario | Rejected]:
    """Some scenes of a source."""
    found: list[Scenario | Rejected] = []
    for index in range(first, min(first + _PART, len(source))):
        try:
            scene = source.scenario(index)
        except (Exception, SystemExit) as error:  # a source is a plugin and may raise anything
            found.append(_rejected(f"{name}-{index}", name, error))
        else:
            found.append(_admitted(scene) if isinstance(scene, Scenario) else scene)
    return found


def _admitted(scene: Scenario) -> Scenario | Rejected:
    try:
        return admit(scene)
    except ScenarioError as error:
        return _rejected(scene.id, scene.source, error)


def _rejected(name: str, source: str, error: BaseException) -> Rejected:
    reason = message_of(error)
    if not isinstance(error, RoadworthyError):
        reason = f"the source stopped with {type(error).__name__}: {reason}"
    return Rejected(plain(name), plain(source), type(error).__name__, reason)


def _located(name: str, data: Path | None) -> Path | None:
    for path in (Path(name), *([data / name] if data else [])):
        if path.exists():
            return path
    return None


def _named(
    name: str, options: Mapping[str, Any], data: Path | None, plugins: Registry
) -> FactorySpec:
    entry = plugins.resolve("sources", name)
    given = dict(options)
    if isinstance(given.get("path"), str):
        given["path"] = str(_located(given["path"], data) or given["path"])
    return FactorySpec("sources", entry.spec, given, name)


def _of_suite(
    path: Path, options: Mapping[str, Any], data: Path | None
) -> Iterator[FactorySpec | LeftOut]:
    for config in load_suite(path).sources:
        found = find_source(config, data, path.parent)
        if isinstance(found, str):
            yield LeftOut(config.label, found)
        else:
            yield replace(found, options={**found.options, **options})


class _Walk:
    """Asks every source about files and folders."""

    def __init__(self, options: Mapping[str, Any], plugins: Registry) -> None:
        self._options = options
        self._asked: list[tuple[Entry, Any]] = []
        for entry in plugins.entries:
            if entry.kind != "sources":
                continue
            try:
                recognises = getattr(entry.load(), "recognises", None)
            except PluginError:  # a source that needs what is not installed reads nothing
                continue
            if callable(recognises):
                self._asked.append((entry, recognises))

    def below(self, path: Path, depth: int = 0) -> Iterator[FactorySpec | LeftOut]:
        specs = self._specs(path)
        if specs:
            yield from specs
            return
        if not path.is_dir():
            yield LeftOut(str(path), "no source reads this format")
            return
        if depth > _DEEPEST:
            yield LeftOut(str(path), f"more than {_DEEPEST} folders deep")
            return
        others = []
        try:
            children = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            yield LeftOut(str(path), f"cannot be read ({error.strerror})")
            return
        for child in children:
            try:
                folder = child.is_dir()
            except OSError as error:  # a link to itself
                yield LeftOut(child.path, f"cannot be read ({error.strerror})")
                continue
            if child.name.startswith(".") or (child.is_symlink() and folder):
                continue
            if folder:
                yield from self.below(Path(child.path), depth + 1)
                continue
            specs = self._specs(Path(child.path))
            yield from specs
            if not specs and not child.name.upper().startswith(_PAPERS):
                others.append(child.name)
        if others:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            yield LeftOut(str(path), f"no source reads {', '.join(others[:3])}{more}")

    def _specs(self, path: Path) -> list[FactorySpec]:
        found = []
        for entry, recognises in self._asked:
            try:
                yes = recognises(path)
            except (Exception, SystemExit) as error:  # a plugin may raise anything
                raise PluginError(
                    f"source {entry.name!r} failed to say whether it reads {path}: "
                    f"{message_of(error)}"
                ) from error
            if yes:
                options = {"path": str(path), **self._options}
                found.append(FactorySpec("sources", entry.spec, options, str(path)))
        return found
