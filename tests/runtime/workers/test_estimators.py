"""Advantages of each algorithm by hand."""

import math

import pytest
import torch

from planner.domain.algorithm import (
    Correction,
    DapoOptions,
    DrGrpoOptions,
    GrpoOptions,
    GspoOptions,
    PpoOptions,
    ReinforcePlusPlusOptions,
    RemaxOptions,
    RlooOptions,
    SafeRlhfOptions,
)
from runtime.workers.estimators import ESTIMATORS
from runtime.workers.inference import last_tokens
from tests.runtime.workers.numbers import (
    ESTIMATOR_OF,
    MASK,
    advantages,
    groups,
    two_samples,
    whitened,
    workload,
)


def test_every_estimator_of_the_algorithms_is_there():
    assert set(ESTIMATORS) == set(ESTIMATOR_OF.values())


def test_advantages_are_temporal_differences_when_lambda_is_zero():
    """By hand: rewards [0, -0.5, 5] and [1]; V [1, 2, 3] and [0]; A = r + V' - V."""
    found, answer = advantages(PpoOptions(gamma=1.0, lam=0.0, kl_coefficient=0.5), two_samples())
    assert found[MASK].tolist() == pytest.approx(whitened(1.0, 0.5, 2.0, 1.0), abs=1e-6)
    assert found[~MASK].tolist() == [0, 0]
    assert answer.fields["returns"].tolist() == [[2.0, 2.5, 5.0], [1.0, 0, 0]]


def test_ppo_may_leave_advantages_as_they_are():
    found, _ = advantages(PpoOptions(lam=0.0, kl_coefficient=0.5, whiten=False), two_samples())
    assert found[MASK].tolist() == [1.0, 0.5, 2.0, 1.0]


def test_the_critic_may_have_a_lambda_of_its_own():
    """With 1, returns are the rewards to come, whatever the actor's lambda."""
    options = PpoOptions(lam=0.0, value_lam=1.0, kl_coefficient=0.5, whiten=False)
    found, answer = advantages(options, two_samples())
    assert found[MASK].tolist() == [1.0, 0.5, 2.0, 1.0]
    assert answer.fields["returns"].tolist() == [[4.5, 4.5, 5.0], [1.0, 0, 0]]


def test_a_lambda_by_length_is_the_actors_alone():
    """By hand: 1 - 1 / (0.5 * 3) = 1/3 and 0; errors of the first sample are 1, 0.5, 2."""
    options = PpoOptions(lam=0.0, length_adaptive=0.5, kl_coefficient=0.5, whiten=False)
    found, answer = advantages(options, two_samples())
    second = 0.5 + 2 / 3
    assert found[MASK].tolist() == pytest.approx([1 + second / 3, second, 2.0, 1.0])
    assert answer.fields["returns"].tolist() == [[2.0, 2.5, 5.0], [1.0, 0, 0]]


def test_without_a_penalty_no_reference_is_needed():
    found, answer = advantages(
        PpoOptions(kl_coefficient=0, whiten=False), two_samples(reference_logprobs=None)
    )
    assert torch.isfinite(found).all()
    assert "actor/reward_kl_penalty" not in answer.metrics


def test_numbers_of_the_batch_have_verls_names():
    _, answer = advantages(PpoOptions(kl_coefficient=0.5), two_samples())
    metrics = answer.metrics
    assert metrics["critic/score/mean"] == 3.0
    assert metrics["critic/rewards/mean"] == pytest.approx((4.5 + 1.0) / 2)
    assert metrics["actor/reward_kl_penalty"] == pytest.approx((1 / 3 + 0) / 2)
    assert metrics["actor/reward_kl_penalty_coeff"] == 0.5
    assert metrics["actor/entropy"] == pytest.approx(5 / 4)
    assert (metrics["response_length/mean"], metrics["prompt_length/mean"]) == (2, 1)
    assert metrics["response_length/clip_ratio"] == 0.5
    assert metrics["perf/total_num_tokens"] == 6


def test_remax_takes_the_greedy_score_from_rewards_to_come():
    """By hand: rewards [0, -0.5, 5] and [1]; baselines 2 and 4."""
    options = RemaxOptions(kl_coefficient=0.5)
    found, answer = advantages(options, two_samples(baselines=torch.tensor([2.0, 4.0])))
    assert found.tolist() == [[2.5, 2.5, 3.0], [-3.0, 0, 0]]
    assert answer.fields["returns"].tolist() == [[4.5, 4.5, 5.0], [1.0, 0, 0]]


