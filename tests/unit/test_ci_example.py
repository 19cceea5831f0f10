"""The CI example names sessions, commands, files and keys that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from roadworthy.cli import cli
from roadworthy.commands.gate import command as gate_command
from roadworthy.exit_codes import ExitCode
from roadworthy.suite import load_suite, parse_suite

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = (ROOT / ".github/workflows/roadworthy.yml").read_text()
PAGE = (ROOT / "docs/ci.md").read_text()


def test_the_workflow_runs_what_there_is() -> None:
    sessions = re.findall(r"nox -s ([\w-]+)", WORKFLOW)
    assert sessions == ["suite-safety"]
    assert f'name="{sessions[0]}"' in (ROOT / "noxfile.py").read_text()
    for name in re.findall(r"bin/roadworthy ([\w-]+)", WORKFLOW):
        assert name in cli.list_commands(None)  # type: ignore[arg-type]
    options = {option for p in gate_command.params for option in p.opts}
    assert set(re.findall(r"(--[a-z-]+) baseline", WORKFLOW)) <= options
    assert load_suite(ROOT / "suites/safety.toml").gate


def test_the_page_shows_rules_that_parse() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    head = 'name = "x"\nmetrics = ["pdms"]\nsimulator = {name = "s"}\nsources = [{name = "t"}]\n'
    rules = [rule for block in blocks for rule in parse_suite(head + block, "ci.md").gate]
    assert len(rules) == sum(len(tomllib.loads(block)["gate"]) for block in blocks) == 3
    codes = {int(code) for code in re.findall(r"^\| (\d) \|", PAGE, re.MULTILINE)}
    wanted = {ExitCode.OK, ExitCode.GATE_FAILED, ExitCode.INCOMPLETE, ExitCode.USAGE}
    assert codes == {int(code) for code in wanted}
