"""Films as MP4: H.264, which every browser plays, written by PyAV."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadworthy.errors import RunError, install_hint

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["can_write_mp4", "write_mp4"]


def can_write_mp4() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


def write_mp4(path: Path, frames: Iterable[Image], rate: Fraction, crf: int = 23) -> None:
    """Write pictures as a film; equal pictures give equal bytes.

    Args:
        path: ends in .mp4.
        frames: at least one; all of one size, with even sides.
        rate: pictures a second.
        crf: H.264's constant rate factor: 18 looks like the original, 30 is small.

    Raises:
        RunError: PyAV is not installed.
    """
    try:
        av: Any = importlib.import_module("av")
    except ImportError:
        raise RunError(
            f"{path}: writing an .mp4 takes PyAV",
            hint=f"{install_hint('video')}, or name a .gif.",
        ) from None
    pictures = iter(frames)
    first = next(pictures)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as film:
        stream = film.add_stream("libx264", rate=rate)
        stream.options = {"preset": "veryfast", "crf": str(crf)}
        stream.codec_context.thread_count = 1
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        for picture in itertools.chain([first], pictures):
            for packet in stream.encode(av.VideoFrame.from_image(picture)):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
