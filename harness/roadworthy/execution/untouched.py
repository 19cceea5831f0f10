"""Notices planners that exchange what they are shown: others are shown the same objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

__all__ = ["Untouched"]


class Untouched:
    """Remembers every field of some frozen dataclasses, and of those in them.

    Arrays are read-only, and what they hold is not looked at.

    Args:
        values: such as scenarios.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._fields: dict[int, tuple[Any, dict[str, Any]]] = {}
        for value in values:
            self._remember(value)

    def put_back(self) -> list[str]:
        """Undo what was exchanged; the fields that were, such as `RoadMap.lanes`."""
        changed = []
        for owner, known in self._fields.values():
            for name, value in known.items():
                if getattr(owner, name, None) is not value:
                    object.__setattr__(owner, name, value)
                    changed.append(f"{type(owner).__name__}.{name}")
        return changed

    def _remember(self, value: Any) -> None:
        kind: Any = type(value)
        names = _names(kind)
        if not names or id(value) in self._fields:
            return
        known = {name: getattr(value, name) for name in names}
        self._fields[id(value)] = (value, known)
        for part in known.values():
            self._remember(part)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    """The fields of a dataclass; none of another type."""
    return tuple(f.name for f in fields(kind)) if is_dataclass(kind) else ()
