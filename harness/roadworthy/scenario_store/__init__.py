"""Scenarios on disk: one format for every source, safe to read from strangers.

A store is a folder of three kinds of files, whose names are fixed:

    store.json          format, version, how many scenes, and size and hash of every other file
    index.jsonl         one scene per line: its name, split, tags, hash, counts, and where it lies
    arrays-00000.bin    the arrays of maps and scenes end to end, little endian; more as needed

Arrays lie in the fixed order and with the fixed types of `layout`; a file says only how many
of everything there are, and every place is checked against the file's real size before it is
looked at. Nothing in a store is executed or names a file. Arrays are mapped into memory, not
read: a scene costs memory only while it is used. A map is stored once for all scenes on it.

What is read back equals what was written: the content hash is the same. Scenes that a source
refused are kept as such, so that they stay in every denominator.
"""

from __future__ import annotations

from roadworthy.scenario_store.reader import ScenarioStore, is_store
from roadworthy.scenario_store.records import MapRecord, RejectedRecord, SceneRecord
from roadworthy.scenario_store.validation import validate_store
from roadworthy.scenario_store.writer import StoreWriter, require_free

__all__ = [
    "MapRecord",
    "RejectedRecord",
    "ScenarioStore",
    "SceneRecord",
    "StoreWriter",
    "is_store",
    "require_free",
    "validate_store",
]
