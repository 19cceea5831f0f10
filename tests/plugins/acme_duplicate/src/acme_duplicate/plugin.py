"""Offers a second `idm`."""

from __future__ import annotations

from collections.abc import Mapping

from roadworthy import hookimpl


@hookimpl
def roadworthy_planners() -> Mapping[str, str]:
    return {"idm": "acme_duplicate.plugin:nothing"}


def nothing() -> None:
    """Never called: the name is refused first."""
