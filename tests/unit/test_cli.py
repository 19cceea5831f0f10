"""The command line: exit codes, messages, start-up."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import roadworthy
from roadworthy import cli
from roadworthy.commands import _output, plugins
from roadworthy.conformance import ConformanceRow, ConformanceTable
from roadworthy.errors import RoadworthyError
from roadworthy.exit_codes import ExitCode
from roadworthy.testing.report import TIME_LIMIT_S


def run(*args: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "roadworthy", *args], capture_output=True, text=True, cwd=cwd
    )


@pytest.mark.parametrize("args", [["--help"], ["plugins", "list"]])
def test_it_starts_without_anything_heavy(args: list[str]) -> None:
    code = (
        f"import sys; from roadworthy.cli import main; main({args}); "
        "print([m for m in ('torch', 'numba', 'pandas', 'shapely', 'numpy', 'rich', 'jinja2') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version() -> None:
    assert run("--version").stdout == f"roadworthy {roadworthy.__version__}\n"


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    names = cli.cli.list_commands(click.Context(cli.cli))
    assert {"plugins", "conformance", "run", "resume"} <= set(names)
    for name in names:
        assert cli.main([name, "--help"]) == ExitCode.OK
        assert f"roadworthy {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["plugin"], "There is no command 'plugin'. Did you mean 'plugins'?"),
        (["--nonsense"], "No such option"),
        (["plugins", "list", "--kind", "planer"], "'--kind'"),
        (["plugins", "check"], "Missing argument"),
        (["plugins", "check", "idn"], "Did you mean 'idm'?"),
        (["plugins", "check", "idm", "-o", "speed"], "not KEY=VALUE"),
        (["plugins", "new", "planner", "Not_Kebab"], "kebab"),
        (["conformance", "pdsm", "."], "Did you mean 'pdms'?"),
        (["conformance", "pdms", "no-such-folder"], "does not exist"),
        ([], "Usage: roadworthy"),
    ],
)
def test_usage_errors_exit_with_4_and_say_what_to_do(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(args) == ExitCode.USAGE == 4
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RoadworthyError("wrong", hint="mend it"), ExitCode.USAGE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (ZeroDivisionError("oh"), ExitCode.INTERNAL),
        (EOFError("a file is cut short"), ExitCode.INTERNAL),
    ],
)
def test_what_ends_a_command_decides_its_exit_code(
    error: BaseException,
    code: ExitCode,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command("fail")
    def fail() -> None:
        raise error

    monkeypatch.setattr(type(cli.cli), "list_commands", lambda self, ctx: ["fail"])
    monkeypatch.setattr(type(cli.cli), "get_command", lambda self, ctx, name: fail)
    assert cli.main(["fail"]) == code
    err = capsys.readouterr().err
    assert ("Traceback" in err) == (code is ExitCode.INTERNAL)
    if code is ExitCode.USAGE:
        assert err == "error: wrong\n  mend it\n"


def test_an_exit_that_a_library_makes_of_ctrl_c_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command("train")
    def train() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    monkeypatch.setattr(type(cli.cli), "get_command", lambda self, ctx, name: train)
    assert cli.main(["train"]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


def test_ctrl_c_on_the_real_command(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import os, signal\nclass Slow:\n"
        "    def reset(self, brief): os.kill(os.getpid(), signal.SIGINT)\n"
        "    def plan(self, observation): ...\n"
    )
    done = run("plugins", "check", "slow.py:Slow", cwd=tmp_path)
    assert done.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_gate_failure() -> None:
    command = f"{sys.executable} -m roadworthy plugins list --json; echo $? >&2"
    done = subprocess.run(
        ["bash", "-c", f"({command}) | head -c 1"], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert done.stderr.strip() in ("0", "2")


def test_the_list_is_plain_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "list", "--kind", "planners"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "kind\tname\tdistribution\tversion"
    assert f"planners\tidm\troadworthy\t{roadworthy.__version__}" in lines
    assert cli.main(["plugins", "list", "--json"]) == ExitCode.OK
    listed = json.loads(capsys.readouterr().out)
    assert {"kind": "planners", "name": "idm", "target": "roadworthy_planners.idm:IDM",
            "distribution": "roadworthy",
            "version": roadworthy.__version__} in listed["entries"]  # fmt: skip
    assert set(listed) == {"entries", "broken", "warnings"}


def test_a_review_of_a_good_planner(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plugins", "check", "constant-velocity"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "✓ deterministic" in out
    assert out.rstrip().endswith("Fit to be run.")


def test_a_review_of_a_bad_planner_exits_with_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.py").write_text(
        "import random\nimport numpy as np\nfrom roadworthy import Trajectory\nclass Bad:\n"
        "    def reset(self, brief): pass\n"
        "    def plan(self, o): return Trajectory(np.full((8, 3), random.random()), 0.5)\n"
    )
    assert cli.main(["plugins", "check", f"{tmp_path}/bad.py:Bad"]) == ExitCode.INCOMPLETE
    out = capsys.readouterr().out
    assert "planner bad@bad.py" in out
    assert "✗ deterministic" in out
    assert cli.main(["plugins", "check", f"{tmp_path}/bad.py:Bad", "--json"]) == 3
    (review,) = json.loads(capsys.readouterr().out)
    assert not review["ok"]


def test_a_review_tells_as_it_goes_and_names_the_check_that_hangs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "SLOW_S", 0.2)
    (tmp_path / "hangs.py").write_text(
        "class Hangs:\n    def reset(self, brief): print('planning')\n"
        "    def plan(self, observation):\n        while True: pass\n"
    )
    words = ["plugins", "check", f"{tmp_path}/hangs.py:Hangs", "--time-limit", "2"]
    assert cli.main(words) == ExitCode.INCOMPLETE
    out, err = capsys.readouterr()
    title, *rows = out.splitlines()
    assert title == "planner hangs@hangs.py"
    assert [row.split()[1] for row in rows[:3]] == ["loads:", "options:", "interface:"]
    assert rows[3] == "planning"  # what was found before is printed already
    assert "✗ trajectory: it had not ended after 2 s, in plan (" in rows[4]
    assert rows[5:] == ["  1 of 4 checks failed."]
    assert err.splitlines()[-1].startswith("  … trajectory: not ended after 0.2 s; stopped")


def test_the_default_time_limits_of_reviews_agree() -> None:
    [limit] = [p.default for p in plugins.check.params if p.name == "time_limit"]
    assert limit == TIME_LIMIT_S


def test_options_reach_the_reviewed_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["plugins", "check", "idm", "--kind", "planners", "-o"]
    assert cli.main([*args, "target_speed=fast"]) == ExitCode.INCOMPLETE
    assert "idm.target_speed = 'fast': expected float, got str" in capsys.readouterr().out
    assert cli.main([*args, "target_speed=-1"]) == ExitCode.INCOMPLETE
    assert "must be positive" in capsys.readouterr().out
    assert cli.main([*args, "target_speed=8"]) == ExitCode.OK


@pytest.mark.parametrize(
    ("agree", "informative", "code"), [(4, False, 0), (3, False, 1), (3, True, 0), (None, False, 4)]
)
def test_conformance_prints_the_table(
    agree: int | None,
    informative: bool,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    row = ConformanceRow(
        "v1 NC", 2, 4, agree or 0, 0.25, 1e-3, "case 2", ("case 1: tie",), informative
    )
    (tmp_path / f"check_{code}_{agree}_{informative}.py").write_text(
        "from roadworthy.conformance import ConformanceRow, ConformanceTable\n"
        f"def check(folder): return {ConformanceTable('x', 'd', (row,) if agree else ())!r}\n"
    )
    address = f"check_{code}_{agree}_{informative}:check"
    assert cli.main(["conformance", address, str(tmp_path)]) == code
    out = capsys.readouterr().out
    if agree:
        assert "\t2\t4\t" in out
        assert "v1 NC: case 2" in out
        assert "excepted: case 1: tie" in out
        assert cli.main(["conformance", address, str(tmp_path), "--json"]) == code
        assert json.loads(capsys.readouterr().out)["rows"][0]["metric"] == "v1 NC"


def on_a_terminal(code: str, width: int) -> list[str]:
    """The lines that some Python prints at a terminal of that width, without colours."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=slave, env=environment):
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):  # Linux's word for the end
            while part := os.read(master, 4096):
                said += part
    os.close(master)
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).splitlines()


