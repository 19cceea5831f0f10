"""Finds plugins, keeps broken ones apart, and makes what a suite or the command line names.

Plugins are found through the entry-point group `roadworthy` and loaded one by one, so that
a broken one costs only what it offers. What they offer is kept as addresses and imported
when first used; listing plugins imports none of the libraries that they need.
"""

from __future__ import annotations

import copy
import functools
import importlib
import re
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from roadworthy import hookspecs
from roadworthy.errors import PluginError, RoadworthyError, did_you_mean
from roadworthy.localfile import kebab, load_file, loaded_files, local_hash, split_path_spec

__all__ = [
    "KINDS",
    "BrokenPlugin",
    "Entry",
    "FactorySpec",
    "Observers",
    "Plugin",
    "PluginWarning",
    "Registry",
    "registry",
]

KINDS = (
    "sources",
    "simulators",
    "planners",
    "generators",
    "metrics",
    "trainers",
    "conformance",
    "renderers",
    "reconstructors",
    "viewers",
)
"""What a plugin can offer by name; the hook of a kind is `roadworthy_<kind>`."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ADDRESS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class PluginWarning(UserWarning):
    """A plugin did something wrong that does not stop the command."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point that was loaded.

    Attributes:
        name: the entry point's name.
        distribution, version: the installed distribution that declares it.
    """

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.name!r})"


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """One entry point that could not be used. `traceback` is text, and says why."""

    name: str
    distribution: str
    version: str
    traceback: str

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return self.traceback.strip().splitlines()[-1]

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} (entry point {self.name!r})"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be named in a suite or on the command line.

    Attributes:
        kind: one of `KINDS`.
        name: as written in a suite and shown in reports.
        target: the factory, its address `module:attribute`, or `/path/to/file.py:Attribute`.
        plugin, distribution, version: who offers it; empty for files and plain addresses.
    """

    kind: str
    name: str
    target: str | Callable[..., Any]
    plugin: str = ""
    distribution: str = ""
    version: str = ""

    @property
    def spec(self) -> str:
        """What to give `Registry.resolve` to find this entry again, in any process."""
        return self.name if self.distribution else str(self.target)

    @property
    def singular(self) -> str:
        """The kind in words, such as `planner`."""
        return self.kind if self.kind == "conformance" else self.kind[:-1]

    def load(self) -> Callable[..., Any]:
        """Imports the factory.

        Raises:
            PluginError: if it cannot be imported; the message holds the traceback.
        """
        if not isinstance(self.target, str):
            return self.target
        try:
            local = split_path_spec(self.target)
            if local:
                found = _attribute(load_file(local[0]), local[1])
            else:
                module, _, attribute = self.target.partition(":")
                found = _attribute(importlib.import_module(module), attribute)
        except RoadworthyError:
            raise
        except (Exception, SystemExit) as error:  # a plugin's module may raise anything
            whose = f" of {self.distribution} {self.version}" if self.distribution else ""
            raise PluginError(
                f"{self.singular} {self.name!r}{whose} cannot be loaded from {self.target}:\n"
                + _traceback_text(error).rstrip(),
                hint="Mend that error, or name another.",
            ) from error
        if not callable(found):
            raise PluginError(
                f"{self.target} is a {type(found).__name__}, not a factory",
                hint="Name a class, or a function that returns the object.",
            )
        return found  # type: ignore[no-any-return]

    @property
    def content_hash(self) -> str:
        """Hash of the file and of its imported siblings for a path, else "" (the version tells).

        Raises:
            PluginError: if the file cannot be loaded.
        """
        local = split_path_spec(self.target) if isinstance(self.target, str) else None
        if local is None:
            return ""
        self.load()
        return local_hash(local[0])

    @property
    def code_hash(self) -> str:
        """Hash of the code that makes it: of its module or file, and of every module that those
        import of packages which offer plugins. The core counts by its version alone.

        Raises:
            PluginError: if a file of it cannot be loaded or read.
        """
        from roadworthy.codehash import code_hash

        if isinstance(self.target, str):
            local = split_path_spec(self.target)
            module = self.target.partition(":")[0]
        else:
            local, module = None, self.target.__module__
        packages = {*registry().packages, module.partition(".")[0]} - {"roadworthy"}
        try:
            if local is None:
                return code_hash([module], packages)
            self.load()
            folder = local[0].resolve().parent
            files = {str(f.relative_to(folder)): f for f in loaded_files(local[0])}
            return code_hash([], packages, files)
        except (OSError, SyntaxError) as error:
            raise PluginError(f"{self.singular} {self.name!r}: its code: {error}") from error


