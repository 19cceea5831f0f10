"""Finds plugins, keeps broken ones apart, and resolves what a suite or the command line names.

Plugins are found through the entry-point group `roadworthy` and loaded one by one, so that
a broken one costs only what it offers. What they offer is kept as addresses and imported
when first used; listing plugins imports none of the libraries that they need.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from roadworthy import hookspecs
from roadworthy.errors import PluginError, did_you_mean
from roadworthy.foreign import off_stdout
from roadworthy.interrupts import pass_interrupt
from roadworthy.plugins.entry import ADDRESS, KINDS, BrokenPlugin, Entry, Plugin, traceback_text
from roadworthy.plugins.factory import maker
from roadworthy.plugins.localfile import kebab, split_path_spec
from roadworthy.plugins.observers import Observers
from roadworthy.plugins.offers import duplicates, offers_of, slips_of

__all__ = ["Registry", "registry"]


class Registry:
    """Everything that the installed plugins offer. Build with `registry()`.

    Attributes:
        plugins: entry points that were loaded.
        broken: entry points that were not, with tracebacks.
        entries: what they offer, duplicates included, sorted by kind and name.
        warnings: sentences about plugins that work but are probably not as meant.
        packages: top-level packages of the entry points that were loaded.
        hooks: calls `roadworthy_case_end` and `roadworthy_report_sections`.
    """

    def __init__(self, entry_points: Iterable[metadata.EntryPoint]) -> None:
        self._manager = pluggy.PluginManager(hookspecs.GROUP)
        self._manager.add_hookspecs(hookspecs)
        plugins: dict[str, Plugin] = {}
        packages: set[str] = set()
        broken: list[BrokenPlugin] = []
        entries: list[Entry] = []
        complaints: list[str] = []
        for point in sorted(entry_points, key=lambda p: (_owner(p), p.name)):
            plugin = Plugin(point.name, *_owner(point))
            key = f"{plugin.distribution}:{plugin.name}"
            try:
                with off_stdout():
                    module = point.load()
                    self._manager.register(module, name=key)
                    offered = offers_of(self._manager, module, plugin)
            except BaseException as error:  # a plugin's module may raise anything
                pass_interrupt(error)
                self._manager.unregister(name=key) if self._manager.has_plugin(key) else None
                text = traceback_text(error)
                broken.append(BrokenPlugin(plugin.name, plugin.distribution, plugin.version, text))
                continue
            plugins[key] = plugin
            packages.add(point.module.partition(".")[0])
            entries += offered
            complaints += slips_of(self._manager, module, plugin)
        self.plugins = tuple(plugins.values())
        self.packages = frozenset(packages)
        self.broken = tuple(broken)
        self.entries = tuple(sorted(entries, key=lambda e: (KINDS.index(e.kind), e.name)))
        self.warnings = tuple(complaints + duplicates(self.entries))
        self.hooks = Observers(self._manager, plugins)

    def hook_code(self, hook: str) -> str:
        """Hash of the code of every plugin that implements a hook."""
        from roadworthy.codehash import code_hash

        owners = [one.plugin.__name__ for one in getattr(self._manager.hook, hook).get_hookimpls()]
        return code_hash(owners, {*self.packages} - {"roadworthy"})

    def names(self, kind: str) -> list[str]:
        """Names of a kind, sorted, each once."""
        return sorted({e.name for e in self.entries if e.kind == kind})

    def find(self, kind: str, name: str) -> Entry:
        """The entry of a registered name.

        Raises:
            PluginError: if nothing, or more than one plugin, offers the name. Where plugins are
                broken, their tracebacks are in the message, for one of them may offer it.
        """
        found = [e for e in self.entries if e.kind == kind and e.name == name]
        if len(found) > 1:
            owners = " and ".join(f"{e.distribution} {e.version}" for e in found)
            raise PluginError(
                f"{found[0].singular} {name!r} is offered by {owners}",
                hint="Uninstall one of them, or name the one you mean by its address: "
                + " or ".join(repr(e.target) for e in found),
            )
        if found:
            return found[0]
        singular = Entry(kind, name, "").singular
        message = f"there is no {singular} named {name!r}"
        for plugin in self.broken:
            message += f"\n{plugin} may offer it, but is broken:\n{plugin.traceback.rstrip()}"
        raise PluginError(message, hint=did_you_mean(name, self.names(kind)))

    def resolve(self, kind: str, spec: str, base: Path | None = None) -> Entry:
        """The entry for a name, `module:Attribute`, or `path/to/file.py:Attribute`.

        Args:
            kind: one of `KINDS`.
            spec: what the user wrote.
            base: the folder that a relative path starts from; the working directory by default.

        Raises:
            PluginError: for an unknown or ambiguous name, or a file that is not there.
        """
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
        local = split_path_spec(spec)
        if local:
            path = ((base or Path()) / local[0]).resolve()
            if not path.is_file():
                raise PluginError(f"there is no file {path}", hint=f"It was named by {spec!r}.")
            return Entry(kind, f"{kebab(local[1])}@{path.name}", f"{path}:{local[1]}")
        if ":" not in spec:
            return self.find(kind, spec)
        if not ADDRESS.fullmatch(spec):
            raise PluginError(
                f"{spec!r} is not an address",
                hint="Write a registered name, package.module:Attribute, or ./file.py:Attribute.",
            )
        module, _, attribute = spec.partition(":")
        return Entry(kind, f"{kebab(attribute)}@{module}", spec)

    def create(
        self,
        kind: str,
        spec: str,
        options: Mapping[str, Any] | None = None,
        where: str = "",
        base: Path | None = None,
    ) -> Any:
        """Makes what `spec` names.

        Args:
            kind: one of `KINDS`.
            spec: as for `resolve`.
            options: keyword arguments for the factory, checked against its signature.
            where: where the options were written, such as `suites/x.toml: planners[0]`.
            base: as for `resolve`.

        Raises:
            PluginError: if it is unknown, broken, or an option is wrong; says where and why.
        """
        return maker(self.resolve(kind, spec, base), options or {}, where)()


@functools.cache
def registry() -> Registry:
    """The registry of this process, built on first use from the installed entry points."""
    return Registry(metadata.entry_points(group=hookspecs.GROUP))


def _owner(point: metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("?", "?")
