"""One image on the CPU, from Gaussians to pixels: the stages, their threads, their memory.

The kernels release the interpreter's lock, and each stage hands every thread one call that takes
work from an atomic counter. Which thread does a piece of work never shows in its result, so the
image and the gradients are the same bits for any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError, SimulatorError

from roadworthy_simulators.splat.cpu.backward import backward_worker
from roadworthy_simulators.splat.cpu.bin import fill_tiles, gather_keys, sort_keys
from roadworthy_simulators.splat.cpu.layout import (
    CHUNK,
    FAULTS,
    PARTIALS,
    RECORD,
    TILE_X,
    TILE_Y,
    Lens,
    Projected,
    Scene,
    Thresholds,
)
from roadworthy_simulators.splat.cpu.project import project_worker
from roadworthy_simulators.splat.cpu.project_backward import VIEW_SUMS, project_backward_worker
from roadworthy_simulators.splat.cpu.rasterize import rasterize_worker

__all__ = ["Image", "View", "Workspace", "available_threads", "render_view", "run_workers"]

_MAX_PAIRS = 1 << 28  # Gaussian-tile pairs of one image: 1 GiB of list
_SLOTS_GUESS = 2 * CHUNK
_SLOTS_KEPT = 1 << 22


def available_threads() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Pool:
    """Threads that wait for kernels. Made on first use, and anew in a forked child."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.executor: ThreadPoolExecutor | None = None

    def get(self) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None:
                self.executor = ThreadPoolExecutor(
                    max_workers=max(available_threads(), 8), thread_name_prefix="splat"
                )
            return self.executor


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.__init__)  # type: ignore[misc]


def run_workers(threads: int, work: Callable[[int], None]) -> None:
    """Calls work(0) .. work(threads - 1) at the same time, the first on the calling thread."""
    if threads == 1:
        work(0)
        return
    others = [_pool.get().submit(work, k) for k in range(1, threads)]
    work(0)
    for other in others:
        other.result()


