"""Weights of any network in a checkpoint's folder: safetensors and JSON, never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from roadworthy.errors import DataError, RunError
from roadworthy.store import write_file
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

__all__ = ["load_module", "save_module"]

_MANIFEST, _WEIGHTS = "checkpoint.json", "weights.safetensors"


def save_module(folder: Path, network: nn.Module, provenance: Mapping[str, Any]) -> Path:
    """Write a network's weights, and where they came from.

    Raises:
        RunError: it cannot be written.
    """
    state = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made: {error.strerror}") from error
    write_file(folder / _WEIGHTS, save(state))
    described = {"network": type(network).__name__, "provenance": dict(provenance)}
    write_file(folder / _MANIFEST, msgspec.json.format(msgspec.json.encode(described)) + b"\n")
    return folder


def load_module(folder: Path, network: nn.Module) -> nn.Module:
    """Read weights into a network of the same shape.

    Raises:
        DataError: there are none, or they do not fit.
    """
    path = Path(folder) / _WEIGHTS
    try:
        network.load_state_dict(load(path.read_bytes()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (SafetensorError, RuntimeError) as error:
        raise DataError(f"{path}: does not fit {type(network).__name__}: {error}") from error
    return network.eval()
