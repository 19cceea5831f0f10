"""What a search found, and how it is kept: a line of JSON per scene."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from roadworthy.errors import DataError
from roadworthy.plainfile import read_plain
from roadworthy.scenario import DT
from roadworthy.store import write_file

__all__ = [
    "CERTIFICATES",
    "Certificate",
    "Evasion",
    "Manoeuvre",
    "read_certificates",
    "write_certificates",
]

CERTIFICATES = "certificates.jsonl"
"""Name of the file in a store's folder."""

VERSION = 1
_MAX_BYTES = 2**31


class Manoeuvre(IntEnum):
    """What a driver has to do, weakest first.

    `KEEP` is nothing: the base drive itself touches nobody. `EASE_OFF` brakes at up to 3 m/s²,
    `BRAKE` at 4.5, `BRAKE_HARD` at up to 8.
    """

    KEEP = 0
    EASE_OFF = 1
    BRAKE = 2
    BRAKE_HARD = 3
    SWERVE = 4
    SWERVE_AND_BRAKE = 5


Step = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
State = tuple[float, float, float, float]


class Evasion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A drive that survives: the base drive up to step `begin`, then `states`.

    Attributes:
        manoeuvre: what it is called.
        begin: steps after the present at which the ego begins to act.
        reaction_s: seconds from the hazard's onset to then; negative if before it.
        parameters: the row of the table of manoeuvres (`manoeuvres.Column`).
        states: from step `begin` to the end, one per step: x, y, yaw of the rear axle in the
            world, speed. Empty for `KEEP`.
        excused: agents that run into the ego from behind, and would rather brake.
    """

    manoeuvre: Manoeuvre
    begin: Step
    reaction_s: float
    parameters: tuple[float, ...] = ()
    states: tuple[State, ...] = ()
    excused: tuple[Step, ...] = ()

    def drive(self, base: NDArray[np.float64]) -> NDArray[np.float64]:
        """The whole drive [N, 4], as x, y, yaw, speed.

        Args:
            base: [N, 4] the base drive.
        """
        if not self.states:
            return base
        return np.concatenate([base[: self.begin], np.array(self.states)])


class Certificate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a search says of one scene.

    Attributes:
        version: of this layout.
        scenario: content hash of the scene.
        reaction_s: the reaction time asked for.
        contact: step at which the base drive first touches someone, -1 for never.
        contact_agent: whom, -1 for nobody.
        onset: first step of those, without a break up to the contact, at which that agent, going
            on at its velocity, would meet the base drive within 4 s; -1 without a contact.
        tried: how many manoeuvres a search tries at most at each moment.
        margin: how far the search kept from everyone [m].
        lateral, combined: the limits of friction [m/s²].
        base: [N, 4] the base drive; empty where it is the log's.
        weakest: the weakest manoeuvre that survives from `reaction_s` after the onset on; None
            where none does.
        latest: the drive that begins latest of those found, 0.1 s exactly; None where the base
            drive survives, or nothing does.
    """

    version: int = VERSION
    scenario: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    reaction_s: float
    contact: int
    contact_agent: int
    onset: int
    tried: int
    margin: float
    lateral: float
    combined: float
    base: tuple[State, ...] = ()
    weakest: Evasion | None = None
    latest: Evasion | None = None

    @property
    def solvable(self) -> bool:
        """Whether a drive was found at the reaction time asked for."""
        return self.weakest is not None

    @property
    def clairvoyant(self) -> bool:
        """Whether it only helps to act before the hazard can be foreseen."""
        return self.weakest is None and self.latest is not None and self.latest.reaction_s < 0.0

    @property
    def label(self) -> str:
        """The weakest manoeuvre that suffices, in lower case, or `unsolvable`."""
        return self.weakest.manoeuvre.name.lower() if self.weakest else "unsolvable"

    @property
    def latest_reaction_s(self) -> float | None:
        """The latest reaction time that a drive was found for; None where none is needed or
        none helps."""
        return None if self.latest is None else self.latest.reaction_s

    @property
    def time_to_contact_s(self) -> float | None:
        """Seconds from the onset to the base drive's contact; None without one."""
        return None if self.contact < 0 else round((self.contact - self.onset) * DT, 9)


_DECODER = msgspec.json.Decoder(Certificate)


def write_certificates(folder: Path, certificates: Iterable[Certificate]) -> Path:
    """Write a folder's certificates, whole or not at all; returns the file.

    Raises:
        RunError: it cannot be written.
    """
    path = folder / CERTIFICATES
    write_file(path, b"".join(msgspec.json.encode(one) + b"\n" for one in certificates))
    return path


def read_certificates(folder: Path) -> dict[str, Certificate]:
    """A folder's certificates by their scene's hash.

    Raises:
        DataError: there are none, a line is no certificate, or one is of another version.
    """
    path = folder / CERTIFICATES
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: more than {_MAX_BYTES} bytes")
        lines = read_plain(path).splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror})",
            hint="`roadworthy generate` writes it beside the scenes that it makes.",
        ) from error
    found: dict[str, Certificate] = {}
    for number, line in enumerate(lines, 1):
        try:
            one = _DECODER.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: {error}") from error
        if one.version != VERSION:
            raise DataError(f"{path}:{number}: version {one.version}, this one reads {VERSION}")
        found[one.scenario] = one
    return found
