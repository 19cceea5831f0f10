"""What a conformance check reports: one row per kind of value compared with a reference."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ConformanceRow", "ConformanceTable"]


@dataclass(frozen=True, slots=True)
class ConformanceRow:
    """One kind of value.

    Attributes:
        metric: what was compared, such as `v1 NC`.
        cases: number of vectors that hold it.
        values: number of values compared.
        agree: number of them within tolerance (or excepted, see `exceptions`).
        worst: largest absolute error seen.
        tolerance: 0 for discrete values, which must be equal.
        first: the first disagreement (case, index, wanted, got), or "".
        exceptions: values that differ for a stated cause that the reference leaves undefined.
        informative: whether the row is reported only, and cannot fail the check.
    """

    metric: str
    cases: int
    values: int
    agree: int
    worst: float
    tolerance: float
    first: str = ""
    exceptions: tuple[str, ...] = ()
    informative: bool = False


@dataclass(frozen=True, slots=True)
class ConformanceTable:
    """All rows of one check, and what was read."""

    name: str
    directory: str
    rows: tuple[ConformanceRow, ...]

    @property
    def ok(self) -> bool:
        """Whether every row that can fail agrees."""
        return bool(self.rows) and all(r.informative or r.agree == r.values for r in self.rows)
