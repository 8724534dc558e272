"""Advantages against hand-computed vectors of public systems, and their properties."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime.advantages import AdaptiveKL, adapt, gae, mean_kl, token_rewards, whiten


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