@pytest.mark.parametrize("planners", [2, 3, 12])
@pytest.mark.parametrize("width", [60, 80, 100, 300])
def test_a_table_is_readable_at_any_width(width: int, planners: int) -> None:
    names = ["success.route_completion", "safety.pedestrian_cyclist_collision", "pdms"]
    rows = [[f"planner-{i}", *(f"7.{i:02}{j} [0.100, 0.200]" for j in range(3))]
            for i in range(planners)]  # fmt: skip
    lines = on_a_terminal(
        "from roadworthy.commands._output import print_table\n"
        f"print_table('the title', {['planner', *names]}, {rows}, {names})", width
    )  # fmt: skip
    text = "\n".join(lines)
    assert "the title" in lines[0]
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for row in rows:
        assert len(re.findall(rf"\b{row[0]}\b", text)) == 1
        assert all(text.count(cell.partition(" ")[0]) == 1 for cell in row[1:])
    assert text.count("[0.100, 0.200]") == 3 * planners
    assert set(names) <= set(text.split())


def test_rows_stay_rows_where_breaking_between_words_is_enough() -> None:
    rows = [[f"case-{i}", "lanes, crosswalks, stop lines, drivable area", str(i)]
            for i in range(20)]  # fmt: skip
    lines = on_a_terminal(
        "from roadworthy.commands._output import print_table\n"
        f"print_table('', ['scenario', 'map', 'n'], {rows}, ['n'])", 50
    )  # fmt: skip
    assert max(map(len, lines)) <= 50
    assert [line.split()[0] for line in lines if "case-" in line] == [row[0] for row in rows]


