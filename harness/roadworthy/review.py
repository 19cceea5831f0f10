"""Reviews what plugins offer, with the conformance kit where there is one for the kind."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from roadworthy.deadline import deadline
from roadworthy.errors import PluginError, did_you_mean
from roadworthy.plugins import KINDS, Entry, FactorySpec, registry
from roadworthy.plugins.localfile import split_path_spec
from roadworthy.plugins.options import describe_options
from roadworthy.testing.report import TIME_LIMIT_S, Fault, Report, Review, Watch, unwatched

__all__ = ["parse_options", "review"]

_METHODS = {
    "sources": ("scenarios",),
    "simulators": ("run",),
    "planners": ("plan", "plan_batch"),
    "generators": ("generate",),
    "metrics": ("score",),
    "trainers": ("train",),
}


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` words as options; a value is read as TOML, or else as a plain string.

    Raises:
        PluginError: for a word without `=`.
    """
    options = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise PluginError(f"--option {pair!r} is not KEY=VALUE", hint="Such as max_speed=12.0")
        try:
            options[key] = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            options[key] = text
    return options


def review(
    subject: str,
    kind: str | None,
    options: Mapping[str, Any],
    time_limit_s: float = TIME_LIMIT_S,
    watch: Watch = unwatched,
) -> Iterator[Report]:
    """Reviews a name, a distribution, an address or a file.

    Args:
        subject: what to review.
        kind: one of `KINDS`, or None to find out.
        options: for the factory.
        time_limit_s: for one check.
        watch: told of each check as it begins and ends.

    Yields:
        A report of each thing, once it has been reviewed.

    Raises:
        PluginError: if there is no such thing, or its kind cannot be told.
    """
    known = registry()
    if ":" in subject:
        watch(subject, "import", None)
        with deadline(time_limit_s, "Importing it does not end; --time-limit gives it longer."):
            entry = _local(subject, kind)
        yield _review(entry, options, time_limit_s, watch)
        return
    entries = [
        e for e in known.entries if kind in (None, e.kind) and subject in (e.name, e.distribution)
    ]
    broken = [b for b in known.broken if subject in (b.name, b.distribution)]
    if not entries and not broken:
        names = {e.name for e in known.entries} | {e.distribution for e in known.entries}
        message = f"nothing named {subject!r} is installed"
        message += "".join(f"\n{b} may offer it, but is broken: {b.reason}" for b in known.broken)
        raise PluginError(message, hint=did_you_mean(subject, names))
    for b in broken:
        yield _broken_report(str(b), b.traceback, watch)
    for e in entries:
        yield _review(e, options, time_limit_s, watch)


def _local(subject: str, kind: str | None) -> Entry:
    """The entry of a file or address, whose kind is told by its methods where not given."""
    entry = registry().resolve(kind or "planners", subject)
    if kind:
        return entry
    factory = entry.load()
    kinds = [k for k, names in _METHODS.items() if any(hasattr(factory, n) for n in names)]
    if len(kinds) != 1:
        raise PluginError(
            f"the kind of {subject} cannot be told",
            hint=f"Give --kind with one of {', '.join(KINDS)}.",
        )
    return registry().resolve(kinds[0], subject)


def _review(entry: Entry, options: Mapping[str, Any], time_limit_s: float, watch: Watch) -> Report:
    made = Review(entry.singular, entry.name, time_limit_s, watch)
    # A file or address is itself; of a name, the entry at hand is meant, even if there are two.
    spec = FactorySpec(entry.kind, entry.spec, options, entry.name)
    if not (
        made.check("loads", lambda: _loads(entry))
        and (entry.kind == "conformance" or made.check("options", lambda: _made(spec)))
    ):
        return made.report()
    findings = made.report().findings
    kit = _kit(entry.kind)
    if kit:
        findings += kit(spec, entry.name, time_limit_s, watch).findings
    elif entry.kind in _METHODS:
        made.check("interface", lambda: _offers(spec.build(), _METHODS[entry.kind][0]))
        findings = made.report().findings
    return Report(entry.singular, entry.name, findings)


def _kit(kind: str) -> Callable[[Callable[[], Any], str, float, Watch], Report] | None:
    from roadworthy.testing import check_metric, check_planner

    return {"planners": check_planner, "metrics": check_metric}.get(kind)


def _loads(entry: Entry) -> str:
    factory = entry.load()
    described = describe_options(factory)
    takes = "; ".join(f"{name}: {text}" for name, text in described.items())
    whose = f"from {entry.distribution} {entry.version}" if entry.distribution else "from a file"
    if not entry.distribution and split_path_spec(entry.spec) is None:
        whose = "from a module"
    return f"{whose}, options: {takes or 'none'}."


def _made(spec: FactorySpec) -> str:
    made = spec.build()
    given = ", ".join(f"{k} = {v!r}" for k, v in spec.options.items())
    return f"{type(made).__name__} is made with {given or 'its defaults'}."


def _offers(made: Any, method: str) -> str:
    if not callable(getattr(made, method, None)):
        raise Fault(f"{type(made).__name__} has no method {method}; see roadworthy.protocols.")
    return f"it offers {method}; there is no closer review for this kind."


def _broken_report(name: str, text: str, watch: Watch) -> Report:
    made = Review("plugin", name, watch=watch)

    def loads() -> str:
        raise Fault("it cannot be imported:\n      " + "\n      ".join(text.strip().splitlines()))

    made.check("loads", loads)
    return made.report()
