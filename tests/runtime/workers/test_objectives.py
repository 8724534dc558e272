"""The losses of options on micro-batches, by hand and under any split."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planner.domain.algorithm import (
    DapoOptions,
    DrGrpoOptions,
    GrpoOptions,
    GspoOptions,
    PpoOptions,
    SafeRlhfOptions,
)
from runtime.losses import mini_batch_counts
from runtime.workers.objectives import policy_objective, value_objective
from runtime.workers.training import Counts

LONGEST = 8


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float32)


def batch_of(**changes):
    """One response of three tokens, the vector of NeMo, under a fourth position that does not count."""
    return {
        "response_mask": row(0, 1, 1, 1, 0).bool(),
        "old_logprobs": row(-1, -1, -1, 50),
        "advantages": row(1, -1, 2, 0),
    } | changes


LOGPROBS = row(-1.69315, -1, -0.59453, -50)
COUNTS = Counts(tokens=3, sequences=1)


def loss_of(options, batch, *, counts=COUNTS, logprobs=LOGPROBS):
    return policy_objective(options, longest_response=LONGEST)(logprobs, batch, counts)


def test_ppo_is_the_clipped_surrogate():
    share, metrics = loss_of(PpoOptions(), batch_of())
    assert share.item() == pytest.approx(-0.6333, abs=1e-4)
    assert metrics["pg_loss"] == share
    assert metrics["pg_clipfrac"].item() == pytest.approx(1 / 3)
    assert metrics["ppo_kl"].item() == pytest.approx((0.69315 + 0 - 0.40547) / 3, abs=1e-5)


def test_dapo_clips_higher():
    """By hand: ratios 0.5, 1 and 1.5, the last one cut at 1.28 instead of 1.2."""
    share, _ = loss_of(DapoOptions(), batch_of())
    assert share.item() == pytest.approx((-0.5 + 1 - 2 * 1.28) / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("bounds", "high"),
    [({"clip": 0.1}, 1.1), ({"clip_high": 0.4}, 1.4), ({"clip": 0.1, "clip_high": 0.3}, 1.3)],
)
def test_both_bounds_of_the_ratio_can_be_chosen(bounds, high):
    share, _ = loss_of(PpoOptions(**bounds), batch_of())
    assert share.item() == pytest.approx((-0.5 + 1 - 2 * high) / 3, abs=1e-4)
    lower = loss_of(PpoOptions(clip=0.3, clip_low=0.1), batch_of(advantages=row(-1, 0, 0, 0)))[0]
    assert lower.item() == pytest.approx(0.9 / 3)


def test_dual_clip_bounds_what_a_negative_advantage_costs():
    batch = batch_of(old_logprobs=row(-1, -1, -3, 50), advantages=row(1, -1, -4, 0))
    logprobs = row(-1.69315, -1, -0.69741, -50)
    share, metrics = loss_of(PpoOptions(dual_clip=3.0), batch, logprobs=logprobs)
    assert share.item() == pytest.approx(4.1667, abs=1e-4)
    assert metrics["pg_clipfrac_lower"].item() == pytest.approx(1 / 3)


def test_gspo_has_one_ratio_for_a_response():
    wide = GspoOptions(clip=0.2, clip_high=0.2)
    share, metrics = loss_of(wide, batch_of())
    assert share.item() == pytest.approx(-0.6057, abs=1e-4)
    assert metrics["ppo_kl"].item() == pytest.approx((0.69315 - 0.40547) / 3, abs=1e-5)


def test_gspos_own_bounds_are_narrow():
    """By hand: the response's ratio 0.9086 counts for A = 1, -1, 2 as 0.9086, 0.9997 and 0.9086."""
    share, metrics = loss_of(GspoOptions(), batch_of())
    assert share.item() == pytest.approx((-0.9086 + 0.9997 - 1.8171) / 3, abs=1e-4)
    assert metrics["pg_clipfrac"].item() == pytest.approx(1 / 3)


