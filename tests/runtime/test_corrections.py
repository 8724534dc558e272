"""Corrections of the engines' mismatch, on vectors of public systems, by hand, and by their properties."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planner.domain.algorithm import Correction, Rejection
from runtime.corrections import (
    correction_weights,
    importance_weights,
    kept,
    mismatch_metrics,
    normalised,
    rejection_metrics,
    weight_metrics,
)
from runtime.losses import policy_loss

TRUNCATE = {"level": "token", "kind": "truncate", "bounds": (0.0, 2.0)}
MEASURES = [
    "token_k1", "token_k2", "token_k3", "seq_sum_k1", "seq_sum_k2", "seq_sum_k3",
    "seq_mean_k1", "seq_mean_k2", "seq_mean_k3", "seq_max_k2", "seq_max_k3",
]  # fmt: skip


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float32)


def test_weighted_losses_match_the_vector_of_nemo():
    old, generated, advantages = row(-1, -1, -1), row(-0.5, -1.5, -0.8), row(1, -1, 2)
    weights = importance_weights(old, generated, row(1, 1, 1), **TRUNCATE)
    torch.testing.assert_close(weights, row(0.6065, 1.6487, 0.8187), atol=1e-4, rtol=0)
    logprobs = row(-1.69315, -1, -0.59453)
    loss = weights * policy_loss(logprobs, old_logprobs_bt=old, advantages_bt=advantages)
    torch.testing.assert_close(loss, row(-0.30325, 1.6487, -1.96488), atol=1e-4, rtol=0)
    assert loss.mean().item() == pytest.approx(-0.2065, abs=1e-4)
    folded = policy_loss(logprobs, old_logprobs_bt=old, advantages_bt=weights * advantages)
    torch.testing.assert_close(folded, loss)


def test_masking_matches_the_vector_of_nemo():
    weights = importance_weights(
        row(-1, -1, -1), row(-0.5, -3.5, -0.8), row(1, 1, 1), level="token", kind="mask", bounds=(0.5, 5.0)
    )
    torch.testing.assert_close(weights, row(0.6065, 0, 0.8187), atol=1e-4, rtol=0)


def test_truncation_cuts_greater_weights_and_leaves_smaller_ones():
    weights = importance_weights(row(-1, -1), row(-4, -4), row(1, 0), **TRUNCATE)
    assert weights.tolist() == [[2, 0]]
    small = importance_weights(row(-9.0), row(-1), row(1), **TRUNCATE)
    assert small.item() == pytest.approx(math.exp(-8))


def test_a_sequences_weight_is_the_product_of_its_tokens_at_each_of_them():
    weights = importance_weights(
        row(-1, -1, -1, 7),
        row(-1.1, -1.2, -0.9, -7),
        row(1, 1, 1, 0),
        level="sequence",
        kind="truncate",
        bounds=(0.0, 2.0),
    )
    torch.testing.assert_close(weights, row(*[math.exp(0.1 + 0.2 - 0.1)] * 3, 0))


@given(st.integers(0, 2**31), st.floats(-3, 3), st.floats(0, 20), st.floats(1.1, 9))
def test_a_weighted_advantage_is_a_weighted_loss_clips_included(seed, shift, weight, dual_clip):
    generator = torch.Generator().manual_seed(seed)
    logprobs, old, advantages = torch.randn(3, 2, 5, generator=generator, dtype=torch.float64)
    clips = {"clip_low": 0.2, "clip_high": 0.28, "dual_clip": dual_clip}
    loss = policy_loss(logprobs + shift, old_logprobs_bt=old, advantages_bt=advantages, **clips)
    folded = policy_loss(logprobs + shift, old_logprobs_bt=old, advantages_bt=weight * advantages, **clips)
    torch.testing.assert_close(folded, weight * loss)


def test_normalised_weights_have_mean_1_where_tokens_count():
    weights = normalised(row(1, 3, 0, math.inf), row(1, 1, 1, 0), level="token")
    torch.testing.assert_close(weights, row(0.75, 2.25, 0, 0))
    for level in ("token", "sequence"):
        assert normalised(row(0, 0), row(1, 1), level=level).tolist() == [[0, 0]]
        assert normalised(row(1, 1), row(0, 0), level=level).tolist() == [[0, 0]]


def test_normalised_weights_of_sequences_have_mean_1_over_the_sequences():
    """By hand: 1.5 of one token and 0.5 of three have the mean 1; over tokens it would be 0.75."""
    weights = torch.tensor([[1.5, 0, 0], [0.5, 0.5, 0.5], [9, 9, 9]])
    mask = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 0, 0]])
    torch.testing.assert_close(normalised(weights, mask, level="sequence"), weights * mask)
    torch.testing.assert_close(normalised(weights, mask, level="token"), weights * mask / 0.75)


def test_equal_engines_have_weights_of_1_and_lose_nothing():
    logprobs, mask = torch.tensor([[-1.0, -2, -3], [-1, -1, -1]]), torch.tensor([[1, 1, 0], [1, 1, 1]])
    rejections = [Rejection(measure=measure, upper=1.001) for measure in MEASURES]
    for level in ("token", "sequence"):
        for kind in ("truncate", "mask"):
            correction = Correction(level=level, kind=kind, normalise=True, reject=rejections)
            weights = correction_weights(logprobs, logprobs, mask, correction)
            assert torch.equal(weights, mask.float())
    metrics = mismatch_metrics(logprobs, logprobs, mask)
    perplexities = {f"rollout_corr/{each}" for each in ("training_ppl", "rollout_ppl", "ppl_ratio")}
    perplexities |= {"rollout_corr/training_log_ppl", "rollout_corr/rollout_log_ppl"}
    assert {value for name, value in metrics.items() if name not in perplexities} == {0}
    assert metrics["rollout_corr/ppl_ratio"] == 1
    assert weight_metrics(mask.float(), mask)["rollout_corr/rollout_is_eff_sample_size"] == 1


@pytest.mark.parametrize(
    ("measure", "bounds", "expected"),
    [
        # log-ratios, training over generating: [0.1, -0.4] and [0.2, 0.1]; a k1 is their negative
        ("token_k1", {"lower": 0.85, "upper": 1.2}, [[1, 0], [0, 1]]),
        ("token_k1", {"upper": 1.2}, [[1, 0], [0, 1]]),
        ("token_k2", {"upper": 0.05}, [[1, 0], [1, 1]]),
        ("token_k3", {"upper": 0.01}, [[1, 0], [0, 1]]),
        ("seq_sum_k1", {"lower": 0.75, "upper": 1.3}, [[0, 0], [0, 0]]),
        ("seq_sum_k1", {"lower": 0.7, "upper": 1.3}, [[0, 0], [1, 1]]),
        ("seq_mean_k1", {"lower": 0.87, "upper": 1.17}, [[1, 1], [0, 0]]),
        ("seq_sum_k2", {"upper": 0.05}, [[0, 0], [1, 1]]),
        ("seq_mean_k2", {"upper": 0.05}, [[1, 1], [1, 1]]),
        ("seq_mean_k3", {"upper": 0.02}, [[0, 0], [1, 1]]),
        ("seq_sum_k3", {"upper": 0.03}, [[0, 0], [1, 1]]),
        ("seq_max_k2", {"upper": 0.02001}, [[0, 0], [1, 1]]),
        ("seq_max_k3", {"upper": 0.02}, [[0, 0], [0, 0]]),
    ],
)
def test_each_measure_rejects_what_is_out_of_its_bounds(measure, bounds, expected):
    training = torch.tensor([[0.1, -0.4, 5], [0.2, 0.1, -5]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 0]])
    found = kept(training, torch.zeros(2, 3), mask, [Rejection(measure=measure, **bounds)])
    assert found.int().tolist() == [[*each, 0] for each in expected]


def test_several_rejections_must_all_hold():
    training, mask = torch.tensor([[0.1, -0.4], [0.2, 0.1]]), torch.ones(2, 2)
    first = Rejection(measure="token_k1", upper=1.2)
    second = Rejection(measure="seq_max_k2", upper=0.03)
    both = kept(training, torch.zeros(2, 2), mask, [first, second])
    assert both.int().tolist() == [[0, 0], [0, 1]]
    assert kept(training, torch.zeros(2, 2), mask, []).all()


def test_rejected_tokens_have_no_weight_and_are_counted():
    training, mask = torch.tensor([[0.1, -0.4, 0], [0.05, 0.1, 0]]), torch.tensor([[1, 1, 0], [1, 1, 0]])
    correction = Correction(reject=[Rejection(measure="token_k1", upper=1.2)])
    weights = correction_weights(training, torch.zeros(2, 3), mask, correction)
    torch.testing.assert_close(
        weights, torch.tensor([[math.exp(0.1), 0, 0], [math.exp(0.05), math.exp(0.1), 0]])
    )
    metrics = rejection_metrics(weights > 0, mask)
    assert metrics["rollout_corr/rollout_rs_masked_fraction"] == 0.25
    assert metrics["rollout_corr/rollout_rs_seq_masked_fraction"] == 0.5


def test_the_mismatch_is_measured_by_hand():
    training, generated = row(-1.5, -1.0, 9), row(-1.0, -1.0, 9)
    metrics = mismatch_metrics(training, generated, row(1, 1, 0))
    expected = {
        "kl": 0.25,
        "k3_kl": (math.exp(-0.5) - 1 + 0.5) / 2,
        "training_ppl": math.exp(1.25),
        "training_log_ppl": 1.25,
        "rollout_ppl": math.exp(1.0),
        "rollout_log_ppl": 1.0,
        "log_ppl_diff": 0.25,
        "log_ppl_abs_diff": 0.25,
        "ppl_ratio": math.exp(0.25),
        "chi2_token": (math.exp(-1) + 1) / 2 - 1,
        "chi2_seq": math.exp(-1) - 1,
    }
    assert {name.removeprefix("rollout_corr/") for name in metrics} == set(expected)
    for name, value in expected.items():
        assert metrics[f"rollout_corr/{name}"] == pytest.approx(value, rel=1e-5), name


def test_nothing_to_measure_is_no_mismatch():
    metrics = mismatch_metrics(row(-1, -2), row(-3, -4), row(0, 0))
    assert set(metrics.values()) == {0}


def test_the_effective_sample_size_falls_with_uneven_weights():
    metrics = weight_metrics(row(1, 1, 2, 0, 9), row(1, 1, 1, 1, 0))
    assert metrics["rollout_corr/rollout_is_mean"] == 1
    assert metrics["rollout_corr/rollout_is_eff_sample_size"] == pytest.approx(1 / 1.5)
    assert (metrics["rollout_corr/rollout_is_max"], metrics["rollout_corr/rollout_is_min"]) == (2, 0)
    assert metrics["rollout_corr/rollout_is_zero_fraction"] == 0.25


@given(
    st.integers(0, 2**31),
    st.sampled_from(["token", "sequence"]),
    st.sampled_from(["truncate", "mask"]),
    st.sampled_from(MEASURES),
)
def test_masked_positions_never_matter_nor_do_other_samples(seed, level, kind, measure):
    generator = torch.Generator().manual_seed(seed)
    training = -torch.rand(4, 5, generator=generator)
    generated = training + 0.3 * torch.randn(4, 5, generator=generator)
    mask = torch.rand(4, 5, generator=generator) < 0.7
    correction = Correction(level=level, kind=kind, reject=[Rejection(measure=measure, upper=1.1)])
    whole = correction_weights(training, generated, mask, correction)
    filled = torch.where(mask, training, 50.0), torch.where(mask, generated, -50.0)
    assert torch.equal(whole, correction_weights(*filled, mask, correction))
    alone = [
        correction_weights(training[i : i + 1], generated[i : i + 1], mask[i : i + 1], correction)
        for i in range(4)
    ]
    torch.testing.assert_close(whole, torch.cat(alone))
    assert whole[~mask].abs().sum() == 0
