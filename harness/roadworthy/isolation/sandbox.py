"""Confines this process, and then becomes another program.

    python -I -S sandbox.py STATUS_FD < SPEC.json

Runs before anything of the planner's, on the standard library alone and in one thread. `SPEC` is
what `roadworthy.isolation.process` writes: `command`, `own` (the one writable folder), `readable`
and `hidden` paths, `limits` in bytes and seconds, and `use`, which of the kernel's means to use.
What took effect is written to STATUS_FD as one JSON line.

Means, each used where the kernel has it:

- **namespaces** (unshare(2)): a user namespace without privileges outside; a network without
  interfaces; processes and System V memory of its own; mounts of its own, all read-only but for
  a small tmpfs on `own`. When the first process of the namespace ends, the kernel ends the rest.
- **Landlock** (landlock(7)): nothing may be opened but what is under `readable` and `own`; no TCP;
  no signals and no tracing of who stands outside.
- **limits** (setrlimit(2)), no capabilities, and no way to gain any (PR_SET_NO_NEW_PRIVS).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
from typing import Any, NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)

# linux/sched.h
_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
# linux/mount.h
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = (
    1,
    2,
    4,
    8,
    4096,
    16384,
    1 << 18,
)
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
# linux/prctl.h
_PDEATHSIG, _NO_NEW_PRIVS = 1, 38
# linux/landlock.h
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_INSIDE_UID = 1000
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def main() -> NoReturn:
    """Read the specification, confine this process, report, and become `command`."""
    spec: dict[str, Any] = json.load(sys.stdin)
    status = int(sys.argv[1])
    os.set_inheritable(status, False)
    _call("prctl", _PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    found: dict[str, Any] = {"namespaces": [], "landlock": 0, "missing": {}}
    if "namespaces" in spec["use"]:
        enter_namespaces(spec["own"], spec["hidden"], spec["limits"]["own_bytes"], found)
    else:
        found["missing"]["namespaces"] = "not asked for"
    _call("prctl", _NO_NEW_PRIVS, 1, 0, 0, 0)
    if "landlock" in spec["use"]:
        own_proc = found["namespaces"] and "own /proc" not in found["missing"]
        proc = "/proc" if own_proc else os.path.realpath("/proc/self")
        restrict([*spec["readable"], proc], [spec["own"], *_DEVICES], spec["hidden"], found)
    else:
        found["missing"]["landlock"] = "not asked for"
    _limit(spec["limits"], bool(found["namespaces"]))
    _drop_capabilities()
    os.write(status, json.dumps(found).encode() + b"\n")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.chdir(spec["own"])
    os.execv(spec["command"][0], spec["command"])


def enter_namespaces(own: str, hidden: list[str], own_bytes: int, found: dict[str, Any]) -> None:
    """Move into namespaces of our own; returns in a child of the first process in them.

    Where the kernel allows fewer, fewer are entered, and `found["missing"]` says why.
    """
    names = ["user", "mount", "process", "network", "ipc"]
    refused = _refused()
    if refused:
        found["missing"]["namespaces"] = os.strerror(refused)
        return
    _unshare()
    _call("prctl", _PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    child = os.fork()
    if child:
        _follow(child)
    _call("prctl", _PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _keep_mounts_private()
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    try:
        _syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, len(attributes))
    except OSError as error:
        found["missing"]["read-only mounts"] = error.strerror
    safe = _MS_NOSUID | _MS_NODEV
    for path in hidden:
        if os.path.isdir(path):
            _call("mount", b"tmpfs", path.encode(), b"tmpfs", safe | _MS_RDONLY, b"size=4k")
        elif os.path.exists(path):
            _call("mount", b"/dev/null", path.encode(), None, _MS_BIND, None)
    _call("mount", b"tmpfs", own.encode(), b"tmpfs", safe, f"size={own_bytes},mode=700".encode())
    try:
        _call("mount", b"proc", b"/proc", b"proc", safe | _MS_NOEXEC, None)
    except OSError as error:  # a container that covers parts of /proc does not let us show it whole
        found["missing"]["own /proc"] = error.strerror
    found["namespaces"] = names
    planner = os.fork()
    if planner:
        _follow(planner)


def _unshare() -> None:
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{_INSIDE_UID} {uid} 1")
    _write("/proc/self/gid_map", f"{_INSIDE_UID} {gid} 1")


def _keep_mounts_private() -> None:
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)


def _refused() -> int:
    """Why namespaces cannot be had, as an errno; 0 if they can. A child tries: some systems let
    one enter them and then do nothing there (AppArmor on Ubuntu), and there is no way back."""
    child = os.fork()
    if not child:
        code = 0
        try:
            _unshare()
            _keep_mounts_private()
        except OSError as error:
            code = error.errno or 1
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def restrict(
    readable: list[str], writable: list[str], hidden: list[str], found: dict[str, Any]
) -> None:
    """From here on open nothing but what lies under these paths, by Landlock."""
    abi = _LIBC.syscall(_CREATE_RULESET, None, 0, 1)
    if abi < 1:
        found["missing"]["landlock"] = os.strerror(ctypes.get_errno())
        return
    files = (1 << (13 if abi == 1 else 14 if abi == 2 else 15 if abi < 5 else 16)) - 1
    tcp = 0b11 if abi >= 4 else 0
    scoped = 0b11 if abi >= 6 else 0
    attributes = struct.pack("=QQQ", files, tcp, scoped)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    whole = carve(readable, hidden)
    for path in whole:
        _allow(ruleset, path, files & (_READ_FILE | _READ_DIR | _EXECUTE))
    for path in {os.path.dirname(path) for path in whole} & set(readable):
        _allow(ruleset, path, _READ_DIR)  # imports list the folder; names are not contents
    for path in writable:
        _allow(ruleset, path, files & ~(_EXECUTE | _IOCTL_DEV))
    _syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    found["landlock"] = int(abi)


def carve(readable: list[str], hidden: list[str]) -> list[str]:
    """`readable` without what is `hidden`: a folder that holds such a path gives way to the rest
    of its contents, so that nothing else is lost."""
    kept = []
    for path in readable:
        if any(_holds(secret, path) for secret in hidden):
            continue
        if any(_holds(path, secret) for secret in hidden):
            with contextlib.suppress(OSError):
                kept += carve([os.path.join(path, name) for name in os.listdir(path)], hidden)
        else:
            kept.append(path)
    return kept


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there need not be allowed
    if not os.path.isdir(path):
        access &= _OF_FILES
    try:
        _syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", access, handle), 0)
    finally:
        os.close(handle)


def _limit(limits: dict[str, int], own_users: bool) -> None:
    def cap(which: int, value: int, grace: int = 0) -> None:
        hard = resource.getrlimit(which)[1]
        top = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
        resource.setrlimit(which, (min(value, top), top))

    cap(resource.RLIMIT_CPU, limits["cpu_s"], grace=1)
    cap(resource.RLIMIT_DATA, limits["memory_bytes"])
    cap(resource.RLIMIT_AS, limits["address_bytes"])
    cap(resource.RLIMIT_FSIZE, limits["file_bytes"])
    cap(resource.RLIMIT_NOFILE, 1024)
    cap(resource.RLIMIT_CORE, 0)
    release = tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdigit())
    if own_users and release >= (5, 14):  # since then the processes of a namespace count alone
        cap(resource.RLIMIT_NPROC, limits["processes"])


def _drop_capabilities() -> None:
    version_3 = struct.pack("=Ii", 0x20080522, 0)
    _call("capset", version_3, struct.pack("=6I", 0, 0, 0, 0, 0, 0))


def _follow(child: int) -> NoReturn:
    """Wait for `child` (and, as the first process, for orphans), and end as it did."""
    os.closerange(3, 256)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _call(name: str, *arguments: Any) -> int:
    return _checked(getattr(_LIBC, name)(*arguments), name)


def _syscall(number: int, *arguments: Any) -> int:
    return _checked(_LIBC.syscall(number, *arguments), f"system call {number}")


def _checked(result: int, what: str) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


if __name__ == "__main__":
    main()
