"""The option table."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from planner.domain.parallelism import ParallelStrategy
from planner.domain.pins import Pins
from planner.domain.plan import RoleStrategy
from planner.search.layouts import generation_layouts, micro_batches
from planner.search.problem import prepare
from planner.search.strategies import RoleTable, microseconds

Build = Callable[..., Any]


def table_of(case: Any, role: str) -> RoleTable:
    (node_pool,) = case.scenario.cluster.node_pools
    return RoleTable(
        role=role, scenario=case.scenario, graph=case.graph, costs=case.costs, node_pool=node_pool
    )


def raw_strategies(case: Any, role: str, devices: int) -> list[RoleStrategy]:
    """Every option of a role, without pruning and without halves."""
    kinds = {call.kind for call in case.graph.calls_of(role)}
    is_trained = "train" in kinds
    samples, steps = case.scenario.workload.samples, case.scenario.workload.mini_batches
    found = []
    for p, t, d in product(range(1, devices + 1), repeat=3):
        if p * t * d != devices or p > 2 or t > 2 or 4 % t:
            continue
        layout = ParallelStrategy(pipeline=p, tensor=t, data=d)
        share = math.ceil(math.ceil(samples / (steps if is_trained else 1)) / d)
        generations = list(generation_layouts(layout, samples)) if "generate" in kinds else [None]
        for micro_batch, recompute, generate in product(
            micro_batches(share), ("none", "full") if is_trained else ("none",), generations
        ):
            found.append(
                RoleStrategy(
                    train=layout if is_trained else None,
                    infer=None if is_trained else layout,
                    generate=generate,
                    micro_batch=micro_batch,
                    recompute=recompute,
                )
            )
    return found


def row_of(case: Any, role: str, strategy: RoleStrategy) -> tuple[int, ...]:
    """(microseconds of each call, persistent bytes, transient bytes), straight from the costs."""
    (node_pool,) = case.scenario.cluster.node_pools
    calls = [
        microseconds(case.costs.call(call, strategy, node_pool).seconds) for call in case.graph.calls_of(role)
    ]
    memory = case.costs.memory(role, strategy, node_pool)
    return (*calls, memory.persistent_bytes, memory.transient_bytes)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("role", ["actor", "critic", "reward"])
def test_every_option_that_fits_is_dominated_by_one_of_the_table(
    synthetic: Build, seed: int, role: str
) -> None:
    case = synthetic(seed, bytes_scale=1.5)
    capacity = case.scenario.cluster.node_pools[0].device.usable_memory
    for devices in (2, 4):
        table = table_of(case, role).options(devices)
        kept = np.column_stack([table.call_us, table.persistent, table.transient])
        for strategy in raw_strategies(case, role, devices):
            *_, persistent, transient = row = row_of(case, role, strategy)
            if persistent + transient <= capacity:
                assert (kept <= np.array(row)).all(axis=1).any()
        for strategy, row in zip(table.strategies, kept, strict=True):
            assert strategy in raw_strategies(case, role, devices)
            assert row_of(case, role, strategy) == tuple(row)


def test_options_of_the_real_costs_are_what_their_strategies_cost(paper: Build) -> None:
    case = paper("7b-8")
    for role in ("actor", "critic", "reward"):
        table = table_of(case, role).options(8)
        for number in range(0, len(table), 7):
            *calls, persistent, transient = row_of(case, role, table.strategies[number])
            assert table.call_us[number].tolist() == calls
            assert table.persistent[number] == persistent
            assert table.transient[number] == transient


def test_pins_leave_only_options_that_agree(synthetic: Build) -> None:
    pin = {"actor.train.tensor": 2, "actor.generate.tensor": 1, "critic.micro_batch": 1, "reward.devices": 2}
    case = synthetic(3, pin=Pins.model_validate(pin))
    problem = prepare(*case.arguments)
    actors = [each for table in problem.options["actor"].values() for each in table.strategies]
    critics = [each for table in problem.options["critic"].values() for each in table.strategies]
    assert actors
    assert critics
    assert all(each.train.tensor == 2 and each.generate.tensor == 1 for each in actors)
    assert all(each.micro_batch == 1 for each in critics)
    assert [slot.devices for slot in problem.options["reward"]] == [2]
