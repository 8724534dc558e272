"""The solvers against each other and against common sense."""

import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs import CostModel
from planner.domain.pins import Pins
from planner.domain.placement import placements
from planner.domain.plan import Plan, Solver
from planner.domain.reading import read_scenario
from planner.domain.scenario import TimeModel
from planner.domain.workload import TokenLengths
from planner.errors import InfeasibleError
from planner.search import solve
from planner.search.problem import prepare
from planner.search.solvers.cp.search import Clock
from planner.search.solvers.cpsat import Limits, solve_with_cpsat
from planner.search.solvers.dp import solve_by_subsets
from planner.search.solvers.exhaustive import solve_exhaustively

Build = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[4]
CLUSTERS = ([(1, 2)], [(1, 4)], [(1, 6)], [(2, 2)], [(2, 4)], [(1, 2), (1, 4)])
SCALES = (0.5, 1.0, 3.0, 8.0, 25.0)


def plan_of(case: Any, solver: Solver = "cpsat") -> Plan | None:
    try:
        return solve(*case.arguments, solver=solver).plan
    except InfeasibleError:
        return None


def random_case(synthetic: Build, seed: int, **changes: Any) -> Any:
    generator = random.Random(seed)
    pools, scale = generator.choice(CLUSTERS), generator.choice(SCALES)
    return synthetic(seed, **{"pools": pools, "bytes_scale": scale} | changes)


def compare(synthetic: Build, seeds: range) -> Counter[str]:
    """Hold cpsat against the other ones, and count what kinds of problem these were."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        case = random_case(synthetic, seed)
        best, oracle = plan_of(case), plan_of(case, "exhaustive")
        checker, baseline = plan_of(case, "dp"), plan_of(case, "hybridflow")
        if best is None or oracle is None or checker is None:
            assert best is oracle is checker is baseline is None
            seen["infeasible"] += 1
            continue
        assert best.proof.status == "optimal"
        assert best.proof.objective == oracle.proof.objective, seed
        assert [each.objective for each in best.runners_up] == [each.objective for each in oracle.runners_up]
        assert checker.proof.objective == oracle.proof.objective
        assert baseline is None or baseline.proof.objective >= best.proof.objective
        seen["beaten"] += baseline is not None and baseline.proof.objective > best.proof.objective
        seen["split" if len(best.pools) > 1 else "colocated"] += 1
    return seen


def test_cpsat_equals_exhaustive_and_never_loses_to_hybridflow(synthetic: Build) -> None:
    seen = compare(synthetic, range(30))
    assert min(seen["split"], seen["colocated"], seen["infeasible"], seen["beaten"]) >= 3, seen


@pytest.mark.slow
def test_cpsat_equals_exhaustive_on_many_more(synthetic: Build) -> None:
    seen = compare(synthetic, range(30, 300))
    assert min(seen["split"], seen["colocated"], seen["infeasible"], seen["beaten"]) >= 20, seen


def test_the_parts_of_cp_sat_that_lose_solutions_are_off() -> None:
    """google/or-tools#5293, and the detection of "greater than at least one of" among enforced sums."""
    parameters = Clock.start(Limits(workers=2)).solver().parameters
    assert not parameters.cp_model_presolve
    assert not parameters.auto_detect_greater_than_at_least_one_of
    assert parameters.num_workers == 2


@pytest.mark.parametrize("time_model", ["stage", "period"])
def test_a_model_that_cp_sats_presolve_got_wrong_is_solved(synthetic: Build, time_model: TimeModel) -> None:
    case = synthetic(44, pools=[(2, 2)], bytes_scale=3.0, time_model=time_model)
    problem = prepare(*case.arguments)
    found = solve_with_cpsat(problem, Limits()), solve_by_subsets(problem), solve_exhaustively(problem)
    objectives = {
        each and (each.solution.objective_us, *(other.objective_us for other in each.runners_up))
        for each in found
    }
    assert len(objectives) == 1
    assert None not in objectives


def test_long_responses_are_planned_like_short_ones() -> None:
    """With "greater than at least one of" detected, CP-SAT called all three infeasible."""
    scenario = read_scenario("scenarios/paper/ppo-7b-8.yaml").model_copy(
        update={
            "pin": Pins.model_validate({"actor.train.tensor": 2}),
            "colocate": (("actor", "reference"),),
            "apart": (("critic", "reward"),),
        }
    )
    for tokens in (60_000, 100_000, 150_000):
        lengths = TokenLengths(mean=tokens, maximum=tokens)
        workload = scenario.workload.model_copy(update={"response_tokens": lengths})
        case = scenario.model_copy(update={"workload": workload})
        graph = trace(ALGORITHMS["ppo"], name="ppo")
        problem = prepare(case, graph, CostModel(case, graph))
        answer, oracle = solve_with_cpsat(problem, Limits()), solve_exhaustively(problem)
        assert (answer is None) == (oracle is None)
        if answer is not None and oracle is not None:
            assert answer.solution.objective_us == oracle.solution.objective_us
            assert [each.objective_us for each in answer.runners_up] == [
                each.objective_us for each in oracle.runners_up
            ]


def reordered(roles: Any, prompts: Any) -> None:
    batch = roles.actor.generate(prompts)
    batch = batch | roles.reward.scores(batch) | roles.reference.logprobs(batch) | roles.critic.values(batch)
    batch = roles.controller.advantages(batch, estimator="gae")
    roles.actor.update(batch, loss="ppo")
    roles.critic.update(batch, loss="value")


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_the_roles_does_not_change_the_objective(synthetic: Build, seed: int) -> None:
    one, other = (
        plan_of(random_case(synthetic, seed, **changes))
        for changes in ({}, {"graph": trace(reordered, name="reordered")})
    )
    assert (one and one.proof.objective) == (other and other.proof.objective)


