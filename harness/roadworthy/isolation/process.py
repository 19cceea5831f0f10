"""Starts the process of one isolated planner, speaks with it, and ends it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import PlannerOutputError, PlannerTimeout, RunError
from roadworthy.isolation import sandbox, wire
from roadworthy.plugins import FactorySpec
from roadworthy.plugins.localfile import split_path_spec
from roadworthy.plugins.options import with_paths

__all__ = ["Confinement", "PlannerDied", "PlannerProcess"]

_START_LIMIT_S = 120.0
_KEPT = (
    "LANG LC_ALL LC_CTYPE LD_LIBRARY_PATH MKL_NUM_THREADS NUMBA_NUM_THREADS OMP_NUM_THREADS "
    "OPENBLAS_NUM_THREADS PATH PYTHONHASHSEED PYTHONPATH TZ"
).split()
_SYSTEM = (
    "/usr /lib /lib32 /lib64 /bin /nix/store /etc/ld.so.cache /etc/localtime /etc/nsswitch.conf "
    "/etc/passwd /sys/devices/system/cpu /sys/devices/system/node"
).split()


class PlannerDied(RunError):
    """The process of an isolated planner ended, or said what cannot be understood."""


@dataclass(frozen=True)
class Confinement:
    """What an isolated planner may use.

    Attributes:
        cpu_s: CPU-seconds per case; a process that has fewer left for a batch is replaced. A batch
            may use up to twice of it.
        memory_gb: private writable memory (RLIMIT_DATA).
        file_mb: size of one file, and of everything in its folder where that is a tmpfs.
        hidden: run directories, logs and suites that lie where it may read.
        use: means of the kernel, see `roadworthy.isolation.sandbox`; what it lacks is recorded.
    """

    cpu_s: float
    memory_gb: float
    file_mb: float
    hidden: tuple[Path, ...] = ()
    use: tuple[str, ...] = ("namespaces", "landlock")


class PlannerProcess:
    """A confined process that makes one kind of planner.

    Args:
        factory: makes the planner.
        confinement: what it may use.
        cases: how many are to be driven first; the CPU limit goes by it.
        time_limit_s: per plan, see `PlannerHost`.

    Attributes:
        found: which means of the kernel took effect, and which are missing and why.

    Raises:
        RunError: if the process cannot be started.
    """

    def __init__(
        self, factory: FactorySpec, confinement: Confinement, cases: int, time_limit_s: float
    ) -> None:
        self._budget_s = 2.0 * confinement.cpu_s * cases
        self._confinement = confinement
        self._turn = 0
        self._folder = tempfile.mkdtemp(prefix="roadworthy-planner-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        named = factory.files
        self._pipe, theirs = socket.socketpair()
        status, told = os.pipe()
        sandboxed = {
            "command": [*_python(), "-m", "roadworthy.isolation.serve", str(theirs.fileno())],
            "own": self._folder,
            "readable": [
                *_python_paths(),
                *_planner_paths(factory.spec),
                *map(str, named.values()),
            ],
            "hidden": [str(path.resolve()) for path in confinement.hidden],
            "limits": _limits(confinement, self._budget_s),
            "use": confinement.use,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", sandbox.__file__, str(told)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env=self._environment(),
            pass_fds=(theirs.fileno(), told),
            start_new_session=True,
            cwd="/",
        )
        theirs.close()
        os.close(told)
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:
            stdin.write(json.dumps(sandboxed).encode())
        with os.fdopen(status, "rb") as report:
            line = report.readline(1 << 16)
        if not line:
            self._process.wait()
            said = self._last_words()
            self.close()
            raise RunError(
                f"a planner cannot be isolated here: {said or 'its process did not start'}",
                hint='Run it with isolation = "none" if you trust it.',
            )
        self.found: dict[str, Any] = json.loads(line)
        options = with_paths(factory.options, named)
        first = {
            "kind": factory.kind,
            "spec": factory.spec,
            "options": options,
            "where": factory.where,
            "time_limit_s": time_limit_s,
            "kernels": _compiled(),
        }
        self.ask(first, 1, _START_LIMIT_S)

    def has_time_for(self, cases: int) -> bool:
        """Whether the CPU-seconds left to the process are enough for so many cases."""
        return self._budget_s - self._spent_s() >= self._confinement.cpu_s * cases

    def ask(self, message: Any, cases: int, limit_s: float) -> wire.Reply:
        """Send a message and wait for the reply.

        Args:
            message: what `serve` understands.
            cases: how many the reply is about.
            limit_s: after so many seconds of wall time the process is killed.

        Raises:
            PlannerTimeout: if it did not answer in time, or used up its CPU time.
            PlannerDied: if it ended.
            PlannerOutputError: if it sent what is no reply.
        """
        until = time.monotonic() + limit_s
        try:
            wire.write(self._pipe, message, until)
            frame = wire.read(self._pipe, wire.reply_limit(cases), until)
            reply = msgspec.msgpack.decode(frame, type=wire.Reply)
            if reply.turn != self._turn:
                raise ValueError(f"answers message {reply.turn}, not {self._turn}")
        except TimeoutError:
            self.close()
            raise PlannerTimeout(
                f"the planner did not come back within {limit_s:g} s and was killed",
                hint="Make it faster, or raise run.plan_time_limit_s in the suite.",
            ) from None
        except wire.Closed:
            raise self._died() from None
        except (ValueError, msgspec.MsgspecError) as error:
            self.close()
            raise PlannerOutputError(f"the planner's process sent no reply: {error}") from None
        self._turn += 1
        return reply

    def close(self) -> None:
        """Kill the process and everything that it started, and remove its folder."""
        self._pipe.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _died(self) -> PlannerDied | PlannerTimeout:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        code = self._process.returncode
        said = self._last_words()
        self.close()
        number = -code if code is not None and code < 0 else (code or 0) - 128
        how = f"exit code {code}"
        with contextlib.suppress(ValueError):
            how = signal.Signals(number).name
        if how == "SIGXCPU":
            return PlannerTimeout(
                f"the planner used more than {self._budget_s:g} CPU-seconds and was killed",
                hint="Make it faster, or raise run.cpu_limit_s in the suite.",
            )
        return PlannerDied(
            f"the planner's process died ({how}){': ' + said if said else ''}",
            hint="SIGSEGV or SIGABRT come from native code; SIGKILL mostly from lack of memory "
            f"(limit {self._confinement.memory_gb:g} GiB).",
        )

    def _last_words(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 2000))
        text = self._log.read().decode(errors="replace").strip()
        return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)

    def _spent_s(self) -> float:
        """CPU-seconds of the planner's process: of all that ours has for descendants."""
        ticks = 0
        for pid in _descendants(self._process.pid):
            try:
                text = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            after_name = text.rpartition(")")[2].split()
            ticks += int(after_name[11]) + int(after_name[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        own = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), self._folder)
        return (
            kept
            | own
            | {
                "CUDA_VISIBLE_DEVICES": "",
                "NUMBA_CACHE_DIR": f"{self._folder}/numba",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONFAULTHANDLER": "1",
                "PYTHONUSERBASE": site.getuserbase(),
            }
        )


