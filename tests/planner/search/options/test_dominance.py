"""Pareto fronts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.search.options.dominance import undominated, undominated_in_groups

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), max_size=30)


@given(ROWS)
def test_kept_rows_cover_all_others_and_none_of_them_covers_another(rows: list[tuple[int, int, int]]) -> None:
    points = np.array(rows, dtype=np.int64).reshape(-1, 3)
    kept = points[undominated(points)]
    for point in points:
        assert (kept <= point).all(axis=1).any()
    for number, point in enumerate(kept):
        others = np.delete(kept, number, axis=0)
        assert not (others <= point).all(axis=1).any()


@given(ROWS, st.integers(0, 3))
def test_groups_are_pruned_each_by_itself(rows: list[tuple[int, int, int]], groups: int) -> None:
    points = np.array(rows, dtype=np.int64).reshape(-1, 3)
    numbers = np.arange(len(points)) % (groups + 1)
    kept = undominated_in_groups(numbers, list(points.T))
    expected = [np.flatnonzero(numbers == group) for group in range(groups + 1)]
    alone = [own[undominated(points[own])] for own in expected]
    assert kept.tolist() == sorted(np.concatenate(alone).tolist())


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 4), max_size=40))
def test_where_a_sum_ties_something_else_decides(rows: list[tuple[int, int, int, int]]) -> None:
    """A row covers another if it is no greater in three columns, and its sum of the first two is less, or the
    fourth number no greater."""
    points = np.array(rows, dtype=np.int64).reshape(-1, 4)
    sums = points[:, :2].sum(axis=1)
    ties = (sums, points[:, 3])
    kept = undominated_in_groups(np.zeros(len(points), dtype=np.int64), list(points.T[:3]), ties=ties)

    def covers(one: int, other: int) -> bool:
        is_lower = bool((points[one, :3] <= points[other, :3]).all())
        return is_lower and bool(sums[one] < sums[other] or points[one, 3] <= points[other, 3])

    for row in range(len(points)):
        assert any(covers(one, row) for one in kept)
    for row in kept:
        assert not any(covers(one, row) for one in kept if one != row)


@pytest.mark.parametrize("scale", [1, 2**30, 2**50])
def test_as_many_rows_are_kept_of_large_numbers(scale: int) -> None:
    points = np.random.default_rng(0).integers(0, 50, (500, 4))
    assert np.array_equal(undominated(scale * points), undominated(points))


@pytest.mark.parametrize("has_ties", [False, True])
def test_large_groups_are_pruned_as_small_ones_are(monkeypatch: pytest.MonkeyPatch, has_ties: bool) -> None:
    generator = np.random.default_rng(1)
    points, groups = generator.integers(0, 30, (600, 5)), generator.integers(0, 2, 600)
    ties = (points[:, :2].sum(axis=1), points[:, 4]) if has_ties else None
    whole = undominated_in_groups(groups, list(points.T[:4]), ties=ties)
    monkeypatch.setattr("planner.search.options.dominance.LARGE", 80)
    monkeypatch.setattr("planner.search.options.dominance.LEAF", 40)
    assert np.array_equal(undominated_in_groups(groups, list(points.T[:4]), ties=ties), whole)
