"""What one plugin's hooks answer, checked; and what is probably a slip."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from roadworthy import hookspecs
from roadworthy.errors import PluginError, did_you_mean
from roadworthy.plugins.entry import ADDRESS, KINDS, Entry, Plugin

__all__ = ["duplicates", "offers_of", "slips_of"]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def offers_of(manager: pluggy.PluginManager, module: Any, plugin: Plugin) -> list[Entry]:
    """Calls the naming hooks of one plugin, and checks what they return."""
    entries = []
    for kind in KINDS:
        hook = f"roadworthy_{kind}"
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if impl.plugin is not module:
                continue
            answer = impl.function()
            if not isinstance(answer, Mapping):
                raise PluginError(
                    f"{hook}() returned {type(answer).__name__}",
                    hint='Return a mapping from names to "module:attribute" or a factory.',
                )
            for name, target in answer.items():
                if not isinstance(name, str) or not _NAME.fullmatch(name):
                    raise PluginError(
                        f"{hook}() names {name!r}",
                        hint="Names are in kebab case: small letters, digits and hyphens.",
                    )
                if not (callable(target) or ADDRESS.fullmatch(str(target))):
                    raise PluginError(
                        f"{hook}()[{name!r}] is {target!r}",
                        hint='Give a factory, or its address "package.module:Attribute".',
                    )
                entries.append(
                    Entry(kind, name, target, plugin.name, plugin.distribution, plugin.version)
                )
    return entries


def slips_of(manager: pluggy.PluginManager, module: Any, plugin: Plugin) -> list[str]:
    """What is probably a slip: misspelt hooks, and hooks that lack `@hookimpl`."""
    known = [name for name in vars(hookspecs) if name.startswith("roadworthy_")]
    callers = manager.get_hookcallers(module) or []
    said = [
        f"{plugin}: there is no hook {caller.name!r}. {did_you_mean(caller.name, known)}"
        for caller in callers
        if not caller.has_spec()
    ]
    implemented = {caller.name for caller in callers}
    for name in known:
        if name not in implemented and callable(getattr(module, name, None)):
            said.append(f"{plugin}: {name} is ignored. Decorate it with @roadworthy.hookimpl.")
    if not callers and not said:
        said.append(f"{plugin}: implements no hook. See roadworthy.hookspecs.")
    return said


def duplicates(entries: Iterable[Entry]) -> list[str]:
    owners: dict[tuple[str, str], list[str]] = {}
    for e in entries:
        owners.setdefault((e.singular, e.name), []).append(f"{e.distribution} {e.version}")
    return [
        f"{kind} {name!r} is offered by {' and '.join(who)}, and cannot be used until one is gone"
        for (kind, name), who in owners.items()
        if len(who) > 1
    ]
