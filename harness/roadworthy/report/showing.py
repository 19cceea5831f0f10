"""Finds a case by its name, and shows it: as a picture, a film, in the terminal or the browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from roadworthy.comparison.pairing import contestants
from roadworthy.errors import RunError, did_you_mean
from roadworthy.replay import load_map, load_replay, replay_path
from roadworthy.report.films import write_mp4
from roadworthy.report.view import Case, View, view_of
from roadworthy.scenario import RATE_HZ
from roadworthy.store import Run

if TYPE_CHECKING:
    from PIL.Image import Image

    from roadworthy.report.drawing import Pane

__all__ = ["find_case", "open_in_browser", "play_case", "show_case"]

_EVERY = {".gif": 2, ".mp4": 1}


def find_case(view: View, name: str) -> Case:
    """The case of that scenario name, with or without source and repetition, or key.

    Raises:
        RunError: if there is none, or more than one.
    """
    exact = [c for c in view.cases if name in (c.name, c.record.scenario, c.key)]
    found = exact or [c for c in view.cases if c.key.startswith(name)]
    if not found:
        names = [case.record.scenario for case in view.cases]
        hint = did_you_mean(name, names) if len(names) <= 20 or _near(name, names) else ""
        raise RunError(f"there is no case {name!r}", hint=hint or "`scores.csv` lists all cases.")
    if len(found) > 1:
        several = ", ".join(f"{c.name} ({c.id})" for c in found[:5])
        raise RunError(f"{name!r} names {len(found)} cases: {several}", hint="Give the key.")
    return found[0]


def show_case(
    run: Run, name: str, out: Path, *, planners: Sequence[str] = (), step: int | None = None
) -> None:
    """Write a case as a picture, a film, or a log for Foxglove.

    Args:
        run: the run.
        name: which case; see `find_case`.
        out: a .png, .gif, .mp4, or an .mcap for Foxglove.
        planners: draw only these.
        step: draw this step of a picture; the first failure, or the end, unless given.

    Raises:
        RunError: if there is no such case, no rollout of it, or the file cannot be written.
    """
    panes = _panes(*_find(run, name, planners))
    suffix = out.suffix.lower()
    if suffix not in (".png", ".mcap", *_EVERY):
        raise RunError(f"{out}: cannot draw a {suffix or 'file without suffix'}",
                       hint="Name a .png, .gif, .mp4 or .mcap.")  # fmt: skip
    from roadworthy.report.drawing import draw_step, film
    from roadworthy.report.foxglove import write_mcap

    try:
        if suffix == ".mcap":
            write_mcap(out, panes)
        elif suffix == ".png":
            events = [event for pane in panes for event in pane.events]
            chosen = min(events) if events else max(pane.steps for pane in panes)
            draw_step(panes, chosen if step is None else step).save(out)
        elif suffix == ".gif":
            _write_gif(out, film(panes, _EVERY[suffix]))
        else:
            write_mp4(out, film(panes, _EVERY[suffix]), Fraction(RATE_HZ, _EVERY[suffix]))
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror or error}") from error


def play_case(
    run: Run, name: str, screen: TextIO, *, planners: Sequence[str] = (), step: int | None = None
) -> None:
    """Play a case in the terminal until Ctrl-C.

    Args:
        run: the run.
        name: which case; see `find_case`.
        screen: the terminal.
        planners: draw only these.
        step: begin with this one.

    Raises:
        RunError: if there is no such case, no rollout of it, or the terminal cannot draw.
    """
    view, case = _find(run, name, planners)
    panes = _panes(view, case)
    from roadworthy.report.drawing import draw_step
    from roadworthy.report.terminal import play

    def caption(now: int) -> str:
        drives = [f"{p.title} {p.speed(now):.1f} m/s" for p in panes]
        return "   ".join([f"{now / RATE_HZ:4.1f} s", *drives, case.name])

    play(
        lambda now, height: draw_step(panes, now, height, captions=False),
        caption,
        max(pane.steps for pane in panes),
        screen,
        step or 0,
    )


def open_in_browser(address: str) -> bool:
    """Open an address where there is a desktop; whether anything was opened."""
    desktop = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    return desktop and webbrowser.open(address)


def _find(run: Run, name: str, planners: Sequence[str]) -> tuple[View, Case]:
    view = view_of(contestants([(run, p) for p in planners] or [run]))
    return view, find_case(view, name)


def _panes(view: View, case: Case) -> list[Pane]:
    from roadworthy.report.drawing import Pane

    panes = []
    for entry, result in zip(view.entries, case.results, strict=True):
        if result is None or not replay_path(entry.run.path, entry.planner, case.key).is_file():
            continue
        replay = load_replay(entry.run.path, entry.planner, case.key)
        road_map = load_map(entry.run.path, replay.map_hash)
        steps = tuple(r.step for r in result.reasons if r.level != "near" and r.step >= 0)
        panes.append(Pane(entry.label, replay, road_map, steps, result.reasons))
    if not panes:
        raise RunError(
            f"no rollout of {case.name} was kept",
            hint="Run the suite with run.save_rollouts = true; rejected scenarios have none.",
        )
    return panes


def _write_gif(path: Path, frames: Iterable[Image]) -> None:
    first, *others = (frame.quantize(64) for frame in frames)
    pause = 1000 * _EVERY[".gif"] // RATE_HZ
    last = [pause] * len(others) + [1500]
    first.save(path, save_all=True, append_images=others, duration=last, loop=0, optimize=False)


def _near(name: str, names: Iterable[str]) -> bool:
    return did_you_mean(name, names).startswith("Did")
