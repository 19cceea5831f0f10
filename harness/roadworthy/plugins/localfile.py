"""Loads a planner (or any other plugin object) straight from a Python file."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["files_hash", "kebab", "load_file", "loaded_files", "local_hash", "split_path_spec"]


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A module, and the digests of its file and of the siblings it imported, as loaded."""

    module: ModuleType
    files: dict[Path, str]


_LOADED: dict[Path, _Loaded] = {}


def split_path_spec(spec: str) -> tuple[Path, str] | None:
    """(file, attribute) of `path/to/file.py:Attribute`, or None for any other spec."""
    path, _, attribute = spec.rpartition(":")
    dotted = all(part.isidentifier() for part in attribute.split("."))
    return (Path(path), attribute) if path.endswith(".py") and dotted else None


def kebab(attribute: str) -> str:
    """`MyPlanner` -> `my-planner`, `IDMPlanner` -> `idm-planner`, `make_it` -> `make-it`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", attribute)
    return re.sub(r"[._-]+", "-", words).strip("-").lower()


def load_file(path: Path) -> ModuleType:
    """The module in `path`; loaded once per content of it and of its siblings.

    The file's folder is importable while it loads, so that it can import its siblings, and
    they leave `sys.modules` afterwards: two files may each have a sibling of one name.

    Raises:
        Exception: whatever the file raises.
    """
    path = path.resolve()
    known = _LOADED.get(path)
    if known and all(file.is_file() and _digest(file) == d for file, d in known.files.items()):
        return known.module
    name = f"roadworthy_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    digest = _digest(path)
    folder = str(path.parent)
    before = set(sys.modules)
    sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
        siblings = _forget_siblings(path.parent, set(sys.modules) - before - {name})
    _LOADED[path] = _Loaded(module, {path: digest, **siblings})
    return module


def local_hash(path: Path) -> str:
    """SHA-256 over a loaded file and the siblings that it imported while loading."""
    path = path.resolve()
    return _hash_of(path, _LOADED[path].files)


def loaded_files(path: Path) -> tuple[Path, ...]:
    """A loaded file and the siblings that it imported while loading."""
    return tuple(sorted(_LOADED[path.resolve()].files))


def files_hash(path: Path, files: Iterable[Path]) -> str:
    """`local_hash` of a file that another process loaded, with the siblings that it named.

    Names outside of the file's folder are left out, and the file itself is always in.
    """
    path = path.resolve()
    inside = {f for f in files if f.is_file() and f.resolve().is_relative_to(path.parent)}
    return _hash_of(path, {file: _digest(file) for file in inside | {path}})


def _hash_of(path: Path, files: Mapping[Path, str]) -> str:
    digest = hashlib.sha256()
    for file, content in sorted(files.items()):
        digest.update(f"{file.relative_to(path.parent).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _forget_siblings(folder: Path, names: set[str]) -> dict[Path, str]:
    """Takes those modules out of `sys.modules` that were found by way of `folder`."""
    found = {}
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        base = folder.joinpath(*name.split("."))
        if file and Path(file) in (base.with_suffix(".py"), base / "__init__.py"):
            found[Path(file)] = _digest(Path(file))
            del sys.modules[name]
    return found
