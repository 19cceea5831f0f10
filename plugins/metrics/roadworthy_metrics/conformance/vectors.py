"""Reading vectors of the format "pdms-conformance-1", with bounds and typed errors."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

__all__ = ["Case", "list_cases", "read_case", "read_json", "read_npz"]

_FORMAT = "pdms-conformance-1"
_MAX_BYTES = 256 * 2**20
_STATE = 11

# Key: (dtype kinds, shape). A letter is a size that must be the same wherever it appears in a
# case; "*" is any size.
_INPUTS: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "meta_json": ("u", ("*",)),
    "in_vehicle": ("f", (6,)),
    "in_ego0": ("f", (_STATE,)),
    "in_past_ego": ("f", ("H", _STATE)),
    "in_past_time_us": ("i", ("H",)),
    "in_prev_ego": ("f", (_STATE,)),
    "in_ego0_time_us": ("i", ()),
    "in_prev_time_us": ("i", ()),
    "in_raw": ("f", ("P", "N", 3)),
    "in_prev_raw": ("f", ("P", "N", 3)),
    "in_human_raw": ("f", ("*", 3)),
    "in_pdm_ref_v1": ("f", ("T", 3)),
    "in_pdm_ref_v2": ("f", ("T", 3)),
    "in_map_poly": ("f", ("*", 2)),
    "in_map_off": ("i", ("*",)),
    "in_map_type": ("i", ("K",)),
    "in_centerline": ("f", ("*", 3)),
    "in_ag_pose": ("f", ("A", "F", 3)),
    "in_ag_vel": ("f", ("A", "F", 2)),
    "in_ag_exist": ("b", ("A", "F")),
    "in_ag_dims": ("f", ("A", 3)),
    "in_ag_type": ("i", ("A",)),
    "in_tl_red": ("b", ("L", "T")),
    "in_tl_poly": ("f", ("*", 2)),
    "in_tl_off": ("i", ("*",)),
    "in_graph_base": ("f", ("*", 3)),
    "in_graph_base_off": ("i", ("*",)),
    "in_graph_speed": ("f", ("G",)),
}
_OFFSETS = {
    "in_map_off": ("in_map_poly", "in_map_type"),
    "in_tl_off": ("in_tl_poly", "in_tl_red"),
    "in_graph_base_off": ("in_graph_base", "in_graph_speed"),
}
_META: dict[str, type] = {
    "case_id": str,
    "raw_interval_s": float,
    "map_tokens": list,
    "route_lane_ids": list,
    "tl_on_route": list,
    "graph": dict,
    "v1_metric_names": list,
    "v2_metric_names": list,
}
_GRAPH = ("lane_ids", "lane_roadblock", "lane_out", "route_roadblock_ids")
_MAY_BE_UNDEFINED = {"in_ag_pose", "in_ag_vel", "in_graph_speed"}


@dataclass(frozen=True, eq=False)
class Case:
    """One vector: arrays by key, its metadata, and where it came from."""

    id: str
    path: Path
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]

    def __getitem__(self, key: str) -> NDArray[Any]:
        return self.arrays[key]

    def __contains__(self, key: object) -> bool:
        return key in self.arrays

    def ragged(self, values: str, offsets: str) -> list[NDArray[Any]]:
        """Rows of a ragged array."""
        at = self.arrays[offsets]
        return [self.arrays[values][a:b] for a, b in pairwise(at)]


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        DataError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}") from error


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an NPZ file, without pickles, at most 256 MiB.

    Raises:
        DataError: it cannot be read as that.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > _MAX_BYTES:
            raise DataError(f"{path}: {size} bytes unpacked, more than {_MAX_BYTES}")
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not readable as NPZ: {error}") from error


def list_cases(directory: Path) -> tuple[list[tuple[Path, str | None]], int]:
    """The case files of a directory, sorted by name, with their expected digests.

    Returns:
        (path, sha256 or None) of the files that are there, and how many files `index.json`
        lists that are not.

    Raises:
        DataError: an index that is not one, or that names a file outside the directory.
    """
    digests: dict[Path, str | None] = {}
    folder = directory / "cases"
    if folder.is_dir():
        digests = dict.fromkeys(folder.glob("*.npz"))
    missing = 0
    index = directory / "index.json"
    if index.is_file():
        content = read_json(index)
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise DataError(f"{index}: field 'format' is {found!r}, not {_FORMAT!r}")
        entries = content.get("cases")
        if not isinstance(entries, list):
            raise DataError(f"{index}: field 'cases' is not a list")
        for k, entry in enumerate(entries):
            name = entry.get("file") if isinstance(entry, dict) else None
            if not isinstance(name, str):
                raise DataError(f"{index}: cases[{k}] has no field 'file'")
            path = directory / name
            if not path.resolve().is_relative_to(directory.resolve()):
                raise DataError(f"{index}: cases[{k}].file = {name!r} leaves the directory")
            if path.is_file():
                digests[path] = entry.get("sha256")
            else:
                missing += 1
    return sorted(digests.items()), missing


def _check_shapes(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    sizes: dict[str, int] = {"T": 41}
    for key, (kinds, wanted) in _INPUTS.items():
        if key not in arrays:
            raise DataError(f"{path}: array {key!r} is missing")
        array = arrays[key]
        if array.dtype.kind not in kinds:
            raise DataError(f"{path}: {key} has dtype {array.dtype}, wanted kind {kinds!r}")
        fits = array.ndim == len(wanted)
        for have, want in zip(array.shape, wanted, strict=False):
            size = want if isinstance(want, int) else sizes.setdefault(want, have)
            fits = fits and (want == "*" or have == size)
        sizes.pop("*", None)
        if not fits:
            raise DataError(f"{path}: {key} has shape {array.shape}, wanted {wanted} with {sizes}")
        if array.dtype.kind == "f" and key not in _MAY_BE_UNDEFINED:
            bad = np.argwhere(~np.isfinite(array))
            if len(bad):
                at = tuple(int(i) for i in bad[0])
                raise DataError(f"{path}: {key}{list(at)} = {array[at]}: must be finite")
    if sizes["F"] < 51:
        raise DataError(f"{path}: in_ag_exist has {sizes['F']} frames, wanted at least 51")
    for key, (values, rows) in _OFFSETS.items():
        offsets = arrays[key]
        count = len(arrays[rows])
        if len(offsets) != count + 1 or offsets[0] != 0 or offsets[-1] != len(arrays[values]):
            raise DataError(f"{path}: {key} = {offsets.tolist()[:3]}... does not fit {values}")
        if (np.diff(offsets) < 0).any():
            raise DataError(f"{path}: {key} decreases at {int(np.argmax(np.diff(offsets) < 0))}")


def _check_meta(path: Path, meta: Any, arrays: dict[str, NDArray[Any]]) -> None:
    if not isinstance(meta, dict):
        raise DataError(f"{path}: meta_json is {type(meta).__name__}, wanted an object")
    if meta.get("format", _FORMAT) != _FORMAT:
        raise DataError(f"{path}: meta_json.format is {meta['format']!r}, not {_FORMAT!r}")
    for key, kind in _META.items():
        value = meta.get(key)
        if not isinstance(value, (int, float) if kind is float else kind):
            raise DataError(f"{path}: meta_json.{key} = {value!r}, wanted {kind.__name__}")
    steps = arrays["in_raw"].shape[1] * meta["raw_interval_s"]
    if abs(steps - 4.0) > 1e-6:
        raise DataError(f"{path}: in_raw covers {steps} s (raw_interval_s * N), wanted 4 s")
    lengths = {"map_tokens": len(arrays["in_map_type"]), "tl_on_route": len(arrays["in_tl_red"])}
    for key, length in lengths.items():
        if len(meta[key]) != length:
            raise DataError(f"{path}: meta_json.{key} has {len(meta[key])} items, wanted {length}")
    graph, lanes = meta["graph"], len(arrays["in_graph_speed"])
    for key in _GRAPH:
        if not isinstance(graph.get(key), list):
            raise DataError(f"{path}: meta_json.graph.{key} is missing")
        if key != "route_roadblock_ids" and len(graph[key]) != lanes:
            raise DataError(
                f"{path}: meta_json.graph.{key} has {len(graph[key])} items, wanted {lanes}"
            )


def read_case(path: Path, digest: str | None) -> Case:
    """One vector, checked.

    Args:
        path: the NPZ file.
        digest: its SHA-256 in hex, or None.

    Raises:
        DataError: names the file, the field and the value that is wrong.
    """
    if digest is not None and (found := _digest(path)) != digest:
        raise DataError(f"{path}: sha256 is {found}, the index says {digest}")
    arrays = read_npz(path)
    _check_shapes(path, arrays)
    try:
        meta = json.loads(arrays["meta_json"].tobytes().decode("utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: meta_json is not JSON: {error}") from error
    _check_meta(path, meta, arrays)
    return Case(str(meta["case_id"]), path, arrays, meta)


def groups(arrays: dict[str, NDArray[Any]]) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
    """Arrays named `<group>/<key>`, group by group in the order of the file."""
    out: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        group, _, key = name.rpartition("/")
        out.setdefault(group, {})[key] = array
    yield from out.items()
