"""Puts the HTML page together: one file, nothing fetched, nothing run but its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

from roadworthy.report.numbers import format_value
from roadworthy.report.payload import inert_json, payload_of
from roadworthy.report.plots import forest, histograms
from roadworthy.report.replays import Replays
from roadworthy.report.verdicts import Verdicts
from roadworthy.report.view import View

__all__ = ["page_of", "render"]

_STYLES = ("base.css", "parts.css", "player.css", "phone.css")
_SCRIPTS = (
    "base.js",
    "decode.js",
    "table.js",
    "scatter.js",
    "motion.js",
    "picture.js",
    "traces.js",
    "player.js",
    "case.js",
    "gallery.js",
    "start.js",
)


def page_of(
    view: View,
    verdicts: Verdicts,
    replays: Replays,
    sections: Sequence[tuple[str, str]] = (),
) -> str:
    """The page.

    Args:
        view: what is shown.
        verdicts: what the statistics say of it.
        replays: encoded replays of some or all cases.
        sections: (title, trusted HTML fragment) pairs from plugins.
    """
    return render(
        "page.html",
        _STYLES,
        _SCRIPTS,
        view=view,
        data=Markup(inert_json(payload_of(view, replays.by_case))),
        blobs=[Markup(blob) for blob in replays.blobs],
        replays=replays,
        verdicts=verdicts,
        forest=forest,
        histograms=histograms(view),
        sections=[(title, Markup(body)) for title, body in sections],
    )


def render(template: str, styles: Sequence[str], scripts: Sequence[str], **values: Any) -> str:
    """A template filled in, with styles and scripts in the page and a policy that allows nothing
    else.

    Args:
        template: its name.
        styles, scripts: names of assets, in order.
        values: what the template names; texts are escaped.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _asset("templates", name)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["value"] = format_value
    environment.filters["breakable"] = _breakable
    style = "\n".join(_asset("assets", name) for name in styles)
    script = "\n".join(_asset("assets", name) for name in scripts)
    return environment.get_template(template).render(
        policy=_policy(style, script), style=Markup(style), script=Markup(script), **values
    )


def _breakable(name: str) -> Markup:
    """A metric's name that may be broken after its dots and underscores."""
    escaped = str(escape(name))
    return Markup(escaped.replace(".", ".<wbr>").replace("_", "_<wbr>"))


def _asset(folder: str, name: str) -> str:
    """The text of a file in `assets` or `templates`."""
    path = resources.files("roadworthy.report") / folder / name
    return path.read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: this style and this script, and nothing from anywhere."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_source(script)}",
            f"style-src {_source(style)}",
            "img-src data:",
            "media-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
