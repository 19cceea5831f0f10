"""Makes what a name stands for, with options checked against the factory's signature."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roadworthy.errors import PluginError, RoadworthyError
from roadworthy.foreign import message_of, off_stdout
from roadworthy.interrupts import pass_interrupt
from roadworthy.plugins.entry import Entry, traceback_text
from roadworthy.plugins.options import with_paths

__all__ = ["FactorySpec", "maker"]


@dataclass(frozen=True)
class FactorySpec:
    """Makes one named thing, again and again, in this process or (pickled) in another.

    Attributes:
        kind: one of `KINDS`.
        spec: a name, `module:Attribute`, or `/path/to/file.py:Attribute`.
        options: keyword arguments for the factory, as written in the suite.
        where: where they were written, for messages.
        beside: of texts in the options that name a file or folder beside the suite, and nothing
            from the working directory, the absolute path, which the factory is given.
    """

    kind: str
    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""
    beside: Mapping[str, Path] = field(default_factory=dict)

    @functools.cached_property
    def entry(self) -> Entry:
        """Whose factory it is.

        Raises:
            PluginError: if the name is unknown, or offered twice.
        """
        from roadworthy.plugins.discovery import registry

        return registry().resolve(self.kind, self.spec)

    @property
    def files(self) -> dict[str, Path]:
        """Files and folders that the options name, by the text that names them: checkpoints."""
        from roadworthy.provenance import named_files

        return {**named_files(self.options), **self.beside}

    @functools.cached_property
    def _make(self) -> Callable[[], Any]:
        return maker(self.entry, with_paths(self.options, self.beside), self.where)

    def build(self) -> Any:
        """A fresh object.

        Raises:
            PluginError: if the name is unknown, its plugin broken, or an option wrong.
        """
        return self._make()

    __call__ = build

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.kind, self.spec, dict(self.options), self.where, dict(self.beside))
        return FactorySpec, parts


def maker(entry: Entry, options: Mapping[str, Any], where: str) -> Callable[[], Any]:
    """A function that makes a fresh object; loads the factory and checks the options now."""
    from roadworthy.plugins.options import check_options

    factory = entry.load()
    checked = check_options(factory, options, where or entry.name)

    def make() -> Any:
        try:
            with off_stdout():
                return factory(**copy.deepcopy(checked))
        except RoadworthyError:
            raise
        except BaseException as error:  # a ValueError is how a factory refuses an option
            pass_interrupt(error)
            refused = isinstance(error, ValueError)
            detail = message_of(error) if refused else "\n" + traceback_text(error)
            raise PluginError(
                f"{where + ': ' if where else ''}{entry.singular} {entry.name!r} "
                f"cannot be made: {detail}",
                hint="Mend its options." if refused else "Mend that error in the plugin.",
            ) from error

    return make
