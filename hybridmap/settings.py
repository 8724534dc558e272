"""Changes of single keys of a scenario, as the command line gives them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from planner.domain.capabilities import RUNTIME
from planner.domain.pins import PinKey, parse_pin, refuse_contradictions, unfolded
from planner.domain.reading import parse_cluster
from planner.domain.text import parse_yaml
from planner.errors import SpecError

GROUPS = ("colocate", "apart")
"""Keys whose values are sets of roles, to which the command line may add."""


class Setting(NamedTuple):
    """One key of a scenario and the value it takes."""

    key: str
    """Dotted path, as ``workload.prompts``; entries of lists by number or name, or all of them as ``*``."""
    value: Any
    option: str
    """The command line's option that says so, for messages."""


def parse_settings(texts: Sequence[str], *, option: str = "--set") -> list[Setting]:
    """The settings of texts such as ``workload.prompts=512``.

    Raises
    ------
    SpecError
        One line per text that is none, or that gives a key a second value.
    InfeasibleError
        Two of them pin one field to two values.
    """
    settings: list[Setting] = []
    mistakes: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            mistakes.append(f"command line: {option} {text!r}: write KEY=VALUE, as workload.prompts=512")
            continue
        try:
            found = parse_yaml(value, where=f"command line: {option} {key}={value}")
            settings.append(Setting(key, found, option))
        except SpecError as mistake:
            mistakes.append(str(mistake))
    mistakes += _second_values(settings)
    if mistakes:
        raise SpecError("\n".join(mistakes))
    refuse_contradictory_pins(settings)
    return settings


def refuse_contradictory_pins(settings: Sequence[Setting]) -> None:
    """Raise InfeasibleError where two settings pin one field to two values."""
    refuse_contradictions((f"{each.option} {_text(each)}", _pinned(each)) for each in settings)


def with_settings(value: dict[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    """The keys of a scenario's file with some of them changed; what is written in short may be gone into.

    >>> with_settings({"algorithm": "ppo"}, [Setting("algorithm.clip", 0.3, "--set")])
    {'algorithm': {'name': 'ppo', 'clip': 0.3}}
    """
    for setting in settings:
        value = _replaced(value, setting.key.split("."), setting)
    return value


def _second_values(settings: Sequence[Setting]) -> Iterator[str]:
    """One line per key with two values; several groups of roles are no such thing."""
    first: dict[str, Setting] = {}
    for setting in settings:
        known = first.setdefault(setting.key, setting)
        if known.value != setting.value and setting.key not in GROUPS:
            yield f"{_where(setting)}: is given twice, as {_text(known)} and as {_text(setting)}; give one"


def _pinned(setting: Setting) -> Mapping[PinKey, int | str]:
    """The fields that a setting pins, if it is a pin."""
    try:
        return parse_pin(setting.key.removeprefix("pin."), setting.value)
    except ValueError:
        return {}


def _text(setting: Setting) -> str:
    return f"{setting.key}={setting.value}"


def _replaced(value: Any, keys: Sequence[str], setting: Setting) -> Any:
    first, rest = keys[0], keys[1:]
    if isinstance(value, list):
        chosen = _entries(value, first, setting)
        return [_next(item, rest, setting) if i in chosen else item for i, item in enumerate(value)]
    if not isinstance(value, dict):
        raise SpecError(f"{_where(setting)}: there are no keys inside {value!r}")
    if first == "pin" and rest:
        pins = unfolded(value.get("pin") or {}) | unfolded({".".join(rest): setting.value})
        return {**value, "pin": pins}
    inner = value.get(first) if rest else None
    inner = {} if inner is None else inner
    return {**value, first: _next(_long_form(first, inner) if rest else inner, rest, setting)}


def _entries(items: list[Any], wanted: str, setting: Setting) -> set[int]:
    """Numbers of the entries of a list that are meant."""
    if wanted == "*":
        return set(range(len(items)))
    if wanted.isdigit() and int(wanted) < len(items):
        return {int(wanted)}
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if wanted not in names:
        known = ", ".join(str(name) for name in names if name)
        raise SpecError(
            f"{_where(setting)}: {wanted!r} is not an entry of a list of {len(items)}"
            + (f" (their names: {known})" if known else "")
        )
    return {names.index(wanted)}


def _long_form(key: str, value: Any) -> Any:
    """The keys that a text or a number stands for (`planner.domain.reading`)."""
    if key == "algorithm" and isinstance(value, str):
        return {"name": value}
    if key == "cluster" and isinstance(value, str):
        return parse_cluster(value)
    if key in ("prompt_tokens", "response_tokens") and isinstance(value, int):
        return {"mean": value, "maximum": value}
    if (key, value) == ("capabilities", "runtime"):
        return RUNTIME.model_dump(mode="json")
    return value


def _where(setting: Setting) -> str:
    return f"command line: {setting.option} {setting.key}"


def _next(value: Any, rest: Sequence[str], setting: Setting) -> Any:
    return _replaced(value, rest, setting) if rest else setting.value
