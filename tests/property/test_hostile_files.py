"""A small, repeatable part of `nox -s fuzz`: damaged files end in what is documented."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from fuzz_targets import TARGETS, accepts

EACH = 20
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    1e308,
    "",
    "../../etc/passwd",
    "<script>",
    [],
    {},
    [[]],
]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Cut, flip, repeat, or (JSON and its lines) put another value where one was."""
    way = draw.randrange(5)
    if way >= 3:
        try:
            lines = data[1:].splitlines() if data[1:2] == b"{" else data.splitlines()
            head = data[:1] if data[1:2] == b"{" else b""
            whole = b"\n".join(lines)
            try:
                return head + json.dumps(replaced(json.loads(whole), draw)).encode()
            except json.JSONDecodeError:
                at = draw.randrange(len(lines))
                lines[at] = json.dumps(replaced(json.loads(lines[at]), draw)).encode()
                return head + b"\n".join(lines) + b"\n"
        except (ValueError, IndexError):
            pass
    changed = bytearray(data)
    if way == 0:
        return bytes(changed[: draw.randrange(len(changed) + 1)])
    for _ in range(draw.randint(1, 8)):
        changed[draw.randrange(len(changed))] = draw.choice(
            [0, 1, 127, 128, 255, draw.randrange(256)]
        )
    if way == 1:
        at = draw.randrange(len(changed))
        changed[at:at] = changed[at : at + draw.randint(1, 64)]
    return bytes(changed)


def replaced(value: Any, draw: random.Random) -> Any:
    """The same, with one thing somewhere in it gone or another."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        if draw.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: replaced(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.9:
        at = draw.randrange(len(value))
        return [*value[:at], replaced(value[at], draw), *value[at + 1 :]]
    return draw.choice(VALUES)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_damaged_files_end_as_documented(name: str) -> None:
    target = TARGETS[name]
    draw = random.Random(name)
    seeds = target.seeds()
    for seed in seeds:
        assert accepts(target, seed)
    outcomes = [accepts(target, damaged(draw.choice(seeds), draw)) for _ in range(EACH)]
    assert not all(outcomes)