def test_dr_grpo_divides_by_the_longest_response():
    share, _ = loss_of(DrGrpoOptions(), batch_of())
    assert share.item() == pytest.approx(-1.9 / LONGEST, abs=1e-4)
    with pytest.raises(ValueError, match="dr_grpo: seq-mean-token-sum-norm divides by the longest response"):
        policy_objective(DrGrpoOptions())
    with pytest.raises(ValueError, match="divides by the longest response"):
        value_objective(PpoOptions(aggregation="seq-mean-token-sum-norm"))


def test_the_ratio_is_against_the_actors_own_log_probabilities_where_there_are_any():
    batch = batch_of(old_logprobs=row(-9, -9, -9, 0), proximal_logprobs=row(-1, -1, -1, 50))
    assert torch.equal(loss_of(PpoOptions(), batch)[0], loss_of(PpoOptions(), batch_of())[0])


def test_a_divergence_in_the_loss_is_weighed_and_reported():
    """By hand: k2 of differences 0.30685, 1 and 1.40547, over three tokens."""
    batch = batch_of(reference_logprobs=row(-2, -2, -2, 7))
    options = GrpoOptions(kl_loss_coefficient=0.1, kl_estimator="k2")
    share, metrics = loss_of(options, batch)
    divergence = (0.30685**2 + 1 + 1.40547**2) / 2 / 3
    assert metrics["kl_loss"].item() == pytest.approx(divergence, abs=1e-4)
    assert metrics["pg_loss"].item() == pytest.approx(-0.6333, abs=1e-4)
    assert share.item() == pytest.approx(-0.6333 + 0.1 * divergence, abs=1e-4)
    plain, without = loss_of(GrpoOptions(kl_loss_coefficient=0), batch)
    assert plain == metrics["pg_loss"]
    assert "kl_loss" not in without


def test_a_divergence_that_is_asked_for_is_not_left_out_in_silence():
    with pytest.raises(KeyError, match="reference_logprobs"):
        loss_of(GrpoOptions(), batch_of())


def pretraining_batch():
    return {"tokens_bs": torch.zeros(1, 5, dtype=torch.long), "pretraining_mask": row(1, 1, 1, 1, 0).bool()}


def test_pretraining_data_is_a_weighted_likelihood():
    """By hand: 3 of the mini-batch's 6 pretraining tokens, at -2, -1 and -3, cost 16 * 6 / 6."""
    logprobs = row(-2, -1, -3, -70).requires_grad_()
    counts = Counts(tokens=9, sequences=2, pretraining_tokens=6)
    share, metrics = policy_objective(SafeRlhfOptions())(logprobs, pretraining_batch(), counts)
    assert share.item() == pytest.approx(16.0)
    assert metrics["ptx_loss"].item() == pytest.approx(1.0)
    share.backward()
    torch.testing.assert_close(logprobs.grad, row(*[-16 / 6] * 3, 0))


def test_samples_and_pretraining_data_report_the_same_mean():
    options = SafeRlhfOptions()
    _, of_samples = loss_of(options, batch_of())
    assert of_samples["ptx_loss"] == 0
    share, _ = policy_objective(options)(LOGPROBS, pretraining_batch(), Counts(tokens=3, sequences=1))
    assert math.isfinite(share.item())


def test_a_mini_batch_without_anything_has_the_loss_0():
    empty = batch_of(response_mask=torch.zeros(1, 5, dtype=torch.bool))
    for options in (PpoOptions(), GspoOptions(), DrGrpoOptions(), SafeRlhfOptions()):
        share, metrics = loss_of(options, empty, counts=Counts(tokens=0, sequences=0))
        assert share == 0
        assert all(value == 0 for value in metrics.values())
    nothing = pretraining_batch() | {"pretraining_mask": torch.zeros(1, 5, dtype=torch.bool)}
    assert policy_objective(SafeRlhfOptions())(LOGPROBS, nothing, Counts(0, 0, 0))[0] == 0


