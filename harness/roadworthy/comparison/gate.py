"""Gates: rules of a suite that a run has to meet, judged by intervals and not by luck.

    [[gate]]                       # absolute: the mean is high enough
    metric = "pdms"
    at_least = 0.8

    [[gate]]                       # non-inferior: not worse than the baseline by more than 0.01
    metric = "pdms"
    against = "baseline"
    margin = 0.01

    [[gate]]                       # improved: better than another planner of the run
    metric = "success"
    planner = "mine"
    against = "idm"
    improvement = 0.0

It is the near end of the two-sided interval (95 % unless said) that has to keep to the
bound, so that a planner which is in truth worse than a rule allows passes it with a
probability of at most 2.5 %, whatever the number of scenarios. How often an equal planner
passes depends on that number: `roadworthy compare` says what it takes. Every rule has to
hold, so that several rules need no correction: they cannot make a bad planner pass.

A planner whose every case equals the baseline's has no difference to speak of and passes a
`margin`; the reason says what share of other logs might differ all the same. That is the limit of a
difference: one that shows in a share q of independent logs is in none of n with a probability of
(1 - q)^n. An absolute rule has no such limit: no failure in n logs leaves its upper bound.

A rule that cannot be judged fails, and says why. Scenes that were rejected before any planner
saw them are no errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from roadworthy import stats
from roadworthy.comparison.casetable import (
    ColumnKey,
    bounds_of,
    column_name,
    columns_of,
    tabulate,
)
from roadworthy.comparison.pairing import Contestant, pair
from roadworthy.errors import RunError, SuiteError, did_you_mean
from roadworthy.exit_codes import ExitCode
from roadworthy.rollout import Status
from roadworthy.store import Run
from roadworthy.suite import GateConfig

__all__ = ["BASELINE", "GateVerdict", "RuleVerdict", "gate", "holds", "rules_of"]

BASELINE = "baseline"
"""What a rule's `against` calls the run given with --baseline."""


class RuleVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one rule for one planner.

    Attributes:
        rule: the rule in words.
        planner: judged.
        passed: whether it holds.
        judged: whether it could be judged at all; a rule that could not has not passed.
        reason: one sentence.
        value, low, high: the mean, or the mean gain over the other side (in the better
            direction), and its interval; null where there is none.
        scenarios: judged.
    """

    rule: str
    planner: str
    passed: bool
    judged: bool
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    scenarios: int = 0


class GateVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """All rules of a gate."""

    rules: tuple[RuleVerdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule holds."""
        return all(rule.passed for rule in self.rules)

    @property
    def exit_code(self) -> ExitCode:
        """OK; GATE_FAILED if a rule is broken; INCOMPLETE if some could not be judged."""
        if self.passed:
            return ExitCode.OK
        broken = any(rule.judged and not rule.passed for rule in self.rules)
        return ExitCode.GATE_FAILED if broken else ExitCode.INCOMPLETE


def rules_of(run: Run) -> tuple[GateConfig, ...]:
    """The rules of the suite that was run.

    Raises:
        RunError: if the run's record of them is damaged.
    """
    try:
        return msgspec.convert(run.manifest.suite.get("gate", ()), tuple[GateConfig, ...])
    except msgspec.ValidationError as error:
        raise RunError(f"{run.path}: its gate rules are damaged: {error}") from error


def gate(run: Run, rules: Sequence[GateConfig], baseline: Run | None = None) -> GateVerdict:
    """Judge a run.

    Args:
        run: what is judged.
        rules: each is judged for the planner it names, or for all.
        baseline: the run that `against = "baseline"` means.

    Raises:
        SuiteError: if there is no rule, or one names what the run has not got.
        RunError: if run and baseline must not be compared.
    """
    if not rules:
        raise SuiteError(
            f"{run.path}: there is no rule to judge by", hint="Add a [[gate]] table to the suite."
        )
    verdicts = []
    for i, rule in enumerate(rules):
        key = _column(run, rule, i)
        for player, other in _sides(run, rule, baseline, i):
            verdicts.append(_judge(rule, key, player, other))
    return GateVerdict(rules=tuple(verdicts))


