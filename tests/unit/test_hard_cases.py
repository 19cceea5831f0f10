"""The commands of docs/hard-cases.md, in their order, on a few scenes."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from roadworthy.cli import main
from roadworthy.exit_codes import ExitCode
from roadworthy.scenario_store import ScenarioStore

_ROOT = Path(__file__).parents[2]


def test_the_documented_commands_lead_from_a_run_to_a_run_of_its_hard_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (_ROOT / "docs" / "hard-cases.md").read_text()
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert block is not None
    commands = block[1].replace("\\\n", " ").splitlines()
    suites = tmp_path / "suites"
    suites.mkdir()
    mining = (_ROOT / "suites" / "mining.toml").read_text()
    mining = re.sub(r"count = \d+", "count = 6", re.sub(r"towns = \d+", "towns = 2", mining))
    (suites / "mining.toml").write_text(mining)
    (suites / "hard-cases.toml").write_text((_ROOT / "suites" / "hard-cases.toml").read_text())
    monkeypatch.chdir(tmp_path)
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "roadworthy"
        if arguments[:2] == ["run", "suites/hard-cases.toml"]:
            arguments += ["--out", "reports/hard-cases"]
        assert main(arguments) == ExitCode.OK, command
    made = json.loads((tmp_path / "reports" / "variants" / "generation.json").read_text())
    assert made["generator"] == "behaviour"
    assert made["stored"] == sum(
        1 for _ in ScenarioStore(tmp_path / "reports/variants").scenarios()
    )
    assert (tmp_path / "reports" / "hard-cases" / "run.json").exists()
    mined = json.loads((tmp_path / "reports" / "mined" / "mining.json").read_text())["cases"]
    page = (tmp_path / "reports" / "variants" / "report.html").read_text()
    start = page.index('id="mined"')
    rows = re.findall(r'<th scope="row">(.*?)</tr>', page[start : page.index("</table>", start)])
    told = {row.split("<")[0]: re.findall(r">([\d.]+)</td>", row)[:2] for row in rows}
    worst = Counter(case["findings"][0]["reason"].replace("_", " ") for case in mined)
    every = Counter(f["reason"].replace("_", " ") for case in mined for f in case["findings"])
    assert told == {reason: [str(worst[reason]), str(every[reason])] for reason in every}
