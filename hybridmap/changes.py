"""A scenario with further demands, as ``--with`` gives them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import planner
from hybridmap.settings import GROUPS, Setting, parse_settings, with_settings
from planner.algorithms import dataflow_of
from planner.domain.contradictions import check_roles
from planner.domain.dataflow import GENERATOR
from planner.domain.reading import parse_scenario

_OPTION = "--with"
_WHERE = f"command line: {_OPTION}"


def changed_scenario(scenario: planner.Scenario, texts: Sequence[str]) -> planner.Scenario:
    """The scenario under pins (``actor.devices=16``), ``colocate=actor,critic``, ``apart=...`` or any key.

    Raises
    ------
    SpecError
        Lists every text that is no setting, or every mistake of the scenario that they make.
    InfeasibleError
        Two of them pin one field to two values.
    """
    value = scenario.model_dump(mode="json", exclude={"run"})
    for setting in parse_settings(texts, option=_OPTION):
        value = with_settings(value, [_of_scenario(setting, value)])
    changed = parse_scenario(value, where=_WHERE, relative_to=Path())
    check_roles(changed, dataflow_of(changed), where=_WHERE)
    return changed.model_copy(update={"run": scenario.run})


def _of_scenario(setting: Setting, value: dict[str, Any]) -> Setting:
    """The setting with the whole key, and groups beside those that are there."""
    first = setting.key.partition(".")[0]
    if first in {*value["models"], GENERATOR}:
        return setting._replace(key=f"pin.{setting.key}")
    if setting.key in GROUPS and not _is_list_of_lists(setting.value):
        return setting._replace(value=[*value[setting.key], _group(setting.value)])
    return setting


def _group(value: Any) -> Any:
    return [role.strip() for role in value.split(",")] if isinstance(value, str) else value


def _is_list_of_lists(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, list) for item in value)
