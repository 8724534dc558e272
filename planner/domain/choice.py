"""A plan as a person writes it: pools and strategies, without prediction and proof."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from planner.domain.mistakes import describe_errors
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Plan, RoleStrategy
from planner.domain.quantities import PositiveInt, Value
from planner.domain.reading import Keys, find_scenario, parse_scenario, read_keys
from planner.domain.scenario import Scenario
from planner.domain.text import load_json, load_yaml
from planner.errors import SpecError

_COMPUTED = ("prediction", "proof", "runners_up", "idle_devices")
"""Keys of a whole plan that are computed anew."""


class ChosenPool(Value):
    """A colocated set with its devices."""

    name: str = ""
    """Not read: pools are named by their place."""
    node_pool: str | None = None
    """Of a cluster with a single one by default."""
    devices: PositiveInt
    roles: tuple[str, ...] = Field(min_length=1)
    order: tuple[str, ...] = ()
    """Of its calls; the best orders where any pool leaves it out."""
    ahead: dict[str, int] = Field(default_factory=dict)


class Choice(Value):
    """Which roles share which devices in which layouts."""

    pools: tuple[ChosenPool, ...] = Field(min_length=1)
    strategies: dict[str, RoleStrategy]

    @model_validator(mode="after")
    def _orders_everywhere_or_nowhere(self) -> Self:
        without = [", ".join(pool.roles) for pool in self.pools if not pool.order]
        if without and any(pool.order or pool.ahead for pool in self.pools):
            raise ValueError(
                f"pools: the pool of {without[0]} has no order, but order or ahead stand in some; "
                "write orders in all pools, or in none and the best ones are found"
            )
        return self


def choice_of(plan: Plan) -> Choice:
    """The pools and strategies of a plan, with its orders."""
    pools = tuple(
        ChosenPool(
            node_pool=pool.node_pool,
            devices=pool.devices,
            roles=pool.roles,
            order=pool.order,
            ahead=pool.ahead,
        )
        for pool in plan.pools
    )
    return Choice(pools=pools, strategies=plan.strategies)


def read_choice(path: Path) -> Choice:
    """A choice in a YAML or JSON file, which may be a whole ``plan.json``.

    Layouts may be written short, as ``train: p1t8d2``.

    Raises
    ------
    SpecError
        Lists every mistake of the choice, one a line, with its key path.
    """
    value = _keys_of(path)
    written = {key: item for key, item in value.items() if key not in (*_COMPUTED, "scenario")}
    try:
        return Choice.model_validate({**written, "strategies": _unfolded(written.get("strategies"))})
    except ValidationError as error:
        raise SpecError("\n".join(describe_errors(error, where=str(path), root=Choice))) from None


def read_choice_scenario(path: Path) -> Scenario:
    """The scenario that a choice is made for: a mapping in its file, or the path of a scenario file.

    Raises
    ------
    SpecError
        Lists every mistake of the scenario, or says that there is none.
    """
    found = read_choice_keys(path)
    return parse_scenario(found.value, where=found.where, relative_to=found.relative_to)


def read_choice_keys(path: Path) -> Keys:
    """The keys of that scenario, before any name is looked up.

    Raises
    ------
    SpecError
        There is no scenario.
    """
    value = _keys_of(path).get("scenario")
    if value is None:
        raise SpecError(f"{path}: scenario: missing; add it, or `hybridmap plan SCENARIO --score PLAN`")
    if isinstance(value, str):
        beside = path.parent / value
        return read_keys(beside if beside.is_file() else find_scenario(Path(value)))
    if not isinstance(value, dict):
        raise SpecError(f"{path}: scenario: expected a mapping or the path of a scenario file")
    kept = {key: item for key, item in value.items() if key != "run"}
    return Keys(kept, f"{path}: scenario", path.parent)


def _keys_of(path: Path) -> dict[str, Any]:
    value = load_json(path) if path.suffix == ".json" else load_yaml(path)
    if not isinstance(value, dict):
        raise SpecError(f"{path}: expected a mapping with the keys pools and strategies")
    return value


def _unfolded(strategies: Any) -> Any:
    """Strategies with the layouts that are written as text taken apart; what is no layout is left to fail."""
    if not isinstance(strategies, Mapping):
        return strategies
    return {role: _layouts_of(strategy) for role, strategy in strategies.items()}


def _layouts_of(strategy: Any) -> Any:
    if not isinstance(strategy, Mapping):
        return strategy
    return {key: _layout(item) if key in ("train", "infer") else item for key, item in strategy.items()}


def _layout(value: Any) -> Any:
    try:
        return ParallelStrategy.parse(value) if isinstance(value, str) else value
    except ValueError:
        return value
