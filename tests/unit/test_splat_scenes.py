"""Scene folders, procedural streets, and that everybody on them can be seen."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image
from roadworthy import cli
from roadworthy.errors import DataError
from roadworthy.rig import THREE_CAMERAS, Pinhole, Rig, parse_rig, read_rig
from roadworthy.scenario import AgentKind, SignalState
from roadworthy_simulators.splat.actors import Agents, Heads, pose_actor
from roadworthy_simulators.splat.camera_view import Stage
from roadworthy_simulators.splat.gaussians import Gaussians
from roadworthy_simulators.splat.pictures import render_pictures
from roadworthy_simulators.splat.procedural.assets import CATALOGUE, make_actor
from roadworthy_simulators.splat.procedural.street import LIGHTS, make_street
from roadworthy_simulators.splat.quaternions import normals_of
from roadworthy_simulators.splat.reconstruct import read_recording
from roadworthy_simulators.splat.scenes.folder import read_scene, write_scene
from roadworthy_simulators.splat.scenes.scene import SplatScene, Track, Traversal, View
from roadworthy_sources.procedural.source import Procedural

REACH = 30.0
FRONT = Rig(cameras=(Pinhole(name="front", width=240, height=135),))
TINY = SplatScene(
    "tiny",
    Gaussians(
        np.float32([[0, 0, -5]]), np.float32([[1, 0, 0, 0]]), np.full((1, 3), 0.5, np.float32),
        np.float32([0.9]), np.ones((1, 1, 3), np.float32),
    ),
    (Traversal("day"),),
)  # fmt: skip


@pytest.fixture(scope="module")
def scenario():
    return Procedural(seed=5, count=1, families=["straight"]).scenario(0)


@pytest.fixture(scope="module")
def street(scenario):
    return make_street(scenario, reach=REACH, with_actors=True)


@pytest.fixture(scope="module")
def bare(street):
    return replace(street, actors=())


def ego_of(scenario):
    return scenario.ego[scenario.start, :3]


def one_agent(scenario, kind, size, ahead, time=0.0, yaw=1.0, speed=1.0):
    x, y, heading = ego_of(scenario)
    state = [x + ahead * np.cos(heading), y + ahead * np.sin(heading), heading + yaw, speed, 0.0]
    return Agents(["someone"], np.array([kind], np.int8), np.array([size]), np.array([state]), time)


def same(a, b):
    return all(
        np.array_equal(getattr(a, n), getattr(b, n))
        for n in ("means", "quats", "scales", "opacities", "sh")
    )


def test_equal_arguments_make_equal_streets(scenario, street):
    again = make_street(scenario, reach=REACH, with_actors=True)
    assert same(street.background, again.background)
    assert all(same(a.sky, b.sky) for a, b in zip(street.traversals, again.traversals, strict=True))
    other = make_street(scenario, 1, reach=REACH)
    assert not np.array_equal(street.background.sh[:9], other.background.sh[:9])
    street.background.checked("street")


def test_a_whole_street_has_a_sensible_number_of_gaussians(scenario):
    assert 60_000 < len(make_street(scenario).background) < 150_000


def test_what_lies_on_the_ground_faces_up():
    crossing = Procedural(seed=2, count=1, families=["crosswalk"]).scenario(0)
    ground = make_street(crossing, reach=REACH).background
    level = ground.means[:, 2] < 1e-3
    thin = np.abs(normals_of(ground.quats[level])[:, 2]) > 0.99
    assert (normals_of(ground.quats[level])[thin, 2] > 0).all()
    white = ground.sh[level][:, 0].min(axis=1) > 1.0
    assert white.sum() > 200  # stripes and lines


def test_a_street_looks_right_in_three_lights(scenario, bare):
    middles = {}
    for name in LIGHTS:
        shot = Stage(bare, name, FRONT).take(ego_of(scenario))
        picture = shot.images["front"].astype(float)
        assert shot.hollow[0] < 0.005
        assert shot.valid
        sky, road = picture[:15].mean((0, 1)), picture[-15:, 90:150].mean((0, 1))
        assert sky.sum() > 1.2 * road.sum()
        assert np.ptp(road) < 60  # asphalt is grey
        middles[name] = (sky, road)
    assert middles["noon"][0][2] > middles["noon"][0][0] + 30  # a blue sky
    assert middles["evening"][0][0] > middles["evening"][0][2]  # a red one
    assert np.ptp(middles["overcast"][0]) < 20


@pytest.mark.parametrize("ahead", [10.0, 22.0, 40.0])
@pytest.mark.parametrize("source", ["street", "bare"])
@pytest.mark.parametrize("kind", list(AgentKind))
def test_nothing_that_can_be_hit_is_invisible(request, scenario, kind, ahead, source):
    scene = request.getfixturevalue(source)
    sizes = [size for _, k, size in CATALOGUE if k == kind] + [(0.3, 0.3, 0.5)]
    stage = Stage(scene, "noon", FRONT)
    nobody = stage.take(ego_of(scenario)).images["front"].astype(int)
    camera = FRONT.cameras[0]
    for size in sizes:
        agents = one_agent(scenario, kind, size, ahead)
        picture = stage.take(ego_of(scenario), agents).images["front"].astype(int)
        changed = np.abs(picture - nobody).max(axis=-1) > 20
        distance = ahead - camera.position[0]
        focal = camera.intrinsics[0, 0]
        expected = focal**2 * min(size[:2]) * size[2] / distance**2
        assert changed.sum() > 0.25 * expected, (size, changed.sum(), expected)
        rows, columns = np.nonzero(changed)
        horizon, middle = 0.5 * camera.height, 0.5 * camera.width
        assert abs(np.median(columns) - middle) < focal * max(size) / distance
        assert rows.max() > horizon


@pytest.mark.parametrize(
    ("state", "strongest"),
    [(SignalState.RED, 0), (SignalState.GREEN, 1), (SignalState.UNKNOWN, None)],
)
def test_traffic_lights_show_their_state(scenario, bare, state, strongest):
    x, y, yaw = ego_of(scenario)
    place = np.array([[x + 18.0 * np.cos(yaw), y + 18.0 * np.sin(yaw), yaw]])
    stage = Stage(bare, "overcast", FRONT)
    nothing = stage.take(ego_of(scenario)).images["front"].astype(int)
    heads = Heads(place, np.array([state], np.int8))
    picture = stage.take(ego_of(scenario), None, heads).images["front"].astype(int)
    changed = picture[np.abs(picture - nothing).max(axis=-1) > 20]
    assert len(changed) > 30
    vivid = changed[np.ptp(changed, axis=1) > 110]
    if strongest is None:
        assert not len(vivid)
    else:
        assert len(vivid)
        assert (vivid.argmax(axis=1) == strongest).all()


def test_a_place_fitted_with_the_other_filter_takes_actors_too(scenario, bare):
    sky = [replace(t, sky=replace(t.sky, antialiased=True)) for t in bare.traversals]
    filtered = replace(
        bare, background=replace(bare.background, antialiased=True), traversals=tuple(sky)
    )
    agents = one_agent(scenario, AgentKind.VEHICLE, (4.6, 1.9, 1.6), 12.0)
    stage = Stage(filtered, "noon", FRONT)
    assert not np.array_equal(
        stage.take(ego_of(scenario), agents).images["front"],
        stage.take(ego_of(scenario)).images["front"],
    )


def test_a_look_fills_the_box_that_can_be_hit():
    for name, kind, size in CATALOGUE:
        for factor in (0.8, 1.0, 1.4):
            wanted = np.array(size) * factor
            actor = make_actor(name, kind, wanted)
            means = np.concatenate([p.gaussians.means for p in actor.parts])
            low, high = means.min(0), means.max(0)
            assert (np.maximum(-low[:2], high[:2]) < 0.5 * wanted[:2] + 0.12 * factor).all(), name
            assert high[0] - low[0] > 0.35 * wanted[0], name
            assert 0.85 * wanted[2] < high[2] < wanted[2] + 0.05, name


def test_people_walk_and_stand_still():
    walker = make_actor("w", AgentKind.PEDESTRIAN, (0.6, 0.6, 1.75))
    here = np.zeros(2)
    a, b = (pose_actor(walker, here, 0.0, 1.4, t).means for t in (0.0, 0.25))
    assert np.abs(a - b).max() > 0.1
    assert np.abs(a - b).max() < 0.9
    c, d = (pose_actor(walker, here, 0.0, 0.0, t).means for t in (0.0, 0.25))
    assert np.array_equal(c, d)
    e = pose_actor(walker, np.array([3.0, 4.0]), np.pi / 2, 0.0, 0.0).means
    assert np.allclose(e, np.column_stack([3.0 - c[:, 1], 4.0 + c[:, 0], c[:, 2]]), atol=1e-5)


def test_a_folder_holds_the_scene(tmp_path, scenario, street):
    view = View("noon", tuple(np.eye(4).ravel()), 50.0, 50.0, 20.0, 10.0, 40, 20)
    appearance = street.background.sh + np.float32(0.1)
    track = Track(
        street.actors[3].name, np.array([[1557539957.05, 3, 4, 0.5, 3.1], [1e10, 1, 0, 0, -3.1]])
    )
    noon = replace(street.traversals[0], appearance=appearance, tracks=(track,))
    scene = replace(
        street, views=(view,), rig=THREE_CAMERAS, traversals=(noon, *street.traversals[1:])
    )
    write_scene(scene, tmp_path / "scene")
    back = read_scene(tmp_path / "scene")
    assert back.alignment == scene.alignment
    assert back.views == scene.views
    assert back.rig == scene.rig
    assert np.array_equal(back.path, scene.path)
    assert np.array_equal(back.traversals[0].appearance, appearance)
    assert [t.light for t in back.traversals] == [t.light for t in scene.traversals]
    assert [len(t.tracks) for t in back.traversals] == [1, 0, 0]
    assert back.traversals[0].tracks[0].actor == track.actor
    assert np.array_equal(back.traversals[0].tracks[0].poses, track.poses)
    assert len(back.actors) == len(CATALOGUE)
    for a, b in zip(back.actors, scene.actors, strict=True):
        assert (a.name, a.kind, a.albedo, a.track) == (b.name, b.kind, b.albedo, b.track)
        assert [(p.pivot, p.swing, p.phase, p.spin) for p in a.parts] == [
            (tuple(p.pivot), p.swing, p.phase, p.spin) for p in b.parts
        ]
    agents = one_agent(scenario, AgentKind.VEHICLE, (4.6, 1.9, 1.6), 12.0)
    first, second = (
        Stage(s, "evening", FRONT).take(ego_of(scenario), agents).images["front"].astype(int)
        for s in (scene, back)
    )
    assert np.abs(first - second).max() <= 2


def _track(actor, poses):
    return {"actor": actor, "poses": poses}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.update(format=9), "format is 9"),
        (lambda s: s.update(colour="red"), "colour"),
        (lambda s: s.update(background="../../etc/passwd"), "folder"),
        (lambda s: s.update(background="none.ply"), "none.ply"),
        (lambda s: s.update(traversals=[]), "traversals"),
        (lambda s: s["traversals"].append(s["traversals"][0]), "unique"),
        (lambda s: s["traversals"][0].update(light=None), "light"),
        (lambda s: s["traversals"][0]["light"].update(sun=[0, 0, 0]), "direction"),
        (lambda s: s["traversals"][0].update(exposure=[[1, 0, 0, 0]]), "exposure"),
        (lambda s: s["traversals"][0].update(appearance="background.ply"), "background.ply"),
        (lambda s: s["traversals"][0].update(tracks=[_track("bim", [[0, 0, 0, 0, 0]])]),
         "track of 'bim', which is no actor\n  Did you mean 'bin'"),
        (lambda s: s["traversals"][0].update(tracks=[_track("bin", [])]), "poses have shape"),
        (lambda s: s["traversals"][0].update(tracks=[_track("bin", [[0, 0, 0, 0]])]), "poses"),
        (lambda s: s["traversals"][0].update(tracks=[_track("bin", [[0, 1e8, 0, 0, 0]])]),
         r"scene\.json: track of 'bin': poses\[0\]"),
        (lambda s: s["traversals"][0].update(
            tracks=[_track("bin", [[2, 0, 0, 0, 0], [2, 0, 0, 0, 0]])]), "Times must ascend"),
        (lambda s: s["actors"][0].update(kind="ufo"), "Known: vehicle"),
        (lambda s: s["actors"][0].update(size=[0, 1, 1]), "size"),
        (lambda s: s["actors"][0].update(parts=[]), "parts"),
        (lambda s: s.update(reach=-1), "reach"),
        (lambda s: s["alignment"].update(x=1e300), "alignment"),
        (lambda s: s.update(views=[{"traversal": "x", "viewmat": [], "fx": 1, "fy": 1, "cx": 0,
                                    "cy": 0, "width": 1, "height": 1}]), "traversal"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_scene_is_refused(tmp_path_factory, street, change, said):
    folder = tmp_path_factory.getbasetemp() / "no-scene"
    if not folder.exists():
        small = replace(street.actors[12], name="bin")
        write_scene(replace(street, actors=(small,)), folder)
        (folder / "good.json").write_bytes((folder / "scene.json").read_bytes())
    words = json.loads((folder / "good.json").read_text())
    change(words)
    (folder / "scene.json").write_text(json.dumps(words))
    with pytest.raises(DataError, match=said):
        read_scene(folder)


def test_a_folder_without_a_readable_scene_json_is_refused(tmp_path):
    with pytest.raises(DataError, match="is absent"):
        read_scene(tmp_path)
    for text in (b"", b"{", b"[" * 100_000, b"\xff\xfe", b"3"):
        (tmp_path / "scene.json").write_bytes(text)
        with pytest.raises(DataError, match=r"scene\.json"):
            read_scene(tmp_path)


def driver_seat(scenario, street):
    """Camera to world, OpenGL axes, and the unit vectors ahead and to the right."""
    x, y = street.path[10]
    pose = np.eye(4)
    yaw = ego_of(scenario)[2] - street.alignment.yaw
    c, s = np.cos(yaw), np.sin(yaw)
    pose[:3, :3] = np.array([[s, 0, -c], [-c, 0, -s], [0, 1, 0]])  # right, up, backward
    pose[:3, 3] = x, y, 1.5
    return pose, np.array([c, s]), np.array([s, -c])


def rendered(tmp_path, top):
    """What `roadworthy render` makes of a cameras file: int [F] pictures of `scene`."""
    file, out = tmp_path / "transforms.json", tmp_path / "pictures"
    file.write_text(json.dumps(top))
    scene = str(tmp_path / "scene")
    assert cli.main(["render", scene, "--cameras", str(file), "--out", str(out)]) == 0
    names = [f"{i:06d}.png" for i in range(len(top["frames"]))]
    return [np.asarray(Image.open(out / name)).astype(int) for name in names]


def test_actors_stand_where_they_were_at_a_frames_time(tmp_path, scenario, street):
    pose, ahead, right = driver_seat(scenario, street)
    (car,) = [a for a in street.actors if a.kind == AgentKind.VEHICLE][:1]
    begin, end = (pose[:2, 3] + 15.0 * ahead + side * right for side in (-3.0, 3.0))
    yaw = np.arctan2(ahead[1], ahead[0])
    poses = np.array([[50.0, *begin, 0.0, yaw + 3.1], [54.0, *end, 0.0, yaw - 3.1]])
    noon = replace(street.traversals[0], tracks=(Track(car.name, poses),))
    scene = replace(street, actors=(car,), traversals=(noon, *street.traversals[1:]))
    write_scene(scene, tmp_path / "scene")
    frame = {"transform_matrix": pose.tolist()}
    moments = [{}, {"time": 49.9}, {"time": 50.0}, {"time": 52.0}, {"time": 54.0}]
    moments.append({"time": 52.0, "traversal": scene.traversals[1].name})
    top = {"fl_x": 70.0, "w": 96, "h": 54, "frames": [frame | m for m in moments]}
    nobody, before, first, middle, last, other = rendered(tmp_path, top)
    assert np.array_equal(nobody, before)
    assert np.array_equal(
        other,
        rendered(tmp_path, top | {"frames": [frame | {"traversal": moments[-1]["traversal"]}]})[0],
    )
    columns = []
    for picture in (first, middle, last):
        changed = np.abs(picture - nobody).max(axis=-1) > 20
        assert changed.sum() > 30
        columns.append(np.median(np.nonzero(changed)[1]))
    focal, distance = 70.0, 15.0
    wanted = [48.0 + focal * side / distance for side in (-3.0, 0.0, 3.0)]
    assert np.abs(np.array(columns) - wanted).max() < 2.0
    frame["time"] = float("inf")
    (tmp_path / "transforms.json").write_text(json.dumps(top | {"frames": [frame]}))
    with pytest.raises(DataError, match=r"frames\[0\]\.time is inf"):
        render_pictures(tmp_path / "scene", tmp_path / "transforms.json", tmp_path / "pictures")


def test_the_viewer_shows_actors_at_a_chosen_time(scenario, street):
    pytest.importorskip("viser", reason="viser is not installed")
    from roadworthy_simulators.splat.viewer import Viewer

    pose, ahead, _ = driver_seat(scenario, street)
    place = np.array([*(pose[:2, 3] + 15.0 * ahead), 0.0, 0.0])
    gone = place - np.array([0.0, 0.0, 50.0, 0.0])
    track = Track(street.actors[0].name, np.array([[1e9, *gone], [1e9 + 8.0, *place]]))
    noon = replace(street.traversals[0], tracks=(track,))
    stage = Stage(replace(street, traversals=(noon,)), noon.name, FRONT)
    view = np.linalg.inv(pose @ np.diag([1.0, -1.0, -1.0, 1.0]))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    viewer = Viewer(stage, None, port)
    try:
        nobody = viewer.picture(view, 0.7, 96, 54)[0].astype(int)
        viewer._clock.value = 8.0
        assert viewer.moment == 1e9 + 8.0
        somebody = viewer.picture(view, 0.7, 96, 54)[0].astype(int)
    finally:
        viewer.close()
    assert (np.abs(somebody - nobody).max(axis=-1) > 20).sum() > 30


def test_one_lens_is_one_lens_to_render_and_to_reconstruct(tmp_path, scenario, bare):
    """What `render` bends, `reconstruct` straightens; equal lenses make equal pictures."""
    write_scene(bare, tmp_path / "scene")
    pose = driver_seat(scenario, bare)[0].tolist()
    size = {"w": 192, "h": 108}
    straight = {"fl_x": 140.0, **size}
    bent = straight | {"k1": -0.2}
    rational = straight | {"k4": 0.3, "camera_model": "OPENCV"}
    angle = {"camera_angle_x": 2 * np.arctan(96 / 140), **size}
    same_as_straight = [
        angle,
        straight | {"camera_model": "SIMPLE_PINHOLE"},
        straight | {"camera_model": "PINHOLE"},
        angle | {"camera_angle_y": 2 * np.arctan(54 / 140)},
    ]  # fmt: skip
    same_as_bent = [bent | {"camera_model": m} for m in ("OPENCV", "SIMPLE_RADIAL")]
    frames = [
        {"transform_matrix": pose, "file_path": f"pictures/{i:06d}.png", **lens}
        for i, lens in enumerate([straight, bent, rational, *same_as_straight, *same_as_bent])
    ]
    pictures = rendered(tmp_path, {"frames": frames})
    plain, radial, fourth = pictures[:3]
    for picture in pictures[3:7]:
        assert np.abs(picture - plain).max() <= 1
    for picture in pictures[7:]:
        assert np.array_equal(picture, radial)
    assert np.abs(radial - plain).mean() > 3
    assert np.abs(fourth - plain).mean() > 3
    recording = read_recording(tmp_path)
    for i in (1, 2):
        off = np.abs(recording.images[i].astype(int) - plain).mean()
        assert off < 0.5 * np.abs(pictures[i] - plain).mean()
        assert np.allclose(recording.Ks[i], recording.Ks[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"camera_model": "OPENCV_FISHEYE"}, "camera_model is 'OPENCV_FISHEYE'"),
        ({"camera_model": "PINHOLE", "k3": 0.1}, "'PINHOLE', but k3 is 0.1"),
        ({"w": 95.5}, "w is 95.5"),
        ({"fl_x": None, "camera_angle_x": 4.0}, "camera_angle_x is 4.0"),
        ({"fl_x": None}, "no fl_x or camera_angle_x"),
        ({"fl_x": -1.0}, "focal length"),
        ({"k2": "much"}, "k2"),
    ],
)
def test_a_lens_that_cannot_be_is_refused_by_both(tmp_path, change, said):
    frame = {"transform_matrix": np.eye(4).tolist(), "file_path": "a.png", **change}
    Image.new("RGB", (96, 54)).save(tmp_path / "a.png")
    top = {"fl_x": 70.0, "w": 96, "h": 54, "camera_model": "OPENCV", "frames": [frame]}
    if change.get("fl_x", 0) is None:
        top.pop("fl_x")
    file = tmp_path / "transforms.json"
    file.write_text(json.dumps(top))
    write_scene(TINY, tmp_path / "scene")
    for work in (
        lambda: read_recording(file),
        lambda: render_pictures(tmp_path / "scene", file, tmp_path / "pictures"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            work()
        assert str(file) in str(caught.value)
        assert "frames[0]" in str(caught.value)


def test_pictures_of_nothing_are_said_to_be(tmp_path, scenario, bare, capsys):
    write_scene(bare, tmp_path / "scene")
    here, far = driver_seat(scenario, bare)[0], driver_seat(scenario, bare)[0]
    far[0, 3] = 1e7
    frames = [{"transform_matrix": pose.tolist()} for pose in (here, far)]
    top = {"fl_x": 70.0, "w": 96, "h": 54, "frames": frames}
    assert np.ptp(rendered(tmp_path, top)[1], axis=(0, 1)).max() == 0
    said = capsys.readouterr()
    assert "1 of 2 pictures show nothing of the scene, beginning with 000001.png" in said.err
    assert "2 pictures in" in said.out
    rendered(tmp_path, top | {"frames": frames[:1]})
    assert not capsys.readouterr().err


def test_the_command_renders_any_poses(tmp_path, scenario, street, capsys):
    write_scene(replace(street, actors=()), tmp_path / "scene")
    pose, _, _ = driver_seat(scenario, street)
    frames = [
        {"transform_matrix": pose.tolist(), "file_path": "images/a.png", "traversal": "evening"},
        {"transform_matrix": pose.tolist(), "k1": -0.1, "w": 80},
    ]
    top = {"fl_x": 70.0, "w": 96, "h": 54, "camera_model": "OPENCV", "frames": frames}
    file = tmp_path / "transforms.json"
    file.write_text(json.dumps(top))
    arguments = ["render", str(tmp_path / "scene"), "--cameras", str(file), "--out"]
    assert cli.main([*arguments, str(tmp_path / "out")]) == 0
    assert "2 pictures" in capsys.readouterr().out
    first = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    second = np.asarray(Image.open(tmp_path / "out" / "000001.png"))
    assert first.shape == (54, 96, 3)
    assert second.shape == (54, 80, 3)
    assert first[:8].mean() > first[-8:].mean()
    frames[0]["transform_matrix"][0][0] = 7.0
    file.write_text(json.dumps(top))
    assert cli.main([*arguments, str(tmp_path / "out2")]) == 4
    assert "frames[0].transform_matrix" in capsys.readouterr().err


def test_a_rig_is_read_and_checked(tmp_path):
    file = tmp_path / "rig.toml"
    file.write_bytes(msgspec.toml.encode(THREE_CAMERAS))
    assert read_rig(file) == THREE_CAMERAS
    left = THREE_CAMERAS.cameras[0].from_vehicle
    assert np.allclose(left @ [1.5, 3.0, 1.5, 1.0], [
        -3 * np.cos(np.radians(55)), 0, 3 * np.sin(np.radians(55)), 1,
    ])  # fmt: skip
    down = Pinhole(name="a", pitch_deg=-90.0, position=(0.0, 0.0, 2.0)).from_vehicle
    assert np.allclose(down @ [0, 0, 0, 1], [0, 0, 2, 1])
    for bad, said in (
        ([], "0 cameras"),
        ([{"name": "a"}, {"name": "a"}], "one name"),
        ([{"name": "a", "width": 0}], "width"),
        ([{"name": "a", "fov": 3}], "fov"),
        ([{"name": "../a"}], "name"),
    ):
        with pytest.raises(DataError, match=said):
            parse_rig(bad)
    camera = '[[cameras]]\nname = "a"\n'
    for text in (
        "cameras = 3", "cameras = " + "[" * 100_000, camera + "width = " + "9" * 5000,
        camera + "horizontal_fov_deg = 1e-320",
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(DataError, match=r"rig\.toml"):
            read_rig(file)
