import pytest

from planner.domain.placement import placements

BELL = {1: 1, 2: 2, 3: 5, 4: 15, 5: 52, 6: 203}


@pytest.mark.parametrize("count", BELL)
def test_placements_are_exactly_the_set_partitions(count: int) -> None:
    roles = [f"role{index}" for index in range(count)]
    found = list(placements(roles))
    as_sets = {frozenset(map(frozenset, placement)) for placement in found}
    assert len(found) == len(as_sets) == BELL[count]
    for placement in found:
        assert sorted(role for block in placement for role in block) == roles
