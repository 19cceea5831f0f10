"""Checks options written in a suite against the signature of the factory they are for."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from roadworthy.errors import PluginError, did_you_mean

__all__ = ["check_options", "describe_options", "with_paths"]


def check_options(
    factory: Callable[..., Any], options: Mapping[str, Any], where: str
) -> dict[str, Any]:
    """The options, converted to the annotated types (a list to a tuple, a string to a `Path`).

    Args:
        factory: a class or function; its keyword parameters are the options.
        options: plain values, as TOML has them.
        where: prefix of the messages, such as `suites/x.toml: planners[0]`.

    Raises:
        PluginError: for an unknown or missing option, or a value of another type. The
            message names where it stands, the value, and what was wanted.
    """
    parameters, anything = _parameters(factory)
    for name, value in options.items():
        if name not in parameters and not anything:
            raise PluginError(
                f"{where}.{name} = {value!r}: there is no such option",
                hint=did_you_mean(name, parameters) if parameters else "It takes no options.",
            )
    missing = [
        name
        for name, (_, default) in parameters.items()
        if default is inspect.Parameter.empty and name not in options
    ]
    if missing:
        raise PluginError(
            f"{where}: the option {' and '.join(map(repr, missing))} must be given",
            hint="Its type: "
            + "; ".join(f"{name}: {_type_name(parameters[name][0])}" for name in missing),
        )
    return {
        name: _convert(value, parameters[name][0], f"{where}.{name}")
        if name in parameters
        else value
        for name, value in options.items()
    }


def with_paths(value: Any, named: Mapping[str, Path]) -> Any:
    """A value of a plugin's options with each text that names a file as that file's path.

    Args:
        value: plain, as TOML has it.
        named: text -> path.
    """
    if isinstance(value, str):
        return str(named.get(value, value))
    if isinstance(value, Mapping):
        return {key: with_paths(item, named) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(with_paths(item, named) for item in value)
    return value


def describe_options(factory: Callable[..., Any]) -> dict[str, str]:
    """Option name -> `type = default`, for help texts and reports."""
    return {
        name: _type_name(hint) + ("" if default is inspect.Parameter.empty else f" = {default!r}")
        for name, (hint, default) in _parameters(factory)[0].items()
    }


def _parameters(factory: Callable[..., Any]) -> tuple[dict[str, tuple[Any, Any]], bool]:
    """Keyword parameter -> (type, default), and whether any other keyword is taken."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # compiled factories have none
        return {}, True
    hints = _hints(factory)
    keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = {
        name: (hints.get(name, Any), p.default)
        for name, p in signature.parameters.items()
        if p.kind in keyword
    }
    kinds = {p.kind for p in signature.parameters.values()}
    return found, inspect.Parameter.VAR_KEYWORD in kinds


def _hints(factory: Callable[..., Any]) -> dict[str, Any]:
    """Resolved annotations; those that cannot be resolved at run time are left out."""
    function = factory
    if inspect.isclass(factory):
        init: Any = factory.__init__
        function = factory.__new__ if init is object.__init__ else init
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # an annotation may name what is imported for type checkers alone
        scope = getattr(inspect.unwrap(function), "__globals__", {})
        resolved = {}
        for name, text in getattr(function, "__annotations__", {}).items():
            try:
                resolved[name] = eval(text, scope) if isinstance(text, str) else text
            except Exception:
                continue
        return resolved


def _convert(value: Any, wanted: Any, where: str) -> Any:
    if wanted is Any or wanted is inspect.Parameter.empty:
        return value
    try:
        return msgspec.convert(value, wanted, dec_hook=_decode)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        at = where + path.rstrip("`")
        reason = reason.replace("`", "")
        raise PluginError(
            f"{at} = {value!r}: {reason[:1].lower()}{reason[1:]}",
            hint=f"It is declared as {_type_name(wanted)}.",
        ) from error
    except TypeError:  # a type that msgspec does not know: the factory must check it itself
        return value


def _decode(wanted: type, value: Any) -> Any:
    if isinstance(value, wanted):
        return value
    if issubclass(wanted, Path) and isinstance(value, str):
        return wanted(value)
    raise msgspec.ValidationError(f"Expected `{wanted.__name__}`, got `{type(value).__name__}`")


def _type_name(wanted: Any) -> str:
    if wanted is Any:
        return "any type"
    return (
        wanted.__name__
        if isinstance(wanted, type) and not typing.get_args(wanted)
        else str(wanted).replace("typing.", "")
    )
