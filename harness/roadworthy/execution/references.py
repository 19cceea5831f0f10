"""Cases on their way to a worker: a scenario that lies in a store travels as its place there.

The worker maps the same file into memory instead of receiving some 200 kB per scenario. A
scenario that is in no store, or was repaired after it was read, travels whole.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from pathlib import Path
from typing import Any

from roadworthy.scenario import Scenario
from roadworthy.scenario_store.reader import read_stored, stored_at

__all__ = ["Packed", "dumps", "loads"]

loads = pickle.loads
"""The value back. Only for bytes of `dumps` from a process of the same run. Raises `DataError` if a
store is not there, or holds something else than it did."""


def dumps(value: Any, *, verify: bool = False) -> bytes:
    """Pickle a value; scenarios within it by reference where they are in a store.

    Args:
        value: anything that can be pickled.
        verify: whether the receiver compares what is in its store with the hash again, as on
            another machine it must.
    """

    def reduce(scenario: Scenario) -> Any:
        place = stored_at(scenario)
        if place is None:
            return scenario.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return _fetch, (str(place.store), place.line, verify)

    out = io.BytesIO()
    pickler = pickle.Pickler(out, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {**copyreg.dispatch_table, Scenario: reduce}
    pickler.dump(value)
    return out.getvalue()


class Packed:
    """Bytes of `dumps` on their way through a process that has no use for the value itself: who
    unpickles this gets the value."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return loads, (self.data,)


def _fetch(store: str, line: bytes, verify: bool) -> Scenario:
    return read_stored(Path(store), line, verify=verify)
