"""Why a run cannot go on with a suite: what of all that can change a score is another now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.resolved import ResolvedSuite
from roadworthy.store import Manifest

__all__ = ["differences"]


def differences(then: Manifest, now: ResolvedSuite) -> list[str]:
    """What differs between a run and a suite of another `config_hash`, in a few words each.

    Args:
        then: of the run.
        now: the suite.
    """
    suite = msgspec.to_builtins(now.suite)
    found = _fields("suite", *({k: s.get(k) for k in _NUMBERS} for s in (then.suite, suite)))
    sources = [_sources(s.get("sources", [])) for s in (then.suite, suite)]
    found += _named("source", *sources)
    simulator = {"files": then.provenance.get("simulator_files", now.simulated["files"])}
    found += _fields("simulator", then.protocol, now.protocol)
    found += _plugin("simulator", simulator, {"files": now.simulated["files"]})
    found += _named("planner", then.planners, now.described)
    metrics = [
        {name: {"spec": s["version"], **s["plugin"]} for name, s in specs.items()}
        for specs in (then.metrics, now.specs)
    ]
    found += _named("metric", *metrics)
    return found or ["the simulator is of another version, or an optional source came or went"]


_NUMBERS = ("seed", "repetitions")


def _sources(configs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By label the name and options of each; of its `path` the last part counts."""
    found = {}
    for i, config in enumerate(configs):
        options = dict(config["options"])
        if "path" in options:
            options["path"] = Path(options["path"]).name
        label = config["label"] or config["name"]
        found[f"{label} ({i + 1})" if label in found else label] = {
            "name": config["name"],
            "options": options,
        }
    return found


def _named(
    kind: str, then: Mapping[str, dict[str, Any]], now: Mapping[str, dict[str, Any]]
) -> list[str]:
    """Of plugins of one kind, by label."""
    if list(then) != list(now):
        return [f"{kind}s are {', '.join(now)}, were {', '.join(then)}"]
    return [text for label in now for text in _plugin(f"{kind} {label}", then[label], now[label])]


def _plugin(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Of what identifies a plugin."""
    yield from _fields(what, then.get("options", {}), msgspec.to_builtins(now.get("options", {})))
    for key, word in (
        ("name", "plugin"),
        ("distribution", "distribution"),
        ("version", "version"),
        ("spec", "version"),
        ("privileged", "needs_log"),
    ):
        yield from _fields(what, {word: then.get(key)}, {word: now.get(key)})
    if then.get("content_hash") != now.get("content_hash"):
        yield f"{what}: its file has changed, or one beside it that it imports"
    before, after = then.get("files", {}), now.get("files", {})
    for path in after:
        if path in before and before[path] != after[path]:
            yield f"{what}: {path} has changed"


def _fields(what: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{what}: {key} is {_said(now, key)}, was {_said(then, key)}"
        for key in dict.fromkeys((*now, *then))
        if then.get(key) != now.get(key)
    ]


def _said(fields: Mapping[str, Any], key: str) -> str:
    return repr(fields[key]) if key in fields else "not set"
