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
        backend: what was compared, for a check that has several to choose from.
        unserved: why the backend could not be compared with this vector, "" where it was; then
            there are no values.
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
    backend: str = ""
    unserved: str = ""

    @property
    def agrees(self) -> bool:
        """Whether it was compared, and every value agrees."""
        return not self.unserved and self.agree == self.values


@dataclass(frozen=True, slots=True)
class ConformanceTable:
    """All rows of one check, and what was read."""

    name: str
    directory: str
    rows: tuple[ConformanceRow, ...]

    @property
    def ok(self) -> bool:
        """Whether every row that can fail agrees; one that could not be compared does not."""
        return bool(self.rows) and all(r.informative or r.agrees for r in self.rows)
