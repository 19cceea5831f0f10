"""Offers `acme-stop`, and writes down each case it sees end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from roadworthy import hookimpl


@hookimpl
def roadworthy_planners() -> Mapping[str, str]:
    return {"acme-stop": "acme_planner.stop:Stop"}


@hookimpl
def roadworthy_case_end(record: Any) -> None:
    """Takes only the argument that it needs. Raises once, to show that a run goes on."""
    path = os.environ.get("ACME_CASES")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{record.planner} {record.scenario}\n")
        raise RuntimeError("acme has had enough")
