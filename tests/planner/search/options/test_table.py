"""The option table."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from planner.domain.pins import Pins
from planner.domain.plan import RoleStrategy
from planner.search.microseconds import microseconds
from planner.search.options.raw import raw_strategies
from planner.search.options.table import RoleTable
from planner.search.problem import prepare

Build = Callable[..., Any]
VARIED = {
    "prompts": 4,
    "prompt_tokens": 4,
    "response_tokens": {"mean": 2.5, "maximum": 6},
    "mini_batches": 2,
}


def table_of(case: Any, role: str) -> RoleTable:
    (node_pool,) = case.scenario.cluster.node_pools
    return RoleTable(
        role=role, scenario=case.scenario, graph=case.graph, costs=case.costs, node_pool=node_pool
    )


def raw_of(case: Any, role: str, devices: int) -> list[RoleStrategy]:
    (node_pool,) = case.scenario.cluster.node_pools
    return list(raw_strategies(case.scenario, case.graph, role, node_pool, devices))


def row_of(case: Any, role: str, strategy: RoleStrategy) -> tuple[int, ...]:
    """(microseconds of each call, persistent, transient and host bytes), straight from the costs."""
    (node_pool,) = case.scenario.cluster.node_pools
    calls = [
        microseconds(case.costs.call(call, strategy, node_pool).seconds) for call in case.graph.calls_of(role)
    ]
    memory = case.costs.memory(role, strategy, node_pool)
    return (*calls, memory.persistent_bytes, memory.transient_bytes, memory.host)


def rows_of(table: Any) -> Any:
    return np.column_stack([table.call_us, table.persistent, table.transient, table.host])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("role", ["actor", "critic", "reward"])
def test_every_option_that_fits_is_dominated_by_one_of_the_table(
    synthetic: Build, seed: int, role: str
) -> None:
    """With and without a limit of host memory; ties in seconds, so that bytes decide."""
    limited = {"node_pool": {"host_memory": "16 GB"}} if seed % 2 else {}
    case = synthetic(seed, bytes_scale=1.5, workload=VARIED, **limited)
    case = replace(case, costs=replace(case.costs, quantum_s=0.5))
    (node_pool,) = case.scenario.cluster.node_pools
    room, most = node_pool.device.usable_memory, node_pool.host_memory_per_device
    for devices in (2, 4):
        kept = rows_of(table_of(case, role).options(devices))
        for strategy in raw_of(case, role, devices):
            *us, persistent, transient, host = row = row_of(case, role, strategy)
            if persistent + transient > room or (most is not None and host > most):
                continue
            covers = (kept[:, :-1] <= np.array(row[:-1])).all(axis=1)
            seconds, total = kept[:, : len(us)].sum(axis=1), kept[:, -3:].sum(axis=1)
            if most is not None:
                covers &= kept[:, -1] <= host
            else:
                covers &= (seconds < sum(us)) | (total <= persistent + transient + host)
            assert covers.any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("role", ["actor", "critic", "reward"])
def test_the_table_has_options_of_the_rules_at_their_costs(synthetic: Build, seed: int, role: str) -> None:
    case = synthetic(seed, bytes_scale=1.5, workload=VARIED)
    table, raw = table_of(case, role).options(4), set(raw_of(case, role, 4))
    assert 0 < len(table) < len(raw)
    for strategy, row in zip(table.strategies, rows_of(table), strict=True):
        assert strategy in raw
        assert row_of(case, role, strategy) == tuple(row)


def test_options_of_the_real_costs_are_what_their_strategies_cost(paper: Build) -> None:
    case = paper("7b-8")
    for role in ("actor", "critic", "reward"):
        table = table_of(case, role).options(8)
        for number in range(0, len(table), 7):
            assert tuple(rows_of(table)[number]) == row_of(case, role, table.strategies[number])


def test_tables_of_many_device_counts_are_those_of_each(paper: Build) -> None:
    table = table_of(paper("7b-16"), "actor")
    together = table.all_options([2, 8, 16])
    for devices, options in together.items():
        alone = table.options(devices)
        assert list(options.strategies) == list(alone.strategies)
        assert np.array_equal(rows_of(options), rows_of(alone))


def test_some_of_the_options_are_the_same_options(synthetic: Build) -> None:
    table = table_of(synthetic(0), "actor").options(4)
    rows = np.array([2, 0])
    some = table.take(rows)
    assert list(some.strategies) == [table.strategies[2], table.strategies[0]]
    assert np.array_equal(rows_of(some), rows_of(table)[rows])
    assert table.strategies[-1] == list(table.strategies)[-1]


def test_the_smallest_strategy_needs_the_fewest_bytes_of_all(synthetic: Build) -> None:
    case = synthetic(2, workload=VARIED)
    for role in ("actor", "critic", "reward"):
        found = table_of(case, role).smallest(4)
        sizes = [sum(row_of(case, role, strategy)[-3:-1]) for strategy in raw_of(case, role, 4)]
        assert found is not None
        strategy, needed = found
        assert needed == min(sizes) == sum(row_of(case, role, strategy)[-3:-1])


def test_pins_leave_only_options_that_agree(synthetic: Build) -> None:
    pin = {
        "actor.train.tensor": 2,
        "actor.generate.tensor": 1,
        "critic.micro_batch": 1,
        "reward.devices": 2,
        "reference.offload": "all",
    }
    case = synthetic(3, pin=Pins.model_validate(pin))
    problem = prepare(*case.arguments)
    every = {
        role: [each for table in problem.options[role].values() for each in table.strategies]
        for role in problem.roles
    }
    assert all(every.values())
    assert all(each.train.tensor == 2 and each.generate.tensor == 1 for each in every["actor"])
    assert all(each.micro_batch == 1 for each in every["critic"])
    assert all(each.offload == "all" for each in every["reference"])
    assert [slot.devices for slot in problem.options["reward"]] == [2]


def test_pins_that_nothing_meets_leave_nothing(synthetic: Build) -> None:
    case = synthetic(3, pin=Pins.model_validate({"actor.train.tensor": 3, "reward.offload": "optimizer"}))
    for role in ("actor", "reward"):
        table = table_of(case, role)
        assert len(table.options(4)) == 0
        assert table.options(4).call_us.shape == (0, len(case.graph.calls_of(role)))
        assert table.smallest(4) is None
        assert raw_of(case, role, 4) == []


def test_no_option_needs_more_than_a_device_and_its_part_of_the_host_have(synthetic: Build) -> None:
    case = synthetic(1, bytes_scale=1.5, node_pool={"host_memory": "16 GB"})
    (node_pool,) = case.scenario.cluster.node_pools
    tables = [table_of(case, role).options(2) for role in ("actor", "critic")]
    for table in tables:
        assert (table.persistent + table.transient <= node_pool.device.usable_memory).all()
        assert (table.host <= 4 * 10**9).all()
    assert any(table.host.any() for table in tables)
