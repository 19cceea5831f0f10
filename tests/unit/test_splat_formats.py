"""Files of Gaussians: there and back, samples from elsewhere, and whatever bytes may come."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from roadworthy.errors import DataError
from roadworthy_simulators.splat import Cameras, Gaussians, RenderOptions, render
from roadworthy_simulators.splat.formats import read_gaussians, write_gaussians


def some(n: int = 50, degree: int = 2, seed: int = 0, antialiased: bool = False) -> Gaussians:
    rng = np.random.default_rng(seed)
    quats = rng.normal(size=(n, 4))
    return Gaussians(
        means=rng.normal(size=(n, 3)) * 20,
        quats=quats / np.linalg.norm(quats, axis=1, keepdims=True),
        scales=np.exp(rng.normal(-2, 1, (n, 3))),
        opacities=rng.uniform(0.001, 0.999, n),
        sh=rng.uniform(-0.9, 0.9, (n, (degree + 1) ** 2, 3)),
        antialiased=antialiased,
    )


def same_rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs((a * b).sum(axis=1))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_ply_there_and_back(tmp_path, degree):
    g = some(degree=degree)
    write_gaussians(tmp_path / "a.ply", g)
    back = read_gaussians(tmp_path / "a.ply")
    assert back.means.tobytes() == g.means.tobytes()
    assert back.quats.tobytes() == g.quats.tobytes()
    assert back.sh.tobytes() == g.sh.tobytes()
    np.testing.assert_allclose(back.scales, g.scales, rtol=1e-6)
    np.testing.assert_allclose(back.opacities, g.opacities, rtol=1e-6)


def test_ply_keeps_opacities_of_zero_and_one(tmp_path):
    g = some(2)
    ends = Gaussians(g.means, g.quats, g.scales, np.float32([0, 1]), g.sh)
    write_gaussians(tmp_path / "a.ply", ends)
    np.testing.assert_allclose(read_gaussians(tmp_path / "a.ply").opacities, [0, 1], atol=1e-12)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_there_and_back(tmp_path, degree):
    g = some(degree=degree, antialiased=degree == 2)
    write_gaussians(tmp_path / "a.spz", g)
    back = read_gaussians(tmp_path / "a.spz")
    assert back.antialiased == g.antialiased
    np.testing.assert_allclose(back.means, g.means, atol=0.51 / 4096)
    np.testing.assert_allclose(back.scales, g.scales, rtol=0.04)
    np.testing.assert_allclose(back.opacities, g.opacities, atol=0.51 / 255)
    np.testing.assert_allclose(back.sh[:, 0], g.sh[:, 0], atol=0.51 / 255 / 0.15)
    np.testing.assert_allclose(back.sh[:, 1:], g.sh[:, 1:], atol=0.51 / 128)
    assert same_rotation(back.quats, g.quats).min() > 0.99999


def test_spz_gives_up_fraction_bits_for_a_wide_scene_and_refuses_a_wider(tmp_path):
    g = some()
    wide = Gaussians(g.means * 1000, g.quats, g.scales, g.opacities, g.sh)
    write_gaussians(tmp_path / "a.spz", wide)
    np.testing.assert_allclose(read_gaussians(tmp_path / "a.spz").means, wide.means, atol=0.02)
    with pytest.raises(DataError, match=r"a.spz"):
        write_gaussians(
            tmp_path / "a.spz", Gaussians(g.means * 1e9, g.quats, g.scales, g.opacities, g.sh)
        )


def spz(version: int, n: int = 2, degree: int = 0, fraction: int = 12, body: bytes = b"") -> bytes:
    return struct.pack("<IIIBBBB", 0x5053474E, version, n, degree, fraction, 0, 0) + body


def old_body(version: int) -> bytes:
    position = (
        np.float16([1, 2, 3, -1, -2, -3]).tobytes()
        if version == 1
        else b"".join(
            int(v * 4096).to_bytes(3, "little", signed=True) for v in (1, 2, 3, -1, -2, -3)
        )
    )
    # opacities 0 and 1, mid colours, scales e^-4, rotations: half turns about x, then none.
    return position + bytes([0, 255]) + bytes([128] * 6) + bytes([96] * 6) + bytes(
        [255, 128, 128, 128, 128, 128]
    )  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
def test_old_spz_versions(tmp_path, version):
    path = tmp_path / "old.spz"
    path.write_bytes(gzip.compress(spz(version, body=old_body(version))))
    g = read_gaussians(path)
    np.testing.assert_allclose(g.means, [[1, -2, -3], [-1, 2, 3]])  # y and z point the other way
    np.testing.assert_allclose(g.opacities, [0, 1])
    np.testing.assert_allclose(g.scales, np.exp(-4.0), rtol=1e-6)
    assert same_rotation(g.quats, np.float32([[0, 1, 0, 0], [1, 0, 0, 0]])).min() > 0.999


def test_splat_file(tmp_path):
    row = struct.pack("<6f8B", 1, 2, 3, 0.1, 0.2, 0.3, 255, 128, 0, 204, 255, 128, 128, 128)
    (tmp_path / "a.splat").write_bytes(row * 3)
    g = read_gaussians(tmp_path / "a.splat")
    assert len(g) == 3
    np.testing.assert_allclose(g.means[0], [1, 2, 3])
    np.testing.assert_allclose(g.scales[0], [0.1, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_allclose(g.opacities, 0.8, rtol=1e-6)
    color = g.sh[0, 0] * 0.28209479 + 0.5
    np.testing.assert_allclose(color, [1, 128 / 255, 0], atol=1e-6)
    np.testing.assert_allclose(g.quats[0] / np.linalg.norm(g.quats[0]), [1, 0, 0, 0], atol=1e-6)


def test_three_samples_of_two_formats_show_the_same(data_dir):
    folder = data_dir / "splat_samples"
    if not folder.is_dir():
        pytest.skip(f"no splat samples at {folder}")
    packed = read_gaussians(folder / "biker.compressed.ply")
    zstd = read_gaussians(folder / "biker.spz")
    assert len(packed) == len(zstd) == 152_746
    assert len(read_gaussians(folder / "guitar.compressed.ply")) == 90_854
    view = np.eye(4, dtype=np.float32)
    view[:3, 3] = -np.median(packed.means, axis=0) + [0, 0, 4.5]
    k = np.float32([[200, 0, 80], [0, 200, 120], [0, 0, 1]])
    cameras = Cameras(view[None], k[None], 160, 240)
    options = RenderOptions(background=(0.2, 0.2, 0.25))
    a, b = (render(g, cameras, options, backend="cpu") for g in (packed, zstd))
    assert a.alpha.max() > 0.99
    assert -10 * np.log10(np.mean((a.rgb - b.rgb) ** 2)) > 50


def test_samples_survive_being_written(data_dir, tmp_path):
    path = data_dir / "splat_samples" / "guitar.compressed.ply"
    if not path.is_file():
        pytest.skip(f"no splat sample at {path}")
    g = read_gaussians(path)
    for name in ("a.ply", "a.spz"):
        write_gaussians(tmp_path / name, g)
        back = read_gaussians(tmp_path / name)
        np.testing.assert_allclose(back.means, g.means, atol=2e-4)
        np.testing.assert_allclose(back.opacities, g.opacities, atol=3e-3)


def ply(header: str, body: bytes = b"") -> bytes:
    return header.encode() + b"end_header\n" + body


FIELDS = (
    "x y z f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()
)
START = "ply\nformat binary_little_endian 1.0\n"


def rows(**changes: float) -> bytes:
    values = dict.fromkeys(FIELDS, 0.5) | changes
    return struct.pack("<14f", *(values[f] for f in FIELDS))


def header(count: object, names: list[str] = FIELDS) -> str:
    return START + f"element vertex {count}\n" + "".join(f"property float {f}\n" for f in names)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "does not begin"),
        (b"plybutnot\n", "does not begin"),
        (b"ply\n" + b"comment x\n" * 10_000, "end_header"),
        (b"ply\nformat ascii 1.0\n", "ascii"),
        (ply("ply\n"), "no format"),
        (ply(START), "no element 'vertex'"),
        (ply(header(-1)), "counts -1"),
        (ply(header("1e3")), "counts 1e3"),
        (ply(header(10**12)), "counts 1000000000000"),
        (ply(header(40_000_000)), "declares"),
        (ply(header(2), rows()), "declares 112 bytes"),
        (ply(header(1, FIELDS[:-1]), rows()), "rot_3"),
        (ply(header(1, [*FIELDS, "f_rest_0"]), rows() * 2), "1 properties f_rest_"),
        (ply(START + "element vertex 1\nproperty list uchar int x\n"), "property list"),
        (ply(START + "property float x\n"), "property float x"),
        (ply(header(1) + "property float x\n", rows()), "one too many"),
        (ply(header(1) + "element vertex 1\n", rows()), "twice"),
        (ply(header(1), rows(x=np.nan)), "means[0]"),
        (ply(header(1), rows(opacity=np.nan)), "opacities[0]"),
        (ply(header(2), rows() + rows(scale_1=-np.inf)), "scales[1]"),
        (ply(header(1), rows(scale_1=200.0)), "scales[0]"),
        (ply(header(1), rows(rot_0=0, rot_1=0, rot_2=0, rot_3=0)), "quats[0]"),
        (ply(header(1), rows(f_dc_2=np.inf)), "sh[0]"),
        (ply(header(1, ["packed_position"]), b"1234"), "packed_rotation"),
    ],
)
def test_a_ply_that_cannot_be_is_a_typed_error(tmp_path, data, said):
    path = tmp_path / "bad.ply"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"bad\.ply") as caught:
        read_gaussians(path)
    assert said in str(caught.value)


def test_a_quaternion_of_any_length_is_kept(tmp_path):
    (tmp_path / "a.ply").write_bytes(ply(header(1), rows(rot_0=30.0)))
    assert read_gaussians(tmp_path / "a.ply").quats[0, 0] == 30.0


GOOD_3 = bytes([0] * 18 + [9] * 2 + [128] * 6 + [96] * 6 + [0] * 8)


def zstd_file(sizes: list[int], declared: list[int] | None = None, n: int = 2) -> bytes:
    streams = [pa.Codec("zstd").compress(bytes([96] * s), asbytes=True) for s in sizes]
    toc = b"".join(
        struct.pack("<QQ", len(s), d) for s, d in zip(streams, declared or sizes, strict=True)
    )
    start = struct.pack("<IIIBBBB", 0x5053474E, 4, n, 0, 12, 0, len(sizes))
    return start + struct.pack("<I12x", 32) + toc + b"".join(streams)


def test_spz_version_4(tmp_path):
    (tmp_path / "a.spz").write_bytes(zstd_file([18, 2, 6, 6, 8]))
    g = read_gaussians(tmp_path / "a.spz")
    np.testing.assert_allclose(g.opacities, 96 / 255, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "begins with"),
        (b"\x1f\x8b", "within its header"),
        (gzip.compress(b"NGSP"), "within its header"),
        (gzip.compress(b"\0" * 16), "magic"),
        (gzip.compress(spz(9)), "version is 9"),
        (gzip.compress(spz(3, n=2**31)), "numPoints is 2147483648"),
        (gzip.compress(spz(3, degree=4)), "shDegree is 4"),
        (gzip.compress(spz(3, fraction=60)), "fractionalBits is 60"),
        (gzip.compress(spz(3, body=GOOD_3[:-1])), "unpacks to 39 bytes"),
        (gzip.compress(spz(3, body=GOOD_3 + b"\0" * 10_000_000)), "unpacks to more than 40"),
        (gzip.compress(spz(3, n=40_000_000, body=b"\0" * 1000)), "declares 800000000 bytes"),
        (gzip.compress(spz(3, body=GOOD_3))[:-12], "unpacks to"),
        (zstd_file([18, 2, 6, 6]), "4 streams"),
        (zstd_file([18, 2, 6, 6, 9]), "stream 4 declares 9"),
        (zstd_file([18, 2, 6, 6, 10_000_000], [18, 2, 6, 6, 8]), "stream 4"),
        (zstd_file([18, 2, 6, 6, 4], [18, 2, 6, 6, 8]), "stream 4"),
        (zstd_file([18, 2, 6, 6, 8])[:-3], "beyond the file"),
        (zstd_file([18, 2, 6, 6, 8])[:20], "within its header"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_an_spz_that_cannot_be_is_a_typed_error(tmp_path, data, said):
    path = tmp_path / "bad.spz"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"bad\.spz") as caught:
        read_gaussians(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes"),
        (b"\0" * 33, "33 bytes"),
        (b"\0" * 32, "scales[0]"),
        (struct.pack("<6f8B", 1, 2, 3, 0.1, 0, 0.3, 1, 1, 1, 1, 255, 1, 1, 1), "scales[0]"),
    ],
)
def test_a_splat_that_cannot_be_is_a_typed_error(tmp_path, data, said):
    path = tmp_path / "bad.splat"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"bad\.splat") as caught:
        read_gaussians(path)
    assert said in str(caught.value)


def test_unknown_endings_and_missing_files_are_typed_errors(tmp_path):
    for act in (read_gaussians, lambda p: write_gaussians(p, some())):
        with pytest.raises(DataError, match=r"\.obj"):
            act(tmp_path / "a.obj")
    with pytest.raises(DataError, match="No such file"):
        read_gaussians(tmp_path / "none.ply")
    with pytest.raises(DataError, match="No such file"):
        write_gaussians(tmp_path / "none" / "a.ply", some())


def test_nothing_that_cannot_be_drawn_is_written(tmp_path):
    g = some()
    bad = Gaussians(g.means, g.quats * 0, g.scales, g.opacities, g.sh)
    for name in ("a.ply", "a.spz"):
        with pytest.raises(DataError, match="quats"):
            write_gaussians(tmp_path / name, bad)


def _seed_files() -> dict[str, bytes]:
    return {
        ".ply": ply(header(3), rows() * 3),
        ".spz": gzip.compress(spz(3, body=GOOD_3), mtime=0),
        ".splat": struct.pack("<6f8B", 1, 2, 3, 1, 1, 1, 1, 1, 1, 1, 255, 1, 1, 1) * 2,
        "4.spz": zstd_file([18, 2, 6, 6, 8]),
    }


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(sorted(_seed_files())),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    cut=st.none() | st.integers(0, 400),
    tail=st.binary(max_size=64),
    repack=st.booleans(),
)
def test_damaged_files_never_crash(tmp_path, kind, flips, cut, tail, repack):
    data = bytearray(_seed_files()[kind])
    inner = kind == ".spz" and repack  # damage inside the gzip stream, not of it
    if inner:
        data = bytearray(gzip.decompress(bytes(data)))
    for place, value in flips:
        data[place % len(data)] = value
    data = data[:cut] + tail
    path = tmp_path / f"fuzz{kind}"
    path.write_bytes(gzip.compress(bytes(data)) if inner else bytes(data))
    try:
        g = read_gaussians(path)
    except DataError:
        return
    g.checked("what was read")
