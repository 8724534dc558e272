"""Losses against hand-computed vectors of public systems, and the invariances that splits rely on."""

import itertools
import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.losses import (
    aggregate,
    clipped_values,
    kl_estimate,
    mini_batch_counts,
    policy_diagnostics,
    policy_loss,
    sequence_log_ratio,
    value_loss,
)

MODES = (
    "token-mean",
    "token-sum",
    "seq-mean-token-sum",
    "seq-mean-token-sum-norm",
    "seq-mean-token-mean",
)
LONGEST = 8


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float32)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("k1", row(-1, 14, 29)),
        ("abs", row(1, 14, 29)),
        ("k2", row(0.5, 98, 420.5)),
        ("k3", row(math.e - 2, 10, 10)),
    ],
)
def test_kl_estimates_match_the_vector_of_nemo_with_the_clamps_of_verl(kind, expected):
    torch.testing.assert_close(kl_estimate(row(-1, -1, -1), row(0, -15, -30), kind), expected)


def test_k3_is_clamped_before_its_exponential():
    estimate = kl_estimate(row(-1000.0), row(0.0), "k3")
    assert estimate.item() == 10


@pytest.mark.parametrize("kind", ["k1", "abs", "k2", "k3"])
def test_equal_policies_do_not_diverge(kind):
    assert kl_estimate(row(-0.3, -2), row(-0.3, -2), kind).abs().max() == 0


def test_the_mean_of_k1_and_of_k3_is_the_divergence_itself():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.25, 0.25])
    exact = (policy * (policy / reference).log()).sum()
    for kind in ("k1", "k3"):
        estimate = kl_estimate(policy.log()[None], reference.log()[None], kind)
        torch.testing.assert_close((policy * estimate).sum(), exact)


def test_the_gradient_of_k2_is_the_log_ratio():
    logprobs = row(-1.0, -3.0).requires_grad_()
    kl_estimate(logprobs, row(-2.0, -2.5), "k2").sum().backward()
    torch.testing.assert_close(logprobs.grad, row(1.0, -0.5))


@pytest.mark.parametrize("kind", ["k1", "abs", "k2", "k3"])
def test_straight_through_estimates_have_their_own_value_and_the_gradient_of_k2(kind):
    """As verl's ``test_core_algos_on_cpu.py``; bit for bit, also where the clamp of k3 cuts its gradient."""
    reference = row(0, -15, -30, -0.7)

    def value_and_gradient(kind):
        logprobs = row(-1, -1, -1, -1).requires_grad_()
        estimate = kl_estimate(logprobs, reference, kind)
        estimate.sum().backward()
        return estimate.detach(), logprobs.grad

    value, gradient = value_and_gradient(f"{kind}+")
    assert torch.equal(value, value_and_gradient(kind)[0])
    assert torch.equal(gradient, value_and_gradient("k2")[1])


def test_a_weighted_k3_matches_the_gradient_vector_of_nemo():
    """Theirs clamps its input at 2 and cuts the first token; ours does the same at 20."""
    logprobs = row(-30, -1).requires_grad_()
    weight = (logprobs - logprobs.detach()).exp()
    estimate = kl_estimate(logprobs, row(0, 0), "k3")
    (weight[:, 1:] * estimate[:, 1:]).sum().backward(retain_graph=True)
    torch.testing.assert_close(estimate.detach(), row(10, 0.7182818))
    torch.testing.assert_close(logprobs.grad, row(0, -1))
    logprobs.grad = None
    estimate[:, :1].sum().backward()
    assert logprobs.grad.abs().max() == 0


def test_an_unknown_kl_estimate_is_named():
    with pytest.raises(ValueError, match="'k4'; expected one of k1, abs, k2, k3"):
        kl_estimate(row(0), row(0), "k4")


