"""Gates: a worse planner fails them, an equal one passes, at the rates that are stated."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from roadworthy import stats
from roadworthy.cli import main
from roadworthy.comparison.gate import GateVerdict, gate, holds, rules_of
from roadworthy.errors import RunError, SuiteError
from roadworthy.exit_codes import ExitCode
from roadworthy.rollout import Status
from roadworthy.stats.exact import normal_quantile
from roadworthy.suite import GateConfig, parse_suite
from verdict_runs import scores, write_run

REPETITIONS = 1_000
MARGIN = GateConfig(metric="drive.score", against="baseline", margin=0.02)
ABSOLUTE = GateConfig(metric="drive.score", at_least=0.1)


def changes(seed: int, mean: float, scenarios: int = 150) -> NDArray[np.float64]:
    """[scenarios, REPETITIONS] paired differences: 40 % none, else skewed, `mean` on average."""
    rng = np.random.default_rng(seed)
    skewed = rng.gamma(2.0, 0.05, (scenarios, REPETITIONS)) - 0.1
    return np.where(rng.random(skewed.shape) < 0.4, 0.0, skewed) + mean


def pass_rate(rule: GateConfig, gains: NDArray[np.float64]) -> float:
    found = stats.interval_of_means(gains, shares=False, resamples=1_999)
    return float(np.mean([holds(rule, i.low, i.high) for i in found]))


def test_a_planner_worse_by_the_margin_passes_in_2_5_percent_of_studies() -> None:
    assert pass_rate(MARGIN, changes(1, -0.02)) == pytest.approx(0.025, abs=0.012)


def test_a_planner_worse_by_twice_the_margin_never_passes() -> None:
    assert pass_rate(MARGIN, changes(2, -0.04)) == 0.0


def test_an_equal_planner_passes_as_often_as_the_power_says() -> None:
    """The one-sided rate is Φ(margin / SE - z)."""
    gains = changes(3, 0.0)
    se = gains.std() / math.sqrt(len(gains))
    wanted = NormalDist().cdf(0.02 / se - normal_quantile(0.975))
    assert wanted > 0.95
    assert pass_rate(MARGIN, gains) == pytest.approx(wanted, abs=0.02)
    few = changes(4, 0.0, scenarios=40)
    wanted = NormalDist().cdf(0.02 / (few.std() / math.sqrt(40)) - normal_quantile(0.975))
    assert 0.3 < wanted < 0.7
    assert pass_rate(MARGIN, few) == pytest.approx(wanted, abs=0.08)


def test_improvement_is_claimed_falsely_in_2_5_percent_of_studies() -> None:
    rule = GateConfig(metric="drive.score", against="baseline", improvement=0.0)
    assert pass_rate(rule, changes(5, 0.0)) == pytest.approx(0.025, abs=0.012)
    assert pass_rate(rule, changes(6, 0.03)) > 0.99


def test_an_absolute_rule_errs_at_the_same_rate() -> None:
    rule = GateConfig(metric="drive.score", at_least=0.8)
    assert pass_rate(rule, 0.8 + changes(7, 0.0)) == pytest.approx(0.025, abs=0.012)


def baseline_and(tmp_path: Path, n: int = 120, **planners: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    base = write_run(tmp_path / "base", {"mine": {"score": scores(n, spread=0.02)}})
    run = write_run(tmp_path / "run", {k: {"score": v} for k, v in planners.items()})
    return base, run


def test_a_run_made_slightly_worse_fails_and_an_equal_one_passes(tmp_path: Path) -> None:
    same = scores(120, spread=0.02)
    base, run = baseline_and(tmp_path, mine=same, noisy=scores(120, 1, 0.0, 0.02))
    verdict = gate(run, [msgspec.structs.replace(MARGIN, planner="mine")], base)
    assert verdict.passed
    assert verdict.exit_code == ExitCode.OK
    (rule,) = verdict.rules
    assert rule.rule == "drive.score of mine is not worse than baseline by more than 0.02"
    assert rule.reason == (
        "drive.score of mine equals that of baseline in all 120 scenarios; "
        "it may differ in up to 3 % of others."
    )

    worse = write_run(tmp_path / "worse", {"mine": {"score": 0.96 * same}})
    verdict = gate(worse, [MARGIN], base)
    assert verdict.exit_code == ExitCode.GATE_FAILED
    (rule,) = verdict.rules
    assert rule.judged
    assert rule.low < rule.value < -0.02
    assert "is worse than that of baseline by 0.0" in rule.reason
    assert rule.reason.endswith("and the rule does not allow the mean.")

    verdict = gate(run, [msgspec.structs.replace(MARGIN, planner="noisy")], base)
    assert verdict.passed
    assert "allows all of the interval" in verdict.rules[0].reason


def test_the_interval_decides_not_the_mean(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {"p": {"success": [1.0] * 19 + [0.0]}})
    rule = GateConfig(metric="drive.success", at_least=0.9)
    (found,) = gate(run, [rule]).rules
    assert found.value == 0.95
    assert not found.passed
    assert "the mean keeps to the rule, but not all of the interval" in found.reason


def test_no_failure_in_200_passes_two_percent_and_not_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {"p": {"hits": [0.0] * 200}})
    rules = [GateConfig(metric="drive.hits", at_most=x) for x in (0.02, 0.01)]
    verdict = gate(run, rules)
    assert [r.passed for r in verdict.rules] == [True, False]
    assert "interval 0 to 0.01828, 200 scenarios" in verdict.rules[0].reason


def test_no_failure_in_scenes_that_share_logs_is_no_more_than_none_in_so_many_logs(
    tmp_path: Path,
) -> None:
    zeros = {"mine": {"hits": np.zeros(200)}}
    apart = write_run(tmp_path / "apart", zeros)
    shared = write_run(tmp_path / "shared", zeros, logs=12)
    rule = GateConfig(metric="drive.hits", at_most=0.02)
    assert gate(apart, [rule]).passed
    (verdict,) = gate(shared, [rule]).rules
    assert not verdict.passed
    assert verdict.high == pytest.approx(stats.binomial_interval(0, 12)[1])
    (nothing,) = gate(shared, [msgspec.structs.replace(rule, at_most=0.0)]).rules
    assert not nothing.passed


def test_a_rule_with_nobody_to_judge_is_a_mistake(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"mine": {"score": scores(20)}})
    rule = GateConfig(metric="drive.score", against="mine", margin=0.02)
    with pytest.raises(SuiteError, match="no planner but 'mine'"):
        gate(run, [rule])


def test_lower_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    jerk = rng.random(60)
    run = write_run(tmp_path / "r", {"a": {"jerk": jerk + 0.5}, "b": {"jerk": jerk}})
    rule = GateConfig(metric="drive.jerk", against="a", improvement=0.1)
    (found,) = gate(run, [rule]).rules
    assert (found.planner, found.passed) == ("b", True)
    (found,) = gate(run, [msgspec.structs.replace(rule, against="b")]).rules
    assert (found.planner, found.passed) == ("a", False)
    assert found.reason.startswith("drive.jerk of a is worse than that of b by 0.5 (")


@pytest.mark.parametrize(
    ("n", "failures", "rule", "why"),
    [
        (6, {}, ABSOLUTE, "6 independent scenarios are too few to judge by"),
        (30, {("mine", 2): Status.TIMEOUT}, ABSOLUTE, "1 case cannot be judged (1 ended in an"),
        (28, {}, MARGIN, "92 cases cannot be judged (92 in one run alone), and max_errors is 0."),
    ],
)
def test_what_cannot_be_judged_fails_with_the_reason(
    tmp_path: Path,
    n: int,
    failures: dict[tuple[str, int], Status],
    rule: GateConfig,
    why: str,
) -> None:
    base = write_run(tmp_path / "base", {"mine": {"score": scores(120)}})
    run = write_run(tmp_path / "run", {"mine": {"score": scores(n)}}, failures=failures)
    verdict = gate(run, [rule], base)
    assert verdict.exit_code == ExitCode.INCOMPLETE
    assert not verdict.rules[0].judged
    assert why in verdict.rules[0].reason


def test_some_errors_can_be_allowed(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "r", {"p": {"score": scores(40)}}, failures={("p", 2): Status.TIMEOUT}
    )
    assert gate(run, [GateConfig(metric="drive.score", at_least=0.1, max_errors=1)]).passed


def test_rejected_scenes_are_no_errors(tmp_path: Path) -> None:
    rejected = {("p", 2): Status.INVALID_SCENARIO, ("q", 2): Status.INVALID_SCENARIO}
    planners = {"p": {"score": scores(40)}, "q": {"score": scores(40)}}
    run = write_run(tmp_path / "r", planners, failures=rejected)
    assert gate(run, [ABSOLUTE, GateConfig(metric="drive.score", against="q", margin=0.0)]).passed


def test_a_column_that_one_side_leaves_undefined_is_not_passed_over(tmp_path: Path) -> None:
    a = scores(40)
    b = a.copy()
    b[:5] = np.nan
    run = write_run(tmp_path / "r", {"a": {"score": a}, "b": {"score": b}})
    rule = GateConfig(metric="drive.score", planner="b", against="a", margin=0.1)
    (found,) = gate(run, [rule]).rules
    assert "5 undefined on one side" in found.reason
    rule = GateConfig(metric="drive.success", at_least=0.1)
    assert "undefined in every case" in gate(run, [rule]).rules[0].reason


def test_an_incomplete_run_is_not_judged(tmp_path: Path) -> None:
    run = write_run(tmp_path / "r", {"p": {"score": scores(40)}})
    part = msgspec.structs.replace(
        run, manifest=msgspec.structs.replace(run.manifest, complete=False)
    )
    (found,) = gate(part, [GateConfig(metric="drive.score", at_least=0.1)]).rules
    assert "not complete" in found.reason


def test_rules_that_name_what_is_not_there(tmp_path: Path) -> None:
    base, run = baseline_and(tmp_path, mine=scores(120), idm=scores(120))
    cases = [
        (GateConfig(metric="drive.scor", at_least=0.1), "no such column", "'drive.score'"),
        (GateConfig(metric="drive.score", planner="mina", at_least=0.1), "planner", "'mine'"),
        (GateConfig(metric="drive.score", against="base", margin=0.1), "against", "'baseline'"),
        (MARGIN, "no baseline is given", "--baseline"),
        (
            GateConfig(metric="drive.distance_m", against="idm", margin=1.0),
            "neither way",
            "at_least",
        ),
    ]
    for rule, message, hint in cases:
        with pytest.raises(SuiteError) as error:
            gate(run, [rule])
        assert message in error.value.message
        assert hint in error.value.hint
    with pytest.raises(SuiteError, match="no rule"):
        gate(run, [])
    other = write_run(tmp_path / "v2", {"mine": {"score": scores(120)}}, version="2")
    with pytest.raises(RunError, match="has version 1 and 2"):
        gate(other, [MARGIN], base)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = [
        {"metric": "drive.score", "against": "baseline", "margin": 0.02},
        {"metric": "drive.score", "at_least": 0.3},
    ]
    same = scores(120, spread=0.02)
    base = write_run(tmp_path / "base", {"old": {"score": same}})
    good = write_run(tmp_path / "good", {"mine": {"score": same}}, suite={"gate": rules})
    bad = write_run(tmp_path / "bad", {"mine": {"score": same * 0.9}}, suite={"gate": rules})
    few = write_run(tmp_path / "few", {"mine": {"score": same[:4]}}, suite={"gate": rules[1:]})
    assert rules_of(good)[1].at_least == 0.3
    with_base = ["--baseline", str(base.path)]
    assert main(["gate", str(good.path), *with_base]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "verdict\trule\treason"
    assert [line.split("\t")[0] for line in lines[1:]] == ["pass", "pass"]
    assert main(["gate", str(bad.path), *with_base]) == 1
    assert "FAIL" in capsys.readouterr().out
    assert main(["gate", str(few.path)]) == 3
    assert "not judged" in capsys.readouterr().out
    assert main(["gate", str(good.path)]) == 4
    assert main(["gate", str(base.path)]) == 4
    capsys.readouterr()
    main(["gate", str(bad.path), *with_base, "--json"])
    found = msgspec.convert(json.loads(capsys.readouterr().out), GateVerdict)
    assert [r.passed for r in found.rules] == [False, True]


GATE = """
name = "g"
planners = ["mine"]
metrics = ["pdms"]
[[sources]]
name = "towns"
[simulator]
name = "closed-loop"
[[gate]]
metric = "pdms.score"
"""


def test_gate_rules_are_read() -> None:
    suite = parse_suite(GATE + 'against = "baseline"\nmargin = 0.01\n', "g.toml")
    (rule,) = suite.gate
    assert (rule.metric, rule.against, rule.margin, rule.max_errors) == (
        "pdms.score",
        "baseline",
        0.01,
        0,
    )


@pytest.mark.parametrize(
    ("rule", "message", "hint"),
    [
        ("", "gate[0]: has no condition", "at_least"),
        ("at_least = 1.0\nat_most = 2.0", "gate[0]: has at_least and at_most", "second rule"),
        ("margin = 0.1", "gate[0]: margin of what?", "baseline"),
        ('at_least = 0.1\nagainst = "idm"', "at_least is absolute", "Drop"),
        ('margin = 0.1\nagainst = "p"\nplanner = "p"', "compared with itself", ""),
        ("at_lest = 0.1", "gate[0]: unknown key 'at_lest'", "'at_least'"),
        ('margin = -1.0\nagainst = "p"', "gate[0].margin = -1.0", ""),
        ("at_least = 1.0\nconfidence = 95", "gate[0].confidence = 95", ""),
    ],
)
def test_gate_rules_that_make_no_sense_are_refused(rule: str, message: str, hint: str) -> None:
    with pytest.raises(SuiteError) as error:
        parse_suite(GATE + rule, "g.toml")
    assert message in error.value.message
    assert hint in error.value.hint
