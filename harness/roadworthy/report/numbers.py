"""Numbers as people read them, the same in every format."""

from __future__ import annotations

import math

__all__ = ["MISSING", "format_value"]

MISSING = "–"


def format_value(value: float | None) -> str:
    """Three decimals below 10, four or more digits above; a dash where undefined."""
    if value is None or not math.isfinite(value):
        return MISSING
    if 0.0 < abs(value) < 0.0005:
        text = f"{value:.0e}".replace("e-0", "e-")
    elif abs(value) < 10.0:
        text = f"{value:.3f}"
    else:
        text = f"{value:,.1f}" if abs(value) < 1000.0 else f"{value:,.0f}"
    return text.replace("-", "−")
