"""`roadworthy view` in three dimensions: a scene, its map, who was there, and what was driven.

Pictures are rendered here, by the backend that is at hand, at the pose of the browser's camera;
the map and the boxes are drawn over them by the browser (viser), hidden where the picture is
nearer.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.comparison.pairing import contestants
from roadworthy.errors import RunError, SimulatorError, install_hint
from roadworthy.replay import replay_path
from roadworthy.report.showing import find_case
from roadworthy.report.view import view_of
from roadworthy.rig import THREE_CAMERAS
from roadworthy.scenario import RATE_HZ, AreaKind, LaneKind, RoadMap
from roadworthy.store import CaseRecord, Run, read_run
from roadworthy.vehicle import EgoIndex, VehicleIndex

from roadworthy_simulators.splat.camera_view import Stage
from roadworthy_simulators.splat.cameras import Cameras
from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.playback import Playback, had_cameras, playbacks
from roadworthy_simulators.splat.scenes.folder import read_scene

__all__ = ["Viewer", "view_command"]

_STILL_WIDTH, _MOVING_WIDTH = 960, 480
_RESTS_AFTER = 0.25  # s without a move, after which the picture is rendered large
_SEAT, _CHASE = (1.5, 1.6), (-9.0, 5.0)
_LIFT = 0.05  # of lines over the ground [m]
_HIGHEST = 2.2  # of a box whose height is not known [m]
_LANE, _CROSSWALK, _STOP, _ROUTE = (250, 250, 250), (255, 214, 90), (235, 80, 70), (120, 200, 255)
_EGO, _OTHERS, _PLAN, _LOG = (20, 110, 220), (255, 150, 40), (200, 60, 200), (120, 126, 134)
_EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6),
          (3, 7)]  # fmt: skip

Floats = NDArray[np.float64]


class Viewer:
    """A server that shows one stage, and, of a run, one drive.

    Args:
        stage: the place in one light.
        playback: the drive to show; None: the place alone.
        port: to serve on; the next free one if it is taken.

    Raises:
        SimulatorError: viser is not installed.
    """

    def __init__(self, stage: Stage, playback: Playback | None, port: int) -> None:
        if importlib.util.find_spec("viser") is None:
            raise SimulatorError("the viewer takes viser", hint=f"{install_hint('viewer')}.")
        import viser

        self._stage, self._playback = stage, playback
        self._align = stage.scene.alignment
        self._crowd: tuple[float, Gaussians] | None = None
        self._began: float | None = None
        self._lock = threading.Lock()
        self._server = viser.ViserServer(port=port, verbose=False)
        self._server.scene.set_up_direction("+z")
        self._server.gui.configure_theme(control_layout="collapsible", show_logo=False)
        self._clients: dict[int, _Client] = {}
        self._layers: dict[str, list[Any]] = {}
        self._controls()
        if playback is not None:
            self._draw_map(playback.case.scenario.map)
            self._draw_moment()
        self._server.on_client_connect(self._welcome)
        self._server.on_client_disconnect(self._part)

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://localhost:{self._server.get_port()}"

    def close(self) -> None:
        """Stops serving."""
        for client in list(self._clients.values()):
            client.stop()
        self._server.stop()

    def run(self) -> None:
        """Plays while Play is on, until the process is interrupted."""
        while True:
            time.sleep(1.0 / RATE_HZ)
            if self._playback is not None and self._play.value:
                self._step.value = (int(self._step.value) + 1) % (self._playback.steps + 1)

    @property
    def step(self) -> int:
        """The moment shown."""
        return int(self._step.value) if self._playback is not None else 0

    @property
    def moment(self) -> float | None:
        """Of a scene with tracks: the moment shown, on the traversal's clock [s]."""
        return None if self._began is None else self._began + float(self._clock.value)

    def picture(self, view: Floats, fov: float, width: int, height: int) -> tuple[Any, Any]:
        """What a camera sees now: uint8 [H, W, 3] and depth [H, W] (m, along its axis).

        Args:
            view: [4, 4], scene frame to camera, OpenCV axes.
            fov: vertical angle of view [rad].
            width, height: [pixels].
        """
        focal = 0.5 * height / np.tan(0.5 * fov)
        k = np.array([[focal, 0.0, 0.5 * width], [0.0, focal, 0.5 * height], [0.0, 0.0, 1.0]])
        with self._lock:
            shown = self._stage.render(
                self._everything(), Cameras(view[None], k[None], width, height)
            )
        alpha = shown.alpha[0]
        depth = np.where(alpha > 0.5, shown.depth[0] / np.maximum(alpha, 1e-6), 1e4)
        return self._stage.develop(shown, 0), depth

    def _everything(self) -> Gaussians:
        playback, step = self._playback, self.step
        now = self.moment if playback is None else float(step)
        if now is None:
            return self._stage.still
        if self._crowd is None or self._crowd[0] != now:
            if playback is None:
                crowd = self._stage.at(now)
            else:
                place = self._align.to_scene(playback.replay.ego[step, :2])
                crowd = self._stage.populated(place, playback.agents(step), playback.heads(step))
            self._crowd = (now, crowd)
        return self._crowd[1]

    def _controls(self) -> None:
        gui = self._server.gui
        self._pictures = gui.add_checkbox("pictures", True)
        self._pictures.on_update(lambda _: self._refresh())
        ahead = gui.add_button("driver's view")
        ahead.on_click(lambda event: self._seat(event.client, _SEAT))
        if self._playback is None:
            tracks = self._stage.traversal.tracks
            if tracks:
                self._began = min(float(t.poses[0, 0]) for t in tracks)
                span = max(float(t.poses[-1, 0]) for t in tracks) - self._began
                self._clock = gui.add_slider("time [s]", 0.0, span, 0.1, 0.0)
                self._clock.on_update(lambda _: self._refresh())
            return
        self._step = gui.add_slider("step", 0, self._playback.steps, 1, 0)
        self._play = gui.add_checkbox("play", False)
        self._follow = gui.add_checkbox("follow the ego", False)
        self._words = gui.add_markdown("")
        self._step.on_update(lambda _: self._moved())
        for name in ("map", "route", "boxes", "plan", "drive"):
            self._layers[name] = []
            box = gui.add_checkbox(name, True)
            box.on_update(lambda _, name=name, box=box: self._show(name, box.value))

    def _show(self, name: str, visible: bool) -> None:
        for handle in self._layers[name]:
            handle.visible = visible

    def _moved(self) -> None:
        self._draw_moment()
        if self._follow.value:
            for client in list(self._clients.values()):
                self._seat(client.client, _CHASE)
        self._refresh()

    def _refresh(self) -> None:
        for client in list(self._clients.values()):
            client.ask()

    def _welcome(self, client: Any) -> None:
        self._clients[client.client_id] = _Client(client, self)
        self._seat(client, _SEAT if self._playback is None else _CHASE)

    def _part(self, client: Any) -> None:
        gone = self._clients.pop(client.client_id, None)
        if gone is not None:
            gone.stop()

    def _seat(self, client: Any, seat: tuple[float, float]) -> None:
        """Puts a browser's camera to the ego, or to the path's beginning: so far ahead of the rear
        axle and so high [m], looking ahead."""
        if self._playback is not None:
            x, y, yaw = self._playback.replay.ego[self.step, : EgoIndex.YAW + 1]
            place, yaw = self._align.to_scene(np.array([x, y])), yaw - self._align.yaw
        else:
            path = self._stage.scene.path
            place = path[0] if len(path) else np.zeros(2)
            ahead = path[min(5, len(path) - 1)] - place if len(path) > 1 else np.array([1.0, 0.0])
            yaw = float(np.arctan2(ahead[1], ahead[0]))
        ground = self._stage.scene.ground_at(place)
        forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        eye = np.array([*place, ground + seat[1]]) + seat[0] * forward
        client.camera.up_direction = (0.0, 0.0, 1.0)
        client.camera.position = eye
        client.camera.look_at = eye + 20.0 * forward - np.array([0.0, 0.0, 0.8 * (seat[1] - 1.6)])

    def _lines(self, name: str, points: Floats, colour: Any, width: float = 2.0) -> Any:
        """Segments [N, 2, 3] in the scene's frame; a layer's handle."""
        return self._server.scene.add_line_segments(
            name, points.astype(np.float32), colour, line_width=width
        )

    def _on_ground(self, xy: Floats) -> Floats:
        """World [..., 2] as places of the scene [..., 3], a little over its ground."""
        place = self._align.to_scene(xy)
        height = self._stage.scene.ground_at(place) + _LIFT
        return np.concatenate([place, np.broadcast_to(height, place.shape[:-1])[..., None]], -1)

    def _draw_map(self, road_map: RoadMap) -> None:
        rings: dict[str, list[Floats]] = {"lanes": [], "crosswalks": [], "stop-lines": []}
        for kind, ring in zip(road_map.lane_kind, road_map.lane_polygon, strict=True):
            if kind != LaneKind.CONNECTOR:
                rings["lanes"].append(_closed(ring))
        for kind, ring in zip(road_map.area_kind, road_map.area_polygon, strict=True):
            if kind == AreaKind.CROSSWALK:
                rings["crosswalks"].append(_closed(ring))
        rings["stop-lines"] = [np.asarray(ends, np.float64)[None, :, :2]
                               for ends in road_map.stop_line]  # fmt: skip
        colours = {"lanes": _LANE, "crosswalks": _CROSSWALK, "stop-lines": _STOP}
        for name, parts in rings.items():
            if parts:
                points = self._on_ground(np.concatenate(parts))
                self._layers["map"].append(self._lines(f"/map/{name}", points, colours[name]))
        assert self._playback is not None
        replay = self._playback.replay
        for layer, line, colour in (
            ("route", replay.route[:, :2], _ROUTE), ("drive", replay.ego[:, :2], _EGO),
            ("drive", replay.ego_log[:, :2], _LOG),
        ):  # fmt: skip
            if len(line) > 1:
                points = self._on_ground(np.stack([line[:-1], line[1:]], axis=1))
                name = f"/{layer}/{len(self._layers[layer])}"
                self._layers[layer].append(self._lines(name, points, colour, 3.0))

    def _draw_moment(self) -> None:
        playback, step = self._playback, self.step
        assert playback is not None
        replay = playback.replay
        agents = playback.agents(step)
        boxes = [self._box(s[:3], z) for s, z in zip(agents.state, agents.size, strict=True)]
        front, rear = replay.vehicle[VehicleIndex.FRONT], replay.vehicle[VehicleIndex.REAR]
        pose = replay.ego[step, : EgoIndex.YAW + 1].copy()
        middle = 0.5 * (front - rear)
        pose[:2] += middle * np.array([np.cos(pose[2]), np.sin(pose[2])])
        own = self._box(pose, (front + rear, replay.vehicle[VehicleIndex.WIDTH], _HIGHEST))
        drawn = {"boxes": [("/now/ego", own, _EGO)]}
        if boxes:
            drawn["boxes"].append(("/now/agents", np.concatenate(boxes), _OTHERS))
        made = np.flatnonzero(replay.plan_step <= step)
        if len(made):
            start = replay.ego[replay.plan_step[made[-1]], :3]
            c, s = np.cos(start[2]), np.sin(start[2])
            plan = replay.plan_poses[made[-1]][:, :2] @ np.array([[c, s], [-s, c]]) + start[:2]
            line = np.concatenate([start[None, :2], plan])
            points = self._on_ground(np.stack([line[:-1], line[1:]], axis=1))
            drawn["plan"] = [("/now/plan", points, _PLAN)]
        with self._server.atomic():
            for layer, parts in drawn.items():
                visible = all(handle.visible for handle in self._layers[layer])
                self._layers[layer] = [self._lines(*part, 3.0) for part in parts]
                self._show(layer, visible)
        speed = replay.ego[step, EgoIndex.VX]
        self._words.content = (
            f"{step / RATE_HZ:.1f} s, {speed:.1f} m/s  \n{playback.record.planner} in "
            f"{playback.record.scenario}"
        )

    def _box(self, pose: Floats, size: Any) -> Floats:
        """Edges [12, 2, 3] of a box that stands on the ground."""
        x, y = 0.5 * size[0], 0.5 * size[1]
        corners = np.array([[x, y], [-x, y], [-x, -y], [x, -y]])
        c, s = np.cos(pose[2]), np.sin(pose[2])
        low = self._on_ground(corners @ np.array([[c, s], [-s, c]]) + pose[:2])
        high = low + np.array([0.0, 0.0, float(size[2])])
        both = np.concatenate([low, high])
        return np.stack([both[[a, b]] for a, b in _EDGES])


