"""Small stores for tests: real scenes, and the arbitrary ones of a property test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from roadworthy.scenario import Lineage, Rejected, Scenario, SignalState
from roadworthy.scenario_store import StoreWriter
from roadworthy.testing.scenes import straight_road_scenario


def scenes() -> list[Scenario | Rejected]:
    """Two scenes of one place, one of another, and one refused."""
    first = straight_road_scenario(agents=3, signal=SignalState.RED, seconds=2.0)
    lineage = Lineage(
        "parent", "perturb", 2**64 - 1, {"gap": 1.5, "none": None, "nan": float("nan")}
    )
    second = replace(first, id="again", lineage=lineage, repairs=("A point was removed.",))
    other = straight_road_scenario(agents=0, lanes=1, seconds=2.0, seed=2)
    rejected = Rejected(
        "broken", "roadworthy.testing", "DataError", "broken.xml: no map\n  Mend it."
    )
    return [first, second, rejected, replace(other, tags=("common", "test"))]


def write(path: Path, *, shard_bytes: int = 2**20) -> Path:
    """A store of `scenes`; splits are `train`, `train`, and `test`."""
    with StoreWriter(path, shard_bytes) as store:
        for scene in scenes():
            if isinstance(scene, Rejected):
                store.reject(scene)
            else:
                store.add(scene, split="test" if "test" in scene.tags else "train")
    return path


def reseal(path: Path) -> None:
    """Make sizes and hashes in the header those of the files, as whoever forges a store would."""
    header = json.loads((path / "store.json").read_text())
    header["index"] = _sealed(path / "index.jsonl")
    names = [f"arrays-{i:05d}.bin" for i in range(len(header["shards"]))]
    header["shards"] = [_sealed(path / name) for name in names]
    write_header(path, header)


def write_header(path: Path, header: Any) -> None:
    (path / "store.json").write_text(json.dumps(header, indent=2) + "\n")


def forge(path: Path, change: Callable[[dict[str, Any]], None], line: int = 0) -> None:
    """Change a line of the index, and reseal."""
    lines = (path / "index.jsonl").read_text().splitlines()
    record = json.loads(lines[line])
    change(record)
    lines[line] = json.dumps(record, separators=(",", ":"))
    (path / "index.jsonl").write_text("\n".join(lines) + "\n")
    reseal(path)


def _sealed(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "hash": hashlib.blake2b(data, digest_size=16).hexdigest()}
