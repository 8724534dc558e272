"""The published placement held against the best."""

import pytest

from planner.studies.paper import placements
from planner.studies.paper.facts import placement_fact, standing
from planner.studies.paper.published import COLOCATE, SPLIT
from planner.studies.paper.questions import paper_scenario


def test_a_published_placement_that_is_best_has_rank_one() -> None:
    case = placements.case([paper_scenario("ppo", "13b", 16)], "13b", 16)
    assert (case.rank, case.distance, case.is_best, case.ties) == (1, 0.0, True, False)
    assert placement_fact(case).holds
    assert standing(case) == ""


def test_one_that_is_not_has_a_rank_and_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(placements.PLACEMENTS, ("7b", 16), (SPLIT, (8, 8)))
    case = placements.case([paper_scenario("ppo", "7b", 16)], "7b", 16)
    assert case.plan.placement == COLOCATE
    assert case.rank >= 2
    assert case.distance > 0.05
    fact = placement_fact(case)
    assert not fact.holds
    assert f"rank {case.rank}, {100 * case.distance:.1f} % slower" in fact.ours


def test_one_that_does_not_fit_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(placements.PLACEMENTS, ("7b", 8), (SPLIT, (4, 1)))
    case = placements.case([paper_scenario("ppo", "7b", 8)], "7b", 8)
    assert case.published_plan is None
    assert "does not fit" in placement_fact(case).ours
