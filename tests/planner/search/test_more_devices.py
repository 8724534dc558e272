"""With idle devices allowed, the best plan of a larger cluster is never slower."""

from itertools import pairwise

import pytest

from planner.costs import CostModel
from planner.search import solve


def best_seconds(case):
    return solve(*case.arguments).plan.prediction.stage_cost_seconds


@pytest.mark.parametrize("shapes", [[(1, 1), (2, 1), (3, 1), (4, 1)], [(1, 1), (1, 2), (1, 4), (2, 4)]])
def test_a_larger_cluster_of_toys_is_never_slower(synthetic, shapes):
    seconds = []
    for shape in shapes:
        case = synthetic(0, pools=[shape])
        case = type(case)(case.scenario, case.graph, CostModel(case.scenario, case.graph))
        seconds.append(best_seconds(case))
    assert all(larger <= smaller for smaller, larger in pairwise(seconds))


def test_a_larger_cluster_of_the_papers_is_never_slower(paper):
    seconds = [best_seconds(paper("7b-8", nodes=nodes)) for nodes in (1, 2, 3, 4)]
    assert all(larger <= smaller for smaller, larger in pairwise(seconds))
