"""A scene on disk: `scene.json` beside files of Gaussians.

    scene.json            what there is: frame, traversals, tracks, cameras, alignment, actors
    background.ply        what stands still (`.ply`, `.spz` or `.splat`)
    sky-NAME.ply          behind it, per traversal
    appearance-NAME.safetensors   `sh` [N, K, 3], per traversal that looks unlike the background
    actors/NAME-PART.ply  one set for each rigid part of each actor

Distances are metres, angles radians, times seconds, the scene's frame right-handed with z up. A
traversal's `tracks` say who was there when: `{"actor": name, "poses": [[time, x, y, z, yaw], ...]}`
(see `scene.Track`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError
from roadworthy.rig import Rig
from roadworthy.scenario import AgentKind
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from roadworthy_simulators.splat.formats import read_gaussians, write_gaussians
from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.scenes.light import Light
from roadworthy_simulators.splat.scenes.scene import (
    Actor,
    Alignment,
    Part,
    SplatScene,
    Track,
    Traversal,
    View,
)

__all__ = ["FORMAT", "MAX_JSON", "read_scene", "write_scene"]

FORMAT = 1
MAX_JSON = 64 * 1024 * 1024
"""Bytes that a `scene.json` may have: about 200,000 views."""
_MAX_TRAVERSALS, _MAX_ACTORS, _MAX_PARTS = 1024, 20_000, 64
_FARTHEST = 1e7

Three = tuple[float, float, float]


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Light(_Struct):
    sun: Three
    sun_colour: Three
    sky_colour: Three
    horizon: Three
    zenith: Three


class _Track(_Struct):
    actor: str
    poses: tuple[tuple[float, float, float, float, float], ...]


class _Traversal(_Struct):
    name: str
    light: _Light | None = None
    sky: str = ""
    appearance: str = ""
    exposure: tuple[tuple[float, float, float, float], ...] = (
        (1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0),
    )  # fmt: skip
    background: Three = (0.0, 0.0, 0.0)
    tracks: tuple[_Track, ...] = ()


class _Part(_Struct):
    file: str
    pivot: Three = (0.0, 0.0, 0.0)
    swing: float = 0.0
    phase: float = 0.0
    spin: bool = False


class _Actor(_Struct):
    name: str
    kind: str
    size: Three
    parts: tuple[_Part, ...]
    albedo: bool = True
    track: str = ""


class _Alignment(_Struct):
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    map_hash: str = ""


class _View(_Struct):
    traversal: str
    viewmat: tuple[float, ...]
    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


class _Scene(_Struct):
    format: int
    name: str
    frame: Literal["metres, z up"]
    background: str
    traversals: tuple[_Traversal, ...]
    albedo: bool = False
    actors: tuple[_Actor, ...] = ()
    alignment: _Alignment = _Alignment()
    rig: Rig | None = None
    views: tuple[_View, ...] = ()
    path: tuple[tuple[float, float], ...] = ()
    reach: float = 2.0
    ground: tuple[Three, ...] = ()


def read_scene(folder: Path) -> SplatScene:
    """Read a scene folder.

    Raises:
        DataError: a file is absent, too large, or says something that no scene can; names the
            file, the field and the value.
    """
    folder = Path(folder)
    path = folder / "scene.json"
    said = _decode(path)
    _check(said, path)
    background = _gaussians(folder, said.background, path)
    try:
        return SplatScene(
            name=said.name,
            background=background,
            traversals=tuple(_traversal(t, folder, path, background) for t in said.traversals),
            albedo=said.albedo,
            actors=tuple(_actor(a, folder, path) for a in said.actors),
            alignment=Alignment(**msgspec.structs.asdict(said.alignment)),
            rig=said.rig,
            views=tuple(View(**msgspec.structs.asdict(v)) for v in said.views),
            path=np.array(said.path, np.float64).reshape(-1, 2),
            reach=said.reach,
            ground=np.array(said.ground, np.float64).reshape(-1, 3),
        )
    except DataError as error:
        if str(folder) in error.message:
            raise
        raise DataError(f"{path}: {error.message}", hint=error.hint) from error


def write_scene(scene: SplatScene, folder: Path, *, ending: Literal["ply", "spz"] = "ply") -> None:
    """Write a scene folder; files of an earlier scene of other names stay.

    Args:
        scene: what to write.
        folder: made if absent.
        ending: `ply` is exact but for the logit of opacities, `spz` ten times smaller.

    Raises:
        DataError: it cannot be written.
    """
    folder = Path(folder)
    try:
        (folder / "actors").mkdir(parents=True, exist_ok=True)
        names = _Names()
        background = f"background.{ending}"
        write_gaussians(folder / background, scene.background)
        traversals = []
        for t in scene.traversals:
            sky = appearance = ""
            if t.sky is not None:
                sky = names.free(f"sky-{t.name}", ending)
                write_gaussians(folder / sky, t.sky)
            if t.appearance is not None:
                appearance = names.free(f"appearance-{t.name}", "safetensors")
                sh = np.ascontiguousarray(t.appearance, np.float32)
                save_file({"sh": sh}, folder / appearance)
            light = None if t.light is None else _Light(**_slots(t.light))
            exposure = tuple(tuple(float(x) for x in row) for row in t.exposure)
            traversals.append(
                _Traversal(
                    name=t.name, light=light, sky=sky, appearance=appearance,
                    exposure=exposure,  # type: ignore[arg-type]
                    background=t.background,
                    tracks=tuple(_Track(actor=k.actor, poses=k.poses.tolist()) for k in t.tracks),
                )
            )  # fmt: skip
        actors = []
        for a in scene.actors:
            parts = []
            for k, part in enumerate(a.parts):
                file = names.free(f"actors/{a.name}-{k}", ending)
                write_gaussians(folder / file, part.gaussians)
                pivot = tuple(float(x) for x in part.pivot)
                parts.append(
                    _Part(
                        file=file, pivot=pivot, swing=part.swing, phase=part.phase, spin=part.spin
                    )  # type: ignore[arg-type]
                )
            actors.append(
                _Actor(name=a.name, kind=a.kind.name.lower(), size=a.size, parts=tuple(parts),
                       albedo=a.albedo, track=a.track)
            )  # fmt: skip
        said = _Scene(
            format=FORMAT,
            name=scene.name,
            frame="metres, z up",
            background=background,
            traversals=tuple(traversals),
            albedo=scene.albedo,
            actors=tuple(actors),
            alignment=_Alignment(**_slots(scene.alignment)),
            rig=scene.rig,
            views=tuple(_View(**_slots(v)) for v in scene.views),
            path=tuple((float(x), float(y)) for x, y in scene.path),
            reach=scene.reach,
            ground=tuple((float(x), float(y), float(z)) for x, y, z in scene.ground),
        )
        text = msgspec.json.format(msgspec.json.encode(said, enc_hook=_plain), indent=1)
        (folder / "scene.json").write_bytes(text + b"\n")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error


class _Names:
    """File names made of any name, unique within a folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def free(self, stem: str, ending: str) -> str:
        clean = "".join(c if c.isalnum() or c in "-_/" else "-" for c in stem)[:120]
        name, k = f"{clean}.{ending}", 1
        while name in self._taken:
            k += 1
            name = f"{clean}-{k}.{ending}"
        self._taken.add(name)
        return name


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a scene.json")