class _Client:
    """Renders for one browser: small while its camera moves, large when it rests."""

    def __init__(self, client: Any, viewer: Viewer) -> None:
        self.client = client
        self._viewer = viewer
        self._asked = threading.Event()
        self._stopped = False
        client.camera.on_update(lambda _: self.ask())
        threading.Thread(target=self._work, daemon=True).start()
        self.ask()

    def ask(self) -> None:
        """Wants a new picture."""
        self._asked.set()

    def stop(self) -> None:
        """Renders no more."""
        self._stopped = True
        self._asked.set()

    def _work(self) -> None:
        self._asked.wait()
        while not self._stopped:
            self._asked.clear()
            self._show(_MOVING_WIDTH)
            if not self._asked.wait(_RESTS_AFTER):
                self._show(_STILL_WIDTH)
                self._asked.wait()

    def _show(self, width: int) -> None:
        camera = self.client.camera
        if self._stopped or not camera.aspect > 0.0:
            return
        if not self._viewer._pictures.value:
            self.client.scene.set_background_image(None)
            return
        pose = np.eye(4)
        pose[:3, :3] = _rotation(np.asarray(camera.wxyz, np.float64))
        pose[:3, 3] = camera.position
        height = max(16, round(width / camera.aspect))
        image, depth = self._viewer.picture(np.linalg.inv(pose), camera.fov, width, height)
        self.client.scene.set_background_image(image, "jpeg", jpeg_quality=85, depth=depth)


