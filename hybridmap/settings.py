"""Changes of single keys of a scenario, as the command line gives them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import yaml

from planner.errors import SpecError


class Setting(NamedTuple):
    """One key of a scenario and the value it takes."""

    key: str
    """Dotted path, as ``workload.prompts``; numbers are entries of lists."""
    value: Any
    option: str
    """The command line's option that says so, for messages."""


def parse_settings(texts: Sequence[str], *, option: str = "--set") -> list[Setting]:
    """The settings of texts such as ``workload.prompts=512``.

    Raises
    ------
    SpecError
        One line per text that is none.
    """
    settings: list[Setting] = []
    mistakes: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            mistakes.append(f"command line: {option} {text!r}: write KEY=VALUE, as workload.prompts=512")
            continue
        try:
            settings.append(Setting(key, yaml.safe_load(value), option))
        except yaml.YAMLError:
            mistakes.append(f"command line: {option} {key}: {value!r} is not a value")
    if mistakes:
        raise SpecError("\n".join(mistakes))
    return settings


def with_settings(value: dict[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    """The keys of a scenario's file with some of them changed."""
    for setting in settings:
        value = _replaced(value, setting.key.split("."), setting)
    return value


def _replaced(value: Any, keys: Sequence[str], setting: Setting) -> Any:
    first, rest = keys[0], keys[1:]
    where = f"command line: {setting.option} {setting.key}"
    if isinstance(value, list):
        if not first.isdigit() or int(first) >= len(value):
            raise SpecError(f"{where}: {first!r} is not an entry of a list of {len(value)}")
        return [_next(item, rest, setting) if i == int(first) else item for i, item in enumerate(value)]
    if not isinstance(value, dict):
        raise SpecError(f"{where}: there are no keys inside {value!r}")
    if first == "pin" and rest:
        return {**value, "pin": {**(value.get("pin") or {}), ".".join(rest): setting.value}}
    return {**value, first: _next(value.get(first, {}), rest, setting)}


def _next(value: Any, rest: Sequence[str], setting: Setting) -> Any:
    return _replaced(value, rest, setting) if rest else setting.value