def test_clipped_policy_loss_matches_the_vector_of_nemo():
    loss = policy_loss(
        row(-1.69315, -1, -0.59453), old_logprobs_bt=row(-1, -1, -1), advantages_bt=row(1, -1, 2)
    )
    torch.testing.assert_close(loss, row(-0.5, 1, -2.4), atol=1e-4, rtol=0)
    assert loss.mean().item() == pytest.approx(-0.6333, abs=1e-4)


def test_dual_clipped_policy_loss_matches_the_vector_of_nemo():
    arguments = {"old_logprobs_bt": row(-1, -1, -3), "advantages_bt": row(1, -1, -4), "dual_clip": 3.0}
    loss = policy_loss(row(-1.69315, -1, -0.69741), **arguments)
    torch.testing.assert_close(loss, row(-0.5, 1, 12), atol=1e-4, rtol=0)
    diagnostics = policy_diagnostics(row(-1.69315, -1, -0.69741), **arguments)
    torch.testing.assert_close(diagnostics.dual_clipped_bt, row(0, 0, 1))


def test_the_bounds_of_the_ratio_may_differ():
    arguments = {"old_logprobs_bt": row(0, 0), "clip_low": 0.1, "clip_high": 0.3}
    loss = policy_loss(row(math.log(2), math.log(0.5)), advantages_bt=row(1, -1), **arguments)
    torch.testing.assert_close(loss, row(-1.3, 0.9))


def test_the_first_step_has_the_gradient_of_the_policy_gradient():
    logprobs = row(-1.0, -2.0).requires_grad_()
    advantages = row(3.0, -0.5)
    policy_loss(logprobs, old_logprobs_bt=row(-1, -2), advantages_bt=advantages).sum().backward()
    torch.testing.assert_close(logprobs.grad, -advantages)


def test_a_clipped_token_has_no_gradient_and_is_counted():
    logprobs = row(0.0, 0.0, 0.0).requires_grad_()
    arguments = {"old_logprobs_bt": row(-1, -1, 0), "advantages_bt": row(1, -1, 1)}
    policy_loss(logprobs, **arguments).sum().backward()
    diagnostics = policy_diagnostics(logprobs, **arguments)
    torch.testing.assert_close(diagnostics.clipped_bt, row(1, 0, 0))
    torch.testing.assert_close(logprobs.grad == 0, torch.tensor([[True, False, False]]))
    torch.testing.assert_close(diagnostics.kl_bt, row(-1, -1, 0))


