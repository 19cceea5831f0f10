"""A small convolutional network that turns the pictures of a rig into tokens of the scene."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.errors import DataError
from torch import Tensor, nn

from .network import AnchorNetwork, NetworkConfig, Scored

__all__ = ["CameraNetwork", "Eyes", "EyesConfig", "shrunk"]

_CHANNELS = (16, 32, 48)
_GRID = (3, 6)


class EyesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked at.

    Attributes:
        cameras: names, in order; every rig that has them will do.
        width, height: that pictures are shrunk to [pixels].
    """

    cameras: tuple[str, ...] = ("left", "front", "right")
    width: int = 96
    height: int = 54


class Eyes(nn.Module):
    """Three convolutions of stride 2, the same for each camera, then a token for each field of a
    grid of 3 x 6; tokens know their camera and their field.

    Args:
        config: cameras and sizes.
        width: of a token.
    """

    def __init__(self, config: EyesConfig, width: int) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        last = 3
        for channels in _CHANNELS:
            layers += [
                nn.Conv2d(last, channels, 5 if last == 3 else 3, 2, padding=2 if last == 3 else 1),
                nn.GroupNorm(4, channels),
                nn.ReLU(),
            ]
            last = channels
        self.layers = nn.Sequential(*layers)
        self.token = nn.Linear(last, width)
        count = len(config.cameras)
        self.place = nn.Parameter(0.02 * torch.randn(count, _GRID[0] * _GRID[1], width))

    def forward(self, pictures: Tensor) -> Tensor:
        """Tokens [N, 18 C, width] of pictures [N, C, 3, height, width], 0 to 255."""
        n, count = pictures.shape[:2]
        seen = self.layers(pictures.flatten(0, 1).float() / 127.5 - 1.0)
        fields = nn.functional.adaptive_avg_pool2d(seen, _GRID).flatten(2).transpose(1, 2)
        tokens = self.token(fields).unflatten(0, (n, count)) + self.place
        return tokens.flatten(1, 2)


class CameraNetwork(nn.Module):
    """Scores anchors by what cameras see: `AnchorNetwork` with the tokens of `Eyes`."""

    def __init__(self, config: NetworkConfig, eyes: EyesConfig) -> None:
        super().__init__()
        self.config = config
        self.anchor = AnchorNetwork(config)
        self.eyes = Eyes(eyes, config.width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Scored:
        """As `AnchorNetwork`; `pictures` is among the inputs."""
        known = {name: value for name, value in inputs.items() if name != "pictures"}
        found: Scored = self.anchor(known, self.eyes(inputs["pictures"]))
        return found


def shrunk(images: Mapping[str, NDArray[np.uint8]], config: EyesConfig) -> NDArray[np.uint8]:
    """Pictures [N, C, 3, height, width] of cameras' images [N, H, W, 3], by areas.

    Raises:
        DataError: a camera is missing.
    """
    missing = [name for name in config.cameras if name not in images]
    if missing:
        raise DataError(
            f"the planner looks through cameras {', '.join(config.cameras)}, and there is no "
            f"{missing[0]!r}",
            hint='Drive it in the simulator "splat", with a rig that has them.',
        )
    parts = []
    for name in config.cameras:
        picture = torch.from_numpy(images[name]).permute(0, 3, 1, 2).float()
        small = nn.functional.interpolate(picture, (config.height, config.width), mode="area")
        parts.append(small.round().to(torch.uint8).numpy())
    return np.stack(parts, axis=1)
