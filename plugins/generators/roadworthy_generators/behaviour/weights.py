"""A trained model on disk: `NAME.safetensors` with the weights, `NAME.json` with its card."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import torch
from roadworthy.errors import DataError, SuiteError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from roadworthy_generators.behaviour.network import Denoiser, Shape

__all__ = [
    "DEFAULT",
    "SURPRISE_PERCENTILES",
    "VERSION",
    "Card",
    "Model",
    "load_model",
    "save_model",
]

VERSION = 1
"""Of what tokens mean. A model of another version reads them wrongly."""
DEFAULT = Path(__file__).with_name("model") / "behaviour.safetensors"
SURPRISE_PERCENTILES = (0.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9)
"""Which percentiles of the surprise a card holds."""
_MOST_BYTES = 64 * 2**20


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model is, and where it comes from.

    Attributes:
        format: `VERSION` of the code that wrote it.
        shape: of the network.
        sha256: of the weights file.
        data: what it learned from: sources, counts, hash over the scenes' content hashes.
        training: seed, steps, batch, learning rate and so on.
        code: version of roadworthy.
        command: that makes it again.
        figures: measured of it.
        surprise: `SURPRISE_PERCENTILES` of the surprise of logged agents (`sampling.surprise`), by
            kind of agent.
    """

    format: int = VERSION
    shape: dict[str, int]
    sha256: str = ""
    data: dict[str, Any] = {}
    training: dict[str, Any] = {}
    code: str = ""
    command: str = ""
    figures: dict[str, float] = {}
    surprise: dict[str, tuple[float, ...]] = {}


class Model(msgspec.Struct, frozen=True):
    """A network ready to be asked, and its card."""

    network: Denoiser
    card: Card

    @property
    def hash(self) -> str:
        """Of the weights."""
        return self.card.sha256


def save_model(path: Path, network: Denoiser, card: Card) -> Card:
    """Write weights as float16 with their card beside them; returns the card with their hash."""
    tensors = {
        name: value.detach().to(torch.float16).contiguous()
        for name, value in network.state_dict().items()
    }
    data = save_tensors(tensors, {"format": str(VERSION)})
    card = msgspec.structs.replace(
        card, shape=asdict(network.shape), sha256=hashlib.sha256(data).hexdigest()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    text = msgspec.json.format(msgspec.json.encode(card), indent=2)
    path.with_suffix(".json").write_bytes(text + b"\n")
    return card


def load_model(path: Path = DEFAULT, device: str = "cpu") -> Model:
    """Read a model.

    Raises:
        DataError: there is none, it is damaged, of another version, or its weights have other
            shapes than the card says.
        SuiteError: PyTorch cannot compute on the device.
    """
    _check_device(device)
    beside = path.with_suffix(".json")
    try:
        if path.stat().st_size > _MOST_BYTES or beside.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: more than {_MOST_BYTES} bytes", hint="This is no such model.")
        data, text = path.read_bytes(), beside.read_bytes()
    except OSError as error:
        raise DataError(
            f"{error.filename}: cannot be read ({error.strerror})",
            hint="A behaviour model is two files, NAME.safetensors and NAME.json.",
        ) from error
    try:
        card = msgspec.json.decode(text, type=Card)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DataError(f"{beside}: {error}", hint="This is no card of a model.") from error
    if card.format != VERSION:
        raise DataError(
            f"{beside}: format {card.format}, this roadworthy reads {VERSION}",
            hint="Train the model again with this version.",
        )
    if card.sha256 != hashlib.sha256(data).hexdigest():
        raise DataError(
            f"{path}: not the weights that {beside.name} describes (other hash)",
            hint="Keep the two files together.",
        )
    network = _network(path, card, data)
    return Model(network.to(device).eval().requires_grad_(False), card)


def _check_device(device: str) -> None:
    try:
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].partition(". ")[0]
        raise SuiteError(
            f"behaviour: device is {device!r}, where PyTorch cannot compute: {reason}",
            hint="Give cpu; or cuda where torch.cuda.is_available().",
        ) from error


def _network(path: Path, card: Card, data: bytes) -> Denoiser:
    try:
        tensors = load_tensors(data)
        shape = Shape(**card.shape)
        sizes = (shape.width, shape.layers, shape.heads, shape.edge)
        fits = all(0 < size <= 1024 for size in sizes) and shape.layers <= len(tensors)
        if not fits or shape.width % shape.heads:
            raise DataError(f"{path}: shape {card.shape} is no network's")
        # Sizes are compared before there is memory for them: a card may claim any.
        with torch.device("meta"):
            network = Denoiser(shape)
        network.load_state_dict(
            {name: value.float() for name, value in tensors.items()}, assign=True
        )
    except (TypeError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{path}: {error}", hint=f"The weights do not fit the shape {card.shape}."
        ) from error
    for name, value in network.named_parameters():
        if not torch.isfinite(value).all():
            raise DataError(f"{path}: {name} is not finite", hint="Train the model again.")
    return network
