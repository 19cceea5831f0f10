"""Every parser that reads a stranger's bytes, with honest files to begin from.

`TARGETS[name].parse(data)` returns, or raises a `RoadworthyError`: anything else is a defect. Where
a format is a folder of several files, the first byte says which of them is replaced by the rest.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import stored_scenes
from av2_writer import write_forecasting, write_sensor_log
from log_writers import commonroad, description, record, waymo_scenario
from map_writers import lanelet2_street, opendrive_town
from recording_writers import (
    write_colmap,
    write_colmap_binary,
    write_kitti,
    write_nerfstudio,
    write_pandaset,
)
from roadworthy.comparison.pairing import contestants
from roadworthy.errors import DataError, PlannerError, RoadworthyError
from roadworthy.isolation import host, wire
from roadworthy.replay import load_map, load_replay
from roadworthy.report.markdown import markdown_of
from roadworthy.report.replays import encode_replays
from roadworthy.report.verdicts import judge
from roadworthy.report.view import view_of
from roadworthy.rig import read_rig
from roadworthy.runner import run_suite
from roadworthy.scenario import Rejected, Scenario
from roadworthy.scenario_store import ScenarioStore
from roadworthy.signoff import check_derived, check_hashes
from roadworthy.solvability import read_certificates
from roadworthy.solvability.certificate import CERTIFICATES, Certificate, Evasion, Manoeuvre
from roadworthy.store import read_run
from roadworthy.suite import parse_suite
from roadworthy_generators.behaviour.network import Denoiser, Shape
from roadworthy_generators.behaviour.weights import Card, load_model, save_model
from roadworthy_planners.anchor.checkpoint import (
    MANIFEST,
    WEIGHTS,
    load_checkpoint,
    save_checkpoint,
)
from roadworthy_planners.anchor.network import AnchorNetwork, NetworkConfig
from roadworthy_planners.anchor.vocabulary import Vocabulary
from roadworthy_simulators.splat.formats import read_gaussians, write_gaussians
from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.procedural.street import make_street
from roadworthy_simulators.splat.reconstruct.readers import read_recording
from roadworthy_simulators.splat.scenes.folder import read_scene, write_scene
from roadworthy_sources.argoverse2 import Argoverse2
from roadworthy_sources.commonroad import CommonRoad
from roadworthy_sources.lanelet2 import Lanelet2
from roadworthy_sources.opendrive import OpenDrive
from roadworthy_sources.procedural import Procedural
from roadworthy_sources.scenarionet import ScenarioNet
from roadworthy_sources.waymo import Waymo

SUITE = """
name = "fuzz"
seed = 5
metrics = ["success", "safety", "comfort"]
sources = [{name = "procedural", seed = 5, count = 2}]
simulator = {name = "closed-loop", replan_hz = 2, duration_s = 1.0}
planners = ["constant-velocity", {name = "idm", label = "two"}]
[run]
executor = "inline"
[[gate]]
metric = "success"
at_least = 0.5
"""


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        parse: reads the bytes; raises only `RoadworthyError`.
        seeds: honest inputs.
    """

    parse: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


TARGETS: dict[str, Target] = {}


def accepts(target: Target, data: bytes) -> bool:
    """Whether a parser takes the bytes; raises what is a defect."""
    said = ""
    try:
        target.parse(data)
    except RoadworthyError as error:
        said = str(error)
        if len(said) < 10:
            raise AssertionError(f"{said!r} explains nothing") from error
    return not said


@contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        yield path


def _scenes(found: Iterator[Scenario | Rejected]) -> None:
    for scene in found:
        if isinstance(scene, Rejected):
            assert scene.error in ("DataError", "ScenarioError"), scene
            raise DataError(scene.reason)
        assert np.isfinite(scene.ego).all()
        assert np.isfinite(scene.agents.state).all()


def _source(make: Any, name: str) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        with _file(name, data) as path:
            _scenes(make(str(path)).scenarios())

    return parse


