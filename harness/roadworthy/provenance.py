"""Where a result came from: code, packages, machine."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import roadworthy

__all__ = ["collect", "file_hash", "named_files", "path_hash"]

_FLAGS = (
    "PYTHONHASHSEED OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS NUMBA_NUM_THREADS "
    "NUMBA_DISABLE_JIT CUBLAS_WORKSPACE_CONFIG CUDA_VISIBLE_DEVICES"
).split()


def collect() -> dict[str, Any]:
    """Versions, git state, hardware and what bears on determinism, as plain values."""
    return {
        "roadworthy": roadworthy.__version__,
        "python": platform.python_version(),
        "packages": _packages(),
        "git": _git(Path(roadworthy.__file__).parent),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpus(),
        "determinism": {name: os.environ[name] for name in _FLAGS if name in os.environ},
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def file_hash(path: Path) -> str:
    """BLAKE2b (128 bit, hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def path_hash(path: Path) -> str:
    """`file_hash` of a file; of a folder, the hash over its files' names and hashes.

    Raises:
        OSError: if it cannot be read.
    """
    if not path.is_dir():
        return file_hash(path)
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()} {file_hash(file)}\n".encode())
    return digest.hexdigest()


def named_files(options: Mapping[str, Any], home: Path | None = None) -> dict[str, Path]:
    """Files and folders that a plugin's options name, by the text that names them: checkpoints.

    Args:
        options: of the plugin.
        home: where a text is looked up that names nothing from the working directory.

    Returns:
        Of each text with a `/` or a `.` in it that names something, the absolute path.
    """

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            for item in value.values():
                yield from texts(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from texts(item)

    found = {}
    for text in texts(options):
        if "/" not in text and "." not in text:
            continue
        for path in (Path(text), *([home / text] if home else [])):
            with contextlib.suppress(OSError, ValueError):
                if path.exists():
                    found[text] = path.resolve()
                    break
    return found


def _packages() -> dict[str, str]:
    """Versions of what is installed of all that roadworthy requires (of its extras too, but for
    what only tests need), of what that compiles with, and of every plugin."""
    required = importlib.metadata.requires("roadworthy") or []
    needed = [line for line in required if not re.search(r"extra == ['\"]test['\"]", line)]
    names = {re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed}
    owners = {p.dist.name for p in importlib.metadata.entry_points(group="roadworthy") if p.dist}
    found = {}
    for name in sorted(names | owners | {"roadworthy", "llvmlite"}):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _gpus() -> list[str]:
    """Models of NVIDIA's devices, as its driver says."""
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            match = re.search(r"Model:\s*(.+)", file.read_text())
            found += [match[1]] if match else []
    return found


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
