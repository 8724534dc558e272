"""Advantages against hand-computed vectors of public systems, and their properties."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.advantages import (
    AdaptiveKL,
    Multiplier,
    adapt,
    differing_groups,
    gae,
    group_normalised,
    leave_one_out,
    length_adaptive_lambda,
    mean_kl,
    overlong_penalty,
    per_token,
    relative_to_group,
    rewards_to_go,
    step,
    token_rewards,
    whiten,
)


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float32)


def test_the_score_lies_on_the_last_counted_token_and_divergence_is_charged_everywhere():
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 0]])
    kl = torch.tensor([[1.0, 2, 3, 4], [1, 2, 3, 4]])
    rewards = token_rewards(torch.tensor([5.0, -5]), kl, mask, coefficient=0.1)
    torch.testing.assert_close(rewards, torch.tensor([[-0.1, -0.2, 4.7, 0], [-0.1, 0, -5.3, 0]]))


def test_a_sequence_without_counted_tokens_earns_nothing():
    assert token_rewards(torch.tensor([5.0]), row(1, 1), row(0, 0), coefficient=0.1).abs().max() == 0


def test_gae_without_lambda_is_the_one_step_error():
    advantages, _ = gae(row(0, 0, 5), row(1, 2, 3), row(1, 1, 1), gamma=1, lam=0)
    torch.testing.assert_close(advantages, row(1, 1, 2))


def test_gae_without_discounts_is_return_less_value():
    advantages, returns = gae(row(0, 0, 0, 1), row(*[0.5] * 4), row(*[1] * 4), gamma=1, lam=1)
    torch.testing.assert_close(advantages, row(*[0.5] * 4))
    torch.testing.assert_close(returns, row(*[1.0] * 4))


def test_gae_skips_a_masked_token_as_if_it_were_not_there():
    mask = row(1, 1, 0, 1, 1)
    advantages, returns = gae(row(0, 0, 0, 0, 1), row(0.1, 0.2, 999, 0.4, 0.5), mask, gamma=0.99, lam=0.95)
    short, short_returns = gae(row(0, 0, 0, 1), row(0.1, 0.2, 0.4, 0.5), row(*[1] * 4), gamma=0.99, lam=0.95)
    torch.testing.assert_close(advantages[mask.bool()], short[0])
    torch.testing.assert_close(returns[mask.bool()], short_returns[0])
    assert advantages[0, 2] == returns[0, 2] == 0


def test_values_at_masked_positions_change_no_bit_of_a_response_in_several_turns():
    rewards = row(0, 0, 0.1, 0.1, 0.1, 0, 0, 0.1, 1, 0, 0)
    mask = row(0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 0)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(1, 11, generator=generator)
    others = torch.where(mask.bool(), values, torch.rand(1, 11, generator=generator))
    for first, second in zip(
        gae(rewards, values, mask, gamma=1, lam=0.95),
        gae(rewards, others, mask, gamma=1, lam=0.95),
        strict=True,
    ):
        assert torch.equal(first, second)


@given(st.integers(0, 2**31), st.integers(1, 5), st.integers(1, 8))
def test_gae_equals_the_sum_of_discounted_errors(seed, sequences, length):
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, sequences, length, generator=generator, dtype=torch.float64)
    advantages, returns = gae(rewards, values, torch.ones(sequences, length), gamma=0.9, lam=0.8)
    following = torch.nn.functional.pad(values[:, 1:], (0, 1))
    errors = rewards + 0.9 * following - values
    expected = torch.stack(
        [sum(0.72 ** (s - t) * errors[:, s] for s in range(t, length)) for t in range(length)], dim=1
    )
    torch.testing.assert_close(advantages, expected)
    torch.testing.assert_close(returns, expected + values)


@given(st.integers(0, 2**31))
def test_a_sequence_has_the_same_advantages_alone_and_in_a_batch(seed):
    generator = torch.Generator().manual_seed(seed)
    rewards, values = torch.randn(2, 4, 6, generator=generator)
    mask = torch.rand(4, 6, generator=generator) < 0.7
    together, _ = gae(rewards, values, mask, gamma=0.99, lam=0.95)
    alone = [
        gae(rewards[i : i + 1], values[i : i + 1], mask[i : i + 1], gamma=0.99, lam=0.95)[0] for i in range(4)
    ]
    assert torch.equal(together, torch.cat(alone))


@given(st.integers(0, 2**31), st.floats(0.2, 1))
def test_whitened_values_have_mean_0_and_variance_1_where_they_count(seed, density):
    generator = torch.Generator().manual_seed(seed)
    values = 5 + 3 * torch.randn(6, 9, generator=generator)
    mask = torch.rand(6, 9, generator=generator) < density
    mask[0, :2] = True
    whitened = whiten(values, mask)
    variance, mean = torch.var_mean(whitened[mask])
    assert mean.item() == pytest.approx(0, abs=1e-5)
    assert variance.item() == pytest.approx(1, abs=1e-4)
    assert whitened[~mask].abs().sum() == 0
    assert torch.equal(whitened, whiten(values.masked_fill(~mask, float("nan")), mask))


def test_whitening_equal_values_gives_zeros():
    assert torch.equal(whiten(row(2, 2, 7), row(1, 1, 0)), row(0, 0, 0))


def test_one_value_cannot_be_whitened():
    with pytest.raises(ValueError, match="cannot whiten 1 counted values; at least 2"):
        whiten(row(1, 2), row(1, 0))


@pytest.mark.parametrize(
    ("kl", "expected"), [(6.0, 0.1), (9.0, 0.11), (60.0, 0.11), (5.4, 0.095), (0.0, 0.09)]
)
def test_the_coefficient_follows_the_divergence_by_at_most_a_fifth(kl, expected):
    controller = adapt(AdaptiveKL(coefficient=0.1, target=6.0, horizon=100), kl=kl, sequences=50)
    assert controller.coefficient == pytest.approx(expected)


def test_the_mean_divergence_weighs_sequences_alike():
    kl, mask = (
        torch.tensor([[1.0, 3, 99], [4, 99, 99], [99, 99, 99]]),
        torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]]),
    )
    assert mean_kl(kl, mask) == 3


def test_rewards_to_go_match_the_vector_of_verl():
    """``test_reinforce_pp_multiturn_on_cpu.py``: a masked token takes no time, and no discount."""
    returns = rewards_to_go(row(0, 0, 0, 0, 2), row(1, 1, 0, 0, 1), gamma=0.5)
    torch.testing.assert_close(returns, row(0.5, 1, 0, 0, 2))


@given(st.integers(0, 2**31), st.floats(0.1, 1))
def test_rewards_to_go_are_the_discounted_sums_of_counted_rewards(seed, gamma):
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    mask = torch.rand(3, 6, generator=generator) < 0.6
    returns = rewards_to_go(torch.where(mask, rewards, 1e6), mask, gamma=gamma)
    for i in range(3):
        counted = rewards[i][mask[i]].tolist()
        sums = [sum(r * gamma**k for k, r in enumerate(counted[t:])) for t in range(len(counted))]
        assert returns[i][mask[i]].tolist() == pytest.approx(sums)
    assert returns[~mask].abs().sum() == 0


def test_each_response_may_have_a_lambda_of_its_own():
    rewards, values, mask = torch.randn(2, 4), torch.randn(2, 4), torch.ones(2, 4)
    both, _ = gae(rewards, values, mask, gamma=0.9, lam=torch.tensor([0.3, 0.8]))
    for i, lam in enumerate((0.3, 0.8)):
        alone, _ = gae(rewards[i : i + 1], values[i : i + 1], mask[i : i + 1], gamma=0.9, lam=lam)
        torch.testing.assert_close(both[i : i + 1], alone)


def test_longer_responses_have_a_lambda_nearer_to_1():
    mask = torch.zeros(3, 100)
    mask[0, :10] = mask[1, :40] = mask[2, :] = 1
    torch.testing.assert_close(length_adaptive_lambda(mask, alpha=0.05), torch.tensor([0, 0.5, 0.8]))


SIX, TWO_GROUPS = torch.tensor([1.0, 2, 3, 4, 5, 6]), torch.tensor([7, 7, 7, 2, 2, 2])


def test_the_leave_one_out_baseline_matches_the_vector_of_nemo():
    baseline = SIX - leave_one_out(SIX, TWO_GROUPS)
    torch.testing.assert_close(baseline, torch.tensor([2.5, 2, 1.5, 5.5, 5, 4.5]))


def test_a_sample_that_does_not_count_is_in_no_ones_baseline():
    """The vector of NeMo with its second sample invalid: here, in a group of its own."""
    groups = torch.tensor([7, 99, 7, 2, 2, 2])
    baseline = SIX - leave_one_out(SIX, groups)
    torch.testing.assert_close(baseline[[0, 2, 3, 4, 5]], torch.tensor([3.0, 1, 5.5, 5, 4.5]))
    assert leave_one_out(SIX, groups)[1] == 0


def test_a_group_is_measured_by_its_own_unbiased_deviation():
    """On NeMo's scores, of which it takes deviations without the sample itself: 0.7071, 1.4142, 0.7071."""
    expected = torch.tensor([-1.0, 0, 1, -1, 0, 1]) / (1 + 1e-6)
    torch.testing.assert_close(group_normalised(SIX, TWO_GROUPS), expected)
    torch.testing.assert_close(relative_to_group(SIX, TWO_GROUPS), torch.tensor([-1.0, 0, 1, -1, 0, 1]))


