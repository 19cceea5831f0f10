"""`roadworthy conformance render DIR`: a backend against vectors of a float64 reference.

A vector is an `.npz` of one scene, its cameras and constants, the images that they give, and, where
it has them, the gradients of L = sum(rgb v_rgb) + sum(alpha v_alpha) + sum(depth v_depth). The pass
marks: PSNR at least 90 dB; colour and alpha within 2e-5 and depth within 1e-4 (1 + depth) on pixels
that are not fragile; colour within 1e-2 on fragile ones, where a decision lies within rounding of a
threshold; each gradient within 1e-4 relative (L2), or 1e-4 absolute where the true one is 0.
"""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from roadworthy.conformance import ConformanceRow, ConformanceTable
from roadworthy.errors import DataError, SimulatorError

from roadworthy_simulators.splat.autograd import rasterize
from roadworthy_simulators.splat.cameras import Cameras, RenderOptions
from roadworthy_simulators.splat.render import Backend, choose_backend

__all__ = ["check_render"]

_PSNR, _COLOR, _FRAGILE, _ALPHA, _DEPTH, _GRADIENT = 90.0, 2e-5, 1e-2, 2e-5, 1e-4, 1e-4
_NULL = 1e-6  # a reference gradient whose entries are all smaller counts as 0
_MAX_BYTES = 4 << 30  # of one vector, unpacked
_GRADIENTS = ("means", "quats", "scales", "opacities", "sh", "viewmats")
_SCALARS = (
    "sh_degree", "width", "height", "near", "far", "eps2d", "antialiased", "max_alpha",
    "alpha_threshold", "transmittance_threshold",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Vector:
    name: str
    arrays: dict[str, NDArray[Any]]
    size: tuple[int, int]
    options: RenderOptions

    @property
    def has_gradients(self) -> bool:
        return "g_means" in self.arrays


def check_render(directory: Path, *, backend: Backend = "auto") -> ConformanceTable:
    """Renders every vector of a folder and compares.

    Args:
        directory: holds `*.npz` vectors.
        backend: `cpu`, `gsplat`, or `auto`: gsplat where it can serve the vector's constants, else
            the CPU.

    Returns:
        Rows for every vector: PSNR, worst colour, alpha and depth errors, gradients, and which
        backend they are of; a single one where the backend cannot serve its constants.

    Raises:
        DataError: no vectors, or one that is not of this format; names file, field and value.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder", hint="Give the folder of the .npz vectors.")
    paths = sorted(directory.glob("*.npz"))
    if not paths:
        raise DataError(f"{directory} holds no .npz vectors")
    rows: list[ConformanceRow] = []
    for path in paths:
        rows += _compare(_read(path), backend)
    return ConformanceTable("render", str(directory), tuple(rows))


def _read(path: Path) -> _Vector:
    """Reads and checks one vector.

    Raises:
        DataError: see `check_render`.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _MAX_BYTES:
            raise DataError(f"{path}: unpacks to {unpacked} bytes, more than {_MAX_BYTES}")
        with np.load(path, allow_pickle=False) as stored:
            arrays.update({key: stored[key] for key in stored.files})
    except DataError:
        raise
    except (
        OSError, ValueError, EOFError, KeyError, SyntaxError, MemoryError, NotImplementedError,
        RuntimeError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise DataError(f"{path}: not a readable .npz: {error}") from error
    for key in _SCALARS:
        if key not in arrays:
            raise DataError(f"{path}: {key} is missing")
        if arrays[key].size != 1 or arrays[key].dtype.kind not in "iufb":
            raise DataError(f"{path}: {key} is {arrays[key]!r}, not one number")
    scalars = {key: arrays[key].item() for key in _SCALARS}
    degree = scalars["sh_degree"]
    if degree not in (0, 1, 2, 3):
        raise DataError(f"{path}: sh_degree is {degree}, not 0, 1, 2 or 3")
    width, height = int(scalars["width"]), int(scalars["height"])
    n = arrays["means"].shape[0] if "means" in arrays and arrays["means"].ndim else 0
    cameras = arrays["viewmats"].shape[0] if "viewmats" in arrays and arrays["viewmats"].ndim else 0
    image = (cameras, height, width)
    shapes: dict[str, tuple[int, ...]] = {
        "means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,),
        "sh": (n, (int(degree) + 1) ** 2, 3), "viewmats": (cameras, 4, 4), "Ks": (cameras, 3, 3),
        "background": (3,), "rgb": (*image, 3), "alpha": image, "depth": image, "fragile": image,
    }  # fmt: skip
    if any(key.startswith(("g_", "v_")) for key in arrays):
        shapes.update({"v_rgb": (*image, 3), "v_alpha": image, "v_depth": image})
        shapes.update({f"g_{name}": shapes[name] for name in _GRADIENTS})
    for key, shape in shapes.items():
        if key not in arrays:
            raise DataError(f"{path}: {key} is missing")
        array = arrays[key]
        if array.shape != shape:
            raise DataError(f"{path}: {key} has shape {array.shape}, not {shape}")
        if array.dtype.kind not in "fiub":
            raise DataError(f"{path}: {key} holds {array.dtype}, not numbers")
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise DataError(f"{path}: {key}{list(where)} is {array[where]}")
    try:
        Cameras(arrays["viewmats"], arrays["Ks"], width, height)
        options = RenderOptions(
            background=tuple(arrays["background"].tolist()),
            antialiased=bool(scalars["antialiased"]),
            **{
                key: float(scalars[key])
                for key in ("near", "far", "eps2d", "max_alpha", "alpha_threshold")
            },
            transmittance_threshold=float(scalars["transmittance_threshold"]),
        )
    except DataError as error:
        raise DataError(f"{path}: {error.message}", hint=error.hint) from error
    return _Vector(path.stem, arrays, (width, height), options)


def _compare(vector: _Vector, backend: Backend) -> list[ConformanceRow]:
    arrays = vector.arrays
    try:
        chosen = choose_backend(backend, vector.options)
    except SimulatorError as error:
        return [
            ConformanceRow(vector.name, 1, 0, 0, 0.0, 0.0, backend=backend, unserved=error.message)
        ]
    device = "cuda" if chosen == "gsplat" else "cpu"
    keys = ("means", "quats", "scales", "opacities", "sh", "viewmats")
    inputs = {key: torch.tensor(arrays[key], dtype=torch.float32, device=device) for key in keys}
    if vector.has_gradients:
        for tensor in inputs.values():
            tensor.requires_grad_()
    ks = torch.tensor(arrays["Ks"], dtype=torch.float32, device=device)
    try:
        images = rasterize(*inputs.values(), ks, *vector.size, vector.options, backend=chosen)
    except DataError as error:
        raise DataError(f"{vector.name}: {error.message}", hint=error.hint) from error
    rgb, alpha, depth = (i.detach().cpu().numpy().astype(np.float64) for i in images)
    steady = ~arrays["fragile"].astype(bool)
    error = rgb - arrays["rgb"]
    mean_square = float(np.mean(error**2))
    psnr = np.inf if mean_square == 0.0 else -10.0 * np.log10(mean_square)
    far = (depth - arrays["depth"]) / (1.0 + arrays["depth"])
    row = _row(vector.name)
    rows = [
        ConformanceRow(
            f"{vector.name} PSNR, at least [dB]", 1, 1, int(psnr >= _PSNR), float(psnr), _PSNR,
            "" if psnr >= _PSNR else f"{vector.name}: {psnr:.1f} dB",
        ),
        row("colour", error, _COLOR, steady),
        row("colour, fragile", error, _FRAGILE, ~steady),
        row("alpha", alpha - arrays["alpha"], _ALPHA, steady),
        row("depth / (1 + depth)", far, _DEPTH, steady),
    ]  # fmt: skip
    if vector.has_gradients:
        loss = sum(
            (image * torch.tensor(arrays[key], dtype=torch.float32, device=device)).sum()
            for image, key in zip(images, ("v_rgb", "v_alpha", "v_depth"), strict=True)
        )
        assert isinstance(loss, torch.Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        rows.append(_gradient_row(vector, inputs))
    return [replace(row, backend=chosen) for row in rows]


def _row(name: str) -> Any:
    def make(
        what: str, error: NDArray[np.float64], tolerance: float, where: NDArray[np.bool_]
    ) -> ConformanceRow:
        size = np.abs(error).max(axis=-1) if error.ndim == 4 else np.abs(error)
        size = np.where(np.isnan(size), np.inf, size)
        bad = where & (size > tolerance)
        first = ""
        if bad.any():
            c, y, x = (int(i) for i in np.argwhere(bad)[0])
            first = f"{name}: camera {c}, pixel ({y}, {x}) is off by {size[c, y, x]:.3g}"
        worst = float(size[where].max()) if where.any() else 0.0
        values = int(where.sum())
        return ConformanceRow(
            f"{name} {what}", 1, values, values - int(bad.sum()), worst, tolerance, first
        )

    return make


def _gradient_row(vector: _Vector, inputs: dict[str, torch.Tensor]) -> ConformanceRow:
    worst, first, agree = 0.0, "", 0
    for key, tensor in inputs.items():
        wanted = vector.arrays[f"g_{key}"].astype(np.float64)
        assert tensor.grad is not None
        got = tensor.grad.cpu().numpy().astype(np.float64)
        if np.abs(wanted).max(initial=0.0) <= _NULL:
            error = float(np.abs(got - wanted).max(initial=0.0))
        else:
            error = float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
        worst = max(worst, error) if error == error else np.inf
        if error <= _GRADIENT:
            agree += 1
        elif not first:
            first = f"{vector.name}: gradient of {key} is off by {error:.3g}"
    name = f"{vector.name} gradients (relative)"
    return ConformanceRow(name, 1, len(inputs), agree, worst, _GRADIENT, first)