def test_where_no_terminal_is_a_line_now_and_then_says_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output, "EVERY_S", 0.0)
    (tmp_path / "own.toml").write_text(
        'name = "own"\nseed = 1\nmetrics = ["success"]\n'
        '[[sources]]\nname = "procedural"\ncount = 2\n[simulator]\nname = "open-loop"\n'
        '[[planners]]\nname = "./bad.py:Bad"\n[run]\nexecutor = "inline"\nbatch_size = 1\n'
    )
    (tmp_path / "bad.py").write_text(
        "class Bad:\n    def reset(self, brief): pass\n    def plan(self, o): raise KeyError\n"
    )
    words = ["run", str(tmp_path / "own.toml"), "--out", str(tmp_path / "run"), "--json"]
    assert cli.main(words) == ExitCode.INCOMPLETE
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["cases"] == 2
    plan, start, *lines = err.splitlines()
    assert plan.startswith("plan: 2 cases")
    assert "the first run compiles" in start
    assert lines[:2] == ["1 of 2 cases, 1 error", "2 of 2 cases, 2 errors"]

    store = tmp_path / "store"
    words = ["scenarios", "convert", "procedural", "-o", "count=3", "--out", str(store)]
    assert cli.main(words) == ExitCode.OK
    assert "2 scenes read\n3 scenes read\n" in capsys.readouterr().err
    words = ["generate", str(store), "--generator", "perturb", "-n", "1", "--reference", ""]
    assert cli.main([*words, "--out", str(tmp_path / "variants"), "--json"]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert json.loads(out)["parents"] == 3
    assert "3 of 3 scenes varied\n" in err
    monkeypatch.setattr(_output, "EVERY_S", 3600.0)
    words = ["scenarios", "convert", "procedural", "-o", "count=3", "--out", f"{store}-2"]
    assert cli.main(words) == ExitCode.OK
    assert capsys.readouterr().err == ""