@pytest.mark.parametrize("seed", range(8))
def test_more_nodes_or_more_memory_never_make_the_optimum_worse(synthetic: Build, seed: int) -> None:
    small = plan_of(synthetic(seed, pools=[(2, 2)], bytes_scale=2.0))
    more_nodes = plan_of(synthetic(seed, pools=[(3, 2)], bytes_scale=2.0))
    case = synthetic(seed, pools=[(2, 2)], bytes_scale=2.0)
    (pool,) = case.scenario.cluster.node_pools
    pool = pool.model_copy(update={"device": pool.device.model_copy(update={"memory": 20 * 10**9})})
    cluster = case.scenario.cluster.model_copy(update={"node_pools": (pool,)})
    scenario = case.scenario.model_copy(update={"cluster": cluster})
    more_memory = solve(scenario, case.graph, case.costs).plan
    assert small is not None
    assert more_nodes is not None
    assert more_nodes.proof.objective <= small.proof.objective
    assert more_memory.proof.objective <= small.proof.objective


@pytest.mark.parametrize(
    "pin",
    [
        {"actor.train.tensor": 2},
        {"actor.devices": 2},
        {"critic.train": "p1t1d2"},
        {"actor.generate.tensor": 1, "reward.infer.pipeline": 2},
        {"critic.recompute": "full", "actor.micro_batch": 1},
        {"reference.node_pool": "pool0", "reference.devices": 1},
    ],
)
def test_a_pin_never_improves_the_objective_and_is_obeyed(synthetic: Build, pin: dict[str, Any]) -> None:
    for seed in range(3):
        free = plan_of(synthetic(seed))
        pinned = plan_of(synthetic(seed, pin=Pins.model_validate(pin)))
        assert free is not None
        assert pinned is not None
        assert pinned.proof.objective >= free.proof.objective


def test_colocate_and_apart_are_obeyed(synthetic: Build) -> None:
    case = synthetic(5, colocate=(("actor", "reward"),), apart=(("actor", "critic"), ("reference", "critic")))
    plan, oracle = plan_of(case), plan_of(case, "exhaustive")
    assert plan is not None
    assert oracle is not None
    assert plan.proof.objective == oracle.proof.objective
    assert plan.pool_of("actor") == plan.pool_of("reward")
    assert plan.pool_of("critic").roles == ("critic",)


def test_runners_up_are_the_next_best_placements(synthetic: Build) -> None:
    case = synthetic(8)
    problem = prepare(*case.arguments)
    plan = plan_of(case)
    assert plan is not None
    costs = {}
    for placement in placements(problem.roles):
        together = tuple(roles for roles in placement if len(roles) > 1)
        apart = tuple(
            (one, other)
            for block in placement
            for one in block
            for other in problem.roles
            if other not in block
        )
        fixed = plan_of(synthetic(8, colocate=together, apart=apart), "exhaustive")
        if fixed is not None:
            assert fixed.placement == placement
            costs[placement] = fixed.proof.objective
    ranked = sorted(costs, key=lambda placement: costs[placement])
    assert plan.proof.objective == costs[ranked[0]] == costs[plan.placement]
    assert plan.placement not in [each.placement for each in plan.runners_up]
    assert [costs[each.placement] for each in plan.runners_up] == [costs[other] for other in ranked[1:4]]
    assert [each.objective for each in plan.runners_up] == [costs[placement] for placement in ranked[1:4]]
    assert {each.loses_in for each in plan.runners_up} <= set(plan.prediction.calls)


def test_stopped_at_once_the_answer_is_the_quick_plan_with_an_honest_bound(synthetic: Build) -> None:
    case = synthetic(2)
    proven = solve(*case.arguments).plan
    stopped = solve(*case.arguments, time_limit_s=0.0).plan
    assert stopped.proof.status == "feasible"
    assert stopped.proof.bound <= proven.proof.objective <= stopped.proof.objective


def test_twenty_runs_give_one_plan_byte_for_byte(synthetic: Build) -> None:
    plans = {solve(*synthetic(6).arguments).plan.model_dump_json() for _ in range(20)}
    assert len(plans) == 1


def test_the_hash_seed_does_not_change_the_plan() -> None:
    program = (
        "import planner, sys; from pathlib import Path;"
        "scenario = planner.read_scenario(Path('scenarios/paper/ppo-7b-8.yaml'));"
        "sys.stdout.write(planner.plan(scenario).plan.model_dump_json())"
    )
    plans = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(plans) == 1
    assert plans != {b""}


@pytest.mark.parametrize("name", ["7b-8", "13b-16"])
def test_on_the_papers_small_clusters_the_solvers_agree(paper: Build, name: str) -> None:
    agree(paper, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    sorted(path.stem.removeprefix("ppo-") for path in (ROOT / "scenarios" / "paper").glob("ppo-*.yaml")),
)
def test_on_every_scenario_of_the_paper_the_solvers_agree(paper: Build, name: str) -> None:
    agree(paper, name)


def agree(paper: Build, name: str) -> None:
    case = paper(name)
    best, oracle, baseline = (plan_of(case, solver) for solver in ("cpsat", "exhaustive", "hybridflow"))
    assert best is not None
    assert oracle is not None
    assert baseline is not None
    assert best.proof.status == "optimal"
    assert best.proof.objective == oracle.proof.objective
    assert [each.objective for each in best.runners_up] == [each.objective for each in oracle.runners_up]
    assert best.proof.objective <= baseline.proof.objective
    assert baseline.proof.bound <= best.proof.objective