def test_a_sample_alone_keeps_its_score_where_the_mean_is_taken_away():
    alone = torch.tensor([3.0]), torch.tensor([0])
    assert group_normalised(*alone).item() == pytest.approx(3 / (1 + 1e-6))
    assert (relative_to_group(*alone).item(), leave_one_out(*alone).item()) == (3, 0)


def loop(scores, groups, formula):
    """The same over one group after the other, as a person would."""
    result = torch.zeros_like(scores)
    for group in set(groups.tolist()):
        members = [i for i in range(len(scores)) if groups[i] == group]
        result[members] = formula(scores[members])
    return result


def normalised_loop(own):
    if len(own) == 1:
        return own / (1 + 1e-6)
    return (own - own.mean()) / (own.std() + 1e-6)


def others_loop(own):
    if len(own) == 1:
        return own * 0
    return torch.stack([own[i] - (own.sum() - own[i]) / (len(own) - 1) for i in range(len(own))])


ESTIMATORS = [
    pytest.param(group_normalised, normalised_loop, id="grpo"),
    pytest.param(leave_one_out, others_loop, id="rloo"),
    pytest.param(relative_to_group, lambda own: own - own.mean() if len(own) > 1 else own, id="dr_grpo"),
]


@pytest.mark.parametrize(("vectorised", "formula"), ESTIMATORS)
def test_scores_that_hardly_differ_are_not_lost_in_rounding(vectorised, formula):
    """The vector of verl, which catches an epsilon inside of the root."""
    scores, groups = torch.tensor([1.0, 1.00001, 2.0, 2.00001]), torch.tensor([0, 0, 1, 1])
    found = vectorised(scores, groups)
    torch.testing.assert_close(found, loop(scores, groups, formula), atol=1e-5, rtol=1e-5)
    assert found.abs().min() > 0


