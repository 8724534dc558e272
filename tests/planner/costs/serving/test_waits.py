"""The longest of many sums of waits."""

import numpy as np
import pytest

from planner.costs.serving.waits import longest_excess


def test_one_sequence_waits_for_its_mean():
    for answers in (1, 4, 19, 999):
        assert longest_excess(answers, 1) == pytest.approx(0.0, abs=1e-9)


def test_the_longest_of_single_waits_is_a_harmonic_number():
    """Renyi: 1 + 1/2 + ... + 1/n."""
    counts = np.array([1, 2, 10, 10_000, 1_000_000])
    expected = [sum(1 / number for number in range(2, count + 1)) for count in counts.tolist()]
    assert longest_excess(1, counts) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(("answers", "sequences"), [(2, 8), (4, 256), (19, 64), (200, 1000)])
def test_of_sums_it_is_the_mean_of_many_draws(answers, sequences):
    drawn = np.random.default_rng(0).gamma(answers, size=(2000, sequences)).max(axis=1).mean() - answers
    assert longest_excess(answers, sequences) == pytest.approx(drawn, rel=0.03)


def test_more_sequences_wait_longer_and_no_more_than_they_need():
    counts = 2 ** np.arange(0, 31, 3)
    found = longest_excess(9, counts.reshape(-1, 1))
    assert found.shape == (len(counts), 1)
    assert (np.diff(found[:, 0]) > 0).all()
    assert np.diff(found[:, 0])[-1] < 3