class _Folder:
    """A folder format: a pristine one is made once, and copied with one file replaced."""

    def __init__(self, make: Callable[[Path], None], files: Callable[[Path], list[Path]]) -> None:
        self._make = make
        self._files = files

    @functools.cached_property
    def home(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-")) / "it"
        self._make(folder)
        return folder

    @functools.cached_property
    def names(self) -> list[Path]:
        return [path.relative_to(self.home) for path in self._files(self.home)]

    @contextmanager
    def damaged(self, data: bytes) -> Iterator[Path]:
        chosen = self.names[(data[0] if data else 0) % len(self.names)]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(shutil.copytree(self.home, Path(name) / "it"))
            (folder / chosen).write_bytes(data[1:])
            yield folder

    def seeds(self) -> list[bytes]:
        return [bytes([i]) + (self.home / name).read_bytes() for i, name in enumerate(self.names)]


def _all_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


TARGETS["scenarionet"] = Target(
    _source(ScenarioNet, "a.pkl"), lambda: [pickle.dumps(description(steps=30), 4)]
)
TARGETS["commonroad"] = Target(_source(CommonRoad, "a.xml"), lambda: [commonroad(30).encode()])
TARGETS["lanelet2"] = Target(_source(Lanelet2, "a.osm"), lambda: [lanelet2_street()[0].encode()])
TARGETS["opendrive"] = Target(_source(OpenDrive, "a.xodr"), lambda: [opendrive_town().encode()])
TARGETS["waymo"] = Target(_source(Waymo, "a.tfrecord"), lambda: [record(waymo_scenario(steps=30))])

_AV2 = _Folder(lambda f: write_sensor_log(f / "log"), _all_files)
_FORECASTING = _Folder(lambda f: write_forecasting(f / "mf"), _all_files)


def _argoverse(folder: _Folder) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        with folder.damaged(data) as path:
            _scenes(Argoverse2(str(path)).scenarios())

    return parse


TARGETS["argoverse2"] = Target(_argoverse(_AV2), _AV2.seeds)
TARGETS["argoverse2-forecasting"] = Target(_argoverse(_FORECASTING), _FORECASTING.seeds)


_STORE = _Folder(stored_scenes.write, _all_files)


def _store(data: bytes) -> None:
    with _STORE.damaged(data) as folder:
        for scene in ScenarioStore(folder).scenarios():
            if isinstance(scene, Rejected) and scene.id != "broken":
                raise DataError(scene.reason)


TARGETS["store"] = Target(_store, _STORE.seeds)


def _gaussians() -> Gaussians:
    random = np.random.default_rng(5)
    return Gaussians(
        means=random.normal(size=(4, 3)).astype(np.float32),
        quats=np.tile(np.float32([1, 0, 0, 0]), (4, 1)),
        scales=np.full((4, 3), 0.1, np.float32),
        opacities=np.full(4, 0.5, np.float32),
        sh=np.zeros((4, 4, 3), np.float32),
    )


def _splat(ending: str) -> Target:
    def parse(data: bytes) -> None:
        with _file(f"a.{ending}", data) as path:
            read_gaussians(path)

    def seeds() -> list[bytes]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a.{ending}"
            write_gaussians(path, _gaussians())
            return [path.read_bytes()]

    return Target(parse, seeds)


TARGETS["ply"] = _splat("ply")
TARGETS["spz"] = _splat("spz")


def _parse_splat(data: bytes) -> None:
    with _file("a.splat", data) as path:
        read_gaussians(path)


def _splat_seed() -> bytes:
    """Two Gaussians: position and scales as float32, colour and rotation as bytes."""
    one = np.float32([0, 0, 0, 0.1, 0.1, 0.1]).tobytes() + bytes(
        [9, 99, 199, 255, 255, 128, 128, 128]
    )
    return one * 2


TARGETS["splat"] = Target(_parse_splat, lambda: [_splat_seed()])


def _write_street(folder: Path) -> None:
    scene = Procedural(seed=5, count=1, families=["straight"]).scenario(0)
    write_scene(make_street(scene, reach=20.0, with_actors=False), folder)


_SCENE = _Folder(_write_street, lambda folder: [folder / "scene.json"])


def _scene(data: bytes) -> None:
    with _SCENE.damaged(b"\0" + data) as folder:
        read_scene(folder)


def _scene_seeds() -> list[bytes]:
    return [seed[1:] for seed in _SCENE.seeds()]


TARGETS["scene-json"] = Target(_scene, _scene_seeds)


def _recording(
    write: Callable[..., None], change: Callable[[Path], None] = lambda folder: None
) -> Target:
    """A recording of two images of a street; `change` is made of it when it has been damaged."""

    def make(folder: Path) -> None:
        folder.mkdir()
        random = np.random.default_rng(5)
        images = random.integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
        views = np.tile(np.eye(4), (2, 1, 1))
        views[1, 2, 3] = 0.5
        k = np.array([[30.0, 0.0, 16.0], [0.0, 30.0, 12.0], [0.0, 0.0, 1.0]])
        write(folder, images, k, views)

    files = _Folder(make, _all_files)

    def parse(data: bytes) -> None:
        with files.damaged(data) as folder:
            change(folder)
            read_recording(folder)

    return Target(parse, files.seeds)


def _write_unpacked(folder: Path, *recording: Any) -> None:
    write_pandaset(folder, *recording)
    table = folder / "cuboids.csv.gz"
    (folder / "cuboids.csv").write_bytes(gzip.decompress(table.read_bytes()))
    table.unlink()


def _pack(folder: Path) -> None:
    """So that what the table says is damaged too, and not its packing alone."""
    text = (folder / "cuboids.csv").read_bytes()
    (folder / "cuboids.csv.gz").write_bytes(gzip.compress(text))


TARGETS["nerfstudio"] = _recording(write_nerfstudio)
TARGETS["colmap"] = _recording(write_colmap)
TARGETS["colmap-binary"] = _recording(write_colmap_binary)
TARGETS["kitti"] = _recording(write_kitti)
TARGETS["pandaset"] = _recording(write_pandaset)
TARGETS["pandaset-table"] = _recording(_write_unpacked, _pack)

_RIG = """
[[cameras]]
name = "front"
width = 480
height = 270
horizontal_fov_deg = 70.0
position = [1.5, 0.0, 1.5]
yaw_deg = 0.0
pitch_deg = 0.0
roll_deg = 0.0
"""


def _rig(data: bytes) -> None:
    with _file("rig.toml", data) as path:
        for camera in read_rig(path).cameras:
            assert np.isfinite(camera.intrinsics).all()
            assert np.isfinite(camera.from_vehicle).all()


TARGETS["rig"] = Target(_rig, lambda: [_RIG.encode()])


def _write_model(folder: Path) -> None:
    network = Denoiser(Shape(width=16, layers=1, heads=2, edge=4))
    save_model(folder / "m.safetensors", network, Card(shape={}))


_MODEL = _Folder(_write_model, _all_files)


def _model(data: bytes) -> None:
    """The weights are sealed again, as whoever forges a model would."""
    with _MODEL.damaged(data) as folder:
        weights = (folder / "m.safetensors").read_bytes()
        if weights != (_MODEL.home / "m.safetensors").read_bytes():
            card = json.loads((folder / "m.json").read_text())
            sealed = card | {"sha256": hashlib.sha256(weights).hexdigest()}
            (folder / "m.json").write_text(json.dumps(sealed))
        load_model(folder / "m.safetensors")


TARGETS["behaviour-model"] = Target(_model, _MODEL.seeds)


def _suite(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    parse_suite(text, "fuzz.toml")


TARGETS["suite"] = Target(_suite, lambda: [SUITE.encode()])


def _write_run(folder: Path) -> None:
    run_suite(parse_suite(SUITE, "fuzz.toml"), folder)


_RUN = _Folder(
    _write_run,
    lambda f: [f / "run.json", f / "cases.jsonl", f / "hashes.json", f / "summary.json"],
)
_REPLAYS = _Folder(
    _write_run, lambda f: sorted([*f.rglob("maps/*.npz"), *f.rglob("rollouts/two/*")])
)


def _run(data: bytes) -> None:
    """All that `report`, `compare`, `gate` and `verify` make of a run before they draw."""
    with _RUN.damaged(data) as folder:
        run = read_run(folder)
        players = contestants([run])
        markdown_of(view_of(players), judge(players))
        check_derived(run)
        check_hashes(folder)


def _replay(data: bytes) -> None:
    """All that a report makes of replays."""
    with _REPLAYS.damaged(data) as folder:
        run = read_run(folder)
        for record in run.records:
            load_map(folder, load_replay(folder, record.planner, record.key).map_hash)
        encode_replays(view_of(contestants([run])))


TARGETS["run"] = Target(_run, _RUN.seeds)
TARGETS["replay"] = Target(_replay, _REPLAYS.seeds)


def _certificates(data: bytes) -> None:
    with _file(CERTIFICATES, data) as path:
        read_certificates(path.parent)


def _certificate() -> bytes:
    states = tuple((float(i), 0.0, 0.0, 10.0) for i in range(5))
    evasion = Evasion(manoeuvre=Manoeuvre(1), begin=3, reaction_s=0.5, states=states)
    one = Certificate(
        scenario="0" * 32,
        reaction_s=1.0,
        contact=20,
        contact_agent=0,
        onset=5,
        tried=100,
        margin=0.1,
        lateral=4.0,
        combined=8.0,
        weakest=evasion,
        latest=evasion,
    )
    return msgspec.json.encode(one) + b"\n"


TARGETS["certificates"] = Target(_certificates, lambda: [_certificate()])


def _write_checkpoint(folder: Path) -> None:
    network = AnchorNetwork(NetworkConfig(width=4, heads=1))
    vocabulary = Vocabulary(np.zeros((2, 8)), np.zeros(3))
    save_checkpoint(folder, network, vocabulary, {"policy": 1.0}, {"seed": 5})


_CHECKPOINT = _Folder(_write_checkpoint, _all_files)


def _checkpoint(data: bytes) -> None:
    """The weights are sealed again, as whoever forges a checkpoint would."""
    with _CHECKPOINT.damaged(data) as folder:
        weights = folder / WEIGHTS
        if weights.read_bytes() != (_CHECKPOINT.home / WEIGHTS).read_bytes():
            manifest = json.loads((folder / MANIFEST).read_text())
            sealed = hashlib.blake2b(weights.read_bytes(), digest_size=16).hexdigest()
            (folder / MANIFEST).write_text(json.dumps(manifest | {"weights_hash": sealed}))
        load_checkpoint(folder)


TARGETS["checkpoint"] = Target(_checkpoint, _CHECKPOINT.seeds)


def _reply(data: bytes) -> None:
    """What an isolated planner's process may send."""
    try:
        said = msgspec.msgpack.decode(data, type=wire.Reply)
        answer = host._read_answer(said, 2)
    except (msgspec.MsgspecError, ValueError) as error:
        raise PlannerError(f"as the host says it: {error}") from error
    assert answer.poses.shape[::2] == (2, 3)


def _replies() -> list[bytes]:
    poses = np.zeros((2, 8, 3))
    reply = wire.Reply(
        1,
        wire.Array.of(poses),
        wire.Array.of(np.full(2, 8)),
        wire.Array.of(np.full(2, 0.5)),
        (wire.Failure(0, False, "KeyError", "no such lane"),),
    )
    return [msgspec.msgpack.encode(reply)]


TARGETS["reply"] = Target(_reply, _replies)
