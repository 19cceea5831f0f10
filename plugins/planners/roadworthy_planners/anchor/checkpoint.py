"""Checkpoints: a folder with `checkpoint.json` and `weights.safetensors`. Never a pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from roadworthy.errors import DataError, RunError
from roadworthy.store import write_file
from safetensors import SafetensorError
from safetensors.torch import load, save

from .eyes import CameraNetwork, EyesConfig
from .network import AnchorNetwork, NetworkConfig
from .vocabulary import Vocabulary

__all__ = ["FORMAT", "MANIFEST", "WEIGHTS", "Checkpoint", "load_checkpoint", "save_checkpoint"]

FORMAT = 2
"""Version of this layout and of what the network reads; another one is refused."""
MANIFEST = "checkpoint.json"
WEIGHTS = "weights.safetensors"
_MAX_BYTES = 512 * 2**20


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What `checkpoint.json` holds.

    Attributes:
        format: version of the layout.
        planner: whose checkpoint it is.
        network: sizes.
        eyes: cameras that it looks through, if it does.
        profiles, targets: the vocabulary.
        vocabulary_hash: its content hash.
        mix: how the heads are combined into one choice; see `Anchor`.
        weights_hash: BLAKE2b of the weights' file.
        provenance: how it was trained: trainer, options, seed, parent checkpoint, data.
    """

    format: int = FORMAT
    planner: str = "anchor"
    network: NetworkConfig = NetworkConfig()
    eyes: EyesConfig | None = None
    profiles: list[list[float]]
    targets: list[float]
    vocabulary_hash: str
    mix: dict[str, float]
    weights_hash: str
    provenance: dict[str, Any] = {}

    @property
    def vocabulary(self) -> Vocabulary:
        """The anchors."""
        return Vocabulary(np.array(self.profiles, np.float64), np.array(self.targets, np.float64))


def save_checkpoint(
    folder: Path,
    network: AnchorNetwork | CameraNetwork,
    vocabulary: Vocabulary,
    mix: Mapping[str, float],
    provenance: Mapping[str, Any],
) -> Path:
    """Write a checkpoint; the manifest comes last, so that a folder with one is whole.

    Raises:
        RunError: it cannot be written.
    """
    state = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    weights = save(state)
    eyes = network.eyes.config if isinstance(network, CameraNetwork) else None
    manifest = Checkpoint(
        planner="anchor" if eyes is None else "anchor-camera",
        network=network.config,
        eyes=eyes,
        profiles=vocabulary.profiles.tolist(),
        targets=vocabulary.targets.tolist(),
        vocabulary_hash=vocabulary.hash,
        mix=dict(mix),
        weights_hash=_digest(weights),
        provenance=dict(provenance),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made: {error.strerror}") from error
    write_file(folder / WEIGHTS, weights)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_file(folder / MANIFEST, text + b"\n")
    return folder


def load_checkpoint(folder: Path) -> tuple[Checkpoint, AnchorNetwork | CameraNetwork]:
    """Read a checkpoint.

    Raises:
        DataError: it is none, of another format, damaged, or weights and sizes do not fit.
    """
    manifest = _read_manifest(folder)
    data = _read(folder / WEIGHTS)
    if _digest(data) != manifest.weights_hash:
        raise DataError(
            f"{folder / WEIGHTS}: these are not the weights that {MANIFEST} was written for",
            hint="Copy the folder again, or train again.",
        )
    network = (
        AnchorNetwork(manifest.network)
        if manifest.eyes is None
        else CameraNetwork(manifest.network, manifest.eyes)
    )
    try:
        weights = load(data)
    except SafetensorError as error:
        raise DataError(f"{folder / WEIGHTS}: not safetensors: {error}") from error
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(
            f"{folder / WEIGHTS}: the weights do not fit the network: {error}",
            hint="They were trained with another version, or other sizes. Train again.",
        ) from error
    if not all(torch.isfinite(value).all() for value in weights.values()):
        raise DataError(f"{folder / WEIGHTS}: weights are not finite", hint="Train again.")
    return manifest, network.eval()


def _read_manifest(folder: Path) -> Checkpoint:
    path = folder / MANIFEST
    data = _read(path)
    try:
        raw = msgspec.json.decode(data)
        found = raw.get("format") if isinstance(raw, dict) else None
        if found != FORMAT:
            raise DataError(
                f"{path}: format = {found!r}, this version reads {FORMAT}", hint="Train again."
            )
        manifest = msgspec.convert(raw, Checkpoint)
        network, vocabulary = manifest.network, manifest.vocabulary
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged: {error}", hint="Train again.") from error
    sizes = (network.width, network.heads, network.encoder_layers, network.decoder_layers)
    if not (0 < network.width <= 1024 and network.heads > 0 and network.width % network.heads == 0
            and all(0 <= layers <= 32 for layers in sizes[2:])):  # fmt: skip
        raise DataError(f"{path}: network sizes {sizes} make no network", hint="Train again.")
    if manifest.planner != ("anchor" if manifest.eyes is None else "anchor-camera"):
        raise DataError(f"{path}: a checkpoint of {manifest.planner!r}, not of 'anchor'")
    eyes = manifest.eyes
    if eyes is not None and not (
        0 < len(eyes.cameras) <= 32 and 16 <= eyes.width <= 1024 and 16 <= eyes.height <= 1024
    ):
        raise DataError(f"{path}: {eyes} are no eyes", hint="Train again.")
    if vocabulary.hash != manifest.vocabulary_hash:
        raise DataError(
            f"{path}: vocabulary_hash = {manifest.vocabulary_hash!r}, but the anchors have "
            f"{vocabulary.hash!r}",
            hint="The file was edited, or is of another vocabulary. Train again.",
        )
    return manifest


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: {path.stat().st_size} bytes is too large a checkpoint")
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}",
            hint="A checkpoint is a folder that `roadworthy train` wrote.",
        ) from error


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
