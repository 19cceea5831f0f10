"""Comparisons of run directories: what pairs, what is refused, what is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from roadworthy.cli import main
from roadworthy.commands.compare import command
from roadworthy.comparison.compare import Comparison, compare
from roadworthy.comparison.leaderboard import rank
from roadworthy.comparison.pairing import contestants, read_contestants
from roadworthy.errors import RunError
from roadworthy.report import write_reports
from roadworthy.rollout import Status
from roadworthy.store import Run
from verdict_runs import PROTOCOL, scores, write_run


def two(tmp_path: Path, n: int = 60, shift: float = 0.05, **more: object) -> tuple[Run, Run]:
    return (
        write_run(tmp_path / "a", {"p": {"score": scores(n)}}),
        write_run(tmp_path / "b", {"p": {"score": scores(n, 1, shift)}}, **more),  # type: ignore[arg-type]
    )


def column(comparison: Comparison, name: str = "score", challenge: int = 0):  # type: ignore[no-untyped-def]
    return next(c for c in comparison.challenges[challenge].columns if c.column == name)


def test_a_better_planner_is_said_to_be_better(tmp_path: Path) -> None:
    found = column(compare(two(tmp_path, shift=0.08)))
    assert found.verdict == "better"
    assert found.scenarios == found.clusters == 60
    assert found.difference.value == pytest.approx(found.b.value - found.a.value)
    assert 0.0 < found.difference.low < found.difference.value < found.difference.high
    assert found.p <= found.p_holm < 0.05
    assert found.detectable is not None
    assert found.needed is not None
    assert found.needed < 60


def test_a_planner_compared_with_itself_is_equal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {"p": {"score": scores(40)}, "q": {"score": scores(40)}})
    found = column(compare([run]))
    assert (found.verdict, found.p, found.difference.interval) == ("equal", 1.0, "constant")
    assert (found.difference.low, found.difference.high) == (0.0, 0.0)
    assert found.needed is None
    assert "nothing is known" in found.power_sentence()


def test_two_scenarios_do_not_make_shares_differ_by_more_than_one(tmp_path: Path) -> None:
    scores = {"old": {"success": [0.0, 1.0]}, "new": {"success": [1.0, 1.0]}}
    run = write_run(tmp_path / "run", scores)
    [challenge] = compare([run]).challenges
    found = next(c for c in challenge.columns if c.name == "drive.success")
    assert (found.difference.low, found.difference.high) == (-1.0, 1.0)
    assert "too few to show any difference" in found.power_sentence()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([0.0], [1.0], "there is one scenario"),
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], "all scenarios differ alike"),
        ([0.0, 1.0, 0.0], [0.0, 1.0, 0.0], "no scenario differs"),
    ],
)
def test_it_says_why_nothing_is_known_of_the_spread(
    tmp_path: Path, old: list[float], new: list[float], said: str
) -> None:
    run = write_run(tmp_path / "run", {"old": {"success": old}, "new": {"success": new}})
    [challenge] = compare([run]).challenges
    found = next(c for c in challenge.columns if c.name == "drive.success")
    assert said in found.power_sentence()


def test_scenarios_of_one_log_are_said_to_be_so(tmp_path: Path) -> None:
    planners = {"old": {"success": [0.0] * 10}, "new": {"success": [1.0] * 9 + [0.0]}}
    found = column(compare([write_run(tmp_path / "run", planners, logs=1)]), "success")
    assert (found.scenarios, found.clusters) == (10, 1)
    assert "all 10 scenarios are of one log" in found.power_sentence()


def test_where_one_side_erred_in_every_case_nothing_is_said_of_differences(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        {"idm": {"success": [0.0] * 3}, "mine": {"success": [1.0] * 3}},
        failures={("mine", i): Status.PLANNER_ERROR for i in range(3)},
    )
    told = CliRunner().invoke(command, [str(run.path), "--out", str(tmp_path / "verdict")])
    page = (write_reports(run)).read_text()
    summary = (run.path / "summary.md").read_text()
    for text in (told.output, page, summary, (tmp_path / "verdict" / "report.html").read_text()):
        assert "o case was driven by both without an error." in text
        assert not re.search(r"0(</strong>)? (fixed|broken)|no scenario differs", text)
    assert "mine against idm: no case" in told.output
    assert "left out: 3 cases ended ok / planner_error (idm / mine)" in told.output
    assert "drive.success: no scenario was driven and judged on both sides." in page


def test_repetitions_are_averaged_before_anything_is_counted(tmp_path: Path) -> None:
    """Three copies of every case say no more than one."""
    a, b = scores(30), scores(30, 1, 0.02)
    once = compare([write_run(tmp_path / "1", {"a": {"score": a}, "b": {"score": b}})])
    thrice = compare(
        [
            write_run(
                tmp_path / "3",
                {"a": {"score": np.repeat(a, 3)}, "b": {"score": np.repeat(b, 3)}},
                repetitions=3,
            )
        ]
    )
    assert thrice.challenges[0].cases == 90
    one, three = column(once), column(thrice)
    assert three.scenarios == 30
    assert three.difference.low == pytest.approx(one.difference.low)
    assert three.p == pytest.approx(one.p)


def test_scenarios_of_one_log_are_one_cluster(tmp_path: Path) -> None:
    a = scores(60)
    b = a + np.tile(np.random.default_rng(0).normal(0.02, 0.1, 12), 5)
    planners = {"a": {"score": a}, "b": {"score": b}}
    alone = column(compare([write_run(tmp_path / "alone", planners)]))
    logs = column(compare([write_run(tmp_path / "logs", planners, logs=12)]))
    assert (alone.clusters, logs.clusters, logs.scenarios) == (60, 12, 60)
    width = [c.difference.high - c.difference.low for c in (alone, logs)]
    assert width[1] > 1.8 * width[0]
    assert logs.p > alone.p


def test_holm_corrects_over_columns_and_challengers(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    planners = {
        name: {
            "score": rng.normal(ord(name) / 3.0, size=30),
            "hits": rng.normal(size=30),
            "jerk": rng.random(30),
        }
        for name in "abc"
    }
    found = compare([write_run(tmp_path / "r", planners)])
    assert found.family == 4
    raw = [c.p for ch in found.challenges for c in ch.headline if c.p is not None]
    adjusted = [c.p_holm for ch in found.challenges for c in ch.headline if c.p is not None]
    assert adjusted[int(np.argmin(raw))] == pytest.approx(4 * min(raw))
    assert all(y >= x for x, y in zip(raw, adjusted, strict=True))
    assert column(found, "jerk").p_holm is None
    assert column(found, "success").p is None
    assert column(found, "success").difference.value is None


def test_lower_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    fewer, more = rng.random(50), rng.random(50) + 1.0
    run = write_run(tmp_path / "r", {"a": {"hits": more}, "b": {"hits": fewer}})
    found = column(compare([run]), "hits")
    assert found.difference.value < 0.0
    assert found.verdict == "better"


def test_errors_and_lone_cases_are_counted_not_hidden(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {"p": {"score": scores(20)}}, failures={("p", 3): Status.TIMEOUT})
    b = write_run(
        tmp_path / "b",
        {"q": {"score": scores(18, 1)}},
        failures={("q", 3): Status.PLANNER_ERROR, ("q", 5): Status.PLANNER_ERROR},
    )
    found = compare([a, b])
    challenge = found.challenges[0]
    assert challenge.cases == 16
    assert [r.scenario for r in challenge.only_a] == ["s0018", "s0019"]
    assert challenge.only_b == ()
    assert challenge.errored_by_kind() == {"timeout / planner_error": 1, "ok / planner_error": 1}
    assert found.errors == 2
    assert found.a.status == {"ok": 19, "timeout": 1}


def test_transitions(tmp_path: Path) -> None:
    a = [1.0, 1.0, 0.0, 0.0, 1.0]
    b = [1.0, 0.0, 1.0, 0.0, 1.0]
    run = write_run(tmp_path / "r", {"a": {"success": a}, "b": {"success": b}})
    t = compare([run]).challenges[0].transitions
    names = [[r.scenario for r in group] for group in (t.broken, t.fixed, t.still_failing)]
    assert names == [["s0001"], ["s0002"], ["s0003"]]
    assert len(t.still_fine) == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": "2"}, "metric drive has version 1 and 2"),
        ({"protocol": PROTOCOL | {"replan_hz": 5}}, "protocol: replan_hz is 2 and 5"),
        ({"protocol": PROTOCOL | {"noise": 1}}, "protocol: noise is 'not set' and 1"),
        ({"content": "other"}, "unequal content of test/s0000, test/s0001, test/s0002 and 57 more"),
        ({"seed": 1}, "unequal seeds in test/s0000"),
    ],
)
def test_unequal_conditions_are_refused_by_name(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    with pytest.raises(RunError, match="cannot be compared") as error:
        compare(two(tmp_path, **change))
    assert named in str(error.value)


def test_who_is_meant(tmp_path: Path) -> None:
    many = write_run(tmp_path / "many", {n: {"score": scores(5)} for n in ("idm", "mine")})
    one = write_run(tmp_path / "one", {"idm": {"score": scores(5)}})
    assert [p.label for p in contestants([many])] == ["idm", "mine"]
    assert [p.label for p in contestants([many, one])] == ["many/idm", "many/mine", "one/idm"]
    named = read_contestants([f"{many.path}:mine", str(one.path)])
    assert [p.label for p in named] == ["mine", "idm"]
    with pytest.raises(RunError, match="not clear which") as error:
        read_contestants([str(many.path), str(one.path)])
    assert f"{many.path}:idm or {many.path}:mine" in error.value.hint
    with pytest.raises(RunError, match="no planner 'mini'") as error:
        read_contestants([f"{many.path}:mini", str(one.path)])
    assert "'mine'" in error.value.hint
    with pytest.raises(RunError, match="named twice"):
        contestants([one, (one, "idm")])
    with pytest.raises(RunError, match="takes two planners"):
        compare([one])


def test_the_command_prints_tabs_json_and_files(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    plain = CliRunner().invoke(command, [str(a.path), str(b.path)], standalone_mode=False)
    lines = [line.split("\t") for line in plain.stdout.splitlines()]
    assert lines[0][:4] == ["a", "b", "metric", "scenarios"]
    assert lines[1][2:4] == ["drive.score", "60"]
    assert lines[1][-3] == "better"
    assert "fixed" in plain.stderr
    out = tmp_path / "out"
    code = main(["compare", str(a.path), str(b.path), "--json", "--out", str(out)])
    assert code == 0
    stored = json.loads((out / "comparison.json").read_text())
    assert msgspec.convert(stored, Comparison) == compare([a, b])
    assert (out / "report.html").is_file()


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = two(tmp_path, version="2")
    assert main(["compare", str(a.path), str(b.path)]) == 4
    assert "version 1 and 2" in capsys.readouterr().err
    assert main(["compare", str(a.path), str(tmp_path / "nothing")]) == 4


def test_errored_cases_make_the_exit_code_incomplete(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "r",
        {"a": {"score": scores(9)}, "b": {"score": scores(9)}},
        failures={("b", 0): Status.TIMEOUT},
    )
    assert main(["compare", str(run.path)]) == 3


def test_ranks_tie_where_the_data_cannot_tell(tmp_path: Path) -> None:
    n = 120
    run = write_run(
        tmp_path / "r",
        {
            "worst": {"score": scores(n, 1, -0.2)},
            "twin": {"score": scores(n, 2, 0.0)},
            "best": {"score": scores(n, 3, 0.2)},
            "other-twin": {"score": scores(n, 4, 0.0)},
        },
        failures={("worst", 0): Status.PLANNER_ERROR},
    )
    board = rank([run])
    places = {s.label: s.place for s in board.standings}
    assert places == {"best": "1", "twin": "2–3", "other-twin": "2–3", "worst": "4"}
    assert board.standings[0].label == "best"
    assert board.scenarios == n - 1
    assert {s.label: s.errors for s in board.standings}["worst"] == 1
    assert all(s.low < s.value < s.high for s in board.standings)
    assert (board.metric, board.column) == ("drive", "score")


def test_ranks_by_a_named_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    run = write_run(
        tmp_path / "r",
        {"a": {"jerk": rng.random(40) + 1.0}, "b": {"jerk": rng.random(40)}},
    )
    board = rank([run], "drive.jerk")
    assert [(s.label, s.place) for s in board.standings] == [("b", "1"), ("a", "2")]
    with pytest.raises(RunError, match="no column 'drive\\.jerks'") as error:
        rank([run], "drive.jerks")
    assert "drive.jerk" in error.value.hint
    alone = rank([(run, "a")])
    assert alone.standings[0].place == "1"
    assert alone.standings[0].value is None
