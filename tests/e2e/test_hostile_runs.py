"""A run directory from a stranger: it can be looked at, and does nothing else."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roadworthy.errors import DataError, RunError
from roadworthy.flywheel.results import read_results
from roadworthy.mining import read_mined
from roadworthy.replay import load_replay, replay_path
from roadworthy.report import write_reports
from roadworthy.runner import run_suite
from roadworthy.scenario_store import ScenarioStore
from roadworthy.signoff import check_derived, check_hashes
from roadworthy.solvability import read_certificates
from roadworthy.store import RunDirectory, read_run
from roadworthy.suite import parse_suite
from roadworthy.variants.generate import read_generated, read_trials
from roadworthy_simulators.splat.formats import read_gaussians
from stored_scenes import write as write_store

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")

PAYLOADS = (
    "</script><script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "'\"><svg onload=document.title='pwned'>",
    "javascript:document.title='pwned'",
    "{{ cycler.__init__.__globals__ }}${document.title='pwned'}<!--<script>",
)

SUITE = """
name = "stranger"
seed = 5
metrics = ["success", "safety"]
sources = [{name = "procedural", seed = 5, count = 5}]
simulator = {name = "closed-loop", replan_hz = 2, duration_s = 1.0}
planners = ["constant-velocity", {name = "idm", label = "two"}]
[run]
executor = "inline"
"""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("stranger") / "run"
    run_suite(parse_suite(SUITE, "stranger.toml"), run)
    return run


@pytest.fixture
def run(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "run"))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every text in a JSON value is."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, (*path, i))
    elif isinstance(value, str):
        yield path


def put(value: Any, path: tuple[Any, ...], text: str) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = text


def poison(run: Path) -> int:
    """Put a payload wherever a text may stand; how many there were."""
    poisoned = 0
    manifest = json.loads((run / "run.json").read_text())
    for i, path in enumerate(list(leaves(manifest))):
        trial = json.loads(json.dumps(manifest))
        put(trial, path, PAYLOADS[i % len(PAYLOADS)])
        if path[-1] in ("better", "name") and path[0] == "metrics":
            continue  # an enumeration, and the key of the values
        manifest, poisoned = trial, poisoned + 1
    (run / "run.json").write_text(json.dumps(manifest))
    lines = []
    for n, line in enumerate((run / "cases.jsonl").read_text().splitlines()):
        record = json.loads(line)
        record |= {"scenario": PAYLOADS[n % 5] + str(n % 5), "source": PAYLOADS[(n + 1) % 5]}
        record["scenario"] = PAYLOADS[record["index"] % 5] + str(record["index"])
        record["tags"] = [*record["tags"], PAYLOADS[(n + 2) % 5]]
        record["events"] = {"safety": [{"kind": PAYLOADS[(n + 3) % 5], "step": 3, "agent": 0}]}
        if n % 3 == 0:
            record["status"], record["values"] = "planner_error", {}
            record["error"] = dict.fromkeys(("type", "message", "traceback"), PAYLOADS[n % 5])
        lines.append(json.dumps(record))
        poisoned += 5
    (run / "cases.jsonl").write_text("\n".join(lines) + "\n")
    return poisoned


@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs chromium, chromium-driver")
def test_no_text_of_a_run_becomes_a_script(run: Path, tmp_path: Path) -> None:
    assert poison(run) > 100
    page = write_reports(read_run(run))
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 f"--user-data-dir={tmp_path}/profile"):  # fmt: skip
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    try:
        driver.get(page.as_uri())
        for _ in range(50):
            if driver.execute_script("return document.documentElement.dataset.ready") == "yes":
                break
        cases = driver.execute_script("return rw.data.cases.map(c => c.id)")
        assert len(cases) == 5
        for case in cases:
            driver.execute_script("location.hash = arguments[0]", f"#case={case}")
            driver.execute_script(
                "document.querySelectorAll('details').forEach(d => d.open = true)"
            )
        shown = driver.execute_script("return document.documentElement.textContent")
        assert PAYLOADS[0] in shown
        assert driver.title != "pwned"
        assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
        links = driver.execute_script("return [...document.links].map(a => a.href)")
        assert not any(link.startswith("javascript:") for link in links)
        assert driver.execute_script("return document.querySelectorAll('svg[onload], img[onerror]').length") == 0  # fmt: skip  # noqa: E501
    finally:
        driver.quit()


@pytest.mark.parametrize("label", ["..", "../../etc", "a/b", "", "x" * 300, "a\0b"])
def test_no_planner_leads_out_of_the_run(run: Path, label: str) -> None:
    manifest = json.loads((run / "run.json").read_text())
    manifest["planners"][label] = manifest["planners"]["two"]
    (run / "run.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match="cannot name a folder"):
        read_run(run)


def test_no_case_leads_out_of_the_run(tmp_path: Path) -> None:
    path = replay_path(tmp_path / "run", "two", "../../../../etc/passwd")
    assert path.resolve().is_relative_to((tmp_path / "run" / "rollouts" / "two").resolve())


def test_no_replay_names_a_map_elsewhere(run: Path) -> None:
    record = read_run(run).records[0]
    path = replay_path(run, record.planner, record.key)
    with np.load(path) as data:
        arrays = dict(data)
    for name in ("../../secret", "/etc/passwd", ""):
        np.savez(path, **arrays | {"map_hash": np.array(name)})
        with pytest.raises(RunError, match="map_hash"):
            load_replay(run, record.planner, record.key)


def test_a_replay_that_unpacks_without_end_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roadworthy.replay._MOST_BYTES", 20 << 20)  # to keep the test short
    record = read_run(run).records[0]
    path = replay_path(run, record.planner, record.key)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("ego.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(21):
            file.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 16
    with pytest.raises(RunError, match="at most"):
        load_replay(run, record.planner, record.key)


def test_a_replay_that_claims_more_than_it_holds_is_refused(run: Path) -> None:
    """A header of 8 TB before 8 bytes, and an array of objects, which only a pickle can fill."""
    record = read_run(run).records[0]
    path = replay_path(run, record.planner, record.key)
    for descr in ("<f8", "|O"):
        header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({10**12},), }}"
        header = header.ljust(117) + "\n"
        magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("ego.npy", magic + bytes(8))
        with pytest.raises(RunError, match="damaged"):
            load_replay(run, record.planner, record.key)


def test_links_out_of_a_store_or_run_are_not_followed_into_the_unknown(
    run: Path, tmp_path: Path
) -> None:
    """What a link leads to is read as what it should be, or refused; never shown or run."""
    secret = tmp_path / "secret"
    secret.write_text("the key to everything\n")
    for name in ("run.json", "cases.jsonl"):
        victim = Path(shutil.copytree(run, tmp_path / f"with-{name}"))
        (victim / name).unlink()
        (victim / name).symlink_to(secret)
        with pytest.raises(RunError) as refused:
            read_run(victim)
        assert "the key" not in str(refused.value)
    store = write_store(tmp_path / "store")
    (store / "index.jsonl").unlink()
    (store / "index.jsonl").symlink_to(secret)
    with pytest.raises(DataError) as refused_store:
        list(ScenarioStore(store).scenarios())
    assert "the key" not in str(refused_store.value)


def load_first_replay(run: Path) -> object:
    return load_replay(run, "two", next((run / "rollouts" / "two").glob("*.npz")).stem)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("run.json", lambda run: RunDirectory(run).manifest()),
        ("cases.jsonl", read_run),
        ("hashes.json", check_hashes),
        ("summary.json", lambda run: check_derived(read_run(run))),
        ("rollouts/two/*.npz", load_first_replay),
        ("generation.json", read_generated),
        ("trials.jsonl", read_trials),
        ("mining.json", read_mined),
        ("certificates.jsonl", read_certificates),
        ("results.json", read_results),
    ],
)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(
    name: str, read: Callable[[Path], object], run: Path
) -> None:
    """It, or a device, would be read without end."""
    path = next(run.glob(name), run / name)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    try:
        found = read(run)
    except (DataError, RunError) as refused:
        found = str(refused)
    assert "is not a plain file" in str(found)
    assert path.name in str(found) or name == "summary.json"


def test_a_link_in_place_of_a_result_is_replaced_and_not_written_through(run: Path) -> None:
    precious = run.parent / "precious"
    precious.write_text("keep me")
    for name in ("scores.csv", "report.html", "summary.json"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(precious)
    write_reports(read_run(run))
    assert precious.read_text() == "keep me"
    assert not (run / "report.html").is_symlink()


def test_an_spz_of_nothing_is_a_scene_of_nothing(tmp_path: Path) -> None:
    """Found by fuzzing: no Gaussians, but a degree of harmonics."""
    import gzip

    head = (0x5053474E).to_bytes(4, "little") + (2).to_bytes(4, "little") + bytes(4)
    path = tmp_path / "none.spz"
    path.write_bytes(gzip.compress(head + bytes([1, 12, 0, 0])))
    assert len(read_gaussians(path)) == 0


@pytest.mark.parametrize("text", [b"\x80\x81", b"{", b"[" * 100_000, b"null", b"[]", b'"a"'])
def test_any_text_for_a_manifest_or_records_is_refused(run: Path, text: bytes) -> None:
    (run / "cases.jsonl").write_bytes(text + b"\n")
    with pytest.raises(RunError, match=r"cases\.jsonl:1"):
        read_run(run)
    (run / "run.json").write_bytes(text)
    with pytest.raises(RunError, match=r"run\.json"):
        read_run(run)
