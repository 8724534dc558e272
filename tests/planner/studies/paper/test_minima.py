"""Fewest devices."""

import pytest

from planner.studies.paper.facts import fit_fact
from planner.studies.paper.minima import fewest, fits, fullest_bytes
from planner.studies.paper.published import MINIMA, Algorithm


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "remax", "safe-rlhf"])
def test_published_minima_fit_and_what_their_bytes_exclude_does_not(algorithm: Algorithm) -> None:
    found = list(fits(algorithm))
    assert len(found) >= len(MINIMA[algorithm])
    for fit in found:
        assert fit.holds, fit_fact(fit)


def test_remax_of_7b_needs_no_more_than_the_paper_used() -> None:
    plan = fewest("remax", "7b")
    assert plan is not None
    assert plan.used_devices <= 8
    persistent, transient = fullest_bytes(plan)
    device = plan.scenario.cluster.node_pools[0].device
    assert persistent > 0
    assert persistent + transient <= device.usable_memory
