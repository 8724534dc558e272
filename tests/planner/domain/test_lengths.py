import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.domain.lengths import QUANTILES, TokenLengths

some = settings(max_examples=60)
SHARES = (np.arange(200_000) + 0.5) / 200_000


def lengths(**fields):
    return TokenLengths.model_validate(fields)


betas = st.builds(
    lambda maximum, share: lengths(mean=maximum * share, maximum=maximum),
    st.integers(16, 30_000),
    st.floats(0.02, 0.98),
)
lognormals = st.builds(
    lambda maximum, share, sigma: lengths(mean=maximum * share, maximum=maximum, sigma=sigma),
    st.integers(16, 30_000),
    st.floats(0.02, 0.9),
    st.floats(0.1, 2.5),
)
traces = st.builds(
    lambda values, share: lengths(trace=values, maximum=max(1, int(share * max(values)))),
    st.lists(st.integers(1, 20_000), min_size=2, max_size=200),
    st.floats(0.3, 2.0),
)


@st.composite
def histograms(draw):
    edges = sorted(draw(st.sets(st.integers(0, 20_000), min_size=2, max_size=12)))
    counts = draw(st.lists(st.integers(0, 50), min_size=len(edges) - 1, max_size=len(edges) - 1))
    assume(sum(counts))
    return lengths(histogram={"edges": edges, "counts": counts})


kinds = st.one_of(betas, lognormals, traces, histograms())


@some
@given(kinds)
def test_the_mean_is_that_of_the_quantiles(found):
    assert np.mean(found.quantile(SHARES)) == pytest.approx(found.mean, rel=5e-3, abs=0.01)


@some
@given(kinds)
def test_the_mean_square_is_that_of_the_quantiles(found):
    assert np.mean(found.quantile(SHARES) ** 2) == pytest.approx(found.mean_square, rel=1e-2, abs=0.1)
    assert found.variance == pytest.approx(found.mean_square - found.mean**2, rel=1e-6, abs=1e-3)


@some
@given(kinds)
def test_the_mean_is_the_area_below_the_survival(found):
    middles = found.maximum * (np.arange(100_000) + 0.5) / 100_000
    area = found.maximum * np.mean(found.survival(middles))
    assert area == pytest.approx(found.mean, rel=5e-3, abs=0.01)


@some
@given(kinds, st.lists(st.floats(0.001, 0.999), min_size=1, max_size=20))
def test_survival_and_quantile_are_each_others_inverse(found, shares):
    """Up to lengths that a share of all has: from there on a share's length is the same."""
    shares = np.array(shares)
    at = found.quantile(shares)
    assert (found.survival(at * (1 + 1e-9)) <= 1 - shares + 1e-6).all()
    assert (found.survival(at * (1 - 1e-9) - 1e-9) >= 1 - shares - 1e-6).all()


@some
@given(kinds)
def test_quantiles_rise_from_0_to_the_maximum_and_survival_falls(found):
    at = found.quantile(np.linspace(0, 1, 500))
    assert (np.diff(at) >= 0).all()
    assert at[0] >= 0
    assert at[-1] <= found.maximum
    survival = found.survival(np.linspace(0, found.maximum, 500))
    assert (np.diff(survival) <= 0).all()
    assert survival[-1] == 0


@some
@given(kinds)
def test_they_are_the_same_after_json(found):
    again = TokenLengths.model_validate(json.loads(json.dumps(found.model_dump(mode="json"))))
    assert again == found


@some
@given(betas)
def test_without_a_shape_they_are_beta(found):
    k = found.maximum / found.mean - 1
    assert found.spread == k
    assert found.mean_square == pytest.approx(2 * found.maximum**2 / ((k + 1) * (k + 2)))
    assert found.survival(np.array(found.mean)) == pytest.approx((1 - found.mean / found.maximum) ** k)


@some
@given(st.integers(256, 30_000), st.floats(0.02, 0.5), st.floats(0.1, 1.5))
def test_a_median_is_the_lognormals(maximum, share, sigma):
    found = lengths(median=maximum * share, sigma=sigma, maximum=maximum)
    assert found.quantile(np.array(0.5)) == pytest.approx(maximum * share, rel=1e-6)
    assert found.sigma == sigma


