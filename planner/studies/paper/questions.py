"""The paper's scenarios, and what can be asked of them: other placements, layouts, clusters, time models."""

from collections.abc import Mapping

from planner.domain.pins import PinKey, Pins
from planner.domain.placement import Placement
from planner.domain.plan import Plan
from planner.domain.reading import read_scenario
from planner.domain.scenario import Scenario, TimeModel
from planner.errors import InfeasibleError
from planner.studies.paper.published import TRAINING_TENSOR, Algorithm, Size
from planner.studies.planning import plan


def paper_scenario(algorithm: Algorithm, size: Size, devices: int) -> Scenario:
    """The scenario in the file, with the paper's stage cost as its time model."""
    scenario = read_scenario(f"scenarios/paper/{algorithm}-{size}-{devices}.yaml")
    return in_time_model(scenario, "stage")


def in_time_model(scenario: Scenario, time_model: TimeModel) -> Scenario:
    """The same question with another meaning of an iteration's seconds."""
    return scenario.model_copy(update={"time_model": time_model})


def pinned(scenario: Scenario, pins: Mapping[PinKey, int]) -> Scenario:
    """The same scenario with further fields of the plan decided."""
    return scenario.model_copy(update={"pin": Pins.model_validate(dict(scenario.pin.root) | dict(pins))})


def placed(scenario: Scenario, placement: Placement, shares: tuple[int, ...] = ()) -> Scenario:
    """The same scenario with its placement, and the devices of each pool, decided."""
    pins = {
        PinKey(role, "", "devices"): devices
        for block, devices in zip(placement, shares, strict=bool(shares))
        for role in block
    }
    together = tuple(block for block in placement if len(block) > 1)
    apart = (tuple(block[0] for block in placement),) if len(placement) > 1 else ()
    return pinned(scenario, pins).model_copy(update={"colocate": together, "apart": apart})


def with_layouts(scenario: Scenario, pipeline: int) -> Scenario:
    """The same scenario with actor and critic trained in a layout of the paper: T, and so many stages."""
    pins: dict[PinKey, int] = {}
    for role in ("actor", "critic"):
        pins |= {PinKey(role, "train", "tensor"): TRAINING_TENSOR}
        pins |= {PinKey(role, "train", "pipeline"): pipeline}
    return pinned(scenario, pins)


def with_devices(scenario: Scenario, devices: int) -> Scenario:
    """The same scenario on another number of devices of its (only) node pool."""
    (pool,) = scenario.cluster.node_pools
    nodes = max(1, devices // pool.devices_per_node)
    return scenario.with_node_pool(
        pool.model_copy(update={"nodes": nodes, "devices_per_node": devices // nodes})
    )


def best(scenario: Scenario) -> Plan | None:
    """The best plan, or none where nothing fits."""
    try:
        return plan(scenario).plan
    except InfeasibleError:
        return None