@pytest.mark.parametrize(("samples", "length", "groups"), [(64, 128, 5), (128, 256, 8), (512, 512, 10)])
@pytest.mark.parametrize(("vectorised", "formula"), ESTIMATORS)
def test_vectors_and_loops_agree_at_the_sizes_of_verl(samples, length, groups, vectorised, formula):
    generator = torch.Generator().manual_seed(samples)
    mask = torch.rand(samples, length, generator=generator) < 0.7
    scores = torch.where(mask, torch.randn(samples, length, generator=generator), 0).sum(dim=1)
    of_group = torch.randint(groups, (samples,), generator=generator)
    found = per_token(vectorised(scores, of_group), mask)
    expected = loop(scores, of_group, formula)[:, None] * mask
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-5, 5)), min_size=1, max_size=12))
@pytest.mark.parametrize(("vectorised", "formula"), ESTIMATORS)
def test_vectors_and_loops_agree_on_uneven_groups_in_any_order(vectorised, formula, drawn):
    groups = torch.tensor([group for group, _ in drawn])
    scores = torch.tensor([score for _, score in drawn], dtype=torch.float64)
    torch.testing.assert_close(
        vectorised(scores, groups), loop(scores, groups, formula), atol=1e-9, rtol=1e-6
    )


def test_groups_with_equal_scores_teach_nothing():
    scores = torch.tensor([1.0, 1, 0, 1, 0, 0, 3])
    groups = torch.tensor([4, 4, 1, 1, 0, 0, 8])
    assert differing_groups(scores, groups).tolist() == [False, False, True, True, False, False, False]
    assert differing_groups(scores[:0], groups[:0]).tolist() == []
    close = torch.tensor([0.1, 0.1 + 1e-8], dtype=torch.float32)
    assert differing_groups(close, torch.zeros(2, dtype=torch.long)).any() == (close[0] != close[1])


