"""What differs between two plans, key by key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from planner.domain.placement import format_placement
from planner.domain.plan import Plan, Pool

Pair = tuple[Any, Any]
"""The first plan's value and the other's; none where a plan lacks the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Keys whose values differ, by what they describe; all empty for equal plans."""

    scenario: Mapping[str, Pair]
    """Key paths of the scenario."""
    placement: Mapping[str, Pair]
    """The placement as text, devices and node pool by role, and orders of pools with the same roles."""
    strategies: Mapping[str, Pair]
    """Fields such as ``actor.train.tensor``."""
    seconds: Mapping[str, Pair]
    """By call, and the totals."""
    memory: Mapping[str, Pair]
    """Bytes per device: persistent by role, the peak beside them by call, host memory by role."""
    proof: Mapping[str, Pair]
    """What was optimised, and what was proven."""

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, each.name) for each in fields(self))


def differences(one: Plan, other: Plan) -> Differences:
    """What differs between two plans, of whichever scenarios."""
    return Differences(
        scenario=_differing(_leaves(_dump(one, "scenario")), _leaves(_dump(other, "scenario"))),
        placement=_differing(_placement(one), _placement(other)) | _orders(one, other),
        strategies=_differing(_leaves(_dump(one, "strategies")), _leaves(_dump(other, "strategies"))),
        seconds=_differing(_seconds(one), _seconds(other)),
        memory=_differing(_memory(one), _memory(other)),
        proof=_differing(_dump(one, "proof"), _dump(other, "proof")),
    )


def _dump(plan: Plan, field: str) -> dict[str, Any]:
    value: dict[str, Any] = plan.model_dump(mode="json", include={field})[field]
    return value


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Pair]:
    keys = dict.fromkeys((*one, *other))
    pairs = {key: (one.get(key), other.get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _leaves(value: Any) -> dict[str, Any]:
    """The values of a nested mapping by dotted key path."""
    return dict(_walk(value, ""))


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from _walk(item, f"{path}.{index}")
    else:
        yield path, value


def _placement(plan: Plan) -> dict[str, Any]:
    words: dict[str, Any] = {
        "pools": format_placement(plan.placement),
        "idle_devices": plan.idle_devices,
        "staleness": plan.staleness,
    }
    for pool in plan.pools:
        for role in pool.roles:
            words[f"{role}.devices"] = pool.devices
            words[f"{role}.node_pool"] = pool.node_pool
    return words


def _orders(one: Plan, other: Plan) -> dict[str, Pair]:
    """Orders that differ of pools that hold the same roles."""
    pairs = {pool.roles: pool for pool in other.pools}
    both = [(pool, pairs[pool.roles]) for pool in one.pools if pool.roles in pairs]
    orders = {f"order of {', '.join(pool.roles)}": (_turns(pool), _turns(twin)) for pool, twin in both}
    return {key: pair for key, pair in orders.items() if pair[0] != pair[1]}


def _turns(pool: Pool) -> list[str]:
    """The pool's calls in order, with the iterations that they are ahead."""
    ahead = pool.ahead
    return [f"{call} ({ahead[call]} ahead)" if ahead.get(call) else call for call in pool.order]


def _seconds(plan: Plan) -> dict[str, float | None]:
    of = plan.prediction
    return {name: call.seconds for name, call in of.calls.items()} | {
        "iteration": of.iteration_seconds,
        "stage cost": of.stage_cost_seconds,
        "tokens per second": of.tokens_per_second,
        "dollars per million tokens": of.dollars_per_million_tokens,
    }


def _memory(plan: Plan) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for role, memory in plan.prediction.memory.items():
        sizes[f"{role} persistent"] = memory.persistent_bytes
        sizes |= {call: sum(kinds.values()) for call, kinds in memory.transient.items()}
        sizes[f"{role} host"] = memory.host
    return sizes