def _slots(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _decode(path: Path) -> _Scene:
    try:
        if path.stat().st_size > MAX_JSON:
            raise DataError(f"{path}: has {path.stat().st_size} bytes, more than {MAX_JSON}")
        return msgspec.json.decode(path.read_bytes(), type=_Scene)
    except FileNotFoundError:
        raise DataError(
            f"{path}: is absent", hint="A scene is a folder that holds a scene.json."
        ) from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: {error}") from error


def _check(said: _Scene, path: Path) -> None:
    if said.format != FORMAT:
        raise DataError(f"{path}: format is {said.format}", hint=f"This version reads {FORMAT}.")
    for what, rows, most in (
        ("traversals", said.traversals, _MAX_TRAVERSALS), ("actors", said.actors, _MAX_ACTORS),
    ):  # fmt: skip
        if len(rows) > most:
            raise DataError(f"{path}: {what} has {len(rows)} entries, more than {most}")
    names = {t.name for t in said.traversals}
    for i, view in enumerate(said.views):
        where = f"{path}: views[{i}]"
        if view.traversal not in names:
            raise DataError(f"{where}.traversal is {view.traversal!r}, which is not a traversal")
        if len(view.viewmat) != 16 or not all(map(math.isfinite, view.viewmat)):
            raise DataError(f"{where}.viewmat is not 16 finite numbers")
        lens = (view.fx, view.fy, view.width, view.height)
        if not all(math.isfinite(v) and v > 0 for v in lens):
            raise DataError(f"{where}: fx, fy, width, height are {lens}, not all above 0")
        if not (math.isfinite(view.cx) and math.isfinite(view.cy)):
            raise DataError(f"{where}: cx, cy are {view.cx, view.cy}")
    for i, t in enumerate(said.traversals):
        values = [*t.background, *(x for row in t.exposure for x in row)]
        if len(t.exposure) != 3 or not all(map(math.isfinite, values)):
            raise DataError(f"{path}: traversals[{i}]: exposure is not 3 x 4 finite numbers")
    a = said.alignment
    if not all(math.isfinite(v) and abs(v) < _FARTHEST for v in (a.x, a.y, a.z, a.yaw)):
        raise DataError(f"{path}: alignment is {a}", hint="Metres below 10,000 km, and radians.")
    if not all(math.isfinite(v) and abs(v) < _FARTHEST for xy in said.path for v in xy):
        raise DataError(f"{path}: path holds a place that is not finite")
    if not all(math.isfinite(v) and abs(v) < _FARTHEST for xyz in said.ground for v in xyz):
        raise DataError(f"{path}: ground holds a point that is not finite")
    if not (math.isfinite(said.reach) and said.reach > 0):
        raise DataError(f"{path}: reach is {said.reach}, not above 0 m")


def _inside(folder: Path, name: str, path: Path) -> Path:
    """A file of the scene; names that lead out of its folder are refused."""
    file = folder / name
    if not name or Path(name).is_absolute() or not file.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{path}: names the file {name!r}", hint="Files lie in the scene's folder.")
    return file


def _gaussians(folder: Path, name: str, path: Path) -> Gaussians:
    return read_gaussians(_inside(folder, name, path))


def _traversal(t: _Traversal, folder: Path, path: Path, background: Gaussians) -> Traversal:
    light = None if t.light is None else Light(**msgspec.structs.asdict(t.light))
    return Traversal(
        t.name,
        light,
        _gaussians(folder, t.sky, path) if t.sky else None,
        _appearance(_inside(folder, t.appearance, path), background) if t.appearance else None,
        np.array(t.exposure, np.float64),
        t.background,
        tuple(Track(k.actor, np.array(k.poses, np.float64).reshape(-1, 5)) for k in t.tracks),
    )


def _appearance(file: Path, background: Gaussians) -> NDArray[np.float32]:
    try:
        with safe_open(file, "numpy") as data:
            shape = data.get_slice("sh").get_shape()
            if len(shape) != 3 or shape[0] != len(background) or shape[1] not in (1, 4, 9, 16):
                raise DataError(f"{file}: sh has shape {shape}, the background {len(background)}")
            sh = data.get_tensor("sh")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file}: {error}") from error
    if sh.dtype != np.float32 or sh.shape[2] != 3 or not np.isfinite(sh).all():
        raise DataError(f"{file}: sh is not finite float32 of 3 colours")
    return np.ascontiguousarray(sh)