def _limits(confinement: Confinement, cpu_s: float) -> dict[str, int]:
    memory = int(confinement.memory_gb * (1 << 30))
    return {
        "cpu_s": max(1, round(cpu_s)),
        "memory_bytes": memory,
        "address_bytes": memory + (16 << 30),  # libraries reserve what they never use
        "file_bytes": int(confinement.file_mb * (1 << 20)),
        "own_bytes": int(confinement.file_mb * (1 << 20)),
        "processes": 256,
    }


def _python() -> list[str]:
    return [sys.executable, "-P", "-X", "faulthandler"]


def _python_paths() -> list[str]:
    """Where this Python and its packages are; never the working folder."""
    here = os.path.realpath(os.getcwd())
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    given += os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    mine = [p for p in sys.path if os.path.realpath(p) != here or p in given]
    places = [*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, *mine, *given]
    places += [os.path.realpath(sys.executable), *_SYSTEM]
    return sorted({os.path.realpath(p) for p in places if os.path.isabs(p)})


def _planner_paths(spec: str) -> list[str]:
    local = split_path_spec(spec)
    return [str(local[0].resolve().parent)] if local else []


def _compiled() -> str:
    """The folder of numba's cache, where one is named; else it lies beside the code."""
    return os.environ.get("NUMBA_CACHE_DIR", "")


def _descendants(pid: int) -> Sequence[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return [pid]
    children = [int(word) for word in text.split()]
    return [pid, *(deep for child in children for deep in _descendants(child))]
