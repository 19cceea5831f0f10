"""The accelerators of this machine, found without importing anything that would start them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["visible_gpus"]


def visible_gpus() -> tuple[str, ...]:
    """NVIDIA GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(name.strip() for name in named.split(",") if name.strip() not in ("", "-1"))
    found = Path("/proc/driver/nvidia/gpus")
    return tuple(str(i) for i in range(len(list(found.iterdir())) if found.is_dir() else 0))
