"""Which scenarios have passed admission unchanged before, so that they need not pass it again.

Whether a scenario is admitted, and how it is repaired, follows from its content alone. A scenario
of a store has the content that its hash says, C-contiguous and read only; one whose hash is known
to have been admitted as it was is therefore admitted as it is. Hashes are kept below the user's
cache folder (never in a store, which a stranger may have written), apart for each version of the
checks. A file that is absent, damaged or not writable costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from roadworthy.errors import RunError
from roadworthy.provenance import file_hash
from roadworthy.scenario import Scenario, content_hash
from roadworthy.scenario_store.reader import stored_at
from roadworthy.store import write_file
from roadworthy.usercache import user_cache

__all__ = ["Receipts"]

_CODE = ("admission/*.py", "geometry/*.py", "rings.py", "scenario.py", "vehicle.py")
_MOST = 500_000
_BYTES = 16


class Receipts:
    """Hashes of scenarios that were admitted unchanged, as kept when this was made."""

    def __init__(self) -> None:
        self._known = _read()
        self._fresh: dict[bytes, None] = {}

    def covers(self, scenario: Scenario) -> bool:
        """Whether `admit` would return this very scenario."""
        return stored_at(scenario) is not None and bytes.fromhex(scenario.hash) in self._known

    def add(self, scenarios: Iterable[str]) -> None:
        """Note content hashes of scenarios that were admitted, as they are when read from a
        store."""
        self._fresh.update(dict.fromkeys(map(bytes.fromhex, scenarios)))

    def keep(self) -> None:
        """Write down what was noted."""
        if not self._fresh.keys() - self._known.keys():
            return
        newest = [*self._known, *self._fresh][-_MOST:]
        with contextlib.suppress(OSError, RunError, RuntimeError):
            path = _path()
            path.parent.mkdir(parents=True, exist_ok=True)
            for old in path.parent.glob("*.hashes"):
                if old != path:
                    old.unlink(missing_ok=True)
            write_file(path, b"".join(newest))


def _read() -> dict[bytes, None]:
    try:
        data = _path().read_bytes()[: _MOST * _BYTES]
    except (OSError, RuntimeError):
        return {}
    whole = len(data) // _BYTES * _BYTES
    return dict.fromkeys(data[i : i + _BYTES] for i in range(0, whole, _BYTES))


def _path() -> Path:
    return user_cache() / "admitted" / f"{_checks()}.hashes"


@functools.cache
def _checks() -> str:
    """What decides over admission: its code, and what it computes with."""
    core = Path(__file__).parents[1]
    files = (p for pattern in _CODE for p in sorted(core.glob(pattern)))
    code = {str(p.relative_to(core)): file_hash(p) for p in files}
    used = {name: version(name) for name in ("roadworthy", "numpy", "numba", "shapely")}
    return content_hash((code, used))
