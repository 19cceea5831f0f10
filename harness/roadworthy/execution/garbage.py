"""How often the interpreter looks for cycles of objects that nobody holds any more."""

from __future__ import annotations

import gc

__all__ = ["collect_rarely"]


def collect_rarely() -> None:
    """Look for cycles after 100,000 new objects, not after 700.

    For processes of our own. Records and scenes live until the end, and looking through them again
    and again took a tenth of a run's time; what a batch leaves behind is collected as it ends.
    """
    gc.set_threshold(100_000, 20, 20)
