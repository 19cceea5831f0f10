"""Plays a case in the terminal: as pictures where it takes them, as half blocks elsewhere."""

from __future__ import annotations

import base64
import io
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

import numpy as np

from roadworthy.errors import RunError
from roadworthy.scenario import RATE_HZ

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Painter", "painter_of", "play"]

Painter = Callable[["Image", int, int], str]
"""(picture, columns, rows) -> what draws it there, from the top left corner."""

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[0m\x1b[?25h\x1b[?1049l"
_HOLD_S = 1.0
_CHUNK = 4096


def play(
    draw: Callable[[int, int], Image],
    caption: Callable[[int], str],
    steps: int,
    screen: TextIO,
    start: int = 0,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Play over and over, at the speed of the clock, until Ctrl-C.

    Args:
        draw: (step, height) -> the picture of a step.
        caption: what to write above it.
        steps: the last step.
        screen: the terminal.
        start: the step to begin with; later rounds begin with 0.
        environment: tells what the terminal can do.

    Raises:
        RunError: if the terminal can draw nothing.
    """
    if environment.get("TERM", "dumb") == "dumb":
        raise RunError("this terminal cannot draw", hint="Name a file: --out CASE.gif, .mp4, .png")
    paint, sharp = painter_of(environment)
    size = None
    try:
        screen.write(_ENTER)
        begin, last = time.monotonic() - start / RATE_HZ, -1
        while True:
            step = int((time.monotonic() - begin) * RATE_HZ)
            if step > steps + _HOLD_S * RATE_HZ:
                begin, step = time.monotonic(), 0
            step = min(step, steps)
            now = shutil.get_terminal_size()
            if now != size:
                screen.write("\x1b[2J")
                size, last = now, -1
            if step != last:
                picture = draw(step, 480 if sharp else 6 * now.lines)
                columns, rows = _fit(picture, now.columns, now.lines - 2)
                screen.write(f"\x1b[H\x1b[0m{_plain(caption(step))[: now.columns]}\x1b[K\x1b[2;1H")
                screen.write(paint(picture, columns, rows))
                screen.write(f"\x1b[0m\x1b[{now.lines};1HCtrl-C ends")
                screen.flush()
                last = step
            time.sleep(0.02)
    except KeyboardInterrupt:
        pass
    finally:
        screen.write(_LEAVE)
        screen.flush()


def painter_of(environment: Mapping[str, str]) -> tuple[Painter, bool]:
    """The best painter for a terminal, and whether it shows whole pictures.

    Multiplexers pass no pictures on, whatever terminal they run in.
    """
    program = environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux")):
        return _half_blocks, False
    if "KITTY_WINDOW_ID" in environment or program in ("ghostty", "WezTerm"):
        return _kitty, True
    if program == "iTerm.app":
        return _iterm, True
    return _half_blocks, False


def _fit(picture: Image, columns: int, rows: int) -> tuple[int, int]:
    """The most columns and rows of cells, twice as high as wide, in the picture's shape."""
    scale = min(columns / picture.width, 2 * rows / picture.height)
    wide, high = round(scale * picture.width), round(scale * picture.height / 2)
    return max(1, min(wide, columns)), max(1, min(high, rows))


def _half_blocks(picture: Image, columns: int, rows: int) -> str:
    """Two pixels per cell: the upper half in the colour of the ink, the lower in the ground's."""
    pixels = np.asarray(picture.resize((columns, 2 * rows)).convert("RGB")).tolist()
    lines = []
    for y in range(0, 2 * rows, 2):
        parts: list[str] = []
        before: tuple[Sequence[int], Sequence[int]] | None = None
        for upper, lower in zip(pixels[y], pixels[y + 1], strict=True):
            if (upper, lower) != before:
                ink, ground = (";".join(map(str, colour)) for colour in (upper, lower))
                parts.append(f"\x1b[38;2;{ink};48;2;{ground}m")
                before = (upper, lower)
            parts.append("▀")
        lines.append("".join(parts))
    return "\x1b[0m\r\n".join(lines)


def _kitty(picture: Image, columns: int, rows: int) -> str:
    """Kitty's graphics protocol: one image that each frame replaces, sent in chunks."""
    data = _png(picture)
    chunks = [data[i : i + _CHUNK] for i in range(0, len(data), _CHUNK)]
    head = f"a=T,f=100,i=1,p=1,q=2,C=1,c={columns},r={rows},"
    return "".join(
        f"\x1b_G{head if i == 0 else ''}m={int(i < len(chunks) - 1)};{chunk}\x1b\\"
        for i, chunk in enumerate(chunks)
    )


def _iterm(picture: Image, columns: int, rows: int) -> str:
    """iTerm2's inline images."""
    return f"\x1b]1337;File=inline=1;width={columns};height={rows}:{_png(picture)}\x07"


def _png(picture: Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return base64.b64encode(out.getvalue()).decode()


def _plain(text: str) -> str:
    """Text that cannot steer the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