def test_the_sequence_ratio_matches_the_vector_of_nemo():
    logprobs, old, mask = row(-1.69315, -1, -0.59453), row(-1, -1, -1), row(1, 1, 1)
    log_ratio = sequence_log_ratio(logprobs, old_logprobs_bt=old, mask_bt=mask)
    loss = policy_loss(log_ratio, old_logprobs_bt=row(0, 0, 0), advantages_bt=row(1, -1, 2))
    torch.testing.assert_close(log_ratio.exp(), row(*[0.9086] * 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(loss, row(-0.9086, 0.9086, -1.8171), atol=1e-4, rtol=0)
    whole = aggregate(loss, mask, mode="seq-mean-token-mean", token_count=3, sequence_count=1)
    assert whole.item() == pytest.approx(-0.6057, abs=1e-4)


def test_the_tokens_of_a_response_have_the_gradient_of_its_ratio_together():
    """GSPO, section 4.3: with one advantage, the token form has the gradient of the sequence form."""
    old, mask = row(-1, -2, -0.5, -3), row(1, 1, 1, 0)
    logprobs = row(-1.1, -1.8, -0.6, -9).requires_grad_()
    log_ratio = sequence_log_ratio(logprobs, old_logprobs_bt=old, mask_bt=mask)
    loss = policy_loss(log_ratio, old_logprobs_bt=row(0, 0, 0, 0), advantages_bt=row(2, 2, 2, 0))
    aggregate(loss, mask, mode="seq-mean-token-mean", token_count=3, sequence_count=1).backward()
    direct = logprobs.detach().clone().requires_grad_()
    (-2 * (direct - old)[:, :3].mean().exp()).backward()
    torch.testing.assert_close(logprobs.grad, direct.grad)


def test_a_sequence_ratio_is_at_most_that_of_ten():
    log_ratio = sequence_log_ratio(row(-1.0), old_logprobs_bt=row(-1000.0), mask_bt=row(1))
    assert log_ratio.item() == 10


def test_value_loss_is_half_the_larger_squared_error():
    arguments = {"old_values_bt": row(0, 0, 0), "returns_bt": row(1, 1, -1)}
    values = row(0.5, 2, 2)
    torch.testing.assert_close(value_loss(values, **arguments, clip=None), row(0.125, 0.5, 4.5))
    torch.testing.assert_close(value_loss(values, **arguments, clip=0.2), row(0.32, 0.5, 4.5))
    assert clipped_values(values, **arguments, clip=0.2).tolist() == [[1, 0, 0]]
    assert clipped_values(values, **arguments, clip=None).tolist() == [[0, 0, 0]]
    near = {"old_values_bt": row(0.3), "returns_bt": row(0.1)}  # 0.3 + (0.1 - 0.3) is not 0.1 in fp32
    assert clipped_values(row(0.1), **near, clip=0.5).item() == 0


@given(st.lists(st.tuples(*[st.floats(-4, 4)] * 3), min_size=1, max_size=9))
@example([(1.0, -1.5, 0.0)])
def test_clipped_values_are_those_without_a_gradient(drawn):
    """Where both errors are the same, beyond the bounds, half of it is left."""
    values, old, returns = torch.tensor(drawn, dtype=torch.float64).T.unsqueeze(1)
    values.requires_grad_()
    arguments = {"old_values_bt": old, "returns_bt": returns, "clip": 0.5}
    value_loss(values, **arguments).sum().backward()
    counted = clipped_values(values, **arguments) == 0
    found, error = values.grad[counted], (values - returns)[counted]
    assert (torch.isclose(found, error) | torch.isclose(found, error / 2)).all()
    assert (values.grad[~counted] == 0).all()


def test_token_sum_matches_the_vector_of_verl():
    loss, mask = torch.tensor([[1.0, 2, 30], [4, 50, 6]]), torch.tensor([[1, 1, 0], [1, 0, 1]])
    ranks = 4  # verl multiplies by the ranks, because its engine averages gradients over them
    share = aggregate(loss, mask, mode="token-sum", token_count=4, sequence_count=2)
    assert share.item() * ranks == 52


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("token-mean", 22 / 6),
        ("token-sum", 22),
        ("seq-mean-token-sum", 22 / 3),
        ("seq-mean-token-sum-norm", 22 / 3 / LONGEST),
        ("seq-mean-token-mean", (1.5 + 4 + 7) / 3),
    ],
)
def test_aggregation_matches_the_vector_of_openrlhf(mode, expected):
    loss = torch.tensor([[1.0, 2, 0], [3, 4, 5], [7, 0, 0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    tokens, sequences = mini_batch_counts(mask)
    counts = {"token_count": tokens, "sequence_count": sequences, "longest": LONGEST}
    whole = aggregate(loss, mask, mode=mode, **counts)
    assert whole.item() == pytest.approx(expected)
    shares = [aggregate(loss[part], mask[part], mode=mode, **counts) for part in (slice(0, 2), slice(2, 3))]
    assert sum(shares).item() == pytest.approx(expected)


def test_a_sequence_without_a_counted_token_is_no_sequence():
    mask = torch.tensor([[1, 1], [0, 0]])
    tokens, sequences = mini_batch_counts(mask)
    assert (tokens, sequences) == (2, 1)
    loss = aggregate(
        torch.tensor([[1.0, 3], [9, 9]]),
        mask,
        mode="seq-mean-token-mean",
        token_count=tokens,
        sequence_count=sequences,
    )
    assert loss.item() == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_mini_batch_without_tokens_has_the_loss_0(mode):
    counts = {"token_count": 0, "sequence_count": 0, "longest": LONGEST}
    assert aggregate(row(3, 4), row(0, 0), mode=mode, **counts) == 0
    assert aggregate(torch.zeros(0, 2), torch.zeros(0, 2), mode=mode, **counts) == 0


def test_the_constant_of_dr_grpo_has_to_be_given():
    with pytest.raises(ValueError, match="divides by the longest response; give longest"):
        aggregate(row(1), row(1), mode="seq-mean-token-sum-norm", token_count=1, sequence_count=1)


def test_an_unknown_aggregation_is_named():
    with pytest.raises(ValueError, match="'mean'; expected one of token-mean"):
        aggregate(row(1), row(1), mode="mean", token_count=1, sequence_count=1)


@st.composite
def mini_batches(draw):
    """Draw logprobs, a mask with at least one counted token, and micro-batches as bounds of rows."""
    sequences, length = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logprobs = -torch.rand(sequences, length, generator=generator, dtype=torch.float64)
    mask = torch.rand(sequences, length, generator=generator) < draw(st.floats(0.1, 1))
    mask[draw(st.integers(0, sequences - 1)), draw(st.integers(0, length - 1))] = True
    cuts = draw(st.sets(st.integers(1, sequences - 1))) if sequences > 1 else set()
    return logprobs, mask, [0, *sorted(cuts), sequences], generator


@given(mini_batches(), st.sampled_from(MODES), st.booleans())
def test_neither_micro_batches_nor_ranks_change_loss_or_gradient(batch, mode, whole_responses):
    """Of the ratios of tokens and of whole responses, as long as no response is cut."""
    logprobs, mask, bounds, generator = batch
    old = logprobs - 0.3 * torch.randn(logprobs.shape, generator=generator, dtype=torch.float64)
    advantages = torch.randn(logprobs.shape, generator=generator, dtype=torch.float64)
    tokens, sequences = mini_batch_counts(mask)
    counts = {"token_count": tokens, "sequence_count": sequences, "longest": LONGEST}

    def ratio_of(leaf, part):
        if not whole_responses:
            return leaf[part], old[part]
        joint = sequence_log_ratio(leaf[part], old_logprobs_bt=old[part], mask_bt=mask[part])
        return joint, torch.zeros_like(joint)

    def loss_and_gradient(bounds):
        leaf = logprobs.clone().requires_grad_()
        shares = []
        for start, stop in itertools.pairwise(bounds):
            part = slice(start, stop)
            own, before = ratio_of(leaf, part)
            per_token = policy_loss(own, old_logprobs_bt=before, advantages_bt=advantages[part])
            share = aggregate(per_token, mask[part], mode=mode, **counts)
            share.backward()
            shares.append(share.detach())
        return torch.stack(shares).sum(), leaf.grad

    whole, whole_gradient = loss_and_gradient([0, len(logprobs)])
    split, split_gradient = loss_and_gradient(bounds)
    torch.testing.assert_close(split, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(split_gradient, whole_gradient, rtol=0, atol=0)


@given(mini_batches(), st.sampled_from(MODES))
def test_masked_positions_never_matter(batch, mode):
    logprobs, mask, _, _ = batch
    tokens, sequences = mini_batch_counts(mask)
    counts = {"token_count": tokens, "sequence_count": sequences, "longest": LONGEST}

    def loss(filler):
        return aggregate(torch.where(mask, logprobs, filler), mask, mode=mode, **counts)

    assert loss(0.0) == loss(1e9) == loss(float("nan"))


@given(mini_batches())
def test_masked_positions_are_no_part_of_a_responses_ratio(batch):
    logprobs, mask, _, generator = batch
    old = logprobs - 0.3 * torch.randn(logprobs.shape, generator=generator, dtype=torch.float64)
    filled = torch.where(mask, logprobs, -77.0), torch.where(mask, old, 33.0)
    plain = sequence_log_ratio(logprobs, old_logprobs_bt=old, mask_bt=mask)
    other = sequence_log_ratio(filled[0], old_logprobs_bt=filled[1], mask_bt=mask)
    assert torch.equal(plain[mask], other[mask])
