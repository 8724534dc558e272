"""What was written down of the paper is consistent."""

from planner.domain.placement import placements
from planner.studies.paper.published import MINIMA, PLACEMENTS, TOO_FEW

ROLES = ("actor", "critic", "reference", "reward")


def test_published_placements_are_set_partitions_that_use_every_device() -> None:
    known = set(placements(ROLES))
    for (_, devices), (placement, shares) in PLACEMENTS.items():
        assert placement in known
        assert (len(placement), sum(shares)) == (len(shares), devices)


def test_what_does_not_fit_is_half_of_what_does() -> None:
    for algorithm, sizes in TOO_FEW.items():
        assert all(2 * devices == MINIMA[algorithm][size] for size, devices in sizes.items())
