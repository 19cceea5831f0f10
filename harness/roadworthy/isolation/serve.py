"""What runs inside the sandbox: makes planners and lets them plan, for whoever holds the pipe."""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from roadworthy.errors import RoadworthyError
from roadworthy.foreign import plain
from roadworthy.host import Answer, BatchFault, PlannerHost
from roadworthy.isolation import wire
from roadworthy.observation import ObservationBatch
from roadworthy.plugins import FactorySpec, registry
from roadworthy.plugins.localfile import loaded_files, split_path_spec
from roadworthy.rollout import CaseError, Status

_MOST = 1 << 40


def main() -> None:
    """Answer messages until the harness goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is not meant for this process
    pipe = socket.socket(fileno=int(sys.argv[1]))
    first = _receive(pipe)
    link_kernels(first["kernels"])
    wire.write(pipe, wire.Reply(turn=0))
    factory = FactorySpec(first["kind"], first["spec"], first["options"], first["where"])
    host = PlannerHost(factory.build, first["time_limit_s"])
    turn = 0
    while True:
        try:
            message = _receive(pipe)
        except wire.Closed:
            return
        turn += 1
        wire.write(pipe, msgspec.structs.replace(_answer(host, factory, message), turn=turn))


def _receive(pipe: socket.socket) -> Any:
    return msgspec.msgpack.decode(wire.read(pipe, _MOST))


def _answer(host: PlannerHost, factory: FactorySpec, message: dict[str, Any]) -> wire.Reply:
    known = list(host.errors)
    answer: Answer | None = None
    try:
        if "describe" in message:
            return _describe(factory)
        if "briefs" in message:
            host.brief(wire.unpack(message["briefs"]))
            known = [None] * len(host.errors)
        else:
            answer = host.plan(_observations(host, wire.unpack(message["plan"])))
    except BatchFault as fault:
        return wire.Reply(0, failures=(_failure(-1, str(fault), "BatchFault"),))
    failures = tuple(
        _from_error(row, error)
        for row, error in enumerate(host.errors)
        if error is not None and error is not known[row]
    )
    if answer is None:
        return wire.Reply(0, failures=failures)
    return wire.Reply(
        0,
        wire.Array.of(answer.poses),
        wire.Array.of(answer.count),
        wire.Array.of(answer.dt),
        failures,
    )


def _describe(factory: FactorySpec) -> wire.Reply:
    try:
        planner = factory.build()
        privileged = bool(getattr(planner, "needs_log", False))
    except RoadworthyError as error:
        return wire.Reply(0, failures=(_failure(-1, str(error), type(error).__name__),))
    except BaseException:  # a planner may raise anything
        return wire.Reply(0, failures=(_failure(-1, traceback.format_exc(), "PluginError"),))
    local = split_path_spec(factory.spec)
    files = tuple(str(file) for file in loaded_files(local[0])) if local else ()
    return wire.Reply(0, privileged=privileged, files=files[:1000])


def _observations(host: PlannerHost, said: dict[str, Any]) -> ObservationBatch:
    arrays: dict[str, Any] = {
        k: v.copy() if isinstance(v, np.ndarray) else v for k, v in said.items()
    }
    arrays["images"] = {name: shown.copy() for name, shown in said["images"].items()}
    briefs = tuple(host.briefs[int(row)] for row in arrays["rows"])
    return ObservationBatch(briefs=briefs, **arrays)


def _from_error(row: int, error: CaseError) -> wire.Failure:
    late = error.status is Status.TIMEOUT
    return wire.Failure(row, late, error.type[:200], error.message[:4000], error.traceback[-8000:])


def _failure(row: int, message: str, kind: str) -> wire.Failure:
    return wire.Failure(row, False, kind, plain(message, 4000)[-4000:])


def link_kernels(cache: str) -> None:
    """Let numba find what is compiled already, read-only, in the private cache that it writes to.

    numba looks for a file's kernels in a folder of `NUMBA_CACHE_DIR` named after the file's own.
    Without this every isolated planner would compile the kernels that it uses afresh.

    Args:
        cache: the harness's `NUMBA_CACHE_DIR`, or "" where kernels lie beside the code.
    """
    own = Path(os.environ["NUMBA_CACHE_DIR"])
    if cache:
        pairs = [(folder, folder.name) for folder in Path(cache).glob("*/")]
    else:
        from numba.core.caching import _CacheLocator

        name_of: Any = _CacheLocator.get_suitable_cache_subpath
        pairs = [
            (beside, name_of(str(beside.parent / "any.py")))
            for root in _packages()
            for beside in root.rglob("__pycache__")
        ]
    for folder, name in pairs:
        for kernel in folder.glob("*.nb[ic]"):
            place = own / name / kernel.name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(kernel)


def _packages() -> list[Path]:
    """Folders of the core and of every plugin's package."""
    registry()
    names = {plugin.split(".")[0] for plugin in _entry_modules()} | {"roadworthy"}
    found = []
    for name in sorted(names):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            found.append(Path(file).parent)
    return found


def _entry_modules() -> list[str]:
    return [entry.target for entry in registry().entries if isinstance(entry.target, str)]


if __name__ == "__main__":
    main()
