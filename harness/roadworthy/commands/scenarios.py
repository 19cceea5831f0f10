"""`roadworthy scenarios`: what there is to drive, shown, stored and checked.

A SUBJECT is a registered source (its options by -o), package.module:Class or ./file.py:Class,
a suite, or a file or folder, whose format the sources recognise.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from roadworthy.commands._options import MOST_WORKERS, OutPath, data_option
from roadworthy.commands._output import print_json, print_table, track
from roadworthy.exit_codes import ExitCode

if TYPE_CHECKING:
    from roadworthy.recognition import LeftOut
    from roadworthy.scenario import Rejected, Scenario

__all__ = ["command"]

_F = TypeVar("_F", bound=Callable[..., Any])
SPLITS = ("train", "validation", "mining", "test")
"""Tags that `convert` takes for the split of a scene."""


@click.group("scenarios")
def command() -> None:
    """Lists, shows, converts and validates scenarios.

    A SUBJECT is a registered source, package.module:Class, ./file.py:Class, a suite, or a file
    or folder whose format the sources recognise.
    """


def _common(function: _F) -> _F:
    """The options that say where scenes come from."""
    for decorate in (
        click.option("--option", "-o", "options", multiple=True, metavar="KEY=VALUE",
                     help="An option of the source, as in a suite; repeatable."),
        data_option(),
    ):  # fmt: skip
        function = decorate(function)
    return function


@command.command("list")
@click.argument("subjects", nargs=-1, metavar="[SUBJECT]...")
@_common
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_scenarios(
    subjects: tuple[str, ...], data: Path | None, options: tuple[str, ...], as_json: bool
) -> ExitCode:
    """Lists scenes with length, agents, map layers, and what a drive of them may be scored on.

    A folder is searched through; without a SUBJECT, the data folder is. Scenes that were
    refused are listed with the reason; files that no source reads, on standard error.
    """
    from roadworthy.overview import describe

    if not subjects:
        if data is None:
            raise click.UsageError("Name a SUBJECT, or a folder of data with --data.")
        subjects = (str(data),)
    rows: list[dict[str, Any]] = []
    for scene in _scenes(subjects, options, data):
        rows.append(describe(scene))
    if as_json:
        print_json(rows)
    else:
        _print_rows(rows)
    good = [row for row in rows if not row["refused"]]
    traffic = [row["traffic"] for row in good]
    kinds = ", ".join(f"{traffic.count(k)} {k}" for k in dict.fromkeys(traffic) if k)
    click.echo(
        f"{len(good)} scenarios{f' (traffic: {kinds})' if kinds else ''}, "
        f"{len(rows) - len(good)} refused",
        err=True,
    )
    return ExitCode.OK if good else ExitCode.NO_SCENARIOS


@command.command("show")
@click.argument("subject")
@click.argument("name", required=False)
@_common
@click.option("--step", type=click.IntRange(0), help="Draw this step in a .png [the present].")
@click.option("--out", type=OutPath(path_type=Path, dir_okay=False),
              help=".html, which plays it, or .png [NAME.html].")  # fmt: skip
def show(
    subject: str,
    name: str | None,
    data: Path | None,
    options: tuple[str, ...],
    step: int | None,
    out: Path | None,
) -> ExitCode:
    """Draws one scene, or makes a page that plays it.

    NAME is the scene's; the first scene unless given.
    """
    from roadworthy.errors import DataError
    from roadworthy.report.scenes import scene_page, scene_picture
    from roadworthy.report.showing import open_in_browser

    scene = _find(subject, name, options, data)
    path = out or Path(f"{_file_name(scene.id)}.html")
    suffix = path.suffix.lower()
    if suffix not in (".html", ".png"):
        raise DataError(f"{path}: cannot make such a file", hint="Name a .html or a .png.")
    try:
        if suffix == ".png":
            scene_picture(scene, step).save(path)
        else:
            path.write_text(scene_page(scene), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error
    click.echo(path)
    if out is None:
        open_in_browser(path.resolve().as_uri())
    return ExitCode.OK


@command.command("convert")
@click.argument("subjects", nargs=-1, required=True, metavar="SUBJECT...")
@_common
@click.option("--out", type=OutPath(path_type=Path), required=True, help="Folder to make.")
@click.option("--split", help="The split of all scenes [the scene's tag, if it is train, "
              "validation, mining or test, or split: and one of these].")  # fmt: skip
@click.option("--workers", type=click.IntRange(1, MOST_WORKERS), default=1, show_default=True,
              help="Processes that make scenes, of sources that make them by number.")  # fmt: skip
def convert(
    subjects: tuple[str, ...],
    data: Path | None,
    options: tuple[str, ...],
    out: Path,
    split: str | None,
    workers: int,
) -> ExitCode:
    """Writes scenes into a store, which is read fast and needs no other library.

    A suite reads it with `name = "store"` and `path`. Refused scenes are kept as such. Ends
    with 3 if a scene that is fit to be driven could not be stored.
    """
    from roadworthy.admission.receipts import Receipts
    from roadworthy.errors import DataError
    from roadworthy.scenario import Rejected
    from roadworthy.scenario_store import StoreWriter

    receipts = Receipts()
    stored = refused = 0
    lost: list[DataError] = []
    with StoreWriter(out) as store:
        scenes = track(_scenes(subjects, options, data, workers), "scenes read")
        for scene in scenes:
            if isinstance(scene, Rejected):
                store.reject(scene)
                refused += 1
                continue
            words = (tag.removeprefix("split:") for tag in scene.tags)
            word = next((word for word in words if word in SPLITS), "")
            try:
                store.add(scene, split=word if split is None else split)
                stored += 1
                receipts.add([scene.hash])
            except DataError as error:
                store.reject(Rejected(scene.id, scene.source, type(error).__name__, str(error)))
                lost.append(error)
    receipts.keep()
    for fault in lost:
        click.echo(f"not stored: {_clean(str(fault))}", err=True)
    click.echo(f"{out}: {stored} scenarios, {refused + len(lost)} refused")
    if not stored:
        return ExitCode.NO_SCENARIOS
    return ExitCode.INCOMPLETE if lost else ExitCode.OK


@command.command("validate")
@click.argument("subjects", nargs=-1, required=True, metavar="SUBJECT...")
@_common
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def validate(
    subjects: tuple[str, ...], data: Path | None, options: tuple[str, ...], as_json: bool
) -> ExitCode:
    """Reads every scene, admits it, and, of a store, compares every byte with its hash.

    Prints what is wrong, and ends with 3 if anything is.
    """
    from roadworthy.recognition import LeftOut, find_sources, read_scenes
    from roadworthy.review import parse_options
    from roadworthy.scenario import Rejected
    from roadworthy.scenario_store import is_store

    problems: list[str] = []
    checked = 0
    for subject in subjects:
        for spec in find_sources(subject, parse_options(options), data):
            if isinstance(spec, LeftOut):
                _say_left_out(spec)
                continue
            path = spec.options.get("path")
            if isinstance(path, str) and is_store(Path(path)):
                found, count = _store_problems(Path(path))
                problems += found
                checked += count
                continue
            for scene in read_scenes(spec):
                checked += 1
                if isinstance(scene, Rejected):
                    problems.append(f"{scene.source}/{scene.id}: {scene.error}: {scene.reason}")
    if as_json:
        print_json({"scenes": checked, "problems": problems})
    else:
        for problem in problems:
            click.echo(_clean(problem))
        click.echo(f"{checked} scenes read, {len(problems)} problems", err=True)
    if problems:
        return ExitCode.INCOMPLETE
    return ExitCode.OK if checked else ExitCode.NO_SCENARIOS


def _store_problems(path: Path) -> tuple[list[str], int]:
    """What is wrong with a store, or was refused before, and how many scenes could be read."""
    from roadworthy.errors import DataError
    from roadworthy.scenario_store import RejectedRecord, ScenarioStore, validate_store

    problems: list[str] = []
    count = 0
    try:
        problems += [str(problem) for problem in validate_store(path)]
        for record in ScenarioStore(path).records():
            count += 1
            if isinstance(record, RejectedRecord):
                problems.append(f"{record.source}/{record.id}: {record.error}: {record.reason}")
    except DataError as error:
        problems += [str(error)] if str(error) not in problems else []
    return problems, count


def _scenes(
    subjects: Sequence[str], options: Sequence[str], data: Path | None, workers: int = 1
) -> Iterator[Scenario | Rejected]:
    """The scenes of all subjects; what is left out is said on standard error."""
    from roadworthy.recognition import LeftOut, find_sources, read_numbered
    from roadworthy.review import parse_options

    given = parse_options(options)
    for subject in subjects:
        for spec in find_sources(subject, given, data):
            if isinstance(spec, LeftOut):
                _say_left_out(spec)
            else:
                yield from read_numbered(spec, workers)


def _find(subject: str, name: str | None, options: Sequence[str], data: Path | None) -> Scenario:
    from roadworthy.errors import DataError, did_you_mean
    from roadworthy.scenario import Rejected

    names = []
    for scene in _scenes([subject], options, data):
        if name not in (None, scene.id, f"{scene.source}/{scene.id}"):
            names.append(scene.id)
        elif not isinstance(scene, Rejected):
            return scene
        elif name is not None:
            raise DataError(f"scene {name!r} was refused: {scene.reason}")
    if name is None:
        raise DataError(f"{subject}: no scene can be shown", hint="`list` says why.")
    hint = did_you_mean(name, names) if len(names) <= 20 else "`list` names all."
    raise DataError(f"{subject}: there is no scene {name!r}", hint=hint)


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Everything, tab-separated; for a person at a terminal, what fits into a line."""
    brief = sys.stdout.isatty()
    tail = ("not scored on",) if brief else ("scored on", "tags", "refused")
    columns = ("source", "scenario", "seconds", "agents", "traffic", "map", *tail)
    table = []
    for row in rows:
        cells: list[object] = [row["source"], row["id"]]
        if row["refused"]:
            cells += [""] * (len(columns) - 3) + [
                f"refused: {row['refused']}" if brief else row["refused"]
            ]
        else:
            scored, layers = row["scored_on"].items(), row["layers"].items()
            cells += [f"{row['seconds']:.1f}", sum(row["agents"].values()), row["traffic"]]
            if brief:
                cells.append(", ".join(name for name, _ in layers))
                cells.append(", ".join(name for name, fit in scored if not fit))
            else:
                cells.append(", ".join(f"{name} {count}" for name, count in layers))
                cells.append(", ".join(name for name, fit in scored if fit))
                cells += [", ".join(row["tags"]), ""]
        table.append([_clean(str(cell)) for cell in cells])
    print_table("Scenarios", columns, table, right=("seconds", "agents"))


def _say_left_out(found: LeftOut) -> None:
    click.echo(f"left out: {_clean(found.path)}: {_clean(found.reason)}", err=True)


def _clean(text: str) -> str:
    """Text of a stranger's, without what would steer a terminal."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


def _file_name(name: str) -> str:
    """A scene's name as a file's."""
    kept = "".join(c if c.isalnum() or c in "+-." else "_" for c in name).strip("._")[:80]
    return kept or "scene"
