"""The source: finds logs through py123d and yields their scenes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roadworthy.admission import admit
from roadworthy.errors import DataError, install_hint
from roadworthy.scenario import Rejected, Scenario

from roadworthy_sources.py123d.scene import scenario_of

__all__ = ["Py123d"]


class Py123d:
    """Scenes of 123D logs, one after the other through each log.

    Args:
        path: a folder that holds `logs` and `maps`, as py123d's converters write them.
        seconds: length of a scene, history included; logs are cut into such pieces.
        limit: read at most this many scenes.

    Raises:
        DataError: py123d is not installed, or `path` is no such folder.
    """

    def __init__(self, path: str, seconds: float = 15.0, limit: int | None = None) -> None:
        self.path, self.seconds, self.limit = Path(path), seconds, limit
        if not (self.path / "logs").is_dir():
            raise DataError(
                f"{self.path}: holds no folder `logs`",
                hint="Give the folder that py123d's converters wrote to (PY123D_DATA_ROOT).",
            )
        if not 2.0 <= seconds <= 1000.0:
            raise DataError(f"seconds = {seconds}", hint="Wanted: 2 to 1000.")
        _builder()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether `path` is a folder as py123d's converters write, and py123d is there to read it;
        see `roadworthy.recognition`."""
        written = path.is_dir() and all((path / part).is_dir() for part in ("logs", "maps"))
        return written and importlib.util.find_spec("py123d") is not None

    def scenarios(self) -> Iterator[Scenario | Rejected]:
        """Admitted scenarios; a scene that cannot be read is a `Rejected`."""
        build, wanted, executor = _builder()
        history = 1.5
        filter_ = wanted(
            history_duration_s=history,
            future_duration_s=self.seconds - history - 0.1,
            timestamp_threshold_s=self.seconds,
        )
        scenes = build(self.path / "logs", self.path / "maps").get_scenes(filter_, executor())
        for scene in scenes[: self.limit]:
            name = f"{scene.get_log_metadata().log_name}-{scene.get_scene_metadata().initial_idx}"
            try:
                yield admit(scenario_of(scene, name))
            except DataError as error:
                yield Rejected(name, "py123d", type(error).__name__, str(error))


def _builder() -> tuple[Any, Any, Any]:
    """py123d's scene builder, filter and executor.

    Raises:
        DataError: py123d is not installed.
    """
    try:
        from py123d.api.scene.arrow.arrow_scene_builder import ArrowSceneBuilder
        from py123d.api.scene.scene_filter import SceneFilter
        from py123d.common.execution import SequentialExecutor
    except ImportError as error:
        raise DataError(
            f"py123d is not installed ({error})", hint=f"{install_hint('py123d')}."
        ) from error
    return ArrowSceneBuilder, SceneFilter, SequentialExecutor
