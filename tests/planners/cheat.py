"""A planner that drives honestly, but first tries everything that it should not be able to do.

It raises, naming what worked; so a case that is `ok` says that nothing did. Beside it lies
`targets.py`, with what there would be to find: RUN, LOGS, SECRET_FILE, PORT, UDP_PORT, HARNESS_PID.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import roadworthy
import targets
from roadworthy import Brief, Observation, Trajectory
from roadworthy.rollout import RolloutBatch
from roadworthy.scenario import Scenario
from roadworthy.store import CaseRecord

ATTACKS: dict[str, Callable[[Observation], bool]] = {}


def attack(function: Callable[[Observation], bool]) -> Callable[[Observation], bool]:
    ATTACKS[function.__name__] = function
    return function


class Cheat:
    def reset(self, brief: Brief) -> None:
        self.brief = brief

    def plan(self, observation: Observation) -> Trajectory:
        if observation.step == 5:
            worked = [name for name, tried in ATTACKS.items() if succeeds(tried, observation)]
            if worked:
                raise RuntimeError("worked: " + " ".join(worked))
            Path(os.environ["HOME"], "notes.txt").write_text("its own folder is its to write")
        poses = np.zeros((8, 3))
        poses[:, 0] = observation.ego_state[-1, 3] * np.arange(1, 9) * 0.5
        return Trajectory(poses, 0.5)


def succeeds(tried: Callable[[Observation], bool], observation: Observation) -> bool:
    try:
        return bool(tried(observation))
    except OSError:
        return False


def others() -> Iterator[int]:
    """Every process that can be named, but for this one."""
    seen = {int(name) for name in os.listdir("/proc") if name.isdigit()} if can_list() else set()
    yield from sorted((seen | {targets.HARNESS_PID, os.getppid()}) - {os.getpid()})


def can_list() -> bool:
    try:
        os.listdir("/proc")
    except OSError:
        return False
    return True


def descriptors() -> dict[int, str]:
    """What every file that is open here is called."""
    found = {}
    for number in range(256):
        with contextlib.suppress(OSError):
            found[number] = os.readlink(f"/proc/self/fd/{number}")
    return found


def opens(path: object) -> bool:
    try:
        with open(str(path), "rb") as file:
            file.seek(0)
            return True
    except OSError:
        return False


def writes(path: Path) -> bool:
    try:
        path.write_bytes(b"poison")
    except OSError:
        return False
    path.unlink()
    return True


@attack
def memory_of_another_process(observation: Observation) -> bool:
    return any(opens(f"/proc/{pid}/{what}") for pid in others() for what in ("mem", "environ"))


@attack
def memory_by_process_vm_readv(observation: Observation) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(64)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 64)
    return any(
        libc.process_vm_readv(pid, vector, 1, vector, 1, 0) > 0 or ctypes.get_errno() == 14
        for pid in others()
    )  # EFAULT: it was let in, and found nothing mapped there


@attack
def tracing(observation: Observation) -> bool:
    libc = ctypes.CDLL(None)
    for pid in others():
        if libc.ptrace(0x4206, pid, None, None) == 0:  # PTRACE_SEIZE, which stops nobody
            libc.ptrace(0x4207, pid, None, None)  # PTRACE_INTERRUPT: only who is stopped
            libc.waitpid(pid, None, 0x40000000)  # __WALL
            libc.ptrace(17, pid, None, None)  # can be let go, else its parent never buries it
            return True
    return False


@attack
def signals_to_the_harness(observation: Observation) -> bool:
    os.kill(targets.HARNESS_PID, 0)
    return True


@attack
def future_among_the_objects(observation: Observation) -> bool:
    wanted = (Scenario, RolloutBatch, CaseRecord)
    return any(isinstance(thing, wanted) for thing in gc.get_objects())


@attack
def future_behind_the_arrays(observation: Observation) -> bool:
    """An array that is a view may be a window into one that goes on into the future."""
    for array in (observation.ego_state, observation.agents_state, observation.agents_valid):
        base = array
        while isinstance(base, np.ndarray):
            if base.ndim >= 2 and max(base.shape) > 60:
                return True
            base = base.base
    return False


@attack
def future_in_the_callers(observation: Observation) -> bool:
    frame = sys._getframe()
    while frame is not None:
        if any(name in frame.f_locals for name in ("cases", "world", "scenarios", "rollouts")):
            return bool(frame.f_locals.get("cases") or frame.f_locals.get("rollouts"))
        frame = frame.f_back
    return False


@attack
def environment(observation: Observation) -> bool:
    return "ROADWORTHY_TEST_SECRET" in os.environ


@attack
def run_directory(observation: Observation) -> bool:
    return any(opens(Path(targets.RUN, name)) for name in ("run.json", "cases.jsonl", ".lock"))


@attack
def logs(observation: Observation) -> bool:
    return opens(targets.LOGS)


@attack
def files_elsewhere(observation: Observation) -> bool:
    return opens(targets.SECRET_FILE)


@attack
def open_files(observation: Observation) -> bool:
    """What was left open by whoever started this process."""
    return any(targets.RUN in link or targets.LOGS in link for link in descriptors().values())


@attack
def writing_into_the_run(observation: Observation) -> bool:
    return writes(Path(targets.RUN, "scores.csv.fake"))


@attack
def writing_elsewhere(observation: Observation) -> bool:
    places = [Path(__file__).parent, Path(targets.SECRET_FILE).parent, Path("/tmp")]
    return any(writes(place / "poison") for place in places)


@attack
def writing_into_the_kernels_of_others(observation: Observation) -> bool:
    """numba loads what lies there by pickle: a door into the harness."""
    return writes(Path(roadworthy.__file__).parent / "__pycache__" / "poison.nbi")


@attack
def linking_out(observation: Observation) -> bool:
    link = Path(os.environ["HOME"], "link")
    link.symlink_to(targets.SECRET_FILE)
    try:
        return opens(link)
    finally:
        link.unlink()


@attack
def filling_the_disk(observation: Observation) -> bool:
    path = Path(os.environ["HOME"], "large")
    try:
        with path.open("wb") as file:
            for _ in range(64):
                file.write(b"\0" * (1 << 20))
    finally:
        path.unlink(missing_ok=True)
    return True


@attack
def tcp(observation: Observation) -> bool:
    with socket.create_connection(("127.0.0.1", targets.PORT), timeout=1):
        return True


@attack
def udp(observation: Observation) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plug:
        plug.connect(("127.0.0.1", targets.UDP_PORT))
        plug.settimeout(1)
        plug.send(b"the future, please")
        return plug.recv(10) == b"the future"


@attack
def abstract_unix_socket(observation: Observation) -> bool:
    with socket.socket(socket.AF_UNIX) as plug:
        plug.connect("\0roadworthy-test-" + str(targets.PORT))
        return True


@attack
def privileges(observation: Observation) -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return int(status["CapEff"], 16) != 0 or status["NoNewPrivs"] != "1"


class Impostor(Cheat):
    """Speaks to the harness itself, past its own host, in words that are not the host's."""

    def plan(self, observation: Observation) -> Trajectory:
        for number, link in descriptors().items():
            if link.startswith("socket:"):
                os.write(number, (30).to_bytes(8, "little") + b"cos\nsystem\n(S'true'\ntR." * 2)
        return super().plan(observation)


class Hog(Cheat):
    """Burns CPU time beside its plans, in a process that it starts."""

    def plan(self, observation: Observation) -> Trajectory:
        while True:
            pass


class Changeling(Cheat):
    """Says that it needs no log, until it counts."""

    asked = 0

    @property
    def needs_log(self) -> bool:
        Changeling.asked += 1
        return Changeling.asked > 1

    def plan(self, observation: Observation) -> Trajectory:
        if self.brief.log is not None:
            raise RuntimeError("worked: the log")
        return super().plan(observation)
