"""Error bands of sums and differences, by hand."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.algorithms import ALGORITHMS, trace
from planner.costs.bands import (
    Term,
    band_of,
    difference_half_width,
    slowest_terms,
    sum_band,
    ties,
    widened,
)
from planner.domain.fits import Residuals

PPO = trace(ALGORITHMS["ppo"], name="ppo")


def residuals(half_width: float, *, shared: float = 0.0, own: float = 0.0) -> Residuals:
    return Residuals(rows=9, mape=0.1, p90=0.2, low=-half_width, high=half_width, shared=shared, own=own)


SHARED, OWN, EVEN = residuals(0.1, shared=1.0), residuals(0.1, own=1.0), residuals(0.1)


def term(seconds: float, of: Residuals = OWN, **fields: Any) -> Term:
    return Term(seconds=seconds, residuals=of, **{"kind": "train", "identity": object(), **fields})


def test_a_band_includes_its_prediction_even_where_the_fit_is_biased() -> None:
    low, high = band_of(10.0, Residuals(rows=9, mape=0.1, p90=0.2, low=0.02, high=0.1))
    assert (low, high) == (10.0, pytest.approx(10 * math.exp(0.1)))
    low, high = band_of([1.0, 2.0], OWN)
    assert high.tolist() == pytest.approx([math.exp(0.1), 2 * math.exp(0.1)])


@pytest.mark.parametrize("of", [SHARED, OWN, EVEN, residuals(0.3, shared=0.1, own=0.2)])
def test_the_band_of_one_term_is_its_own(of: Residuals) -> None:
    assert sum_band([term(10.0, of)]) == pytest.approx([float(side) for side in band_of(10.0, of)])


def test_shared_parts_of_one_kind_add_up_and_own_parts_in_quadrature() -> None:
    width = math.exp(0.1) - 1
    assert sum_band([term(3.0, SHARED), term(4.0, SHARED)])[1] == pytest.approx(7 + 7 * width)
    assert sum_band([term(3.0, OWN), term(4.0, OWN)])[1] == pytest.approx(7 + 5 * width)
    other = term(4.0, SHARED, kind="generate")
    assert sum_band([term(3.0, SHARED), other])[1] == pytest.approx(7 + 5 * width)


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 0.5), st.floats(0, 1)), min_size=1, max_size=6))
def test_the_band_of_a_sum_is_no_wider_than_the_sum_of_bands(parts: list[tuple[float, float, float]]) -> None:
    terms = [term(seconds, residuals(width, shared=share, own=1 - share)) for seconds, width, share in parts]
    low, high = sum_band(terms)
    bands = [band_of(each.seconds, each.residuals) for each in terms]
    assert sum(float(one) for one, _ in bands) <= low * (1 + 1e-9)
    assert low <= sum(each.seconds for each in terms) * (1 + 1e-9)
    assert sum(each.seconds for each in terms) <= high * (1 + 1e-9)
    assert high <= sum(float(other) for _, other in bands) * (1 + 1e-9)


def test_equal_sums_do_not_differ() -> None:
    terms = [term(3.0, EVEN), term(4.0, EVEN)]
    assert difference_half_width(terms, terms) == 0.0


def test_a_shared_deviation_counts_with_the_difference_of_the_seconds() -> None:
    assert difference_half_width([term(10.0, SHARED)], [term(9.0, SHARED)]) == pytest.approx(0.1)
    apart = difference_half_width([term(4.0, SHARED)], [term(3.0, SHARED, kind="generate")])
    assert apart == pytest.approx(0.5)


def test_own_deviations_of_what_differs_add_in_quadrature() -> None:
    same = term(100.0, OWN)
    assert difference_half_width([same, term(3.0, OWN)], [same, term(4.0, OWN)]) == pytest.approx(0.5)


def test_plans_tie_inside_their_band_and_never_beyond_5_percent() -> None:
    assert ties(100.0, 102.0, 3.0)
    assert not ties(100.0, 104.0, 3.0)
    assert ties(100.0, 104.9, 50.0)
    assert not ties(100.0, 105.1, 50.0)


def test_widening_adds_an_independent_shared_deviation() -> None:
    wider = widened(residuals(0.3, own=0.2), 0.4)
    assert (wider.low, wider.high) == (pytest.approx(-0.5), pytest.approx(0.5))
    assert wider.own == 0.2
    assert wider.shared == pytest.approx(0.4 / 1.6449)


def test_a_stage_takes_as_long_as_its_slowest_pool() -> None:
    seconds = {"actor.generate": 5.0, "critic.values": 1.0, "reference.logprobs": 2.0, "reward.scores": 1.5}
    seconds |= {"actor.update": 4.0, "critic.update": 3.0}
    terms = {name: term(value, identity=name) for name, value in seconds.items()}
    pools = (("actor", "reference"), ("critic", "reward"))
    found = slowest_terms(PPO, pools, terms)
    assert list(found) == ["actor.generate", "critic.values", "reward.scores", "actor.update"]
    assert found["critic.values"] is terms["critic.values"]
