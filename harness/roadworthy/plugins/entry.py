"""What plugins offer: entry points, and the things that can be named."""

from __future__ import annotations

import importlib
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadworthy.errors import PluginError, RoadworthyError, did_you_mean
from roadworthy.foreign import off_stdout
from roadworthy.interrupts import pass_interrupt
from roadworthy.plugins.localfile import load_file, loaded_files, local_hash, split_path_spec

__all__ = ["ADDRESS", "KINDS", "BrokenPlugin", "Entry", "Plugin", "traceback_text"]

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

ADDRESS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
"""`module:attribute`."""

_OWN = (
    "roadworthy/plugins/entry.py",
    "roadworthy/plugins/factory.py",
    "roadworthy/plugins/discovery.py",
    "roadworthy/plugins/localfile.py",
    "importlib/metadata/__init__.py",
)


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
            with off_stdout():
                if local:
                    found = _attribute(load_file(local[0]), local[1])
                else:
                    module, _, attribute = self.target.partition(":")
                    found = _attribute(importlib.import_module(module), attribute)
        except RoadworthyError:
            raise
        except BaseException as error:  # a plugin's module may raise anything
            pass_interrupt(error)
            whose = f" of {self.distribution} {self.version}" if self.distribution else ""
            raise PluginError(
                f"{self.singular} {self.name!r}{whose} cannot be loaded from {self.target}:\n"
                + traceback_text(error).rstrip(),
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
        from roadworthy.plugins.discovery import registry

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


def traceback_text(error: BaseException) -> str:
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
