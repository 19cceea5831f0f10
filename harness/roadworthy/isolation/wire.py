"""What passes between the harness and an isolated planner: msgpack in frames, arrays flat.

To the planner go values of the project's own dataclasses (`pack`, `unpack`). From it comes one
`Reply` of fixed shape, which is read as bytes from a stranger: bounded, typed, and checked.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.observation import Brief
from roadworthy.scenario import Lineage, Ragged, RoadMap, Route, Scenario, Signals, Tracks
from roadworthy.trajectory import MAX_POSES
from roadworthy.vehicle import Vehicle

__all__ = ["Array", "Closed", "Failure", "Reply", "pack", "read", "reply_limit", "unpack", "write"]

_HEAD = 8
_KNOWN = {
    kind.__name__: kind
    for kind in (Brief, Lineage, Ragged, RoadMap, Route, Scenario, Signals, Tracks, Vehicle)
}


_Extent = Annotated[int, msgspec.Meta(ge=0, le=1 << 32)]


class Closed(Exception):
    """The other side has gone."""


class Array(msgspec.Struct, array_like=True, frozen=True):
    """An array as it lies in memory, C order, little endian."""

    dtype: Literal["<f8", "<f4", "<i8", "|i1", "|u1", "|b1"]
    shape: Annotated[tuple[_Extent, ...], msgspec.Meta(max_length=6)]
    data: memoryview

    @classmethod
    def of(cls, array: NDArray[Any]) -> Array:
        """The array's bytes, without a copy where it is contiguous."""
        array = np.ascontiguousarray(array)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        flat = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        return cls(array.dtype.str, array.shape, flat)  # type: ignore[arg-type]

    def array(self) -> NDArray[Any]:
        """The array, read-only, over the frame's memory.

        Raises:
            ValueError: if bytes and shape do not agree.
        """
        dtype = np.dtype(self.dtype)
        if math.prod(self.shape) * dtype.itemsize != len(self.data):
            raise ValueError(f"an array of shape {self.shape} comes with {len(self.data)} bytes")
        return np.frombuffer(self.data, dtype).reshape(self.shape)


class Failure(msgspec.Struct, frozen=True):
    """Why the planner failed at a row, or (`row` -1) for the whole batch."""

    row: int
    timeout: bool
    type: Annotated[str, msgspec.Meta(max_length=200)]
    message: Annotated[str, msgspec.Meta(max_length=4000)]
    traceback: Annotated[str, msgspec.Meta(max_length=8000)] = ""


class Reply(msgspec.Struct, frozen=True):
    """All that an isolated planner's process ever says.

    Attributes:
        turn: which message it answers, counted from 0.
        poses, count, dt: as in `roadworthy.host.Answer`; empty where no plan was asked for.
        failures: what went wrong since the last reply.
        privileged: whether the planner declares `needs_log`.
        files: the planner's file and the siblings that it imported.
    """

    turn: int
    poses: Array | None = None
    count: Array | None = None
    dt: Array | None = None
    failures: Annotated[tuple[Failure, ...], msgspec.Meta(max_length=100_000)] = ()
    privileged: bool = False
    files: Annotated[tuple[str, ...], msgspec.Meta(max_length=1000)] = ()


def reply_limit(rows: int) -> int:
    """Bytes that the reply for `rows` cases may have."""
    return (1 << 20) + rows * (MAX_POSES * 24 + 16384)


def pack(value: Any) -> Any:
    """Nested dataclasses and arrays as what msgpack can say; shared maps are said once."""
    maps: list[Any] = []
    seen: dict[int, int] = {}

    def flat(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return {"": "array", "v": Array.of(value)}
        if isinstance(value, RoadMap):
            if id(value) not in seen:
                seen[id(value)] = len(maps)
                maps.append(parts(value))
            return {"": "map", "v": seen[id(value)]}
        if is_dataclass(value) and not isinstance(value, type):
            return parts(value)
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, Mapping):
            return {"": "dict", "v": {str(key): flat(item) for key, item in value.items()}}
        if isinstance(value, (tuple, list)):
            return [flat(item) for item in value]
        return value

    def parts(value: Any) -> dict[str, Any]:
        return {"": type(value).__name__} | {
            f.name: flat(getattr(value, f.name)) for f in fields(value)
        }

    said = flat(value)
    return {"maps": maps, "value": said}


def unpack(said: Any) -> Any:
    """What was given to `pack`; arrays are read-only, lists have become tuples."""

    def deep(said: Any) -> Any:
        if isinstance(said, list):
            return tuple(deep(item) for item in said)
        if not isinstance(said, dict):
            return said
        kind = said.pop("")
        if kind == "array":
            return msgspec.convert(said["v"], Array).array()
        if kind == "map":
            return maps[said["v"]]
        if kind == "dict":
            return {key: deep(item) for key, item in said["v"].items()}
        return _KNOWN[kind](**{name: deep(item) for name, item in said.items()})

    maps = [deep(item) for item in said["maps"]]
    return deep(said["value"])


def write(pipe: socket.socket, message: Any, until: float | None = None) -> None:
    """Send one frame.

    Args:
        pipe: to whom.
        message: what msgpack can say.
        until: `time.monotonic` by which the other side must have taken it.

    Raises:
        Closed: if the other side has gone.
        TimeoutError: if it does not listen.
    """
    body = msgspec.msgpack.encode(message)
    try:
        pipe.settimeout(_left(until))
        pipe.sendall(len(body).to_bytes(_HEAD, "little"))
        pipe.sendall(body)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise Closed from error


def read(pipe: socket.socket, limit: int, until: float | None = None) -> bytearray:
    """Receive one frame of at most `limit` bytes.

    Raises:
        Closed: if the other side has gone.
        TimeoutError: if it has not spoken by `until` (`time.monotonic`).
        ValueError: if it says more than `limit` bytes.
    """
    size = int.from_bytes(_take(pipe, _HEAD, until), "little")
    if size > limit:
        raise ValueError(f"a message of {size} bytes, at most {limit} are due")
    return _take(pipe, size, until)


def _take(pipe: socket.socket, size: int, until: float | None) -> bytearray:
    frame = bytearray(size)
    view = memoryview(frame)
    while view:
        pipe.settimeout(_left(until))
        try:
            got = pipe.recv_into(view)
        except ConnectionResetError as error:
            raise Closed from error
        if not got:
            raise Closed
        view = view[got:]
    return frame


def _left(until: float | None) -> float | None:
    if until is None:
        return None
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
