"""Figures 14 and 15."""

import pytest

from planner.domain.pins import PinKey
from planner.studies.paper.facts import choice_fact, generation_facts
from planner.studies.paper.generation import Bar, Choice, bars, syncs
from planner.studies.paper.published import GENERATION_TENSOR
from planner.studies.paper.questions import paper_scenario, pinned
from planner.studies.planning import plan


def test_two_is_the_best_generation_tensor_size_of_7b_on_16_devices() -> None:
    found = {bar.tensor: bar.total_seconds for bar in bars()}
    assert min(found, key=lambda tensor: found[tensor]) == 2
    assert found[2] < found[4] < found[8]


def test_transitions_are_flat_in_the_cluster_size() -> None:
    found: dict[str, list[float]] = {}
    for sync in syncs():
        found.setdefault(sync.size, []).append(sync.seconds)
    assert set(found) == {"7b", "13b", "34b", "70b"}
    for few, many in found.values():
        assert many == pytest.approx(few, rel=0.01)


def test_the_transition_of_7b_is_the_figures() -> None:
    seconds = next(sync.seconds for sync in syncs() if sync.size == "7b")
    assert 2.5 <= seconds <= 3.5


def bar(tensor: int, seconds: float, transition: float) -> Bar:
    return Bar(tensor=tensor, seconds=seconds, transition_seconds=transition, max_sequences=64)


def test_the_best_size_counts_the_transition() -> None:
    best, shorter = generation_facts([bar(1, 33.0, 10.0), bar(2, 34.0, 3.0), bar(8, 86.0, 1.0)])
    assert (best.holds, best.ours) == (True, "2; 1 is 16.2 % slower")
    assert (shorter.holds, shorter.ours) == (True, "60.5 % shorter")


def test_another_best_size_does_not_hold() -> None:
    best, shorter = generation_facts([bar(1, 30.0, 0.0), bar(2, 70.0, 0.0), bar(8, 100.0, 0.0)])
    assert not best.holds
    assert not shorter.holds


def choice(published: int) -> Choice:
    scenario = paper_scenario("ppo", "7b", 8)
    pins = {PinKey("actor", "generate", "tensor"): published}
    other = plan(pinned(scenario, pins)).plan
    return Choice(size="7b", devices=8, plan=plan(scenario).plan, published_plan=other)


def test_the_published_generation_tensor_size_of_7b_is_chosen() -> None:
    found = choice(2)
    assert (found.tensor, found.distance, found.ties) == (2, 0.0, False)
    assert choice_fact(found).holds


def test_another_size_is_told_with_its_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATION_TENSOR, "7b", 8)
    fact = choice_fact(choice(8))
    assert not fact.holds
    assert fact.ours.startswith("2; 8 is ")
    assert fact.ours.endswith("% slower")