class Workspace:
    """Arrays that outlive an image, so that the next one need not fault its pages in again."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[Any]] = {}
        self.slots_wanted: NDArray[np.int64] = np.zeros(0, np.int64)

    def array(self, name: str, size: int, dtype: Any) -> NDArray[Any]:
        """The array of this name, at least `size` long, cut to `size`; contents undefined.

        It starts on a cache line.
        """
        held = self._arrays.get(name)
        if held is None or held.size < size:
            itemsize = np.dtype(dtype).itemsize
            room = (size + size // 4) * itemsize
            raw = np.empty(room + 64, np.uint8)
            offset = -raw.ctypes.data % 64
            held = raw[offset : offset + room].view(dtype)
            self._arrays[name] = held
        return held[:size]


_idle: list[Workspace] = []


def take_workspace() -> Workspace:
    """An idle workspace, or a new one."""
    try:
        return _idle.pop()
    except IndexError:
        return Workspace()


def give_workspace(workspace: Workspace) -> None:
    """Puts a workspace back; at most eight wait."""
    if len(_idle) < 8:
        _idle.append(workspace)


@dataclass(frozen=True, slots=True)
class Image:
    """Outputs of one camera, float32, written in place.

    Attributes:
        rgb: [H, W, 3] colour over the background; not clamped to 1.
        alpha: [H, W] 1 - final transmittance.
        depth: [H, W] sum of weight x camera z [scene units]; not divided by alpha.
    """

    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]
    depth: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class View:
    """What the backward pass needs of a rendered camera. It owns its workspace."""

    lens: Lens
    projected: Projected
    ends: NDArray[np.int64]
    tile_list: NDArray[np.int32]
    slot_list: NDArray[np.int32]
    dense: NDArray[np.int64]
    pairs: int
    workspace: Workspace = field(repr=False)

    def close(self) -> None:
        """Returns the workspace; the view must not be used afterwards."""
        give_workspace(self.workspace)


def _project(
    scene: Scene, lens: Lens, limits: Thresholds, threads: int, workspace: Workspace
) -> tuple[Projected, NDArray[np.int64]]:
    n = scene.means.shape[0]
    chunks = (n + CHUNK - 1) // CHUNK
    tiles = -(-lens.width // TILE_X) * -(-lens.height // TILE_Y)
    threads = min(threads, max(chunks, 1))
    get = workspace.array
    base = get("slot_base", chunks + 1, np.int64)
    counter = np.zeros(1, np.int64)
    if workspace.slots_wanted.shape[0] != chunks:
        workspace.slots_wanted = np.full(chunks, _SLOTS_GUESS, np.int64)
    while True:
        base[0] = 0
        np.cumsum(workspace.slots_wanted, out=base[1:])
        projected = Projected(
            records=get("records", chunks * CHUNK * RECORD, np.float32),
            source=get("source", chunks * CHUNK, np.int32),
            keys=get("keys", chunks * CHUNK, np.uint64),
            spans=get("spans", chunks * CHUNK, np.int64),
            slot_tile=get("slot_tile", int(base[-1]), np.int32),
            visible=get("visible", chunks, np.int64),
            used=get("used", chunks, np.int64),
            fault=get("fault", 2 * chunks, np.int64).reshape(chunks, 2),
            tile_counts=get("tile_counts", threads * tiles, np.int64).reshape(threads, tiles),
        )
        counter[0] = 0
        run_workers(
            threads,
            lambda k: project_worker(counter, k, scene, lens, limits, projected, base),  # noqa: B023
        )
        if projected.fault[:, 0].any():
            chunk = int(np.flatnonzero(projected.fault[:, 0])[0])
            code, index = (int(x) for x in projected.fault[chunk])
            raise DataError(
                f"Gaussian {index} has a {FAULTS[code]} that cannot be drawn: "
                f"{_fault_value(scene, code, index)}",
                hint="Values must be finite, quaternions not zero, opacities within [0, 1].",
            )
        pairs = int(projected.used.sum())
        if pairs > _MAX_PAIRS:
            raise SimulatorError(
                f"the image needs {pairs} Gaussian-tile pairs, more than {_MAX_PAIRS}",
                hint="Render it smaller, or drop the Gaussians that cover the whole image.",
            )
        fits = bool((projected.used <= workspace.slots_wanted).all())
        room = projected.used + projected.used // 4 + 64
        if not fits:
            workspace.slots_wanted = np.maximum(workspace.slots_wanted, room)
        elif workspace.slots_wanted.sum() > max(_SLOTS_KEPT, 16 * pairs):
            workspace.slots_wanted = room  # another view wanted far more: let its memory go
        if fits:
            return projected, base


def _fault_value(scene: Scene, code: int, index: int) -> str:
    arrays = (None, scene.means, scene.quats, scene.scales, scene.opacities, scene.colors)
    values = arrays[code]
    assert values is not None
    return np.array2string(values[index], max_line_width=1000, threshold=8)


def render_view(
    scene: Scene,
    lens: Lens,
    limits: Thresholds,
    background: NDArray[np.float32],
    image: Image,
    threads: int,
    keep: bool = False,
) -> View | None:
    """Renders one camera into `image`.

    Args:
        scene, lens, limits: see `layout`.
        background: float32 [3].
        image: overwritten.
        threads: calls that run at once; the result does not depend on it.
        keep: whether to return what the backward pass needs.

    Raises:
        DataError: a Gaussian is not finite or out of range (names it).
        SimulatorError: the image would need too much memory.
    """
    workspace = take_workspace()
    kept = False
    try:
        projected, base = _project(scene, lens, limits, threads, workspace)
        get = workspace.array
        chunks = projected.visible.shape[0]
        n_most = int(projected.visible.sum())
        order = get("order", n_most, np.uint64)
        spare = get("spare", n_most, np.uint64)
        n = gather_keys(projected.keys, projected.visible, order)
        if sort_keys(order, spare, n):
            order = spare
        counts = projected.tile_counts.sum(axis=0)
        pairs = int(counts.sum())
        dense = get("dense", chunks, np.int64)
        np.subtract(np.cumsum(projected.used) - projected.used, base[:-1], out=dense)
        ends = get("ends", counts.shape[0], np.int64)
        np.subtract(np.cumsum(counts), counts, out=ends)
        tile_list = get("tile_list", pairs, np.int32)
        slot_list = get("slot_list", pairs if keep else 0, np.int32)
        fill_tiles(order, n, projected, dense, ends, tile_list, slot_list)
        counter = np.zeros(1, np.int64)
        rows = -(-lens.height // TILE_Y)
        run_workers(
            min(threads, rows),
            lambda k: rasterize_worker(
                counter,
                ends,
                tile_list,
                projected.records,
                limits,
                background,
                image.rgb,
                image.alpha,
                image.depth,
            ),
        )
        if not keep:
            return None
        kept = True
        return View(lens, projected, ends, tile_list, slot_list, dense, pairs, workspace)
    finally:
        if not kept:
            give_workspace(workspace)


def backward_view(
    scene: Scene,
    view: View,
    limits: Thresholds,
    image: Image,
    gradient: Image,
    grads: Scene,
    threads: int,
) -> NDArray[np.float64]:
    """Gradients of one camera's image, added to `grads`.

    Args:
        scene, limits: as rendered.
        view: what `render_view` kept.
        image: what it wrote.
        gradient: of the loss with respect to the image.
        grads: of the loss with respect to the scene, added to.
        threads: calls that run at once; the result does not depend on it.

    Returns:
        Gradient with respect to the rows of the view matrix, flat [9] and [3] translation, and
        to the camera centre [3].
    """
    get = view.workspace.array
    partials = get("partials", view.pairs * PARTIALS, np.float32)
    touched = get("touched", view.pairs, np.uint8)
    touched[:] = 0
    counter = np.zeros(2, np.int64)
    run_workers(
        min(threads, -(-view.lens.height // TILE_Y)),
        lambda k: backward_worker(
            counter[:1],
            view.ends,
            view.tile_list,
            view.slot_list,
            view.projected.records,
            limits,
            image.rgb,
            image.alpha,
            image.depth,
            gradient.rgb,
            gradient.alpha,
            gradient.depth,
            partials,
            touched,
        ),
    )
    chunks = view.projected.visible.shape[0]
    sums = get("view_sums", chunks * VIEW_SUMS, np.float64).reshape(chunks, VIEW_SUMS)
    run_workers(
        min(threads, max(chunks, 1)),
        lambda k: project_backward_worker(
            counter[1:],
            scene,
            view.lens,
            limits,
            view.projected,
            view.dense,
            partials,
            touched,
            grads,
            sums,
        ),
    )
    total = np.zeros(VIEW_SUMS)
    for row in sums:
        total += row
    return total
