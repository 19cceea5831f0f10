from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from log_writers import SPEED, field, record, varint, waymo_scenario
from roadworthy.errors import DataError
from roadworthy.scenario import (
    NO_DRIVABLE_AREA,
    AgentKind,
    LaneKind,
    Rejected,
    Scenario,
    SignalState,
)
from roadworthy.vehicle import EgoIndex
from roadworthy_sources.waymo import Waymo, tfrecord
from roadworthy_sources.waymo.tfrecord import masked_crc
from roadworthy_sources.waymo.wire import WireError, doubles, fields, number, signed, varints


def written(tmp_path: Path, *records: bytes) -> Path:
    path = tmp_path / "training.tfrecord-00000-of-01000"
    path.write_bytes(b"".join(records))
    return path


def found(path: Path) -> list[Scenario | Rejected]:
    return list(Waymo(str(path)).scenarios())


def reason(path: Path) -> str:
    (only,) = found(path)
    assert isinstance(only, Rejected), "was admitted"
    return only.reason


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    path = written(tmp_path_factory.mktemp("womd"), record(waymo_scenario()))
    (scenario,) = found(path)
    assert isinstance(scenario, Scenario), scenario
    return scenario


def test_tracks(street: Scenario) -> None:
    assert street.id == "abc"
    assert street.source == "waymo"
    assert street.steps == 91
    assert street.agents.id == ("7", "9")
    assert street.agents.kind.tolist() == [AgentKind.VEHICLE, AgentKind.PEDESTRIAN]
    np.testing.assert_allclose(street.agents.size[0], [4.4, 1.8, 1.5], rtol=1e-6)
    np.testing.assert_allclose(street.ego[:, EgoIndex.VX], SPEED, atol=1e-6)
    middle = street.ego[:, 0] + street.vehicle.rear_axle_to_centre
    np.testing.assert_allclose(middle, SPEED * 0.1 * np.arange(91), atol=1e-6)
    assert street.vehicle.length == pytest.approx(5.3)


def test_map(street: Scenario) -> None:
    index = {name: i for i, name in enumerate(street.map.lane_id)}
    assert sorted(index) == ["10", "11", "12", "20", "21", "22"]
    assert street.map.lane_kind[index["11"]] == LaneKind.CONNECTOR
    assert [street.map.lane_id[j] for j in street.map.lane_successors[index["10"]]] == ["11"]
    assert street.map.lane_left[index["10"]] == index["20"]
    np.testing.assert_allclose(street.map.lane_speed_limit, 30 * 0.44704)


def test_signals(street: Scenario) -> None:
    (row,) = street.signals.state
    assert street.map.lane_id[street.signals.lane[0]] == "11"
    assert (row[:50] == SignalState.RED).all()
    assert (row[50:] == SignalState.GREEN).all()


def test_the_road_graph_is_not_fit_for_drivable_area(street: Scenario) -> None:
    assert NO_DRIVABLE_AREA in street.tags
    assert any("3.5 m" in note for note in street.repairs)


def test_checksums() -> None:
    """CRC-32C's check value, masked as TFRecord does."""
    crc = 0xE3069283
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc(b"123456789") == masked


def test_a_damaged_record_does_not_hide_the_next(tmp_path: Path) -> None:
    good = record(waymo_scenario("good"))
    bad = bytearray(record(waymo_scenario("bad")))
    bad[500] ^= 1
    first, second, third = found(written(tmp_path, bytes(bad), record(b"\x2a\x7f"), good))
    assert isinstance(first, Rejected)
    assert "record 0: its checksum is wrong" in first.reason
    assert isinstance(second, Rejected)
    assert "record 1 is no Waymo scenario" in second.reason
    assert isinstance(third, Scenario)
    assert third.id == "good"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"abc", "length is damaged"),
        (record(b"x" * 100)[:-30], "ends within it"),
        (struct.pack("<QI", 5, 7) + b"hello", "length is damaged"),
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in reason(written(tmp_path, data))


