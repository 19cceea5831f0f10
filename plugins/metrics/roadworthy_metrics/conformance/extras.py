"""The vectors beside the cases: interpolation of tracks, and two-stage aggregation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_metrics.pdm.comfort import extended_comfort
from roadworthy_metrics.pdm.evaluate import Term
from roadworthy_metrics.pdm.resample import resample_tracks
from roadworthy_metrics.pdm.totals import epdms
from roadworthy_metrics.pdm.two_stage import combine_stages, stage_weights

from .tally import Tally
from .vectors import groups, read_json, read_npz

__all__ = ["check_interpolation", "check_two_stage"]

_TOLERANCE = 1e-6
_ANNOTATIONS = {1: 11, 2: 9}
_COLUMNS = {
    "no_at_fault_collisions": Term.NC,
    "drivable_area_compliance": Term.DAC,
    "driving_direction_compliance": Term.DDC,
    "traffic_light_compliance": Term.TLC,
    "time_to_collision_within_bound": Term.TTC,
    "lane_keeping": Term.LK,
    "history_comfort": Term.COMFORT,
}


def check_interpolation(tally: Tally, directory: Path) -> None:
    """`interp_v1.npz` and `interp_v2.npz`, where present."""
    for version, knots in _ANNOTATIONS.items():
        path = directory / f"interp_v{version}.npz"
        if not path.is_file():
            continue
        for name, arrays in groups(read_npz(path)):
            for key in ("in_exist", "in_pose", "in_vel", "pose", "vel", "exist"):
                if key not in arrays:
                    raise DataError(f"{path}: array {name + '/' + key!r} is missing")
            try:
                pose, velocity, valid = resample_tracks(
                    arrays["in_pose"][:, :knots],
                    arrays["in_vel"][:, :knots],
                    arrays["in_exist"][:, :knots].astype(bool),
                )
            except ValueError as error:
                raise DataError(f"{path}: {name}: {error}") from error
            want = arrays["exist"].astype(bool)
            tally.compare(f"interp v{version} presence", name, valid, want)
            if valid.shape != want.shape:
                continue
            both = valid & want
            for metric, got, key, angle in (
                ("pose", pose, "pose", 2),
                ("velocity", velocity, "vel", None),
            ):
                tally.compare(
                    f"interp v{version} {metric}",
                    name,
                    got[both],
                    arrays[key][both],
                    _TOLERANCE,
                    angle=angle,
                )


def _field(path: Path, item: Any, key: str, where: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise DataError(f"{path}: {where}.{key} is missing")
    return item[key]


def check_two_stage(tally: Tally, directory: Path) -> None:
    """`two_stage.json` with `two_stage_states.npz`, where present."""
    path = directory / "two_stage.json"
    states_path = directory / "two_stage_states.npz"
    if not path.is_file():
        return
    if not states_path.is_file():
        raise DataError(f"{states_path} is missing, but {path.name} needs it")
    content, states = read_json(path), read_npz(states_path)
    columns = _field(path, content, "metric_columns", "document")
    unknown = set(columns) - set(_COLUMNS) - {"ego_progress"}
    if unknown or set(_COLUMNS) - set(columns):
        raise DataError(f"{path}: metric_columns = {columns!r}")
    for k, group in enumerate(_field(path, content, "groups", "document")):
        try:
            _check_group(tally, path, group, columns, states)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(f"{path}: groups[{k}]: {type(error).__name__} {error}") from error


def _check_group(
    tally: Tally,
    path: Path,
    group: dict[str, Any],
    columns: list[str],
    states: dict[str, NDArray[Any]],
) -> None:
    name = group["id"]
    rows = {row["token"]: row for row in group["rows"]}
    pairs = [(group["now"], group["prev"]), *group["mapping"]]
    value = {token: np.ones(7) for token in rows}
    progress = {}
    for token, row in rows.items():
        for column, number in zip(columns, row["metrics"], strict=True):
            if column == "ego_progress":
                progress[token] = float(number)
            else:
                value[token][_COLUMNS[column]] = number
    ec: dict[str, float] = {}
    for now, prev in pairs:
        delta = rows[now]["start_time"] - rows[prev]["start_time"]
        got, _ = extended_comfort(
            states[f"{name}/{now}"][None], states[f"{name}/{prev}"][None], delta
        )
        ec[now] = ec[prev] = float(got[0])
    weight = {group["now"]: 1.0, group["prev"]: 1.0}
    weights = np.empty((2, len(group["mapping"])))
    for side, first in enumerate((group["now"], group["prev"])):
        later = [pair[side] for pair in group["mapping"]]
        starts = np.array([rows[token]["start_point"] for token in later])
        weights[side] = stage_weights(np.array(rows[first]["endpoint"]), starts)
        weight.update(zip(later, weights[side].tolist(), strict=True))
    score = {
        token: float(epdms(value[token], np.array(progress[token]), np.array(ec[token])))
        for token in rows
    }
    for token, want in group["out_rows"].items():
        where = f"{name}/{token}"
        tally.compare("two-stage EC", where, ec[token], want["ec"])
        tally.compare("two-stage weight", where, weight[token], want["weight"], _TOLERANCE)
        tally.compare("two-stage frame score", where, score[token], want["score"], _TOLERANCE)

    def table(token: str) -> list[float]:
        return [*map(float, rows[token]["metrics"]), ec[token], score[token]]

    first = np.array([table(group["now"]), table(group["prev"])])
    second = np.array([[table(pair[side]) for pair in group["mapping"]] for side in (0, 1)])
    names = [*columns, "two_frame_extended_comfort", "score"]
    for label, key, got in zip(
        ("two-stage combined", "two-stage first", "two-stage second"),
        ("out_combined", "out_stage1", "out_stage2"),
        combine_stages(first, second, weights),
        strict=True,
    ):
        want = group[key]
        tally.compare(label, name, got, [want[n] for n in names], _TOLERANCE)
