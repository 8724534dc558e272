"""Algorithms 1 and 2 of the paper."""

from collections.abc import Callable
from math import comb
from typing import Any

from planner.domain.placement import placements
from planner.search.problem import prepare
from planner.search.problem.allocation import enumerate_allocations
from planner.search.solvers.hybridflow import Mapper, solve_like_hybridflow

Build = Callable[..., Any]


def mapper_of(case: Any) -> Mapper:
    return Mapper(problem=prepare(*case.arguments), cluster=case.scenario.cluster)


def test_from_eight_devices_on_sets_get_whole_nodes(paper: Build) -> None:
    mapper = mapper_of(paper("7b-8"))
    answer = solve_like_hybridflow(mapper.problem, mapper.cluster)
    assert [slot.devices for slot in mapper.slots(["actor"])] == [8]
    assert answer is not None
    assert answer.solution.placement == (("actor", "critic", "reference", "reward"),)
    assert answer.runners_up == ()


def test_below_eight_devices_sets_get_single_devices(synthetic: Build) -> None:
    mapper = mapper_of(synthetic(0, pools=[(1, 4)], bytes_scale=0.1))
    assert [slot.devices for slot in mapper.slots(["reward"])] == [1, 2, 3, 4]


def test_allocations_that_use_every_node_are_the_papers_compositions(paper: Build) -> None:
    mapper, nodes, compared = mapper_of(paper("7b-32")), 4, 0
    for placement in placements(mapper.problem.roles):
        choices = [mapper.slots([roles[-1]]) for roles in placement]
        allocations = enumerate_allocations(choices, mapper.problem.capacities)
        full = [slots for slots in allocations if sum(slot.devices for slot in slots) == 8 * nodes]
        if all(len(slots) == nodes for slots in choices):
            assert len(full) == comb(nodes - 1, len(placement) - 1)
            compared += 1
    assert compared > 1


def test_strategies_are_ranked_once_per_role_devices_and_least_sizes(paper: Build) -> None:
    mapper = mapper_of(paper("13b-16"))
    first = {placement: mapper.best_mapping(placement) for placement in placements(mapper.problem.roles)}
    ranked = {key: id(rows) for key, rows in mapper.ranked.items()}
    assert {(role, slot.devices) for role, slot, _ in ranked} == {
        (role, devices) for role in mapper.problem.roles for devices in (8, 16)
    }
    second = {placement: mapper.best_mapping(placement) for placement in placements(mapper.problem.roles)}
    assert first == second
    assert {key: id(rows) for key, rows in mapper.ranked.items()} == ranked


def test_ranked_strategies_stay_inside_algorithm_2s_loops_by_rising_seconds(paper: Build) -> None:
    mapper = mapper_of(paper("13b-32"))
    (slot,) = [slot for slot in mapper.slots(["critic"]) if slot.devices == 16]
    table = mapper.problem.options["critic"][slot]
    rows = mapper.rank("critic", slot, (2, 1))
    layouts = [table.strategies[row].layout for row in rows]
    seconds = [int(table.call_us[row].sum()) for row in rows]
    assert rows
    assert all(layout.tensor >= 2 and layout.pipeline <= 2 for layout in layouts)
    assert seconds == sorted(seconds)


def test_least_sizes_fit_together_and_the_next_smaller_do_not(paper: Build) -> None:
    mapper = mapper_of(paper("34b-32"))
    roles = mapper.problem.roles
    (slot,) = [slot for slot in mapper.slots(roles) if slot.devices == 32]
    sizes = mapper.least_sizes(roles, slot)
    assert sizes is not None
    assert mapper.auto_parallel(roles, slot, sizes) is not None
    assert any(tensor * pipeline > 1 for tensor, pipeline in sizes.values())
