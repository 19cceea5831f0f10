"""Pickles read as data: nothing in them is ever called.

The opcodes are walked with `pickletools.genops` and a stack of plain values. There is no
import and no call: a pickle may *name* a few functions (how NumPy stores arrays, types and
scalars, in its versions 1 and 2, and how Python stores bytes and sets), and what those
would make is made here from checked arguments. Any other name, and any opcode that would
make an object of a class, is refused with its name and position.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from roadworthy.errors import DataError

from roadworthy_sources.reading.files import AGAIN, read_bytes

__all__ = ["read_pickle"]

MAX_BYTES = 512 * 2**20
MAX_OPCODES = 10_000_000
MAX_DEPTH = 32
MAX_VALUES = 50_000_000
_BIGGEST_KEY = 2**53
_MARK = object()
_TYPES = frozenset("biufUS")


class _Refused(Exception):
    """What is wrong, in words."""


@dataclass(frozen=True, slots=True)
class _Name:
    """A function or class that the pickle names."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class _Type:
    """A NumPy type: its code without byte order, and its byte order."""

    code: str
    order: str = "="

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise _Refused("a NumPy type with an odd state")
        if len(state) > 4 and any(part is not None for part in state[2:5]):
            raise _Refused("a NumPy type with fields")
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        if self.code[:1] not in _TYPES:
            raise _Refused(f"a NumPy array of type {self.code!r}")
        try:
            found = np.dtype(self.order + self.code)
        except TypeError as error:
            raise _Refused(f"a NumPy array of type {self.code!r}") from error
        if not 0 < found.itemsize <= 4096:
            raise _Refused(f"a NumPy type of {found.itemsize} bytes")
        return found


@dataclass(slots=True, eq=False)
class _Array:
    """An array that is not filled yet."""

    value: NDArray[Any] | list[Any] | None = None

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("a NumPy array with an odd state")
        _, shape, kind, fortran, raw = state
        if isinstance(kind, _Type) and kind.code == "O8" and isinstance(raw, list):
            self.value = raw
        else:
            self.value = _filled(raw, kind, shape, "F" if fortran else "C")


def _filled(raw: Any, kind: Any, shape: Any, order: Any) -> NDArray[Any]:
    if isinstance(raw, str):  # Python 2
        raw = raw.encode("latin-1")
    if not isinstance(raw, (bytes, bytearray)) or not isinstance(kind, _Type):
        raise _Refused("a NumPy array without bytes or type")
    dtype = kind.dtype()
    if not isinstance(shape, tuple) or len(shape) > 4 or order not in ("C", "F"):
        raise _Refused("a NumPy array of an odd shape")
    count = 1
    for length in shape:
        if type(length) is not int or not 0 <= length <= MAX_VALUES:
            raise _Refused(f"a NumPy array of shape {shape!r}"[:80])
        count *= length
    if count > MAX_VALUES or count * dtype.itemsize != len(raw):
        raise _Refused(f"a NumPy array of shape {shape!r} in {len(raw)} bytes"[:80])
    array = np.frombuffer(raw, dtype, count).reshape(shape, order=order)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _reconstruct(*args: Any) -> _Array:
    if not args or args[0] != _Name("numpy", "ndarray"):
        raise _Refused("an array that is no numpy.ndarray")
    return _Array()


def _type(*args: Any) -> _Type:
    if not args or not isinstance(args[0], str) or len(args[0]) > 8:
        raise _Refused("a NumPy type without a name")
    code = args[0]
    return _Type(code[1:], code[0]) if code[:1] in "<>|=" and len(code) > 1 else _Type(code)


def _scalar(*args: Any) -> Any:
    if len(args) != 2:
        raise _Refused("a NumPy scalar without a value")
    return _filled(args[1], args[0], (1,), "C")[0].item()


def _from_buffer(*args: Any) -> NDArray[Any]:
    if len(args) != 4:
        raise _Refused("a NumPy array with odd arguments")
    return _filled(args[0], args[1], args[2], args[3])


def _encode(*args: Any) -> bytes:
    if len(args) != 2 or not isinstance(args[0], str) or args[1] not in ("latin1", "latin-1"):
        raise _Refused("_codecs.encode of something that is no Latin-1 text")
    return args[0].encode("latin-1", "replace")


def _items(*args: Any) -> list[Any]:
    if len(args) > 1 or (args and not isinstance(args[0], (list, tuple))):
        raise _Refused("a set of something that is no list")
    return list(args[0]) if args else []


def _empty(*args: Any) -> dict[Any, Any]:
    return {}


_CALLS: dict[_Name, Callable[..., Any]] = {
    _Name("numpy", "dtype"): _type,
    _Name("_codecs", "encode"): _encode,
    _Name("collections", "OrderedDict"): _empty,
    _Name("collections", "defaultdict"): _empty,
}
for _core in ("numpy.core", "numpy._core"):
    _CALLS[_Name(f"{_core}.multiarray", "_reconstruct")] = _reconstruct
    _CALLS[_Name(f"{_core}.multiarray", "scalar")] = _scalar
    _CALLS[_Name(f"{_core}.numeric", "_frombuffer")] = _from_buffer
for _builtins in ("builtins", "__builtin__"):
    _CALLS[_Name(_builtins, "set")] = _CALLS[_Name(_builtins, "frozenset")] = _items
_KNOWN = frozenset(_CALLS) | {
    _Name("numpy", "ndarray"),
    *(_Name(b, n) for b in ("builtins", "__builtin__") for n in ("list", "dict", "int", "float")),
}

_PUSHED = frozenset(
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 BINUNICODE SHORT_BINUNICODE BINUNICODE8 UNICODE "
    "STRING BINSTRING SHORT_BINSTRING INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "
    "BINFLOAT".split()
)
_FIXED: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
    "MARK": lambda: _MARK,
}


