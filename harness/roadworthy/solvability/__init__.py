"""Can a scene be survived? A search for an evasive drive, and a second opinion on what it finds.

A scene is *solvable* at a reaction time if there is a drive that

- is the base drive (the log's, unless another is given) until the reaction time has passed
  since the hazard could first be foreseen,
- keeps within the limits of friction from then on,
- touches nobody to the end of the log, with everyone else where the log has them, and,
  where it swerves, stays on what is drivable.

`solve` searches a dense set of manoeuvres and returns a `Certificate`, which holds the drive.
`recheck` tests a certificate against its scene by polygons (shapely), sharing no code with the
search. Not finding a drive is no proof that there is none: "unsolvable" means that none of the
manoeuvres tried survives, and the certificate says how many that were.
"""

from __future__ import annotations

from roadworthy.solvability.certificate import (
    CERTIFICATES,
    Certificate,
    Evasion,
    Manoeuvre,
    read_certificates,
    write_certificates,
)
from roadworthy.solvability.drives import drive_of, steady_drive
from roadworthy.solvability.limits import Limits
from roadworthy.solvability.recheck import recheck
from roadworthy.solvability.search import REACTION_S, solvable, solve

__all__ = [
    "CERTIFICATES",
    "REACTION_S",
    "Certificate",
    "Evasion",
    "Limits",
    "Manoeuvre",
    "drive_of",
    "read_certificates",
    "recheck",
    "solvable",
    "solve",
    "steady_drive",
    "write_certificates",
]
