"""The same plan, byte for byte: run after run, on one or two workers, under any hash seed, among ties."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.domain.plan import Plan, Solver
from planner.search import solve
from tests.planner.search.draws import drawn
from tests.planner.search.toys import Case, SyntheticCosts

Build = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[4]
SOLVERS: tuple[Solver, ...] = ("cpsat", "dp", "exhaustive")


def tied(seed: int) -> Case:
    """A problem whose calls take whole multiples of a second, so that many plans are equally good."""
    problem = drawn(
        seed, pin={}, colocate=(), apart=(), maximum_devices=None, minimise="seconds", within=None
    )
    scenario, graph, _ = problem.case.arguments
    return Case(scenario, graph, SyntheticCosts(seed, graph, 0.3, quantum_s=1.0))


def bytes_of(case: Case, **settings: Any) -> str:
    return solve(*case.arguments, **settings).plan.model_dump_json()


@pytest.mark.parametrize("seed", range(4))
def test_where_plans_tie_runs_and_workers_give_the_same_one(seed: int) -> None:
    assert len({bytes_of(tied(seed), workers=workers) for workers in (1, 2, 1)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_where_plans_tie_twenty_runs_give_the_same_one(seed: int) -> None:
    plans = {bytes_of(tied(seed), workers=workers) for workers in (1, 2) for _ in range(10)}
    assert len(plans) == 1


def test_a_plan_of_the_paper_does_not_depend_on_the_workers(paper: Build) -> None:
    assert len({bytes_of(paper("7b-8"), workers=workers) for workers in (1, 2)}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["7b-8", "7b-16", "13b-16", "34b-32", "70b-64", "7b-128", "70b-128"])
def test_twenty_runs_give_one_plan_of_the_paper(paper: Build, name: str) -> None:
    case = paper(name)
    assert len({bytes_of(case, workers=workers) for workers in (1, 2) for _ in range(10)}) == 1


PROGRAM = """
import sys
import planner
from tests.planner.search.solvers.test_determinism import bytes_of, tied

for seed in range({problems}):
    sys.stdout.write(bytes_of(tied(seed), workers={workers}))
for name in {names}:
    scenario = planner.read_scenario("scenarios/paper/ppo-" + name + ".yaml")
    sys.stdout.write(planner.plan(scenario).plan.model_dump_json())
"""


def printed(hash_seed: int, *, workers: int, problems: int, names: list[str]) -> str:
    """Plans of another process."""
    program = PROGRAM.format(problems=problems, workers=workers, names=names)
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def test_the_hash_seed_changes_no_plan() -> None:
    """Nor the workers, with synthetic costs and with the real ones."""
    one, other = (printed(seed, workers=1 + seed, problems=2, names=["7b-8"]) for seed in (0, 1))
    assert one == other
    assert one.count('"proof"') == 3


@pytest.mark.slow
def test_the_hash_seed_changes_no_plan_of_many() -> None:
    names = ["7b-8", "13b-16", "34b-32", "70b-128"]
    one, other = (printed(seed, workers=1 + seed, problems=30, names=names) for seed in (0, 1))
    assert one == other
    assert one.count('"proof"') == 34


def rank(plan: Plan) -> tuple[float, ...]:
    """The written order of plans: objective, devices, seconds of all calls, bytes of all roles."""
    return (
        plan.proof.objective,
        plan.used_devices,
        round(sum(call.seconds for call in plan.prediction.calls.values()), 6),
        sum(
            each.persistent_bytes + each.transient_bytes + each.host
            for each in plan.prediction.memory.values()
        ),
    )


@pytest.mark.parametrize("seed", range(6))
def test_of_plans_that_tie_the_first_in_the_written_order_is_taken(seed: int) -> None:
    first, *others = (solve(*tied(seed).arguments, solver=solver).plan for solver in SOLVERS)
    assert all(rank(first) <= rank(other) for other in others)
