"""What a flywheel's file names, resolved and tried, and what stages' inputs say of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.flywheel.config import Flywheel
from roadworthy.plugins import Entry, FactorySpec
from roadworthy.plugins.options import describe_options
from roadworthy.provenance import path_hash
from roadworthy.resolved import find_source, require_column, spec_of
from roadworthy.score import MetricSpec
from roadworthy.suite import PluginConfig

__all__ = ["CACHE", "CHECKPOINT", "Named"]

CHECKPOINT = "checkpoint"
"""Option of the planner that names what a trainer made, and the folder in which it makes it."""
CACHE = "cache"
"""Option of a trainer that names a folder to keep what it computes of scenes, and that folder."""


class Named:
    """The plugins of a flywheel.

    Args:
        flywheel: what names them.
        data: where relative source paths are looked up first.

    Attributes:
        flywheel: as given.
        planner, simulator: as they are named.
        sources: set -> how to make its sources, with paths found.
        notices: optional sources that are not there, in a sentence each.

    Raises:
        SuiteError, PluginError: something that is named cannot be made.
    """

    def __init__(self, flywheel: Flywheel, data: Path | None) -> None:
        self.flywheel = flywheel
        self.notices: list[str] = []
        self._code: dict[Entry, str] = {}
        self.planner = self.spec("planners", flywheel.planner)
        self.simulator = self.spec("simulators", flywheel.simulator)
        self.simulator.build()
        closed, opened = (
            {spec.name: msgspec.to_builtins(spec) for spec in self._specs(configs)}
            for configs in (flywheel.metrics, flywheel.open_loop_metrics)
        )
        for name in flywheel.headline:
            require_column(name, opened | closed, f"{flywheel.path}: headline")
        for i, rule in enumerate(flywheel.accept):
            require_column(rule.metric, closed, f"{flywheel.path}: accept[{i}].metric")
        if flywheel.scaling is not None:
            require_column(flywheel.scaling.metric, closed, f"{flywheel.path}: scaling.metric")
        if flywheel.open_loop is not None:
            self.spec("simulators", flywheel.open_loop).build()
        for config in (flywheel.pretrain.trainer, *(arm.trainer for arm in flywheel.arms)):
            self.spec("trainers", config).build()
        if flywheel.generation is not None:
            self.spec("generators", flywheel.generation.generator).build()
        self.sources = {name: self._located(name, data) for name in flywheel.sources}
        for specs in self.sources.values():
            for spec in specs:
                spec.build()

    def _specs(self, configs: Iterable[PluginConfig]) -> list[MetricSpec]:
        return [self.spec("metrics", config).build().spec for config in configs]

    def spec(self, kind: str, config: PluginConfig) -> FactorySpec:
        """How to make what the file names."""
        return spec_of(kind, config, self.flywheel.home)

    def described(self, spec: FactorySpec) -> dict[str, Any]:
        """What a stage's inputs say of a plugin: its code, options and the files that those name.

        Of a source's `path` it is the name alone: what lies there is too large to be read again,
        and is taken as it was when the stage was made.
        """
        options = dict(spec.options)
        apart = (options.get("path"), options.get(CACHE))
        files = [path for text, path in spec.files.items() if text not in apart]
        if isinstance(options.get("path"), str):
            options["path"] = Path(options["path"]).name
        entry = spec.entry
        if entry not in self._code:
            self._code[entry] = entry.code_hash
        return {
            "name": entry.name,
            "options": options,
            "version": entry.version,
            "code": self._code[entry],
            "files": [path_hash(path) for path in files],
        }

    def with_cache(self, trainer: FactorySpec, folder: Path) -> FactorySpec:
        """A trainer that can keep what it computes of a scene (option `cache`) keeps it in a
        folder, shared by all trainings; as it is found by content, it changes nothing that is
        trained."""
        if CACHE in trainer.options or CACHE not in describe_options(trainer.entry.load()):
            return trainer
        options = {**trainer.options, CACHE: str(folder.resolve())}
        return replace(trainer, options=options)

    def with_checkpoint(self, path: Path) -> FactorySpec:
        """The planner as a trainer made it."""
        return replace(self.planner, options={**self.planner.options, CHECKPOINT: str(path)})

    def before_training(self) -> Any:
        """The planner that pre-training begins with; None where it takes a checkpoint, and there
        is none yet."""
        wants = describe_options(self.planner.entry.load()).get(CHECKPOINT, "= none")
        if CHECKPOINT not in self.planner.options and "=" not in wants:
            return None
        return self.planner.build()

    def _located(self, name: str, data: Path | None) -> tuple[FactorySpec, ...]:
        """The sources of a set, with paths found; optional ones that are not there left out."""
        found = []
        for config in self.flywheel.sources[name]:
            source = find_source(config, data, self.flywheel.home)
            if isinstance(source, str):
                self.notices.append(f"{name}: {source}")
            else:
                found.append(source)
        return tuple(found)
