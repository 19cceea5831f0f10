"""The report's films: what the cameras showed, and the same moment from above."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from markupsafe import escape
from PIL import Image, ImageDraw
from roadworthy.comparison.pairing import contestants
from roadworthy.errors import RoadworthyError
from roadworthy.replay import load_map, replay_path
from roadworthy.report.drawing import Pane, draw_step
from roadworthy.report.films import can_write_mp4, write_mp4
from roadworthy.report.view import view_of
from roadworthy.rig import Rig
from roadworthy.scenario import RATE_HZ
from roadworthy.store import CaseRecord, Run

from roadworthy_simulators.splat.cpu.engine import available_threads
from roadworthy_simulators.splat.playback import Playback, had_cameras, playbacks

__all__ = ["camera_sections", "film"]

_CASES = 2
"""Cases that a report shows, the worst first; each as every planner drove it."""
_MOST = 8
"""Films in a report."""
_WIDTH = 480
_CRF = 27


def camera_sections(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The section "Cameras" of a report, or none where no planner had any.

    Films are made where they are not yet in `films/PLANNER/KEY.mp4` of the run.
    """
    seen = [run for run in runs if had_cameras(run)]
    if not seen:
        return []
    if not can_write_mp4():
        text = (
            "Films of what the cameras showed take PyAV: "
            "<code>pip install -c constraints.txt &quot;.[video]&quot;</code> in the checkout, "
            "then <code>roadworthy report</code>."
        )
        return [("Cameras", f'<p class="note">{text}</p>')]
    parts = []
    for run in seen:
        chosen = _chosen(run)
        try:
            _make(run, chosen)
        except RoadworthyError as error:
            parts.append(f'<p class="note">Films could not be made: {escape(str(error))}</p>')
        parts += [_figure(run, record) for record in chosen if _path(run, record).is_file()]
    if not parts:
        parts = ['<p class="note">No rollout was kept to show.</p>']
    return [("Cameras", f'<div class="films">{"".join(parts)}</div>')]


def film(playback: Playback, rig: Rig, pane: Pane) -> Iterator[Image.Image]:
    """All moments of a drive: the cameras, the forward one large, and a bird's eye view."""
    for step in range(playback.steps + 1):
        shot = playback.shot(step)
        cameras = _cameras(shot.images, rig)
        if not shot.valid:
            ImageDraw.Draw(cameras).text((8, 8), "not valid", fill="#ff5040", font_size=16)
        above = draw_step([pane], step, cameras.height)
        whole = Image.new("RGB", (cameras.width + above.width // 2 * 2, cameras.height))
        whole.paste(cameras, (0, 0))
        whole.paste(above, (cameras.width, 0))
        yield whole


def _cameras(images: dict[str, np.ndarray], rig: Rig) -> Image.Image:  # type: ignore[type-arg]
    """The camera that looks ahead over the others, which share a row."""
    ahead = min(rig.cameras, key=lambda c: abs((c.yaw_deg + 180.0) % 360.0 - 180.0))
    others = [c for c in rig.cameras if c is not ahead]
    large = _fitted(images[ahead.name], _WIDTH)
    row = [_fitted(images[c.name], _WIDTH // len(others) // 2 * 2) for c in others]
    below = max((picture.height for picture in row), default=0)
    whole = Image.new("RGB", (_WIDTH, large.height + below), "#20242a")
    whole.paste(large, (0, 0))
    at = 0
    for picture in row:
        whole.paste(picture, (at, large.height))
        at += picture.width
    return whole


def _fitted(image: np.ndarray, width: int) -> Image.Image:  # type: ignore[type-arg]
    picture = Image.fromarray(image)
    height = max(2, round(picture.height * width / picture.width / 2) * 2)
    return picture.resize((width, height), Image.Resampling.BOX if width < picture.width
                          else Image.Resampling.BICUBIC)  # fmt: skip


def _path(run: Run, record: CaseRecord) -> Path:
    return run.path / "films" / record.planner / f"{record.key}.mp4"


def _chosen(run: Run) -> list[CaseRecord]:
    """What to show: the worst cases of which rollouts were kept."""
    view = view_of(contestants([run]))
    chosen: list[CaseRecord] = []
    cases = 0
    for case in [*view.worst, *view.cases]:
        kept = [
            result.record
            for result in case.results
            if result is not None
            and result.record not in chosen
            and replay_path(run.path, result.record.planner, result.record.key).is_file()
        ]
        if kept:
            chosen += kept
            cases += 1
        if cases == _CASES or len(chosen) >= _MOST:
            break
    return chosen[:_MOST]


def _make(run: Run, chosen: Sequence[CaseRecord]) -> None:
    missing = [record for record in chosen if not _path(run, record).is_file()]
    for playback in playbacks(run, missing, threads=available_threads()):
        record, replay = playback.record, playback.replay
        pane = Pane(record.planner, replay, load_map(run.path, replay.map_hash))
        path = _path(run, record)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.stem}.draft.mp4")
        write_mp4(draft, film(playback, playback.stage.rig, pane), Fraction(RATE_HZ), _CRF)
        draft.replace(path)


def _figure(run: Run, record: CaseRecord) -> str:
    data = base64.b64encode(_path(run, record).read_bytes()).decode()
    title = f"{escape(record.planner)} in {escape(record.scenario)}"
    return (
        f'<figure><video controls loop muted playsinline preload="metadata" '
        f'src="data:video/mp4;base64,{data}" aria-label="Film: {title}"></video>'
        f"<figcaption>{title}</figcaption></figure>"
    )