def test_a_lognormal_that_nothing_cuts_is_the_textbooks():
    """Mean exp(mu + sigma^2 / 2), second moment exp(2 mu + 2 sigma^2)."""
    found = lengths(median=500, sigma=0.5, maximum=100_000)
    assert found.mean == pytest.approx(500 * np.exp(0.125), rel=1e-6)
    assert found.mean_square == pytest.approx(500**2 * np.exp(0.5), rel=2e-3)
    assert found.survival(np.array(500 * np.exp(0.5))) == pytest.approx(0.1587, abs=1e-3)


def test_what_is_too_long_ends_at_the_maximum():
    found = lengths(median=800, sigma=1.0, maximum=1000)
    assert found.survival(np.array(999.999)) == pytest.approx(0.412, abs=2e-3)
    assert found.survival(np.array(1000.0)) == 0


def test_a_traces_mean_is_that_of_its_numbers_with_few_of_them_too():
    generator = np.random.default_rng(0)
    for count in (2, 10, 999, 5000):
        values = np.round(np.exp(generator.normal(6, 1, count))).clip(1).tolist()
        assert lengths(trace=values).mean == pytest.approx(np.mean(values), rel=5e-3)


def test_a_traces_numbers_may_come_in_any_order_and_end_at_the_maximum():
    assert lengths(trace=[4, 1, 3, 2]) == lengths(trace=[1, 2, 3, 4])
    cut = lengths(trace=[100, 200, 5000], maximum=1000)
    assert cut.mean == pytest.approx(1300 / 3, rel=0.05)
    assert cut.maximum == 1000
    assert lengths(trace=[7, 7, 7]) == lengths(mean=7, maximum=7)
    assert lengths(trace=[700, 800], maximum=500) == lengths(mean=500, maximum=500)


def test_a_histogram_is_uniform_in_each_of_its_bins():
    found = lengths(histogram={"edges": [0, 100, 1000], "counts": [3, 1]})
    assert found.mean == pytest.approx(0.75 * 50 + 0.25 * 550)
    assert found.survival(np.array([50.0, 100.0, 550.0])) == pytest.approx([0.625, 0.25, 0.125])
    assert found.maximum == 1000


def test_equal_ones_are_a_number():
    found = TokenLengths.model_validate(300)
    assert found.is_constant
    assert (found.quantile(SHARES[:5]) == 300).all()
    assert found.survival(np.array([299.0, 300.0])).tolist() == [1.0, 0.0]


@some
@given(kinds, st.floats(0.25, 4.0))
def test_scaled_ones_are_as_many_times_as_long_and_cut_at_the_same_maximum(found, factor):
    longer = found.scaled(factor)
    if found.is_constant:
        assert longer.maximum == max(1, round(found.maximum * factor))
        return
    assert longer.maximum == found.maximum
    assert (longer.mean - found.mean) * (factor - 1) >= -1e-5 * found.mean
    assert longer.mean <= max(factor, 1.0) * found.mean * (1 + 1e-5)
    cut = np.minimum(factor * found.quantile(SHARES), found.maximum)
    assert longer.mean >= np.mean(cut) * (1 - 5e-3) - 0.01
    TokenLengths.model_validate(longer.model_dump())


@some
@given(betas, st.floats(0.25, 4.0))
def test_scaled_betas_are_cut_like_others(found, factor):
    """Each length times the factor, or the maximum."""
    longer = found.scaled(factor)
    expected = np.minimum(factor * found.quantile(SHARES), found.maximum)
    assert longer.mean == pytest.approx(np.mean(expected), rel=2e-3)
    assert longer.mean_square == pytest.approx(np.mean(expected**2), rel=1e-2)
    body = np.linspace(0, 0.998, 50)
    cut = np.minimum(factor * found.quantile(body), found.maximum)
    low, high = (longer.quantile(side(body * QUANTILES) / QUANTILES) for side in (np.floor, np.ceil))
    corner = np.where(high == found.maximum, high - low, 0.0)  # one step of the table is a chord there
    allowed = np.maximum(1e-3 * np.maximum(cut, found.mean), corner)
    assert np.all(np.abs(longer.quantile(body) - cut) <= allowed)