def test_huge_records_are_not_read(tmp_path: Path) -> None:
    head = struct.pack("<Q", tfrecord.MAX_RECORD + 1)
    assert "bytes" in reason(written(tmp_path, head + struct.pack("<I", masked_crc(head))))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (field(6, 99), "sdc_track_index is 99 of 3"),
        (field(6, -1), "sdc_track_index is -1"),
        (field(2, field(1, 7)), "two tracks have the id 7"),
        (field(2, field(1, 77)), "has 0 states for 91"),
        (field(1, 9.1), "for 92 timestamps"),
        (field(8, field(1, 10) + field(3, b"")), "two map features have the id 10"),
        (field(2, 5), "a number where a message was wanted"),
        (field(5, "x")[:-1], "longer than its message"),
        (b"\x0b", "unknown kind"),
        (b"\xff" * 20, "does not end"),
        (varint(2 << 3 | 2) + varint(2**40), "longer than its message"),
        (field(2, field(3, b"") * 3000), "more than 2000 states"),
        (field(1, 1.0) * 3000, "more than 2000 steps"),
    ],
)
def test_damaged_messages(tmp_path: Path, extra: bytes, words: str) -> None:
    assert words in reason(written(tmp_path, record(waymo_scenario() + extra)))


def test_wire_format() -> None:
    data = field(1, 300) + field(2, -1) + field(3, 2.5) + field(4, "ab") + field(20, b"")
    assert [(n, v) for n, v in fields(data)] == [
        (1, 300),
        (2, 2**64 - 1),
        (3, struct.pack("<d", 2.5)),
        (4, b"ab"),
        (20, b""),
    ]
    assert signed(2**64 - 1) == -1
    assert number(struct.pack("<f", 0.5)) == 0.5
    assert doubles(struct.pack("<3d", 1, 2, 3)) == [1, 2, 3]
    assert varints(varint(1) + varint(300)) == [1, 300]
    for bad in (b"abc", b""):
        with pytest.raises(WireError):
            number(bad)
    with pytest.raises(WireError):
        signed(b"")


def test_packed_times(tmp_path: Path, street: Scenario) -> None:
    plain = b"".join(field(1, 0.1 * k) for k in range(91))
    packed = field(1, struct.pack("<91d", *(0.1 * k for k in range(91))))
    data = waymo_scenario().replace(plain, packed)
    assert len(data) < len(waymo_scenario())
    (scenario,) = found(written(tmp_path, record(data)))
    assert isinstance(scenario, Scenario)
    assert scenario.hash == street.hash


def test_folders_and_limits(tmp_path: Path) -> None:
    written(tmp_path, *(record(waymo_scenario(f"s{k}")) for k in range(3)))
    (tmp_path / "LICENSE").write_text("x")
    assert [s.id for s in Waymo(str(tmp_path)).scenarios()] == ["s0", "s1", "s2"]
    assert [s.id for s in Waymo(str(tmp_path), limit=2).scenarios()] == ["s0", "s1"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no"):
        Waymo(str(tmp_path / "empty"))


def test_padding_and_what_is_not_read(tmp_path: Path) -> None:
    """Tracks of invalid states alone, as the data set pads them, stop signs, driveways."""
    empty = b"".join(field(3, field(2, -1.0) + field(3, -1.0) + field(11, 0)) for _ in range(91))
    data = waymo_scenario() + field(2, field(1, 99) + field(2, 1) + empty)
    for key, kind in ((70, 7), (71, 9), (72, 10)):
        data += field(8, field(1, key) + field(kind, field(1, 10)))
    path = tmp_path / "a.TFRECORD-00000-of-00001"
    path.write_bytes(record(data) + record(data))
    assert Waymo.recognises(path)
    first, second = Waymo(str(tmp_path)).scenarios()
    assert isinstance(first, Scenario), first
    assert isinstance(second, Scenario)
    assert first.hash == second.hash
    assert "99" not in first.agents.id
    said = " ".join(first.repairs)
    for words in ("1 STOP_SIGN", "1 SPEED_BUMP", "1 DRIVEWAY", "agents: 1 that are never there"):
        assert words in said, words


def test_records_without_a_map_are_refused(tmp_path: Path) -> None:
    data = waymo_scenario()
    data = data[: data.index(field(7, field(1, field(1, 11) + field(2, 4))))]
    assert "no lane for cars" in reason(written(tmp_path, record(data)))