def holds(rule: GateConfig, low: float, high: float) -> bool:
    """Whether the near end of an interval keeps to the rule's bound.

    Args:
        rule: the rule.
        low, high: of the mean; for relative rules of the gain, positive where better.
    """
    if rule.at_least is not None:
        return low >= rule.at_least
    if rule.at_most is not None:
        return high <= rule.at_most
    if rule.margin is not None:
        return low >= -rule.margin
    return rule.improvement is not None and low > rule.improvement


def _judge(
    rule: GateConfig, key: ColumnKey, player: Contestant, other: Contestant | None
) -> RuleVerdict:
    text = _words(rule, player, other)
    if other is None:
        interval, missing = _absolute(rule, key, player)
    else:
        interval, missing = _gain(rule, key, player, other)
    fault = _fault(rule, player, other, interval, missing)
    known = interval.scenarios > 0
    ends = [x if math.isfinite(x) else None for x in (interval.low, interval.high)]
    passed = not fault and holds(rule, interval.low, interval.high)
    return RuleVerdict(
        rule=text,
        planner=player.label,
        passed=passed,
        judged=not fault,
        reason=fault or _reason(rule, player, other, interval, passed),
        value=interval.value if known else None,
        low=ends[0],
        high=ends[1],
        scenarios=interval.scenarios,
    )


def _absolute(
    rule: GateConfig, key: ColumnKey, player: Contestant
) -> tuple[stats.Interval, dict[str, int]]:
    records = [r for r in player.records if r.status is not Status.INVALID_SCENARIO]
    good = [r for r in records if r.status is Status.OK]
    table = tabulate(good, [key])
    interval = stats.interval_of_means(
        table.scenario_means(table.values), table.groups, confidence=rule.confidence,
        bounds=bounds_of([columns_of(player.run.manifest)[key]]),
    )[0]  # fmt: skip
    return interval, {"ended in an error": len(records) - len(good)}


def _gain(
    rule: GateConfig, key: ColumnKey, player: Contestant, other: Contestant
) -> tuple[stats.Interval, dict[str, int]]:
    pairs = pair(other, player)
    if key not in pairs.columns:
        raise SuiteError(f"{other.run.path}: has no column {column_name(*key)!r} to compare with")
    k = pairs.columns.index(key)
    sign = -1.0 if columns_of(player.run.manifest)[key]["better"] == "lower" else 1.0
    change = sign * pairs.scenario_values()[2][:, [k]]
    interval = stats.interval_of_means(
        change, pairs.a.groups, shares=False, confidence=rule.confidence
    )[0]
    one_sided = np.isfinite(pairs.a.values[:, k]) != np.isfinite(pairs.b.values[:, k])
    tried = [p for p in pairs.errored if any(r.status is not Status.INVALID_SCENARIO for r in p)]
    return interval, {
        "ended in an error": len(tried),
        "in one run alone": len(pairs.only_a) + len(pairs.only_b),
        "undefined on one side": int(one_sided.sum()),
    }


def _fault(
    rule: GateConfig,
    player: Contestant,
    other: Contestant | None,
    interval: stats.Interval,
    missing: dict[str, int],
) -> str:
    """Why the rule cannot be judged, or ""."""
    for side in (player, other):
        if side is not None and not side.run.manifest.complete:
            return f"{side.run.path} is not complete; `roadworthy resume` it first."
    total = sum(missing.values())
    if total > rule.max_errors:
        kinds = ", ".join(f"{n} {kind}" for kind, n in missing.items() if n)
        cases = "1 case" if total == 1 else f"{total} cases"
        return f"{cases} cannot be judged ({kinds}), and max_errors is {rule.max_errors}."
    if not interval.scenarios:
        return f"{rule.metric} of {player.label} is undefined in every case."
    if interval.clusters < rule.min_scenarios:
        return (
            f"{interval.clusters} independent scenarios are too few to judge by; "
            f"min_scenarios is {rule.min_scenarios}."
        )
    return ""


