"""Reports: one self-contained HTML page, a Markdown summary, JUnit XML, and a score table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from roadworthy.comparison.compare import Comparison
from roadworthy.comparison.pairing import Entry, contestants
from roadworthy.errors import RunError
from roadworthy.plugins import registry
from roadworthy.report.junit import junit_of
from roadworthy.report.markdown import markdown_of
from roadworthy.report.page import page_of
from roadworthy.report.replays import encode_replays
from roadworthy.report.tables import scores_csv, scores_parquet
from roadworthy.report.verdicts import judge
from roadworthy.report.view import view_of
from roadworthy.store import Run, write_file

__all__ = ["write_report", "write_reports"]


def write_reports(run: Run) -> Path:
    """Write every report into the run directory; the path of the HTML page.

    Raises:
        RunError: if they cannot be written.
    """
    return write_report([run], run.path)


def write_report(
    entries: Iterable[Entry],
    out: Path,
    *,
    title: str = "",
    comparison: Comparison | None = None,
    sections: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write a report of planners side by side.

    That is `report.html`, `summary.md`, `junit.xml`, `scores.parquet` and `scores.csv`.

    Args:
        entries: runs (all their planners) or (run, planner) pairs, the reference first. Cases
            are paired by their key.
        out: the folder, made if need be.
        title: of the page; the suites' names if not given.
        comparison: theirs, if it has been made already.
        sections: (title, trusted HTML fragment) pairs to add before those of plugins.

    Returns:
        The path of the HTML page.

    Raises:
        RunError: if there is nothing to show, or the folder cannot be written.
    """
    players = contestants(entries)
    view = view_of(players, title)
    verdicts = judge(players, comparison)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}") from error
    offered = registry().hooks.roadworthy_report_sections(list(view.runs))
    page = page_of(view, verdicts, encode_replays(view), [*sections, *offered])
    write_file(out / "summary.md", markdown_of(view, verdicts).encode(errors="replace"))
    write_file(out / "junit.xml", junit_of(view))
    write_file(out / "scores.parquet", scores_parquet(view))
    if not (out / "run.json").exists():  # a run has its own, the same for any number of workers
        write_file(out / "scores.csv", scores_csv(view).encode(errors="replace"))
    write_file(out / "report.html", page.encode(errors="replace"))
    return out / "report.html"