def _actor(a: _Actor, folder: Path, path: Path) -> Actor:
    where = f"{path}: actor {a.name!r}"
    kinds = {k.name.lower(): k for k in AgentKind}
    if a.kind not in kinds:
        raise DataError(f"{where}: kind is {a.kind!r}", hint=f"Known: {', '.join(kinds)}.")
    if not all(math.isfinite(v) and 0.0 < v < 100.0 for v in a.size):
        raise DataError(f"{where}: size is {a.size}", hint="Sides lie in (0, 100) m.")
    if not 1 <= len(a.parts) <= _MAX_PARTS:
        raise DataError(f"{where}: has {len(a.parts)} parts, not 1 to {_MAX_PARTS}")
    parts = []
    for k, p in enumerate(a.parts):
        if not all(map(math.isfinite, (*p.pivot, p.swing, p.phase))):
            raise DataError(f"{where}: parts[{k}] holds a number that is not finite")
        parts.append(Part(_gaussians(folder, p.file, path), p.pivot, p.swing, p.phase, p.spin))
    sets = {p.gaussians.antialiased for p in parts}
    if len(sets) > 1:
        raise DataError(f"{where}: some parts are antialiased and others not")
    return Actor(a.name, kinds[a.kind], a.size, tuple(parts), a.albedo, a.track)
