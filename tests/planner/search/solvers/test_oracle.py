"""Solvers against brute force over all plans: `python -m tests.planner.search.solvers.test_oracle 1000`."""

import sys
from collections import Counter
from collections.abc import Iterable

import pytest

from planner.costs.sync.crossing import crossing_seconds
from planner.domain.dataflow import ACTOR, GENERATOR
from planner.domain.plan import Solver
from planner.search.options.raw import raw_strategies
from planner.search.problem.allocation import scenario_slots
from tests.planner.search.brute_force import best_by_placement, best_value, partitions
from tests.planner.search.draws import NAMES, WIDER, Drawn, drawn

EXACT: tuple[Solver, ...] = ("cpsat", "dp", "exhaustive")


def test_partitions_are_as_many_as_bells_numbers() -> None:
    for count, bell in ((1, 1), (2, 2), (3, 5), (4, 15), (5, 52), (6, 203)):
        listed = list(partitions([str(number) for number in range(count)]))
        assert len(listed) == bell
        assert len({frozenset(map(frozenset, sets)) for sets in listed}) == bell


def agree_on_options(seeds: range) -> int:
    """Hold the rules' options against those listed by definition; how many there were."""
    count = 0
    for seed in seeds:
        problem = drawn(seed)
        scenario, graph, _ = problem.case.arguments
        for slot in scenario_slots(scenario):
            node_pool = scenario.cluster.node_pool(slot.node_pool)
            for role in graph.roles:
                wanted = problem.question.permitted(role, (slot.node_pool, slot.devices))
                found = list(raw_strategies(scenario, graph, role, node_pool, slot.devices))
                assert Counter(map(repr, found)) == Counter(map(repr, wanted)), (seed, role, slot)
                count += len(found)
    return count


def test_the_rules_list_every_option_once() -> None:
    assert agree_on_options(range(40)) > 1000


@pytest.mark.slow
def test_the_rules_list_every_option_of_many_problems_once() -> None:
    assert agree_on_options(range(40, 600)) > 10000


def compare(seeds: range) -> Counter[str]:
    """Hold every solver against brute force, and count what kinds of problem these were."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        problem = drawn(seed)
        expected = agreed_objective(problem)
        baseline = problem.plan("hybridflow")
        assert baseline is None or is_no_better(problem, baseline.proof.objective, expected), seed
        count(problem, expected, seen)
        seen["the baseline is beaten"] += baseline is not None and not is_no_better(
            problem, expected, baseline.proof.objective
        )
    return seen


def agreed_objective(problem: Drawn) -> float | None:
    """What brute force and every solver find and prove."""
    expected = problem.objective(best_value(problem.question))
    for solver in EXACT:
        plan = problem.plan(solver)
        found = plan and plan.proof.objective
        assert found == (expected and pytest.approx(expected, rel=1e-9)), (problem.seed, solver)
        assert plan is None or plan.proof.status == "optimal", (problem.seed, solver)
    return expected


def is_no_better(problem: Drawn, objective: float, best: float | None) -> bool:
    assert best is not None, "a baseline finds no plan where there is none"
    if problem.case.scenario.minimise == "tokens_per_second":
        return objective <= best * (1 + 1e-9)
    return objective >= best * (1 - 1e-9)


def count(problem: Drawn, best: float | None, seen: Counter[str]) -> None:
    scenario = problem.case.scenario
    seen.update((scenario.algorithm.name, scenario.time_model, scenario.minimise))
    seen.update(name for name in WIDER if getattr(scenario.capabilities, name))
    seen[f"staleness {scenario.staleness}"] += 1
    seen["infeasible" if best is None else "feasible"] += 1
    seen["node pools"] += len(scenario.cluster.node_pools) > 1
    if best is not None and not scenario.staleness:
        seen["synchronous"] += 1
        seen["colocating everything is worse"] += is_worse_colocated(problem, best)


def is_worse_colocated(problem: Drawn, best: float) -> bool:
    """Whether no optimal plan has all roles in one pool."""
    roles = problem.case.graph.roles
    scenario = problem.case.scenario
    together = problem.asked_of(scenario.model_copy(update={"colocate": (roles,)}))
    value = problem.objective(best_value(together))
    return value is None or value != pytest.approx(best, rel=1e-9)


def assert_mixed(seen: Counter[str], *, least: int) -> None:
    """Every kind of problem was there, and colocating everything was often not the answer."""
    kinds = (*NAMES, "stage", "period", "staleness 1", "staleness 2", "infeasible", "node pools", "devices")
    for kind in (*kinds, "the baseline is beaten"):
        assert seen[kind] >= least, (kind, seen)
    assert seen["colocating everything is worse"] >= seen["synchronous"] / 4, seen


def test_the_solvers_find_what_brute_force_finds() -> None:
    assert_mixed(compare(range(24)), least=1)


@pytest.mark.slow
def test_the_solvers_find_what_brute_force_finds_1000_times() -> None:
    assert_mixed(compare(range(1000)), least=40)


def agree_on_slow_links(seeds: Iterable[int]) -> Counter[str]:
    """Asynchronous problems whose weights have to cross, over a link that they fill for 24 s and more."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        roles = drawn(seed).case.graph.roles
        if GENERATOR not in roles:
            continue
        pin = {f"{role}.micro_batch": 1 for role in roles}
        homes = {f"{GENERATOR}.node_pool": "pool1", f"{ACTOR}.node_pool": "pool0"}
        link = {"bandwidth": "100 B/s", "latency": "1 ms"}
        demands = {"pin": pin | homes, "colocate": (), "apart": (), "maximum_devices": None}
        question = {"minimise": "seconds", "within": None, "prices": (2.0, 0.75)}
        problem = drawn(seed, pools=[(1, 2), (1, 2)], between=link, **demands, **question)
        expected = agreed_objective(problem)
        decides = expected is not None and weights_s(problem) == pytest.approx(expected, abs=1e-5)
        seen["none" if expected is None else "link" if decides else "calls"] += 1
    return seen


def weights_s(problem: Drawn) -> float:
    """Seconds in which the weights cross alone."""
    scenario, graph, _ = problem.case.arguments
    return max(crossing_seconds(scenario, graph, wait) for wait in graph.dependences)


def test_the_solvers_find_what_brute_force_finds_on_slow_links() -> None:
    assert min(agree_on_slow_links((12, 14, 19, 20, 22, 38, 44)).values()) >= 1


@pytest.mark.slow
def test_the_solvers_find_what_brute_force_finds_on_many_slow_links() -> None:
    assert min(agree_on_slow_links(range(200)).values()) >= 10


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 40))]
)
def test_runners_up_are_the_next_best_placements(seed: int) -> None:
    problem = drawn(seed, pools=[(1, 4)], minimise="seconds", within=None)
    best = best_by_placement(problem.question)
    ranked = sorted(best.values())
    for solver in EXACT:
        plan = problem.plan(solver)
        if plan is None:
            assert not best
            continue
        found = {plan.placement: plan.proof.objective}
        found |= {each.placement: each.objective for each in plan.runners_up}
        assert len(found) == 1 + len(plan.runners_up), "no placement comes twice"
        assert list(found.values()) == pytest.approx(ranked[:4], rel=1e-9), solver
        assert found == pytest.approx({placement: best[placement] for placement in found}, rel=1e-9)
        assert {each.loses_in for each in plan.runners_up} <= set(problem.case.graph.stage_of)


if __name__ == "__main__":
    problems = int(sys.argv[1])
    print(f"{problems} problems agree: {dict(compare(range(problems)))}")
