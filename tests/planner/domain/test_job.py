"""How lengths grow along a job."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.domain.job import Growth, Job


@given(st.integers(1, 1000), st.floats(0.01, 100), st.none() | st.integers(1, 1000))
def test_every_job_starts_with_the_lengths_that_are_written(iterations, factor, until):
    growth = Growth(factor=factor, iterations=min(until, iterations) if until else None)
    job = Job(iterations=iterations, growth=growth)
    assert job.growth_at(0) == 1.0
    if iterations > 1:
        assert job.growth_at(job.last_growth) == pytest.approx(factor)
        assert job.growth_at(iterations - 1) == pytest.approx(factor)


def test_growth_is_even_until_its_last_iteration():
    job = Job(iterations=100, growth=Growth(factor=3.0, iterations=11))
    assert [job.growth_at(index) for index in (0, 5, 10, 99)] == [1.0, 2.0, 3.0, 3.0]
    assert job.last_growth == 10


def test_a_job_without_growth_and_one_of_one_iteration_stay_as_they_are():
    assert Job(iterations=5).growth_at(4) == 1.0
    assert Job(iterations=5).last_growth == 0
    assert Job(iterations=1, growth=Growth(factor=2.0)).last_growth == 0


@pytest.mark.parametrize("factor", [0.0, 0.009, 101.0, float("nan")])
def test_factors_beyond_a_hundred_either_way_are_refused(factor):
    with pytest.raises(ValidationError, match="factor"):
        Growth(factor=factor)
