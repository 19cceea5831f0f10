"""`roadworthy render`: pictures of a scene from any poses."""

from __future__ import annotations

from pathlib import Path

import click

from roadworthy.commands._options import OutPath

__all__ = ["command"]


@click.command("render")
@click.argument("scene", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--cameras",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Poses and intrinsics, as nerfstudio's transforms.json has them.",
)
@click.option(
    "--out",
    required=True,
    type=OutPath(file_okay=False, path_type=Path),
    help="Folder for the pictures.",
)
@click.option(
    "--traversal",
    default="",
    help="The drive whose light and actors to show; each frame's own if absent.",
)
@click.option("--renderer", default="splat", show_default=True, help="The renderer to use.")
def command(scene: Path, cameras: Path, out: Path, traversal: str, renderer: str) -> None:
    """Renders the scene folder SCENE, one PNG for each frame of the cameras file."""
    from roadworthy.plugins import registry

    count = registry().resolve("renderers", renderer).load()(scene, cameras, out, traversal)
    click.echo(f"{count} pictures in {out}")
