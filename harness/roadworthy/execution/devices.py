"""The accelerators of this machine, found without importing anything that would start them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["share_of", "visible_gpus"]


def visible_gpus() -> tuple[str, ...]:
    """NVIDIA GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip() not in ("", "-1"))
    found = Path("/proc/driver/nvidia/gpus")
    return tuple(str(i) for i in range(len(list(found.iterdir())) if found.is_dir() else 0))


def share_of(devices: tuple[str, ...], number: int, workers: int) -> str | None:
    """The GPUs of a worker as `CUDA_VISIBLE_DEVICES` has them; None leaves all to it.

    Args:
        devices: those that there are.
        number: the worker's place, from 0; who takes another's place takes its share.
        workers: how many places there are.
    """
    if len(devices) < 2 or workers < 2:
        return None
    if workers >= len(devices):
        return devices[number % len(devices)]
    first, end = (n * len(devices) // workers for n in (number, number + 1))
    return ",".join(devices[first:end])
