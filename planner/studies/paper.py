"""Facts of HybridFlow's evaluation (EuroSys'25) that the planner can be held against."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.domain.pins import PinKey, Pins
from planner.domain.placement import Placement, format_placement
from planner.domain.plan import Plan
from planner.domain.reading import read_scenario
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError
from planner.studies.planning import plan

COLOCATE: Placement = (("actor", "critic", "reference", "reward"),)
SPLIT: Placement = (("actor", "reference"), ("critic", "reward"))
STANDALONE: Placement = (("actor",), ("critic",), ("reference",), ("reward",))

MINIMA = {"7b": 8, "13b": 16, "34b": 32, "70b": 64}
"""Fewest devices on the axes of figure 9 (PPO)."""

INFEASIBLE = {"34b": 16, "70b": 32}
"""The next smaller points, which the paper does not show and whose states alone pass 80 GB."""

PLACEMENTS: dict[tuple[str, int], tuple[Placement, tuple[int, ...]]] = {
    ("13b", 16): (COLOCATE, (16,)),
    ("13b", 24): (COLOCATE, (24,)),
    ("13b", 32): (COLOCATE, (32,)),
    ("13b", 64): (COLOCATE, (64,)),
    ("13b", 96): (SPLIT, (48, 48)),
    ("13b", 128): (STANDALONE, (64, 32, 16, 16)),
    ("34b", 32): (COLOCATE, (32,)),
    ("34b", 48): (COLOCATE, (48,)),
    ("34b", 64): (COLOCATE, (64,)),
    ("34b", 96): (SPLIT, (48, 48)),
    ("34b", 128): (SPLIT, (64, 64)),
}
"""Best placement and devices of each pool in figure 12."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One published fact with our figure beside it."""

    source: str
    published: str
    ours: str
    holds: bool


def facts() -> Iterator[Fact]:
    """Minimum devices (figure 9) and best placements (figure 12)."""
    yield from _minima()
    for (size, devices), (placement, shares) in PLACEMENTS.items():
        yield _placement_fact(size, devices, placement, shares)


def placed(scenario: Scenario, placement: Placement, shares: tuple[int, ...] = ()) -> Scenario:
    """The same scenario with its placement, and the devices of each pool, fixed."""
    apart = (tuple(block[0] for block in placement),)
    pins = dict(scenario.pin.root)
    for block, devices in zip(placement, shares, strict=bool(shares)):
        pins |= {PinKey(role, "", "devices"): devices for role in block}
    update = {"colocate": placement, "apart": apart, "pin": Pins.model_validate(pins)}
    return scenario.model_copy(update=update)


def with_devices(scenario: Scenario, devices: int) -> Scenario:
    """The same scenario on another number of devices of its (only) node pool."""
    (pool,) = scenario.cluster.node_pools
    nodes = max(1, devices // pool.devices_per_node)
    resized = pool.model_copy(update={"nodes": nodes, "devices_per_node": devices // nodes})
    cluster = scenario.cluster.model_copy(update={"node_pools": (resized,)})
    return scenario.model_copy(update={"cluster": cluster})


def _minima() -> Iterator[Fact]:
    for size, devices in MINIMA.items():
        found = _feasible(_paper_scenario(size, devices))
        yield Fact(
            source=f"figure 9: PPO of {size} on {devices} devices",
            published="runs",
            ours="fits" if found else "does not fit",
            holds=found is not None,
        )
    for size, devices in INFEASIBLE.items():
        found = _feasible(with_devices(_paper_scenario(size, MINIMA[size]), devices))
        yield Fact(
            source=f"figure 9: PPO of {size} on {devices} devices",
            published="not shown; 18 bytes per parameter pass the memory",
            ours=f"fits with {format_placement(found.placement)}" if found else "does not fit",
            holds=found is None,
        )


def _placement_fact(size: str, devices: int, placement: Placement, shares: tuple[int, ...]) -> Fact:
    scenario = _paper_scenario(size, devices)
    best = plan(scenario).plan
    published = _feasible(placed(scenario, placement, shares))
    ours = f"{format_placement(best.placement)} {_devices(tuple(pool.devices for pool in best.pools))}"
    if published is None:
        ours += "; the published one does not fit"
    elif best.placement != placement:
        behind = 100 * (published.proof.objective / best.proof.objective - 1)
        ours += f"; the published one is {behind:.1f} % slower"
    return Fact(
        source=f"figure 12: PPO of {size} on {devices} devices",
        published=f"{format_placement(placement)} {_devices(shares)}",
        ours=ours,
        holds=best.placement == placement,
    )


def _feasible(scenario: Scenario) -> Plan | None:
    try:
        return plan(scenario).plan
    except InfeasibleError:
        return None


def _paper_scenario(size: str, devices: int) -> Scenario:
    return read_scenario(f"scenarios/paper/ppo-{size}-{devices}.yaml")


def _devices(shares: tuple[int, ...]) -> str:
    return " + ".join(map(str, shares))