def _rotation(q: Floats) -> Floats:
    """[3, 3] of a unit quaternion w, x, y, z."""
    w, x, y, z = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _closed(ring: Any) -> Floats:
    """Segments [N, 2, 2] around a ring [N, 2+]."""
    points = np.asarray(ring, np.float64)[:, :2]
    return np.stack([points, np.roll(points, -1, axis=0)], axis=1)


def view_command(
    path: Path, case: str, planner: str, traversal: str, port: int, tell: Callable[[str], None]
) -> None:
    """What `roadworthy view` calls; serves until interrupted.

    Args:
        path: a scene folder, or the directory of a run with cameras.
        case: of the run, by its scenario's name or key; "" for the first with a rollout.
        planner: whose drive; "" for the first.
        traversal: the scene's light; "" for the first.
        port: see `Viewer`.
        tell: is given the address once the viewer answers.

    Raises:
        DataError, RunError: nothing of that name, or something that cannot be read.
        SimulatorError: viser is not installed.
    """
    if (path / "scene.json").is_file():
        scene = read_scene(path)
        chosen = traversal or scene.traversals[0].name
        rig = scene.rig or THREE_CAMERAS
        viewer = Viewer(Stage(scene, chosen, rig, backend="auto"), None, port)
    else:
        run = read_run(path)
        if not had_cameras(run):
            raise RunError(
                f"{path}: was not driven with cameras",
                hint="`roadworthy view` without --3d opens its report.",
            )
        record = _record(run, case, planner)
        (playback,) = playbacks(run, [record], backend="auto", threads=2)
        viewer = Viewer(playback.stage, playback, port)
    tell(viewer.address)
    try:
        viewer.run()
    finally:
        viewer.close()


def _record(run: Run, name: str, planner: str) -> CaseRecord:
    view = view_of(contestants([(run, planner)] if planner else [run]))
    cases = [find_case(view, name)] if name else list(view.cases)
    for case in cases:
        for result in case.results:
            if (
                result is not None
                and replay_path(run.path, result.record.planner, result.record.key).is_file()
            ):
                return result.record
    raise RunError(
        f"{run.path}: no rollout {'of ' + name if name else ''} was kept",
        hint="Run the suite with run.save_rollouts = true.",
    )
