"""`roadworthy view RUN`, `roadworthy view SCENE`"""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.exit_codes import ExitCode

__all__ = ["command"]


@click.command("view")
@click.argument("path", metavar="RUN|SCENE", type=click.Path(path_type=Path))
@click.option("--case", "case_name", help="Open this case: its scenario's name, or its key.")
@click.option("--3d", "in_depth", is_flag=True, help="Fly through a case of a run with cameras.")
@click.option("--planner", default="", help="With --3d: whose drive [the first].")
@click.option("--traversal", default="", help="Of a scene: the light to see it in [the first].")
@click.option("--port", default=8080, show_default=True, help="Of the viewer.")
@click.option("--viewer", default="splat", show_default=True, help="What is to show it.")
def command(
    path: Path, case_name: str | None, in_depth: bool, planner: str, traversal: str, port: int,
    viewer: str,
) -> ExitCode:  # fmt: skip
    """Open a run's report in the browser, or fly through a scene or a drive.

    Of a run, writes the report first where there is none, and prints its address, which is all
    that happens where there is no browser. A scene folder, and with --3d a case of a run, is
    served until Ctrl-C, which is the way to end and exits with 0; that needs
    `pip install -c constraints.txt ".[viewer]"` in the checkout.
    """
    from roadworthy.report.showing import open_in_browser

    if in_depth or (path / "scene.json").is_file():
        from roadworthy.plugins import registry

        def tell(address: str) -> None:
            click.echo(address)
            open_in_browser(address)

        serve = registry().resolve("viewers", viewer).load()
        try:
            serve(path, case_name or "", planner, traversal, port, tell)
        except KeyboardInterrupt:
            click.echo()
        return ExitCode.OK

    from roadworthy.comparison.pairing import contestants
    from roadworthy.report import write_reports
    from roadworthy.report.showing import find_case
    from roadworthy.report.view import view_of
    from roadworthy.store import read_run

    found = read_run(path)
    page = path / "report.html"
    if not page.is_file():
        page = write_reports(found)
    address = page.resolve().as_uri()
    if case_name is not None:
        address += f"#case={find_case(view_of(contestants([found])), case_name).id}"
    click.echo(address)
    open_in_browser(address)
    return ExitCode.OK
