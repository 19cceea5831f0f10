"""The command line: exit codes, messages, start-up."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
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
        (ValueError("embedded null byte"), ExitCode.INTERNAL),
        (RuntimeError("wrong"), ExitCode.INTERNAL),
        (OSError("of a library, not of a file"), ExitCode.INTERNAL),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), ExitCode.INTERNAL),
        (OSError(errno.ENOSPC, "No space left on device"), ExitCode.INTERRUPTED),
        (SystemExit(0), ExitCode.INTERNAL),
        (asyncio.CancelledError(), ExitCode.INTERNAL),
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


LONG = "x" * 5000


@pytest.mark.parametrize(
    "args",
    [
        ["run", LONG],
        ["run", "good.toml", "--out", LONG],
        ["run", "good.toml", "--data", LONG],
        ["run", "good.toml", "--planner", f"./{LONG}.py:Mine"],
        ["suite", "validate", LONG],
        ["scenarios", "list", LONG],
        ["scenarios", "validate", LONG],
        ["plugins", "check", f"{LONG}.py:Mine"],
        *([command, LONG] for command in ("resume", "gate", "view", "verify", "report", "compare")),
        ["run", "loop"],
        ["run", "good.toml", "--out", "loop"],
        ["run", "good.toml", "--data", "loop"],
        ["run", "good.toml", "--planner", "./loop.py:Mine"],
        ["suite", "validate", "loop"],
        ["plugins", "check", "./loop.py:Mine"],
        *([command, "loop"] for command in ("resume", "gate", "view", "verify", "report")),
    ],
    ids=lambda args: " ".join(args)[:40],
)
def test_a_path_that_the_system_will_not_open_is_one_line(
    args: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text(
        'name = "good"\nmetrics = ["success"]\nplanners = ["idm"]\n'
        'sources = [{name = "procedural", count = 1}]\nsimulator = {name = "open-loop"}\n'
    )
    for link in ("loop", "loop.py"):
        (tmp_path / link).symlink_to(link)
    assert cli.main(args) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    (told,) = (line for line in captured.err.splitlines() if line.lower().startswith("error: "))
    assert "xxx" in told or "loop" in told


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs util-linux's setpriv")
@pytest.mark.parametrize(
    "args",
    [
        ["run", "shut/a.toml"],
        *([command, "shut/run"] for command in ("gate", "view", "verify", "report", "compare")),
        ["scenarios", "list", "shut/run"],
        ["mine", "shut/run", "--out", "mined"],
    ],
    ids=" ".join,
)
def test_a_shut_folder_is_named(args: list[str], tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut").chmod(0)
    root = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    done = subprocess.run(
        [*(root if os.geteuid() == 0 else []), sys.executable, "-m", "roadworthy", *args],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    (tmp_path / "shut").chmod(0o700)
    assert done.returncode == ExitCode.USAGE
    assert "Traceback" not in done.stderr
    assert "error: shut/" in done.stderr
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("args", [[b"run", b"bad\xff.toml"], [b"resume", b"lo\xff"],
                                  [b"suite", b"validate", b"bad\xff.toml"]])  # fmt: skip
def test_a_name_that_is_not_text_is_refused(args: list[bytes], tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.toml")).write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "roadworthy", *args], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.startswith("error: '")
    assert "is not UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("redirected", "code", "told"),
    [
        (">&-", ExitCode.USAGE, "error: standard output is closed\n"),  # nothing is begun
        (">/dev/full", ExitCode.INTERRUPTED, "error: the output: No space left on device\n"),
        (">/dev/null 2>&-", ExitCode.OK, ""),  # nobody asked to be told
        (">&- 2>&-", ExitCode.USAGE, ""),
        (">/dev/full 2>&1", ExitCode.INTERRUPTED, ""),
        (">/dev/null 0<&-", ExitCode.OK, ""),
    ],
)
@pytest.mark.parametrize("args", ["scenarios list procedural -o count=1", "--help"])
def test_output_that_cannot_be_written(
    args: str, redirected: str, code: ExitCode, told: str
) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m roadworthy {args} {redirected}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert told in done.stderr
    assert told or "2>" not in redirected or not done.stderr
    assert "Traceback" not in done.stderr


def all_commands(
    group: click.Group | None = None, before: str = ""
) -> Iterator[tuple[str, click.Command]]:
    group = group or cli.cli
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


@pytest.mark.parametrize(
    ("option", "value", "told", "commands"),
    [
        ("--data", "no-such-folder", "'no-such-folder' does not exist",
         {"run", "resume", "verify", "flywheel", "generate", "mine", "train", "report",
          "suite validate", "scenarios list", "scenarios show", "scenarios convert",
          "scenarios validate"}),
        ("--out", "", "is empty",
         {"run", "flywheel", "generate", "mine", "train", "report", "compare", "show", "render",
          "reconstruct", "scenarios show", "scenarios convert"}),
        ("--workers", "99999999", "1024", {"run", "flywheel", "generate", "scenarios convert"}),
    ],
)  # fmt: skip
def test_every_command_refuses_an_option_that_leads_nowhere(
    option: str, value: str, told: str, commands: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = set()
    for name, command in all_commands():
        context = click.Context(command)
        for parameter in command.params:
            if option not in parameter.opts:
                continue
            found.add(name)
            with pytest.raises(click.BadParameter, match=told):
                parameter.handle_parse_result(context, {str(parameter.name): value}, [])
            if option == "--data":
                monkeypatch.setenv("ROADWORTHY_DATA", value)
                with pytest.raises(click.BadParameter, match=told):
                    parameter.handle_parse_result(context, {}, [])
    assert found == commands


def test_a_data_folder_from_the_environment_is_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROADWORTHY_DATA", "no-such-folder")
    suite = str(Path(__file__).parents[2] / "suites" / "smoke.toml")
    assert cli.main(["suite", "validate", suite]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "ROADWORTHY_DATA" in told
    assert "no-such-folder" in told


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
