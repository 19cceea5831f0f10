"""The CPU renderer: against a plain torch rasteriser, its threads, its limits, its errors."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from roadworthy.errors import DataError, SimulatorError
from roadworthy_simulators.splat import Cameras, Gaussians, RenderOptions, concatenate, render
from roadworthy_simulators.splat.autograd import rasterize
from splat_reference import plain_rasterize
from splat_street import cameras, street

NAMES = ("means", "quats", "scales", "opacities", "colors")


def cloud(n: int, degree: int | None, seed: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(n, 4)) * rng.uniform(0.3, 3.0, (n, 1))
    colors = (
        rng.uniform(0, 1, (n, 3))
        if degree is None
        else rng.normal(0, 0.4, (n, (degree + 1) ** 2, 3))
    )
    arrays = {
        "means": rng.uniform([-2, -1.5, 0.5], [2, 1.5, 6], (n, 3)),
        "quats": quats,
        "scales": np.exp(rng.normal(-2.2, 0.8, (n, 3))),
        "opacities": rng.uniform(0.02, 1.0, n),
        "colors": colors,
    }
    return {k: torch.tensor(v, dtype=torch.float32) for k, v in arrays.items()}


def rig() -> tuple[torch.Tensor, torch.Tensor]:
    """Two cameras with unequal intrinsics."""
    turn = 0.2
    first = np.eye(4)
    second = np.eye(4)
    second[:3, :3] = [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    second[:3, 3] = [0.1, -0.2, 0.3]
    ks = [[[30, 0, 21], [0, 33, 15], [0, 0, 1]], [[55, 0, 17.5], [0, 50, 19], [0, 0, 1]]]
    return torch.tensor(np.stack([first, second]), dtype=torch.float32), torch.tensor(ks).float()


@pytest.mark.parametrize("degree", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("antialiased", [False, True])
def test_images_and_gradients_agree_with_plain_torch(degree, antialiased):
    scene = cloud(120, degree, seed=7 if degree is None else degree)
    viewmats, ks = rig()
    options = RenderOptions(background=(0.2, 0.4, 0.1), antialiased=antialiased, max_alpha=0.99)
    inputs = [t.clone().requires_grad_() for t in (*scene.values(), viewmats)]
    images = rasterize(*inputs, ks, 43, 31, options, backend="cpu")
    exact = [t.double().requires_grad_() for t in (*scene.values(), viewmats)]
    per_camera = [
        plain_rasterize(*exact[:5], exact[5][c], ks[c].double(), 43, 31, options) for c in range(2)
    ]
    wanted = [torch.stack(parts) for parts in zip(*per_camera, strict=True)]
    for got, want in zip(images, wanted, strict=True):
        assert torch.quantile((got - want).abs().flatten(), 0.999) < 5e-6
    weights = [torch.randn(w.shape, generator=torch.manual_seed(1)).double() for w in wanted]
    sum((g * w.float()).sum() for g, w in zip(images, weights, strict=True)).backward()
    sum((g * w).sum() for g, w in zip(wanted, weights, strict=True)).backward()
    for name, got, want in zip((*NAMES, "viewmats"), inputs, exact, strict=True):
        if want.grad is None:
            continue
        error = (got.grad - want.grad).norm() / want.grad.norm()
        assert error < 2e-3, (name, float(error))  # a pixel at a threshold may fall either way


def test_gradients_agree_with_finite_differences():
    scene = cloud(12, 1, seed=3)
    scene["opacities"].clamp_(0.3, 0.8)
    scene["scales"].clamp_(min=0.2)
    viewmats, ks = rig()
    options = RenderOptions(alpha_threshold=1e-6, transmittance_threshold=0.0)
    inputs = [t.clone().requires_grad_() for t in (*scene.values(), viewmats)]
    weight = torch.randn(2, 31, 43, 3, generator=torch.manual_seed(0))

    def loss(tensors):
        rgb, alpha, depth = rasterize(*tensors, ks, 43, 31, options, backend="cpu")
        return (rgb * weight).double().sum() + alpha.double().sum() + 0.1 * depth.double().sum()

    loss(inputs).backward()
    rng = np.random.default_rng(5)
    for which, tensor in enumerate(inputs):
        direction = torch.tensor(rng.normal(size=tensor.shape), dtype=torch.float32)
        if which == 5:
            direction[:, 3] = 0.0  # the last row is 0, 0, 0, 1 by definition
        step = 2e-3 if which != 4 else 1e-2
        ends = []
        for sign in (1, -1):
            moved = [t.detach() for t in inputs]
            moved[which] = moved[which] + sign * step * direction
            ends.append(loss(moved))
        slope = float(ends[0] - ends[1]) / (2 * step)
        told = float((tensor.grad * direction).sum())
        assert told == pytest.approx(slope, rel=2e-2, abs=2e-2), which


def test_gradients_are_the_same_bits_for_any_number_of_threads():
    arrays = {k: torch.from_numpy(v) for k, v in street(20_000, 1).items()}
    viewmats, ks = (torch.from_numpy(a) for a in cameras(2, 160, 90))
    seen = []
    for threads in (1, 2, 5):
        inputs = [t.clone().requires_grad_() for t in (*arrays.values(), viewmats)]
        rgb, alpha, depth = rasterize(*inputs, ks, 160, 90, backend="cpu", threads=threads)
        (rgb.square().sum() + alpha.sum() + 0.01 * depth.sum()).backward()
        seen.append([t.grad.numpy().tobytes() for t in inputs] + [rgb.detach().numpy().tobytes()])
    assert seen[0] == seen[1] == seen[2]


def test_rendering_twice_with_another_view_between_changes_nothing():
    g = gaussians(street(5_000, 0))
    viewmats, ks = cameras(3, 160, 90)
    first = render(g, Cameras(viewmats[:1], ks[:1], 160, 90), backend="cpu")
    render(g, Cameras(viewmats[1:], ks[1:], 320, 200), backend="cpu")
    again = render(g, Cameras(viewmats[:1], ks[:1], 160, 90), backend="cpu")
    assert first.rgb.tobytes() == again.rgb.tobytes()


def gaussians(arrays: dict[str, np.ndarray]) -> Gaussians:
    return Gaussians(*(arrays[name] for name in NAMES))


def one(**changes: object) -> Gaussians:
    values = {
        "means": [[0, 0, 3.0]], "quats": [[1, 0, 0, 0]], "scales": [[0.2, 0.2, 0.2]],
        "opacities": [0.9], "sh": [[[1.0, 0.5, 0.2]]],
    }  # fmt: skip
    values.update(changes)
    return Gaussians(**{k: np.asarray(v, np.float32) for k, v in values.items()})


def front(width: int = 40, height: int = 30) -> Cameras:
    k = np.float32([[[30, 0, width / 2], [0, 30, height / 2], [0, 0, 1]]])
    return Cameras(np.eye(4, dtype=np.float32)[None], k, width, height)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("means", [[0, np.nan, 3.0]], "mean"),
        ("means", [[0, np.inf, 3.0]], "mean"),
        ("quats", [[0, 0, 0, 0]], "quaternion"),
        ("quats", [[np.nan, 0, 0, 0]], "quaternion"),
        ("scales", [[np.inf, 1, 1]], "scale"),
        ("scales", [[0.1, np.nan, 0.1]], "scale"),
        ("opacities", [np.nan], "opacity"),
        ("opacities", [1.5], "opacity"),
        ("opacities", [-0.5], "opacity"),
        ("sh", [[[np.nan, 0, 0]]], "colour"),
    ],
)
def test_a_gaussian_that_cannot_be_drawn_is_named(field, value, said):
    bad = concatenate([one(), one(**{field: value})])
    with pytest.raises(DataError, match=f"Gaussian 1 has a {said}"):
        render(bad, front(), backend="cpu")
    with pytest.raises(DataError, match=rf"test: {field}\[1\]"):
        bad.checked("test")


def test_a_zero_scale_is_drawn_as_a_dot_but_refused_in_a_file():
    flat = one(scales=[[0.0, 0.0, 0.0]])
    assert render(flat, front(), backend="cpu").alpha.max() > 0.3  # four pixels share its centre
    with pytest.raises(DataError, match="scales"):
        flat.checked("file")


def test_a_camera_inside_a_gaussian_sees_it():
    around = one(means=[[0, 0, 0.05]], scales=[[5.0, 5.0, 5.0]])
    image = render(around, front(), backend="cpu")
    assert np.isfinite(image.rgb).all()
    assert image.alpha.min() > 0.85


def test_nothing_in_view_is_background_with_alpha_zero():
    behind = one(means=[[0, 0, -3.0]])
    image = render(behind, front(), RenderOptions(background=(0.1, 0.2, 0.3)), backend="cpu")
    assert (image.rgb == np.float32([0.1, 0.2, 0.3])).all()
    assert (image.alpha == 0).all()
    none = Gaussians(*(np.zeros(s) for s in ((0, 3), (0, 4), (0, 3), (0,), (0, 1, 3))))
    assert (render(none, front(), backend="cpu").alpha == 0).all()


def test_radius_clip_leaves_small_ones_out():
    options = RenderOptions(radius_clip=30.0)
    assert render(one(), front(), backend="cpu").alpha.max() > 0.5
    assert render(one(), front(), options, backend="cpu").alpha.max() == 0


def test_antialiased_follows_the_gaussians_unless_told():
    small = one(scales=[[0.01, 0.01, 0.01]])
    filtered = dataclasses.replace(small, antialiased=True)
    plain = render(small, front(), backend="cpu").alpha.max()
    faint = render(filtered, front(), backend="cpu").alpha.max()
    told = render(filtered, front(), RenderOptions(antialiased=False), backend="cpu").alpha.max()
    assert faint < 0.2 * plain
    assert told == plain


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"near": -1.0}, "near"),
        ({"max_alpha": 1.5}, "max_alpha"),
        ({"alpha_threshold": 0.0}, "alpha_threshold"),
        ({"background": (np.nan, 0, 0)}, "background"),
        ({"sh_degree": 4}, "sh_degree"),
        ({"eps2d": np.nan}, "eps2d"),
    ],
)
def test_options_out_of_range_are_named(options, said):
    with pytest.raises(DataError, match=said):
        RenderOptions(**options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 0}, "width"),
        ({"height": 10**6}, "height"),
        ({"viewmats": np.zeros((1, 4, 4))}, "viewmats"),
        ({"viewmats": np.diag([1.0, 1.0, 0.0, 1.0])[None]}, "inverted"),
        ({"viewmats": np.eye(4)}, "shape"),
        ({"Ks": np.float32([[[30, 2, 20], [0, 30, 15], [0, 0, 1]]])}, "Ks"),
        ({"Ks": np.float32([[[-30, 0, 20], [0, 30, 15], [0, 0, 1]]])}, "Ks"),
        ({"Ks": np.full((1, 3, 3), np.nan)}, "Ks"),
    ],
)
def test_cameras_that_cannot_be_are_named(change, said):
    good = front()
    values = {"viewmats": good.viewmats, "Ks": good.Ks, "width": 40, "height": 30, **change}
    with pytest.raises(DataError, match=said):
        Cameras(**values)


def test_backends_are_chosen_by_name():
    with pytest.raises(DataError, match="no splat backend"):
        render(one(), front(), backend="vulkan")
    if not torch.cuda.is_available():
        with pytest.raises(SimulatorError, match="CUDA"):
            render(one(), front(), backend="gsplat")
        auto = render(one(), front()).rgb
        assert auto.tobytes() == render(one(), front(), backend="cpu").rgb.tobytes()


def test_needles_far_outside_and_huge_images_stay_finite():
    rng = np.random.default_rng(0)
    n = 300
    wild = Gaussians(
        means=rng.normal(size=(n, 3)) * 10.0 ** rng.uniform(-3, 6, (n, 1)),
        quats=rng.normal(size=(n, 4)),
        scales=10.0 ** rng.uniform(-12, 6, (n, 3)),
        opacities=rng.uniform(0, 1, n),
        sh=rng.normal(size=(n, 4, 3)),
    )
    for size in ((1, 1), (17, 9), (700, 3)):
        image = render(wild, front(*size), backend="cpu")
        assert np.isfinite(image.rgb).all()
        assert ((image.alpha >= 0) & (image.alpha <= 1)).all()


def test_a_million_gaussians_fit_into_two_gibibytes():
    program = (
        "import resource\n"
        "from roadworthy_simulators.splat import Cameras, Gaussians, render\n"
        "from splat_street import cameras, street\n"
        "s = street(1_000_000, 3)\n"
        "g = Gaussians(*(s[n] for n in ('means', 'quats', 'scales', 'opacities', 'colors')))\n"
        "v, k = cameras(1)\n"
        "alpha = render(g, Cameras(v, k, 480, 270), backend='cpu').alpha\n"
        "assert alpha.mean() > 0.5\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("the unit of ru_maxrss is KiB on Linux only")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 2 * 1024 * 1024
