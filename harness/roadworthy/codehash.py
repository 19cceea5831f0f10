"""Hash of the code that makes something: of modules, and of what they import of plugins' packages.

It is read from files; nothing is imported. An import counts wherever it stands, inside of
functions too; a module that is only named by a string does not.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

__all__ = ["code_hash"]


def code_hash(
    modules: Iterable[str], packages: Collection[str], files: Mapping[str, Path] | None = None
) -> str:
    """SHA-256 over some code, and over every module of some packages that it imports.

    With a module count the packages that it lies in, by their `__init__.py`, and what else lies in
    its folder: weights, tables.

    Args:
        modules: dotted names; one that is in none of `packages` does not count.
        packages: names of top-level packages, and of modules that are in no package.
        files: name -> Python file, of those that belong to no package.

    Raises:
        OSError, SyntaxError: a file cannot be read, or is no Python.
    """
    texts = {name: file.read_bytes() for name, file in (files or {}).items()}
    todo = [*modules, *(name for text in texts.values() for name in _imported(text, ""))]
    seen: set[str] = set()
    folders: dict[str, Path] = {}
    while todo:
        module = todo.pop()
        if module in seen or module.partition(".")[0] not in packages:
            continue
        seen.add(module)
        file = _find(module)
        if file is None:
            continue  # what follows `import` in `from package import` need not be a module
        texts[module] = file.read_bytes()
        package = module if file.name == "__init__.py" else module.rpartition(".")[0]
        todo += _imported(texts[module], package)
        if package:  # else its folder is everybody's
            folders[package] = file.parent
    for package, folder in folders.items():
        texts |= _above(package, folder) | _beside(package, folder)
    digest = hashlib.sha256()
    for name, text in sorted(texts.items()):
        digest.update(f"{name} {hashlib.sha256(text).hexdigest()}\n".encode())
    return digest.hexdigest()


def _imported(text: bytes, package: str) -> Iterator[str]:
    """Names that a module of a package imports; for `from a import b` both `a` and `a.b`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) + 1 - node.level]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _find(module: str) -> Path | None:
    """The file of a module; None if it is not one, or not written in Python."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    if not rest:
        return Path(spec.origin)
    place = Path(spec.origin).parent.joinpath(*rest)
    found = (file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())
    return next(found, None) if spec.submodule_search_locations else None


def _above(package: str, folder: Path) -> dict[str, bytes]:
    """`__init__.py` of a package and of those that it lies in: they run before it."""
    found = {}
    while package:
        init = folder / "__init__.py"
        found[package] = init.read_bytes() if init.is_file() else b""
        package, folder = package.rpartition(".")[0], folder.parent
    return found


def _beside(package: str, folder: Path) -> dict[str, bytes]:
    """Files of a package's folder that are no code, and lie in no package below it."""
    found: dict[str, bytes] = {}
    for path in folder.iterdir():
        name = f"{package}/{path.name}"
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").exists():
            found |= _beside(name, path)
        elif path.is_file() and path.suffix != ".py":
            found[name] = path.read_bytes()
    return found
