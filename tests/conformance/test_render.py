"""The renderer against vectors of a float64 reference, and what the check makes of broken ones."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from roadworthy import cli
from roadworthy.errors import DataError
from roadworthy_simulators.splat import Cameras, Gaussians, RenderOptions, render
from roadworthy_simulators.splat.conformance import check_render
from roadworthy_simulators.splat.gsplat_backend import why_unusable


@pytest.fixture(scope="module")
def table(render_vectors):
    return check_render(render_vectors, backend="cpu")


def test_every_vector_meets_the_pass_marks(table):
    assert not [f"{r.metric}: {r.first}" for r in table.rows if r.first]
    assert table.ok


def test_margin_is_an_order_of_magnitude(table):
    worst = {}
    for row in table.rows:
        kind = row.metric.split(" ", 1)[1]
        if kind.startswith("PSNR"):
            assert row.worst >= 130.0, row.metric
        else:
            worst[kind] = max(worst.get(kind, 0.0), row.worst)
    assert worst["colour"] <= 2e-6
    assert worst["alpha"] <= 2e-6
    assert worst["gradients (relative)"] <= 3e-5


def test_a_wrong_constant_is_found(render_vectors, tmp_path):
    source = render_vectors / "11_opaque_stack_max_alpha_0999.npz"
    arrays = dict(np.load(source))
    arrays["max_alpha"] = np.float32(0.99)
    np.savez(tmp_path / "wrong.npz", **arrays)
    table = check_render(tmp_path, backend="cpu")
    assert not table.ok
    assert any("wrong" in row.first for row in table.rows)


def test_same_bits_for_any_number_of_threads(render_vectors):
    d = np.load(render_vectors / "10_street_3cam.npz")
    g = Gaussians(d["means"], d["quats"], d["scales"], d["opacities"], d["sh"])
    cameras = Cameras(d["viewmats"], d["Ks"], int(d["width"]), int(d["height"]))
    options = RenderOptions(background=tuple(d["background"]), max_alpha=0.99)
    one = render(g, cameras, options, backend="cpu", threads=1)
    for threads in (2, 3, 7):
        more = render(g, cameras, options, backend="cpu", threads=threads)
        assert one.rgb.tobytes() == more.rgb.tobytes()
        assert one.alpha.tobytes() == more.alpha.tobytes()
        assert one.depth.tobytes() == more.depth.tobytes()


@pytest.mark.gpu
def test_gsplat_meets_the_pass_marks_on_cuda(render_vectors):
    rows = check_render(render_vectors, backend="gsplat").rows
    served = [row for row in rows if not row.unserved]
    if not served:
        pytest.skip(f"gsplat cannot render any vector: {rows[0].unserved}")
    assert not [f"{r.metric}: {r.first}" for r in served if not r.agrees]


def test_each_row_names_its_backend(table, render_vectors, tmp_path):
    assert {row.backend for row in table.rows} == {"cpu"}
    shutil.copy(render_vectors / "01_single_isotropic.npz", tmp_path)
    (chosen,) = {row.backend for row in check_render(tmp_path).rows}
    options = RenderOptions(
        max_alpha=float(np.load(tmp_path / "01_single_isotropic.npz")["max_alpha"])
    )
    assert chosen == ("cpu" if why_unusable(options) else "gsplat")


def test_a_vector_that_a_backend_cannot_serve_does_not_conform(render_vectors, tmp_path, capsys):
    """No gsplat has this transmittance threshold, wherever this runs."""
    arrays = dict(np.load(render_vectors / "01_single_isotropic.npz"))
    arrays["transmittance_threshold"] = np.float32(1.5e-4)
    np.savez(tmp_path / "coarse.npz", **arrays)
    words = ["conformance", "render", str(tmp_path)]
    assert cli.main([*words, "--option", "backend=gsplat", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    (row,) = said["rows"]
    assert not said["ok"]
    assert (row["metric"], row["backend"], row["values"]) == ("coarse", "gsplat", 0)
    assert row["unserved"].startswith("the gsplat backend cannot be used: ")
    assert cli.main([*words, "-o", "backend=gsplat"]) == 1
    out = capsys.readouterr().out
    assert "not compared: coarse" in out
    assert "conform" not in out
    assert cli.main([*words, "-o", "backend=cpu"]) == 0
    out = capsys.readouterr().out
    assert "\tcpu\t" in out
    assert out.endswith("conforms\n")
    assert cli.main([*words, "-o", "backend=gpslat"]) == 4
    assert "no splat backend 'gpslat'" in capsys.readouterr().err
    assert cli.main([*words, "-o", "backnd=cpu"]) == 4
    assert "Did you mean 'backend'" in capsys.readouterr().err


def _drop(key):
    return lambda arrays: arrays.pop(key)


def _set(key, value):
    return lambda arrays: arrays.__setitem__(key, value)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (_drop("means"), "means"),
        (_drop("near"), "near is missing"),
        (_drop("v_depth"), "v_depth is missing"),
        (_set("sh_degree", np.int32(7)), "sh_degree is 7"),
        (_set("width", np.int32(-3)), "(1, 48, -3, 3)"),
        (_set("width", np.array([3, 4])), "width is"),
        (_set("quats", np.zeros((1, 4), np.float32)), "quaternion"),
        (_set("scales", np.full((1, 3), np.nan, np.float32)), "scales[0, 0] is nan"),
        (_set("opacities", np.float32([2.0])), "opacity"),
        (_set("Ks", np.zeros((1, 3, 3), np.float32)), "Ks[0]"),
        (_set("rgb", np.zeros((1, 2, 3), np.float32)), "rgb has shape"),
        (_set("sh", np.zeros((1, 1, 3), "U3")), "sh holds"),
    ],
)
def test_a_malformed_vector_is_a_typed_error(render_vectors, tmp_path, break_it, said):
    arrays = dict(np.load(render_vectors / "01_single_isotropic.npz"))
    break_it(arrays)
    np.savez(tmp_path / "broken.npz", **arrays)
    with pytest.raises(DataError, match="broken") as caught:
        check_render(tmp_path, backend="cpu")
    assert said in str(caught.value)


def test_pickles_and_fragments_are_refused(render_vectors, tmp_path):
    whole = (render_vectors / "01_single_isotropic.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut"):
        check_render(tmp_path)
    np.savez(tmp_path / "cut.npz", means=np.array([object()], dtype=object))
    with pytest.raises(DataError, match="cut"):
        check_render(tmp_path)


def test_an_empty_or_missing_folder_is_a_typed_error(tmp_path):
    with pytest.raises(DataError, match="holds no"):
        check_render(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        check_render(tmp_path / "nowhere")