@dataclass(frozen=True)
class FactorySpec:
    """Makes one named thing, again and again, in this process or (pickled) in another.

    Attributes:
        kind: one of `KINDS`.
        spec: a name, `module:Attribute`, or `/path/to/file.py:Attribute`.
        options: keyword arguments for the factory, as written in the suite.
        where: where they were written, for messages.
    """

    kind: str
    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""

    @functools.cached_property
    def entry(self) -> Entry:
        """Whose factory it is.

        Raises:
            PluginError: if the name is unknown, or offered twice.
        """
        return registry().resolve(self.kind, self.spec)

    @functools.cached_property
    def _make(self) -> Callable[[], Any]:
        return _maker(self.entry, self.options, self.where)

    def build(self) -> Any:
        """A fresh object.

        Raises:
            PluginError: if the name is unknown, its plugin broken, or an option wrong.
        """
        return self._make()

    __call__ = build

    def __reduce__(self) -> tuple[Any, ...]:
        return FactorySpec, (self.kind, self.spec, dict(self.options), self.where)


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
                answers.append((plugin, impl.function(*given)))
            except Exception as error:  # an observer may raise anything
                last = traceback.extract_tb(error.__traceback__)[-1]
                _warn(
                    f"{plugin}: {hook} raised {type(error).__name__}: {error} "
                    f"({last.filename}:{last.lineno}); its observation of this was lost"
                )
        return answers


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
                module = point.load()
                self._manager.register(module, name=key)
                offered = _offered(self._manager, module, plugin)
            except (Exception, SystemExit) as error:  # a plugin's module may raise anything
                self._manager.unregister(name=key) if self._manager.has_plugin(key) else None
                text = _traceback_text(error)
                broken.append(BrokenPlugin(plugin.name, plugin.distribution, plugin.version, text))
                continue
            plugins[key] = plugin
            packages.add(point.module.partition(".")[0])
            entries += offered
            complaints += _complaints(self._manager, module, plugin)
        self.plugins = tuple(plugins.values())
        self.packages = frozenset(packages)
        self.broken = tuple(broken)
        self.entries = tuple(sorted(entries, key=lambda e: (KINDS.index(e.kind), e.name)))
        self.warnings = tuple(complaints + _duplicates(self.entries))
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
        if not _ADDRESS.fullmatch(spec):
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
        return _maker(self.resolve(kind, spec, base), options or {}, where)()


@functools.cache
def registry() -> Registry:
    """The registry of this process, built on first use from the installed entry points."""
    return Registry(metadata.entry_points(group=hookspecs.GROUP))


def _maker(entry: Entry, options: Mapping[str, Any], where: str) -> Callable[[], Any]:
    """A function that makes a fresh object; loads the factory and checks the options now."""
    from roadworthy.options import check_options

    factory = entry.load()
    checked = check_options(factory, options, where or entry.name)

    def make() -> Any:
        try:
            return factory(**copy.deepcopy(checked))
        except RoadworthyError:
            raise
        except Exception as error:  # a ValueError is how a factory refuses an option
            refused = isinstance(error, ValueError)
            detail = str(error) if refused else "\n" + _traceback_text(error)
            raise PluginError(
                f"{where + ': ' if where else ''}{entry.singular} {entry.name!r} "
                f"cannot be made: {detail}",
                hint="Mend its options." if refused else "Mend that error in the plugin.",
            ) from error

    return make


def _owner(point: metadata.EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("?", "?")


def _offered(manager: pluggy.PluginManager, module: Any, plugin: Plugin) -> list[Entry]:
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
                if not (callable(target) or _ADDRESS.fullmatch(str(target))):
                    raise PluginError(
                        f"{hook}()[{name!r}] is {target!r}",
                        hint='Give a factory, or its address "package.module:Attribute".',
                    )
                entries.append(
                    Entry(kind, name, target, plugin.name, plugin.distribution, plugin.version)
                )
    return entries


def _complaints(manager: pluggy.PluginManager, module: Any, plugin: Plugin) -> list[str]:
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


def _duplicates(entries: Iterable[Entry]) -> list[str]:
    owners: dict[tuple[str, str], list[str]] = {}
    for e in entries:
        owners.setdefault((e.singular, e.name), []).append(f"{e.distribution} {e.version}")
    return [
        f"{kind} {name!r} is offered by {' and '.join(who)}, and cannot be used until one is gone"
        for (kind, name), who in owners.items()
        if len(who) > 1
    ]


def _attribute(module: Any, dotted: str) -> Any:
    found = module
    for part in dotted.split("."):
        if not hasattr(found, part):
            public = [n for n in vars(found) if not n.startswith("_")]
            raise PluginError(
                f"{getattr(found, '__name__', found)} has no attribute {part!r}",
                hint=did_you_mean(part, public),
            )
        found = getattr(found, part)
    return found


def _traceback_text(error: BaseException) -> str:
    """The traceback without the frames of this package's own loading code and of importlib."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen")
        and Path(frame.filename).parent.name != "importlib"
        and not frame.filename.endswith(_OWN)
    ]
    head = ["Traceback (most recent call last):\n"] if frames else []
    tail = traceback.format_exception_only(error)
    return "".join([*head, *traceback.format_list(frames), *tail])


_OWN = ("roadworthy/plugins.py", "roadworthy/localfile.py", "importlib/metadata/__init__.py")


def _warn(message: str) -> None:
    warnings.warn(message, PluginWarning, stacklevel=4)
