"""Placements that others fix by hand, as demands on a scenario, so that they are costed like any other."""

from collections.abc import Sequence

from planner.costs import CostModel
from planner.domain.cluster import Cluster
from planner.domain.dataflow import GENERATOR
from planner.domain.pins import PinKey, Pins
from planner.domain.placement import Placement
from planner.domain.scenario import FixedPlacement, Scenario
from planner.errors import Fix, InfeasibleError, SpecError
from planner.search.problem.allocation import device_counts
from planner.search.refusals.fixes import fixes, is_feasible
from planner.search.refusals.infeasible import counted_devices, pins_words
from planner.studies.planning import dataflow, dataflows

_POLICY = frozenset({"actor", "reference"})
"""Roles that share the policy's half of a split."""


def fixed_placement(scenario: Scenario, placement: FixedPlacement) -> Scenario:
    """The same scenario with its placement demanded (HybridFlow, section 8.1, its baselines).

    Strategies and, but for the split's equal halves, device counts stay free. Roles are those of the
    synchronous dataflow; a generator keeps devices of its own.

    Raises
    ------
    SpecError
        The algorithm has no roles for one half of the split.
    InfeasibleError
        The cluster has no two equal halves, or a pin asks for other ones.
    """
    roles = dataflow(scenario.model_copy(update={"staleness": 0})).roles
    if placement == "colocate":
        return _placed(scenario, (roles,))
    if placement == "standalone":
        return _placed(scenario, tuple((role,) for role in roles))
    return _split(scenario, roles)


def placement_refusal(
    error: InfeasibleError, scenario: Scenario, placement: FixedPlacement
) -> InfeasibleError:
    """What to say where no plan has a fixed placement: in its name, with what would help under it.

    Parameters
    ----------
    error
        Why the scenario with its placement demanded has no plan.
    scenario
        Without that demand.
    """
    placed = fixed_placement(scenario, placement)
    graph = dataflows(placed)[0]
    costs = CostModel(scenario, graph)
    free = Fix(kind="demand", words=f"without --placement {placement} there is a plan")
    found = (
        *(fix for fix in error.fixes if fix.kind == "within"),
        *((free,) if is_feasible(scenario, graph, costs) else ()),
        *fixes(scenario, graph, costs, demanded=lambda changed: fixed_placement(changed, placement)),
    )
    reason = error.reason
    for role in graph.roles:
        if demanded := pins_words(role, placed):
            reason = reason.replace(demanded, pins_words(role, scenario))
    return InfeasibleError(
        f"--placement {placement} ({_demand_words(scenario, placement)}): {reason}",
        fix=found[0].words if found else error.fix,
        fixes=found,
        shortage=error.shortage,
    )


def _demand_words(scenario: Scenario, placement: FixedPlacement) -> str:
    if placement == "split":
        return f"two pools of {counted_devices(_half(scenario.cluster))} each"
    return {"colocate": "all roles in one pool", "standalone": "each role in a pool of its own"}[placement]


def _split(scenario: Scenario, roles: Sequence[str]) -> Scenario:
    policy = tuple(role for role in roles if role in _POLICY)
    others = tuple(role for role in roles if role not in _POLICY)
    if not policy or not others:
        raise SpecError(
            f"{scenario.name}: --placement split: {scenario.algorithm.name} has the roles {', '.join(roles)} "
            "only; a split needs the actor or the reference in one half and other roles in the other"
        )
    half = _half(scenario.cluster)
    pins: dict[PinKey, int | str] = {PinKey(role, "", "devices"): half for role in roles}
    for key, count in pins.items():
        if scenario.pin.root.get(key, count) != count:
            raise InfeasibleError(
                f"pin {key}: {scenario.pin.root[key]} and --placement split, of {counted_devices(half)} in "
                "each half, contradict each other",
                fix="drop one of the two",
            )
    placed = _placed(scenario, (policy, others))
    return placed.model_copy(update={"pin": Pins(placed.pin.root | pins)})


def _placed(scenario: Scenario, placement: Placement) -> Scenario:
    """The scenario with exactly these pools of the synchronous roles demanded."""
    firsts = tuple(block[0] for block in placement)
    generator = (GENERATOR,) if scenario.staleness and len(firsts) > 1 else ()
    groups = tuple(block for block in placement if len(block) > 1)
    apart = ((*firsts, *generator),) if len(firsts) > 1 else ()
    return scenario.model_copy(
        update={"colocate": (*scenario.colocate, *groups), "apart": (*scenario.apart, *apart)}
    )


def _half(cluster: Cluster) -> int:
    """The largest device count of which two pools fit."""
    counts = {count for pool in cluster.node_pools for count in device_counts(pool)}
    fitting = [count for count in counts if sum(pool.devices // count for pool in cluster.node_pools) >= 2]
    if not fitting:
        raise InfeasibleError(
            f"--placement split: {counted_devices(cluster.devices)} of {cluster.name} cannot be two equal "
            "halves",
            fix="use at least 2 devices of one kind",
        )
    return max(fitting)