def _reason(
    rule: GateConfig,
    player: Contestant,
    other: Contestant | None,
    interval: stats.Interval,
    passed: bool,
) -> str:
    n = f"{interval.scenarios} scenarios"
    if other is not None and interval.method == "constant" and interval.value == 0.0:
        same = f"{rule.metric} of {player.label} equals that of {other.label} in all {n}"
        unseen = 100.0 * stats.binomial_interval(0, interval.clusters, rule.confidence)[1]
        known = f"{same}; it may differ in up to {unseen:.2g} % of others."
        return known if passed else f"{same}, which is no improvement."
    value, low, high = interval.value, interval.low, interval.high
    subject = f"{rule.metric} of {player.label} is"
    if other is not None:
        better = value >= 0.0
        subject += f" {'better' if better else 'worse'} than that of {other.label} by"
        if not better:
            value, low, high = -value, -high, -low
    what = f"{subject} {value:.4g} ({100.0 * rule.confidence:g} % interval "
    what += f"{low:.4g} to {high:.4g}, {n})"
    if passed:
        return f"{what}, and the rule allows all of the interval."
    if holds(rule, interval.value, interval.value):
        return f"{what}; the mean keeps to the rule, but not all of the interval."
    return f"{what}, and the rule does not allow the mean."


def _words(rule: GateConfig, player: Contestant, other: Contestant | None) -> str:
    subject = f"{rule.metric} of {player.label}"
    if rule.at_least is not None:
        return f"{subject} is at least {rule.at_least:g}"
    if rule.at_most is not None:
        return f"{subject} is at most {rule.at_most:g}"
    than = f"than {other.label}" if other else ""
    if rule.margin is not None:
        return f"{subject} is not worse {than} by more than {rule.margin:g}"
    return f"{subject} is better {than} by more than {rule.improvement:g}"


def _column(run: Run, rule: GateConfig, i: int) -> ColumnKey:
    specs = columns_of(run.manifest)
    names = {column_name(*key): key for key in specs}
    if rule.metric not in names:
        raise SuiteError(
            f"gate[{i}].metric = {rule.metric!r}: {run.path} has no such column",
            hint=did_you_mean(rule.metric, names),
        )
    key = names[rule.metric]
    if rule.against and specs[key]["better"] == "neither":
        raise SuiteError(
            f"gate[{i}].metric = {rule.metric!r}: neither way of it is better",
            hint="Use `at_least` or `at_most`.",
        )
    return key


def _sides(
    run: Run, rule: GateConfig, baseline: Run | None, i: int
) -> Iterator[tuple[Contestant, Contestant | None]]:
    """Who is judged against whom."""
    labels = list(run.manifest.planners)
    for field, name in (("planner", rule.planner), ("against", rule.against)):
        if name and name not in labels and (field, name) != ("against", BASELINE):
            known = [*labels, BASELINE] if field == "against" else labels
            raise SuiteError(
                f"gate[{i}].{field} = {name!r}: {run.path} has no such planner",
                hint=did_you_mean(name, known),
            )
    judged = [rule.planner] if rule.planner else [x for x in labels if x != rule.against]
    if not judged:
        raise SuiteError(
            f"gate[{i}]: {run.path} has no planner but {rule.against!r}, which others are judged "
            "against",
            hint="Run another planner beside it, or drop the rule.",
        )
    for label in judged:
        player = Contestant(run, label, label)
        if not rule.against:
            yield player, None
        elif rule.against == BASELINE and (baseline is not None or BASELINE not in labels):
            yield player, _in_baseline(label, baseline, i)
        else:
            yield player, Contestant(run, rule.against, rule.against)


def _in_baseline(label: str, baseline: Run | None, i: int) -> Contestant:
    """The planner of that label in the baseline run, or the only one there."""
    if baseline is None:
        raise SuiteError(
            f"gate[{i}].against = {BASELINE!r}: no baseline is given",
            hint="Give --baseline RUN.",
        )
    planners = list(baseline.manifest.planners)
    if label in planners:
        return Contestant(baseline, label, BASELINE)
    if len(planners) == 1:
        return Contestant(baseline, planners[0], BASELINE)
    raise SuiteError(
        f"gate[{i}]: {baseline.path} has no planner {label!r} to compare with",
        hint=did_you_mean(label, planners),
    )
