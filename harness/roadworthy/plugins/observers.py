"""Calls the hooks by which plugins watch; one that raises costs a warning."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pluggy

from roadworthy.foreign import message_of, off_stdout
from roadworthy.interrupts import pass_interrupt
from roadworthy.plugins.entry import Plugin

__all__ = ["Observers", "PluginWarning"]


class PluginWarning(UserWarning):
    """A plugin did something wrong that does not stop the command."""


class Observers:
    """Calls the hooks by which plugins watch. An observer that raises costs a warning."""

    def __init__(self, manager: pluggy.PluginManager, plugins: Mapping[str, Plugin]) -> None:
        self._manager = manager
        self._plugins = plugins

    def roadworthy_case_end(self, run: Any, record: Any) -> None:
        """Tells every observer of a recorded case. See `roadworthy.hookspecs`."""
        self._call("roadworthy_case_end", run=run, record=record)

    def roadworthy_report_sections(self, runs: Any) -> list[tuple[str, str]]:
        """(title, HTML) sections of every plugin, in the order of registration."""
        sections: list[tuple[str, str]] = []
        for plugin, answer in self._call("roadworthy_report_sections", runs=runs):
            try:
                sections += [(str(title), str(html)) for title, html in answer or ()]
            except (TypeError, ValueError):
                _warn(f"{plugin}: roadworthy_report_sections returned {answer!r}, no list of pairs")
        return sections

    def roadworthy_hindsight(self, planner: Any, drives: Any, cache: Path) -> list[Any] | None:
        """The first answer of a plugin that knows the planner; None without one."""
        answers = self._call("roadworthy_hindsight", planner=planner, drives=drives, cache=cache)
        return next((answer for _, answer in answers if answer is not None), None)

    def _call(self, hook: str, **arguments: Any) -> list[tuple[Plugin, Any]]:
        answers = []
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            plugin = self._plugins[impl.plugin_name]
            try:
                given = [arguments[name] for name in impl.argnames]
                with off_stdout():
                    answers.append((plugin, impl.function(*given)))
            except BaseException as error:  # an observer may raise anything
                pass_interrupt(error)
                last = traceback.extract_tb(error.__traceback__)[-1]
                _warn(
                    f"{plugin}: {hook} raised {type(error).__name__}: {message_of(error)} "
                    f"({last.filename}:{last.lineno}); its observation of this was lost"
                )
        return answers


def _warn(message: str) -> None:
    warnings.warn(message, PluginWarning, stacklevel=4)
