"""Random problems as solvers get them: any dataflow, node pools, budgets, host memory, demands."""

import random
from dataclasses import dataclass

import numpy as np

from planner.domain.scenario import TimeModel
from planner.search.options.table import Options
from planner.search.problem import ENDLESS, Budget, Call, Problem, Wait
from planner.search.problem.allocation import Slot

MEMORY = 100
"""Bytes of a device."""


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A dataflow: calls as (name, number of the role or none, stage), waits as (source, target, lag)."""

    roles: tuple[str, ...]
    calls: tuple[tuple[str, int | None, int], ...]
    waits: tuple[tuple[int, int, int], ...]


PPO = Flow(
    roles=("actor", "critic", "reference", "reward"),
    calls=(
        ("generate", 0, 0),
        ("values", 1, 1),
        ("logprobs", 2, 1),
        ("scores", 3, 1),
        ("advantages", None, 0),
        ("critic.update", 1, 2),
        ("actor.update", 0, 2),
    ),
    waits=(
        *((0, 1, 0), (0, 2, 0), (0, 3, 0), (0, 4, 0), (1, 4, 0), (2, 4, 0), (3, 4, 0), (4, 5, 0), (4, 6, 0)),
        *((1, 5, 0), (0, 6, 0), (5, 1, 1), (6, 0, 1)),
    ),
)
REMAX = Flow(
    roles=("actor", "reference", "reward"),
    calls=(
        ("generate", 0, 0),
        ("greedy", 0, 0),
        ("logprobs", 1, 1),
        ("scores", 2, 1),
        ("baseline", 2, 1),
        ("advantages", None, 0),
        ("update", 0, 2),
    ),
    waits=((0, 2, 0), (0, 3, 0), (1, 4, 0), (2, 5, 0), (3, 5, 0), (4, 5, 0), (5, 6, 0), (6, 0, 1), (6, 1, 1)),
)
JUDGED = Flow(
    roles=("actor", "reference"),
    calls=(
        ("generate", 0, 0),
        ("logprobs", 1, 1),
        ("judge", None, 1),
        ("advantages", None, 0),
        ("update", 0, 2),
    ),
    waits=((0, 1, 0), (0, 2, 0), (1, 3, 0), (2, 3, 0), (3, 4, 0), (4, 0, 1)),
)
TWO_TURNS = Flow(
    roles=("actor", "tool", "critic"),
    calls=(
        ("first turn", 0, 0),
        ("tool", 1, 1),
        ("second turn", 0, 2),
        ("values", 2, 3),
        ("advantages", None, 0),
        ("critic.update", 2, 4),
        ("actor.update", 0, 4),
    ),
    waits=(
        *((0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 4, 0), (4, 5, 0), (4, 6, 0)),
        *((5, 3, 1), (6, 0, 1), (6, 2, 1)),
    ),
)

EVALUATED = Flow(
    roles=("actor", "reference", "examiner"),
    calls=(
        ("generate", 0, 0),
        ("logprobs", 1, 1),
        ("examine", 2, 1),
        ("advantages", None, 0),
        ("update", 0, 2),
        ("report", 2, 2),
    ),
    waits=((0, 1, 0), (0, 2, 0), (1, 3, 0), (3, 4, 0), (4, 0, 1), (2, 5, 0), (1, 5, 0)),
)
"""Nothing waits for the examiner's calls, so that they lie on no circle."""


def asynchronous(staleness: int) -> Flow:
    """PPO without a reward model whose generator runs so many iterations ahead."""
    return Flow(
        roles=("actor", "reference", "critic", "generator"),
        calls=(
            ("generate", 3, 0),
            ("logprobs", 1, 1),
            ("values", 2, 1),
            ("advantages", None, 0),
            ("critic.update", 2, 2),
            ("actor.update", 0, 2),
            ("send", 0, 3),
            ("receive", 3, 4),
        ),
        waits=(
            *((0, 1, 0), (0, 2, 0), (1, 3, 0), (2, 3, 0), (3, 4, 0), (3, 5, 0), (5, 6, 0), (6, 7, 0)),
            *((4, 2, 1), (7, 0, 1 + staleness)),
        ),
    )


FLOWS = (PPO, REMAX, JUDGED, TWO_TURNS, EVALUATED, asynchronous(0), asynchronous(1), asynchronous(2))
CLUSTERS = ({"a": 4}, {"a": 6}, {"a": 8}, {"a": 3, "b": 3}, {"a": 2, "b": 4})
COUNTS = (1, 2, 3, 4, 6, 8)


def random_problem(seed: int, *, time_model: TimeModel | None = None) -> Problem:
    """A problem that is small enough for all solvers, the same for the same seed."""
    draw = random.Random(seed)
    flow, capacities = draw.choice(FLOWS), draw.choice(CLUSTERS)
    scale = draw.choice([0.4, 0.8, 1.2, 1.8])
    crossing_us = draw.choice([0, 1, 5, 40])
    some = frozenset(draw.sample(flow.roles, 2))
    is_asynchronous = "generator" in flow.roles
    return Problem(
        roles=flow.roles,
        stages=1 + max(stage for _, _, stage in flow.calls),
        calls=tuple(
            Call(name=name, role=role, stage=stage, us=draw.randint(5, 120) if name == "judge" else 0)
            for name, role, stage in flow.calls
        ),
        waits=tuple(
            Wait(source=source, target=target, lag=lag, crossing_us=crossing_us)
            for source, target, lag in flow.waits
        ),
        options={
            role: _options(draw, sum(number == at for _, at, _ in flow.calls), capacities, scale)
            for number, role in enumerate(flow.roles)
        },
        capacities=capacities,
        memory=dict.fromkeys(capacities, MEMORY),
        host_memory={name: draw.choice([ENDLESS, 60, 120]) for name in capacities},
        time_model=time_model or draw.choice(["stage", "period"]),
        interleaves=draw.random() < 0.7,
        budget=_budget(draw, capacities) if draw.random() < 0.3 else None,
        together=(some,) if draw.random() < 0.15 and not is_asynchronous else (),
        apart=(frozenset({"actor", "generator"}),) if is_asynchronous else (),
    )


def _options(
    draw: random.Random, calls: int, capacities: dict[str, int], scale: float
) -> dict[Slot, Options]:
    """Up to three options on most slots; calls fall with some power of the devices."""
    work = [(draw.uniform(5, 100), draw.uniform(0, 1.2)) for _ in range(calls)]
    found = {}
    for name, devices in capacities.items():
        for count in (count for count in COUNTS if count <= devices):
            rows = draw.choice([0, 1, 2, 3, 3, 3])
            us = [
                [int(most * draw.uniform(1, 2) / count**power) for most, power in work] for _ in range(rows)
            ]
            persistent = np.array([int(draw.uniform(10, 60) * scale) for _ in range(rows)], dtype=np.int64)
            transient = np.array([int(draw.uniform(5, 40) * scale) for _ in range(rows)], dtype=np.int64)
            host = np.array([draw.choice([0, 0, 20, 50]) for _ in range(rows)], dtype=np.int64)
            options = Options(
                strategies=tuple(range(rows)),
                call_us=np.array(us, dtype=np.int64).reshape(rows, calls),
                persistent=persistent,
                transient=transient,
                host=host,
            )
            fitting = options.take(np.flatnonzero(persistent + transient <= MEMORY))
            if len(fitting):
                found[Slot(name, count)] = fitting.pruned()
    return found


def _budget(draw: random.Random, capacities: dict[str, int]) -> Budget:
    return Budget(price={name: draw.choice([1, 2, 3]) for name in capacities}, limit=draw.randint(3, 12))
