"""Loads a planner (or any other plugin object) straight from a Python file."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["kebab", "load_file", "local_hash", "split_path_spec"]


@dataclass(frozen=True, eq=False)
class _Loaded:
    module: ModuleType
    digest: str
    siblings: tuple[Path, ...]


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
    """The module in `path`; loaded once per content.

    The file's folder is importable while it loads, so that it can import its siblings, and
    they leave `sys.modules` afterwards: two files may each have a sibling of one name.

    Raises:
        Exception: whatever the file raises.
    """
    path = path.resolve()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = _LOADED.get(path)
    if known and known.digest == digest:
        return known.module
    name = f"roadworthy_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
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
    _LOADED[path] = _Loaded(module, digest, siblings)
    return module


def local_hash(path: Path) -> str:
    """SHA-256 over a loaded file and the siblings that it imported while loading."""
    known = _LOADED[path.resolve()]
    digest = hashlib.sha256(known.digest.encode())
    for sibling in known.siblings:
        digest.update(sibling.relative_to(path.resolve().parent).as_posix().encode())
        digest.update(hashlib.sha256(sibling.read_bytes()).digest())
    return digest.hexdigest()


def _forget_siblings(folder: Path, names: set[str]) -> tuple[Path, ...]:
    found = set()
    for name in names:
        file = getattr(sys.modules[name], "__file__", None)
        if file and folder in (path := Path(file).resolve()).parents:
            if "site-packages" in path.relative_to(folder).parts:
                continue
            found.add(path)
            del sys.modules[name]
    return tuple(sorted(found))