def test_grpo_divides_by_the_deviation_of_the_group_and_dr_grpo_does_not():
    fields, work = groups([1.0, 4.0, 2.0, 2.0]), workload(2, 2)
    plain, _ = advantages(DrGrpoOptions(), fields, work)
    assert plain.tolist() == [[-1.5, -1.5], [1.5, 1.5], [0, 0], [0, 0]]
    scaled, answer = advantages(GrpoOptions(), fields | {"reference_logprobs": -torch.ones(4, 2)}, work)
    unit = 1.5 / (math.sqrt(4.5) + 1e-6)
    torch.testing.assert_close(scaled[:2], torch.tensor([[-unit, -unit], [unit, unit]]))
    assert scaled[2:].abs().max() == 0
    assert answer.kept is None
    torch.testing.assert_close(advantages(GspoOptions(), fields, work)[0], scaled)
    unscaled = GrpoOptions(divide_by_deviation=False)
    assert torch.equal(advantages(unscaled, fields, work)[0], plain)


def test_a_penalty_in_the_reward_counts_as_part_of_a_responses_score():
    """By hand: the second sample diverges by 1 and by 2, at 0.5 each, so that its 4 becomes 2.5."""
    reference = torch.tensor([[-1.0, -1.0], [-2.0, -3.0]])
    fields = groups([1.0, 4.0], reference_logprobs=reference)
    options = DrGrpoOptions(kl_coefficient=0.5, kl_estimator="k1")
    found, answer = advantages(options, fields, workload(1, 2))
    assert found.tolist() == [[-0.75, -0.75], [0.75, 0.75]]
    assert answer.metrics["critic/score/mean"] == 2.5
    assert answer.metrics["critic/rewards/mean"] == 1.75


def test_rloo_compares_with_the_other_samples():
    fields = groups([1.0, 4.0, 2.0, 2.0], reference_logprobs=-torch.ones(4, 2))
    found, _ = advantages(RlooOptions(), fields, workload(2, 2))
    assert found.tolist() == [[-3, -3], [3, 3], [0, 0], [0, 0]]


def test_reinforce_plus_plus_whitens_discounted_rewards_to_come():
    """By hand: rewards [0, -0.5, 5] and [1] at gamma 0.5: to come are 1, 2, 5 and 1."""
    options = ReinforcePlusPlusOptions(gamma=0.5, kl_coefficient=0.5)
    found, answer = advantages(options, two_samples())
    assert answer.fields["returns"].tolist() == [[1.0, 2.0, 5.0], [1.0, 0, 0]]
    assert found[MASK].tolist() == pytest.approx(whitened(1.0, 2.0, 5.0, 1.0), abs=1e-6)


def test_reinforce_plus_plus_may_take_the_mean_of_the_group_away():
    fields = groups([1.0, 4.0, 2.0, 2.0])
    options = ReinforcePlusPlusOptions(kl_coefficient=0, group_baseline=True)
    found, answer = advantages(options, fields, workload(2, 2))
    assert answer.fields["returns"].tolist() == [[-1.5] * 2, [1.5] * 2, [0, 0], [0, 0]]
    expected = whitened(-1.5, -1.5, 1.5, 1.5, 0, 0, 0, 0)
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        PpoOptions(),
        RemaxOptions(),
        SafeRlhfOptions(),
        GrpoOptions(),
        DrGrpoOptions(),
        RlooOptions(),
        ReinforcePlusPlusOptions(),
        ReinforcePlusPlusOptions(group_baseline=True),
        DapoOptions(),
        GspoOptions(),
    ],
    ids=lambda options: options.name,
)
def test_what_stands_at_masked_positions_changes_no_bit(options):
    def estimate(filler):
        generator = torch.Generator().manual_seed(5)
        mask = torch.rand(4, 5, generator=generator) < 0.6
        mask[:, 0] = True
        per_token = ("old_logprobs", "reference_logprobs", "proximal_logprobs", "old_values")
        fields = {
            name: torch.where(mask, -torch.rand(4, 5, generator=generator), filler) for name in per_token
        }
        fields |= {name: torch.rand(4, generator=generator) for name in ("scores", "costs", "baselines")}
        fields["response_mask"] = torch.nn.functional.pad(mask, (1, 0))
        options_with = options.model_copy(update={"correction": Correction(level="sequence")})
        found, answer = advantages(options_with, fields, workload(2, 2))
        assert found[~mask].abs().sum() == 0
        return found, torch.from_numpy(answer.fields["returns"]), answer.metrics

    one, other = estimate(0.0), estimate(-19.0)
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert one[2] == other[2]


def test_a_score_is_read_at_the_last_response_token():
    mask = torch.tensor([[False, True, True, False], [False, True, False, False]])
    assert last_tokens(mask).tolist() == [2, 1]
