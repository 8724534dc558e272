"""Pareto fronts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.search.dominance import undominated

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