def test_a_scaled_lognormal_has_a_scaled_median():
    found = lengths(median=500, sigma=0.8, maximum=4000).scaled(2.0)
    assert found.quantile(np.array(0.5)) == pytest.approx(1000, rel=1e-6)
    assert lengths(mean=10, maximum=90).scaled(1.0) == lengths(mean=10, maximum=90)
    assert lengths(mean=10, maximum=90).scaled(0.5).mean == pytest.approx(5)
    assert lengths(mean=10, maximum=90).scaled(3.0).mean == pytest.approx(30 * (1 - (2 / 3) ** 9), rel=1e-5)
    assert TokenLengths.model_validate(100).scaled(1.5) == TokenLengths.model_validate(150)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"maximum": 100}, "say one of mean, median, histogram or trace; found none of them"),
        ({"mean": 10, "median": 9, "sigma": 1, "maximum": 99}, "found mean and median"),
        ({"mean": 10, "trace": [1], "maximum": 99}, "found mean and trace"),
        ({"mean": 200, "maximum": 100}, "must not exceed maximum"),
        ({"mean": float("nan"), "maximum": 100}, "finite number"),
        ({"mean": 99.95, "maximum": 100, "sigma": 1}, "no lognormal that is cut at 100 has a mean of 99.95"),
        ({"mean": 10, "maximum": 100, "sigma": 0}, "greater than 0"),
        ({"mean": 10, "maximum": 100, "sigma": -1}, "greater than 0"),
        ({"median": 10, "maximum": 100}, "a median needs numbers above 0"),
        ({"median": 10, "sigma": 1}, "a median needs numbers above 0"),
        ({"median": 0, "sigma": 1, "maximum": 100}, "a median needs numbers above 0"),
        ({"median": "ten", "sigma": 1, "maximum": 100}, "a median needs numbers above 0"),
        ({"median": 100, "sigma": 1, "maximum": 100}, r"median \(100\) must be less than maximum \(100\)"),
        ({"trace": []}, "a trace is a file of lengths above 0"),
        ({"trace": [1, 0]}, "a trace is a file of lengths above 0"),
        ({"trace": [1, float("nan")]}, "a trace is a file of lengths above 0"),
        ({"trace": [1, 10**400]}, "a trace is a file of lengths above 0"),
        ({"trace": [1, True]}, "a trace is a file of lengths above 0"),
        ({"trace": 7}, "a trace is a file of lengths above 0"),
        ({"trace": [1, 2], "maximum": 0}, "maximum is a whole number of tokens above 0, not 0"),
        ({"trace": [1, 2], "maximum": 1.5}, r"maximum is a whole number of tokens above 0, not 1\.5"),
        ({"trace": [1, 2], "sigma": 1}, "trace has a shape already"),
        ({"trace": [1, 2], "colum": "x"}, "Extra inputs are not permitted"),
        ({"histogram": {"edges": [0, 1], "counts": [1]}, "column": "x"}, "Extra inputs are not permitted"),
        ({"histogram": [1, 2]}, "a histogram is {edges"),
        ({"histogram": {"edges": [0, 1]}}, "a histogram is {edges"),
        ({"histogram": {"edges": [0, 1], "counts": [1, 2]}}, "one edge more than counts"),
        ({"histogram": {"edges": [], "counts": []}}, "one edge more than counts"),
        ({"histogram": {"edges": [1, 1, 2], "counts": [1, 2]}}, "rising numbers from 0 on"),
        ({"histogram": {"edges": [-1, 2], "counts": [1]}}, "rising numbers from 0 on"),
        ({"histogram": {"edges": [0, "x"], "counts": [1]}}, "rising numbers from 0 on"),
        ({"histogram": {"edges": [0, float("inf")], "counts": [1]}}, "rising numbers from 0 on"),
        ({"histogram": {"edges": [0, 10**400], "counts": [1]}}, "rising numbers from 0 on"),
        ({"histogram": {"edges": [5], "counts": []}}, "at least one of them above 0"),
        ({"histogram": {"edges": [0, 1], "counts": [0]}}, "at least one of them above 0"),
        ({"histogram": {"edges": [0, 1, 2], "counts": [3, -1]}}, "at least one of them above 0"),
        ({"histogram": {"edges": [0, 1], "counts": [float("nan")]}}, "at least one of them above 0"),
        ({"mean": 1, "maximum": 2, "quantiles": [1.0, 2.0]}, "write a histogram or a trace instead"),
        (
            {"mean": 1, "maximum": 2, "quantiles": [2.0] + [1.0] * QUANTILES},
            "write a histogram or a trace instead",
        ),
        ({"mean": 1.5, "maximum": 2, "quantiles": [1.0] * (QUANTILES + 1)}, "of the same mean"),
        ({"mean": 3, "maximum": 3, "quantiles": [1.0] * QUANTILES + [4.0]}, "up to the maximum"),
    ],
)
def test_what_are_no_lengths_is_said(fields, expected):
    with pytest.raises(ValidationError, match=expected):
        lengths(**fields)