class _Machine:
    """The stack and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise _Refused("an opcode with nothing on the stack")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise _Refused(f"an opcode that wants a {kind.__name__} on the stack")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                found = self.stack[at + 1 :]
                del self.stack[at:]
                return found
        raise _Refused("an opcode without a mark")

    def step(self, name: str, arg: Any) -> None:
        stack = self.stack
        if name in _PUSHED:
            stack.append(arg)
        elif name in _FIXED:
            stack.append(_FIXED[name]())
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[len(self.memo) if name == "MEMOIZE" else arg] = self.top(object)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if arg not in self.memo:
                raise _Refused(f"memo {arg}, which was never stored")
            stack.append(self.memo[arg])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            parts = [self.pop() for _ in range(int(name[-1]))]
            stack.append(tuple(reversed(parts)))
        elif name in ("TUPLE", "LIST", "FROZENSET"):
            found = self.since_mark()
            stack.append(tuple(found) if name == "TUPLE" else found)
        elif name == "DICT":
            stack.append(_filled_dict({}, self.since_mark()))
        elif name == "SETITEM":
            value, key = self.pop(), self.pop()
            _filled_dict(self.top(dict), [key, value])
        elif name == "SETITEMS":
            found = self.since_mark()
            _filled_dict(self.top(dict), found)
        elif name == "APPEND":
            value = self.pop()
            self.top(list).append(value)
        elif name in ("APPENDS", "ADDITEMS"):
            found = self.since_mark()
            self.top(list).extend(found)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self.name(name, arg)
        elif name == "REDUCE":
            args, function = self.pop(), self.pop()
            if not isinstance(function, _Name) or function not in _CALLS:
                raise _Refused(f"a call of {_spelt(function)}")
            if not isinstance(args, tuple):
                raise _Refused("a call without arguments")
            stack.append(_CALLS[function](*args))
        elif name == "BUILD":
            state = self.pop()
            if not stack or not isinstance(stack[-1], (_Array, _Type)):
                raise _Refused("state for an object of a class")
            stack[-1].build(state)
        elif name == "POP":
            self.stack[-1:] = []
        elif name == "POP_MARK":
            self.since_mark()
        elif name == "DUP":
            stack.append(self.top(object))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise _Refused(f"the opcode {name}, which makes objects of classes")

    def name(self, opcode: str, arg: Any) -> None:
        if opcode == "GLOBAL":
            module, _, name = arg.partition(" ")
        else:
            name, module = self.pop(), self.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise _Refused("a name that is no text")
        found = _Name(module, name)
        if found not in _KNOWN:
            raise _Refused(f"the name {_spelt(found)}")
        self.stack.append(found)


def _spelt(value: Any) -> str:
    if isinstance(value, _Name):
        return repr(f"{value.module}.{value.name}"[:80])
    return f"a {type(value).__name__}"


def _filled_dict(into: dict[Any, Any], pairs: list[Any]) -> dict[Any, Any]:
    if len(pairs) % 2:
        raise _Refused("a dictionary with a key and no value")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        whole = type(key) is int and abs(key) < _BIGGEST_KEY
        if not whole and not isinstance(key, (str, bytes)):
            raise _Refused(f"a dictionary key that is a {type(key).__name__}")
        into[key] = value
    return into


def _resolved(value: Any, depth: int, done: dict[int, Any]) -> Any:
    """The value with its arrays filled in; each object is visited once."""
    if isinstance(value, _Array):
        if value.value is None:
            raise _Refused("a NumPy array that is never filled")
        if isinstance(value.value, list):
            return _resolved(value.value, depth, done)
        return value.value
    if isinstance(value, (_Name, _Type)):
        return None
    if not isinstance(value, (list, tuple, dict)):
        return value
    if id(value) in done:
        found = done[id(value)]
        if found is _MARK:
            raise _Refused("a container that holds itself")
        return found
    if depth > MAX_DEPTH:
        raise _Refused(f"containers nested more than {MAX_DEPTH} deep")
    done[id(value)] = _MARK
    out: Any
    if isinstance(value, dict):
        out = {key: _resolved(item, depth + 1, done) for key, item in value.items()}
    else:
        out = [_resolved(item, depth + 1, done) for item in value]
    done[id(value)] = out
    return out


def read_pickle(path: Path) -> dict[Any, Any]:
    """The dictionary that a pickle holds, of plain values and NumPy arrays.

    Tuples and sets come back as lists, NumPy scalars as Python's, arrays read-only.

    Args:
        path: the file; its bytes are never handed to an unpickler.

    Raises:
        DataError: too large, damaged, nested too deeply, recursive, of something else than
            a dictionary, or with a name or opcode that could run code (which is named).
    """
    data = read_bytes(path, MAX_BYTES)
    machine = _Machine()
    at = 0
    try:
        for count, (opcode, arg, position) in enumerate(pickletools.genops(data)):
            at = position or 0
            if count > MAX_OPCODES:
                raise _Refused(f"more than {MAX_OPCODES} opcodes")
            machine.step(opcode.name, arg)
        value = _resolved(machine.pop(), 0, {})
    except _Refused as error:
        raise DataError(
            f"{path}: byte {at}: the pickle has {error}",
            hint="Only NumPy arrays and plain containers are read from a pickle; nothing in it "
            "is ever run. Do not unpickle a file that you do not trust.",
        ) from None
    except (ValueError, OverflowError, MemoryError, UnicodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a whole pickle: {reason}", hint=AGAIN) from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds a {type(value).__name__}", hint="Wanted: a dictionary.")
    return value
