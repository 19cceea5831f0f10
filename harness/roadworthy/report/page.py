"""Puts the HTML page together: one file, nothing fetched, nothing run but its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from markupsafe import Markup, escape

from roadworthy.report.numbers import format_value
from roadworthy.report.payload import inert_json, payload_of
from roadworthy.report.plots import forest, histograms
from roadworthy.report.replays import Replays
from roadworthy.report.verdicts import Verdicts
from roadworthy.report.view import View

__all__ = ["asset", "page_of", "policy"]

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
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: asset("templates", name)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["value"] = format_value
    environment.filters["breakable"] = _breakable
    style = "\n".join(asset("assets", name) for name in _STYLES)
    script = "\n".join(asset("assets", name) for name in _SCRIPTS)
    return environment.get_template("page.html").render(
        view=view,
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(inert_json(payload_of(view, replays.by_case))),
        blobs=[Markup(blob) for blob in replays.blobs],
        replays=replays,
        verdicts=verdicts,
        forest=forest,
        histograms=histograms(view),
        sections=[(title, Markup(body)) for title, body in sections],
    )


def _breakable(name: str) -> Markup:
    """A metric's name that may be broken after its dots and underscores."""
    escaped = str(escape(name))
    return Markup(escaped.replace(".", ".<wbr>").replace("_", "_<wbr>"))


def asset(folder: str, name: str) -> str:
    """The text of a file in `assets` or `templates`."""
    path = resources.files("roadworthy.report") / folder / name
    return path.read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
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
