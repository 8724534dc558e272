"""CP-SAT's own defects, the order of the roles, and the solvers on the paper's clusters."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs import CostModel
from planner.domain.lengths import TokenLengths
from planner.domain.pins import Pins
from planner.domain.plan import Plan, Solver
from planner.domain.reading import read_scenario
from planner.domain.scenario import TimeModel
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
        assert answer is not None
        assert oracle is not None
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


def test_the_order_of_the_roles_does_not_change_the_objective(synthetic: Build) -> None:
    graph, solved = trace(reordered, name="reordered"), 0
    for seed in range(8):
        one, other = (plan_of(random_case(synthetic, seed, **changes)) for changes in ({}, {"graph": graph}))
        assert (one and one.proof.objective) == (other and other.proof.objective)
        solved += one is not None
    assert solved >= 4


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
    best, baseline = plan_of(case), plan_of(case, "hybridflow")
    assert best is not None
    assert baseline is not None
    for solver in ("exhaustive", "dp"):
        oracle = plan_of(case, solver)
        assert oracle is not None
        assert best.proof.objective == oracle.proof.objective, solver
        assert [each.objective for each in best.runners_up] == [each.objective for each in oracle.runners_up]
    assert best.proof.status == "optimal"
    assert best.proof.objective <= baseline.proof.objective
    assert baseline.proof.bound <= best.proof.objective
