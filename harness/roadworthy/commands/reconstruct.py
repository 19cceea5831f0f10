"""`roadworthy reconstruct`: a scene from a recording."""

from __future__ import annotations

import json
from pathlib import Path

import click

from roadworthy.commands._options import OutPath

__all__ = ["command"]


@click.command("reconstruct")
@click.argument("recording", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--out",
    required=True,
    type=OutPath(file_okay=False, path_type=Path),
    help="Folder for the scene.",
)
@click.option("--width", type=int, help="Shrink the images to this many pixels across.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Of the fit.")
@click.option("--resume", is_flag=True, help="Go on with the reconstruction in --out.")
@click.option("--reconstructor", default="splat", show_default=True, help="What is to do it.")
def command(
    recording: Path,
    out: Path,
    width: int | None,
    settings: tuple[str, ...],
    resume: bool,
    reconstructor: str,
) -> None:
    """Makes a scene folder from RECORDING: images with poses, and points and boxes if it has them.

    RECORDING is a folder of nerfstudio (transforms.json), COLMAP, KITTI odometry, or PandaSet.
    """
    from roadworthy.plugins import registry

    pairs = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set {setting}: must be NAME=VALUE")
        pairs[name] = value
    work = registry().resolve("reconstructors", reconstructor).load()
    click.echo(json.dumps(work(recording, out, width, resume, pairs), indent=1))
