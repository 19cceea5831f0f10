"""Where a result came from: code, packages, machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import roadworthy

__all__ = ["collect", "file_hash"]

_PACKAGES = (
    "roadworthy numpy numba llvmlite shapely pandas pyarrow torch pytorch-lightning gsplat".split()
)


def collect() -> dict[str, Any]:
    """Versions, git state and hardware of this process, as plain values."""
    return {
        "roadworthy": roadworthy.__version__,
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "git": _git(Path(roadworthy.__file__).parent),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def file_hash(path: Path) -> str:
    """BLAKE2b (128 bit, hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _git(folder: Path) -> dict[str, Any]:
    """Commit and dirty flag of the checkout that the package runs from; empty if installed."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()

    try:
        if not git("ls-files", "--", "__init__.py"):
            return {}
        dirty = bool(git("status", "--porcelain", "--untracked-files=no"))
        return {"commit": git("rev-parse", "HEAD"), "dirty": dirty}
    except (OSError, subprocess.SubprocessError):
        return {}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