@given(st.integers(2, 64), st.floats(-1e3, 1e3, width=32))
@pytest.mark.parametrize("estimate", [group_normalised, relative_to_group, leave_one_out])
def test_samples_of_equal_score_have_no_advantage_at_all(estimate, samples, score):
    """In fp32 the mean of eight times 10.1 is not 10.1, and what is left would be its own deviation."""
    scores, groups = torch.full((samples,), score), torch.zeros(samples, dtype=torch.long)
    assert estimate(scores, groups).tolist() == [0] * samples


def test_the_score_falls_over_the_last_tokens_of_the_longest_response():
    """DAPO, equation 13: nothing up to 16,384 of 20,480 tokens, all of the factor at the end."""
    lengths = torch.tensor([100, 16384, 18432, 20480])
    found = overlong_penalty(lengths, longest=20480, buffer=4096, factor=1.0)
    torch.testing.assert_close(found, torch.tensor([0, 0, -0.5, -1]))
    assert overlong_penalty(lengths, longest=20480, buffer=4096, factor=3.0)[2] == -1.5
    assert overlong_penalty(lengths, longest=20480, buffer=0, factor=1.0).abs().max() == 0


def test_the_multiplier_takes_one_step_on_its_logarithm():
    """By hand: lambda 1, mean cost 2, threshold 0, rate 0.1: the logarithm is 0.2 and lambda 1.2214."""
    start = Multiplier(log_value=0.0, threshold=0.0, learning_rate=0.1, maximum=5.0)
    moved = step(start, mean_cost=2.0)
    assert moved.log_value == pytest.approx(0.2)
    assert moved.value == pytest.approx(1.2214, abs=1e-4)
    assert step(moved, mean_cost=2.0).log_value == pytest.approx(0.2 + 0.1 * 2 * 1.2214, abs=1e-4)


def test_the_multiplier_falls_below_the_threshold_and_stays_under_its_maximum():
    start = Multiplier(log_value=0.0, threshold=1.0, learning_rate=0.1, maximum=5.0)
    assert step(start, mean_cost=0.0).value == pytest.approx(math.exp(-0.1))
    assert step(start, mean_cost=1e9).value == pytest.approx(5.0)
    assert step(step(start, mean_cost=-1e9), mean_cost=0.0).value >= 0