POLICIES = [
    PpoOptions(dual_clip=3.0),
    PpoOptions(kl_coefficient=0, kl_loss_coefficient=0.1, kl_estimator="k3+"),
    SafeRlhfOptions(),
    GrpoOptions(),
    GrpoOptions(aggregation="token-sum"),
    DrGrpoOptions(),
    DapoOptions(aggregation="seq-mean-token-sum"),
    GspoOptions(),
]


@st.composite
def mini_batches(draw):
    """Rows of some lengths, one of them with a token at least, and where micro-batches or ranks cut them."""
    rows, width = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    mask = torch.rand(rows, width, generator=generator) < draw(st.floats(0.1, 1))
    mask[draw(st.integers(0, rows - 1)), draw(st.integers(1, width - 1))] = True
    cuts = draw(st.sets(st.integers(1, rows - 1))) if rows > 1 else set()
    logprobs, old, reference, advantages, returns = (
        torch.randn(rows, width - 1, generator=generator, dtype=torch.float64) for _ in range(5)
    )
    batch = {
        "response_mask": mask,
        "old_logprobs": logprobs + 0.3 * old,
        "reference_logprobs": logprobs + 0.3 * reference,
        "advantages": advantages,
        "old_values": old,
        "returns": returns,
    }
    return logprobs, batch, [0, *sorted(cuts), rows]


def summed(loss, outputs, batch, bounds):
    """Loss, metrics and gradient, summed up over pieces of a mini-batch."""
    counts = Counts(*mini_batch_counts(batch["response_mask"][:, 1:]))
    leaf = outputs.clone().requires_grad_()
    totals: dict[str, torch.Tensor] = {}
    for start, stop in itertools.pairwise(bounds):
        part = {name: values[start:stop] for name, values in batch.items()}
        share, metrics = loss(leaf[start:stop], part, counts)
        share.backward()
        for name, value in {"loss": share.detach(), **metrics}.items():
            totals[name] = totals.get(name, torch.zeros((), dtype=value.dtype)) + value
    return totals, leaf.grad


@given(mini_batches(), st.sampled_from(POLICIES))
def test_neither_micro_batches_nor_ranks_change_the_policys_loss(drawn, options):
    logprobs, batch, bounds = drawn
    loss = policy_objective(options, longest_response=LONGEST)
    whole, gradient = summed(loss, logprobs, batch, [0, len(logprobs)])
    split, of_parts = summed(loss, logprobs, batch, bounds)
    assert whole.keys() == split.keys()
    for name, value in whole.items():
        torch.testing.assert_close(split[name], value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_parts, gradient, rtol=1e-10, atol=1e-12)


@given(mini_batches(), st.sampled_from([PpoOptions(), SafeRlhfOptions()]))
def test_neither_micro_batches_nor_ranks_change_the_critics_loss(drawn, options):
    outputs, batch, bounds = drawn
    values = torch.nn.functional.pad(outputs, (0, 1))
    loss = value_objective(options)
    whole, gradient = summed(loss, values, batch, [0, len(values)])
    split, of_parts = summed(loss, values, batch, bounds)
    for name, value in whole.items():
        torch.testing.assert_close(split[name], value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(of_parts, gradient, rtol=1e-10, atol=1e-12)


@given(mini_batches(), st.sampled_from(POLICIES))
def test_what_stands_at_masked_positions_never_matters(drawn, options):
    logprobs, batch, _ = drawn
    mask = batch["response_mask"][:, 1:]
    filled = {
        name: values if name == "response_mask" else torch.where(mask, values, 17.0)
        for name, values in batch.items()
    }
    loss = policy_objective(options, longest_response=LONGEST)
    bounds = [0, len(logprobs)]
    plain, gradient = summed(loss, logprobs, batch, bounds)
    other, of_filled = summed(loss, torch.where(mask, logprobs, -17.0), filled, bounds)
    assert plain == other
    assert torch.equal(gradient[mask], of_filled[mask])
    assert of_filled[~mask].abs().sum() == 0
