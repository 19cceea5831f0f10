"""Damaged recordings, rigs and behaviour models are refused with a reason, or read."""

from __future__ import annotations

import re

import pytest
from fuzz_targets import TARGETS, accepts
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = (
    "nerfstudio",
    "colmap",
    "colmap-binary",
    "kitti",
    "pandaset",
    "pandaset-table",
    "rig",
    "behaviour-model",
)
VALUES = (
    b"nan", b"NaN", b"inf", b"Infinity", b"-Infinity", b"1e308", b"-1e308", b"1e999", b"1e-320",
    b"-1", b"0", b"0.5", b"300", b"2147483648", b"9" * 20, b"9" * 400, b"9" * 5000, b"null",
    b"true", b'"x"', b"{}", b"[]", b"[" * 3000, b"",
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
fuzzed = settings(max_examples=120, deadline=None)
kinds = st.sampled_from(NAMES)
share = st.floats(0.0, 1.0)


def seed_of(kind: str, which: float) -> bytes:
    """One of the files that a format is made of; its first byte says which."""
    seeds = TARGETS[kind].seeds()
    return seeds[min(int(which * len(seeds)), len(seeds) - 1)]


@pytest.mark.parametrize("kind", NAMES)
def test_undamaged_ones_are_read(kind: str) -> None:
    for seed in TARGETS[kind].seeds():
        assert accepts(TARGETS[kind], seed)


@fuzzed
@given(kind=kinds, which=share, length=share)
def test_truncated(kind: str, which: float, length: float) -> None:
    data = seed_of(kind, which)
    accepts(TARGETS[kind], data[: 1 + int(length * (len(data) - 1))])


@fuzzed
@given(kind=kinds, which=share, content=st.binary(max_size=300))
def test_any_bytes(kind: str, which: float, content: bytes) -> None:
    accepts(TARGETS[kind], seed_of(kind, which)[:1] + content)


@settings(max_examples=250, deadline=None)
@given(
    kind=kinds,
    which=share,
    damage=st.lists(st.tuples(share, st.integers(0, 255)), min_size=1, max_size=8),
)
def test_flipped_bytes(kind: str, which: float, damage: list[tuple[float, int]]) -> None:
    data = bytearray(seed_of(kind, which))
    for place, value in damage:
        data[1 + min(int(place * (len(data) - 1)), len(data) - 2)] = value
    accepts(TARGETS[kind], bytes(data))


@settings(max_examples=400, deadline=None)
@given(
    kind=kinds,
    which=share,
    changes=st.lists(st.tuples(share, st.sampled_from(VALUES)), min_size=1, max_size=4),
)
def test_hostile_numbers(kind: str, which: float, changes: list[tuple[float, bytes]]) -> None:
    seed = seed_of(kind, which)
    data = seed[1:]
    for place, value in changes:
        numbers = list(NUMBER.finditer(data))
        if not numbers:
            break
        begin, end = numbers[min(int(place * len(numbers)), len(numbers) - 1)].span()
        data = data[:begin] + value + data[end:]
    accepts(TARGETS[kind], seed[:1] + data)
