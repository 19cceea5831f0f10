"""Begins an installable plugin: `roadworthy plugins new KIND NAME`."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path

from roadworthy.errors import PluginError, did_you_mean
from roadworthy.plugins import registry

__all__ = ["KINDS", "create_plugin"]

KINDS = ("planner", "metric", "generator", "source")

_TEMPLATES = Path(__file__).parent / "templates"


def create_plugin(kind: str, name: str, directory: Path | None = None) -> Path:
    """Writes a package that works as it is, to be changed.

    Args:
        kind: one of `KINDS`.
        name: of the distribution and of what it registers, in kebab case.
        directory: where to write it; a folder called `name` by default.

    Returns:
        The folder, which holds `pyproject.toml`, `src`, `tests` and `README.md`.

    Raises:
        PluginError: for an unknown kind, a bad or taken name, or a folder that is not empty.
    """
    if kind not in KINDS:
        raise PluginError(f"there is no template for {kind!r}", hint=did_you_mean(kind, KINDS))
    package = _package(name)
    target = directory or Path(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise PluginError(
            f"{target} is there already; nothing was written",
            hint="Name another folder with --dir, or remove it.",
        )
    found = importlib.util.find_spec(package)
    if found is not None and found.origin is not None:  # a mere folder of that name has none
        raise PluginError(
            f"{package!r} can already be imported here, and would be hidden by or hide this plugin",
            hint="Choose another name.",
        )
    if name in registry().names(f"{kind}s"):
        raise PluginError(
            f"{name!r} is already the name of an installed {kind}", hint="Choose another name."
        )
    for path, text in _render(kind, name, package).items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")
    return target


def _package(name: str) -> str:
    """The import name for a distribution name."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 60:
        raise PluginError(
            f"{name!r} cannot be the name of a plugin",
            hint="Use kebab case: small letters, digits and single hyphens, such as 'acme-idm'.",
        )
    package = name.replace("-", "_")
    if keyword.iskeyword(package):
        raise PluginError(f"{name!r} is a word of Python's grammar", hint="Choose another name.")
    return package


def _render(kind: str, name: str, package: str) -> dict[str, str]:
    """Relative path -> content."""
    import jinja2

    from roadworthy import __version__

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,
    )
    values = {
        "kind": kind,
        "name": name,
        "package": package,
        "cls": "".join(part.capitalize() for part in name.removesuffix(f"-{kind}").split("-"))
        + kind.capitalize(),
        "version": ".".join(__version__.split(".")[:2]),
    }
    files = {}
    for folder in ("common", kind):  # a kind's own file takes the place of the common one
        for template in sorted((_TEMPLATES / folder).rglob("*.j2")):
            path = template.relative_to(_TEMPLATES / folder).with_suffix("").as_posix()
            path = path.replace("src/", f"src/{package}/", 1)
            source = template.relative_to(_TEMPLATES).as_posix()
            files[path] = environment.get_template(source).render(values)
    return files
