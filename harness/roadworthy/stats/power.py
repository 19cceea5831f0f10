"""How small a difference could be found, and how many scenarios it takes to find one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from roadworthy.stats.exact import normal_quantile

__all__ = ["Power", "paired_power"]


@dataclass(frozen=True, slots=True)
class Power:
    """What a paired comparison with this spread can and cannot see.

    Attributes:
        scenarios: scenarios compared.
        power: probability of finding the effects below, such as 0.8.
        detectable: smallest true difference that is found with that probability; None where
            nothing differed, so that the spread is unknown.
        effect: the difference asked for, or the observed one.
        needed: scenarios needed to find `effect` with that probability; None where the
            effect is 0 or the spread unknown.
    """

    scenarios: int
    power: float
    detectable: float | None
    effect: float
    needed: int | None


def paired_power(
    standard_error: float,
    scenarios: int,
    effect: float,
    *,
    clusters: int | None = None,
    power: float = 0.8,
    confidence: float = 0.95,
) -> Power:
    """Power of the two-sided paired t-test, which the sign-flip test equals for large n.

    With z_α = z(1-α/2), z_β = z(power) and the spread of a cluster's difference
    σ = SE √G, the clusters needed for a true difference δ are
    G = ((z_α + z_β) σ / δ)² + z_α² / 2 (Guenther 1981: the normal formula, corrected for an
    estimated σ; within one of the noncentral t). Solved for δ it gives `detectable`.
    Scenarios come in clusters of the mean size seen.

    Args:
        standard_error: of the mean difference, clusters considered.
        scenarios: scenarios compared.
        effect: the true difference to be found.
        clusters: independent groups of scenarios; as many as scenarios unless given.
        power: wanted probability of finding it.
        confidence: 1 - α of the test.
    """
    groups = clusters or scenarios
    wanted = abs(effect)
    if not (standard_error > 0.0 and math.isfinite(standard_error)):
        return Power(scenarios, power, None, wanted, None)
    z_alpha = normal_quantile(0.5 + confidence / 2.0)
    z = z_alpha + normal_quantile(power)
    sigma = standard_error * math.sqrt(groups)
    spare = groups - z_alpha**2 / 2.0
    detectable = z * sigma / math.sqrt(spare) if spare > 0.0 else None
    needed = None
    if wanted > 0.0:
        needed = math.ceil(((z * sigma / wanted) ** 2 + z_alpha**2 / 2.0) * scenarios / groups)
    return Power(scenarios, power, detectable, wanted, needed)
