"""`roadworthy show` in a terminal: frames are drawn, they move, and Ctrl-C ends it."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_data import make_run
from roadworthy.report.terminal import painter_of

pty = pytest.importorskip("pty", reason="needs a Unix terminal")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

COLUMNS, ROWS = 100, 30
TELLING = ("TMUX", "KITTY_WINDOW_ID", "TERM_PROGRAM")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("show") / "run", cases=18).path


def watch(arguments: list[str], frames: int = 1, **environment: str) -> tuple[str, int]:
    """What `roadworthy` writes to a terminal until Ctrl-C after some frames; its exit code."""
    main, sub = pty.openpty()
    fcntl.ioctl(sub, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in (*TELLING, "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "roadworthy", *arguments],
        stdin=sub, stdout=sub, stderr=sub, start_new_session=True,
        env={**kept, "TERM": "xterm-256color", **environment},
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(sub)
    said = b""

    def read_until(done: Callable[[], bool], limit: float) -> None:
        nonlocal said
        end = time.monotonic() + limit
        while not done() and time.monotonic() < end:
            if select.select([main], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):  # the other end is closed
                    said += os.read(main, 1 << 16)

    def ended() -> bool:
        return process.poll() is not None

    read_until(lambda: said.count(b"Ctrl-C ends") >= frames or ended(), 60.0)
    if not ended():
        os.write(main, b"\x03")  # as the key does
    read_until(ended, 20.0)
    if not ended():
        process.kill()
        pytest.fail("Ctrl-C did not end it")
    read_until(lambda: not select.select([main], [], [], 0.05)[0], 0.5)
    os.close(main)
    return said.decode(), process.wait()


def pixels(frame: str) -> np.ndarray:
    """The picture that half blocks draw: [2 rows, columns, 3]."""
    lines = []
    for line in frame.split("\r\n"):
        upper, lower, ink = [], [], ((0, 0, 0), (0, 0, 0))
        for colours, block in re.findall(r"\x1b\[38;2;([\d;]+)m|(▀)", line):
            if block:
                upper.append(ink[0])
                lower.append(ink[1])
            else:
                numbers = [int(n) for n in colours.replace("48;2;", "").split(";")]
                ink = (tuple(numbers[:3]), tuple(numbers[3:]))
        lines += [upper, lower]
    return np.array(lines)


def test_frames_are_drawn_and_ctrl_c_ends(run: Path) -> None:
    said, code = watch(["show", str(run), "scene-009"], 6)
    assert code == 0
    assert said.startswith("\x1b[?1049h\x1b[?25l")
    assert said.rstrip().endswith("\x1b[?25h\x1b[?1049l")
    assert "Traceback" not in said
    frames = re.findall(
        r"\x1b\[H\x1b\[0m(.*?)\x1b\[K\x1b\[2;1H(.*?)\x1b\[0m\x1b\[30;1H", said, re.S
    )
    assert len(frames) >= 5
    captions = [caption for caption, _ in frames]
    assert captions[0].split() == ["0.0", "s", "careful", "8.0", "m/s", *captions[0].split()[5:]]
    assert all(len(caption) <= COLUMNS for caption in captions)
    clocks = [float(caption.split()[0]) for caption in captions]
    assert clocks == sorted(set(clocks))
    first, last = (pixels(frame) for _, frame in (frames[0], frames[-1]))
    assert first.shape == last.shape == (50, COLUMNS, 3)
    assert (first != last).any()
    for colour in ((11, 92, 173), (194, 84, 0)):  # both egos are there
        assert (abs(first - colour).max(axis=-1) < 90).sum() >= 3


def test_it_begins_with_the_step_asked_for(run: Path) -> None:
    said, code = watch(["show", str(run), "scene-009", "--step", "30"])
    assert code == 0
    assert re.search(r"\x1b\[H\x1b\[0m *3\.[0-9] s ", said)


def test_no_name_steers_the_terminal(run: Path) -> None:
    said, code = watch(["show", str(run), "control", "--planner", "careful"])
    assert code == 4  # no scenario is called so, and the message names none that is
    key = next(
        line.split('"key":"')[1][:16]
        for line in (run / "cases.jsonl").read_text().splitlines()
        if "control " in line and '"planner":"careful"' in line
    )
    said, code = watch(["show", str(run), key, "--planner", "careful"])
    assert code == 0
    assert "control ��� and lone" in said
    assert not set("\x00\x08\x1f") & set(said)


def test_a_terminal_that_cannot_draw_is_told_so(run: Path) -> None:
    said, code = watch(["show", str(run), "scene-009"], TERM="dumb")
    assert code == 4
    assert "--out" in said
    assert "\x1b[" not in said


def test_pictures_where_the_terminal_takes_them(run: Path) -> None:
    said, code = watch(["show", str(run), "scene-009"], KITTY_WINDOW_ID="1")
    assert code == 0
    first = said.split("\x1b[2;1H")[1]
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", first)
    assert "a=T,f=100" in chunks[0][0]
    assert f"c={COLUMNS}," in chunks[0][0]
    assert [head.endswith("m=1") for head, _ in chunks] == [True] * (len(chunks) - 1) + [False]
    with Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in chunks)))) as picture:
        assert picture.size == (960, 480)

    said, code = watch(["show", str(run), "scene-009"], TERM_PROGRAM="iTerm.app")
    assert code == 0
    found = re.search(r"\x1b\]1337;File=inline=1;width=100;height=25:([^\x07]*)\x07", said)
    assert found
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as picture:
        assert picture.size == (960, 480)


def test_multiplexers_get_blocks() -> None:
    assert not painter_of({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"})[1]
    assert not painter_of({"TERM": "xterm-kitty", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"})[1]
    assert painter_of({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"})[1]
