"""What is steered from one iteration to the next, and which samples go on with what weight."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planner.domain.algorithm import (
    Correction,
    DapoOptions,
    GrpoOptions,
    PpoOptions,
    Rejection,
    RemaxOptions,
    SafeRlhfOptions,
)
from runtime.workers.numeric import Estimator
from tests.runtime.workers.numbers import advantages, call_of, groups, two_samples, workload


def safe(**changes):
    return SafeRlhfOptions(kl_coefficient=0, lam=1.0, multiplier_learning_rate=0.0, **changes)


def test_safe_rlhf_weighs_reward_and_cost_by_the_multiplier():
    """By hand: lambda 1, A_r = 1 and A_c = 0.5 give 0.25; here as reward and cost under values of 0."""
    fields = two_samples(
        scores=torch.tensor([1.0, 3.0]), costs=torch.tensor([0.5, -1.0]), old_values=torch.zeros(2, 3)
    )
    found, answer = advantages(safe(), fields)
    assert found.tolist() == [[0.25] * 3, [2.0, 0, 0]]
    assert answer.fields["returns"].tolist() == [[0.25] * 3, [2.0, 0, 0]]


@given(st.integers(0, 2**31), st.floats(0.1, 5))
def test_weighing_rewards_is_weighing_the_advantages_of_two_critics(seed, multiplier):
    """The trainer of Safe-RLHF has a critic each; ours learns what theirs say together."""
    generator = torch.Generator().manual_seed(seed)
    scores, costs = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    values, cost_values = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)
    reference = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    weigh = {"gamma": 1.0, "lam": 0.9, "kl_coefficient": 0.3}
    fields = two_samples(
        scores=scores,
        costs=costs,
        old_values=(values - multiplier * cost_values) / (1 + multiplier),
        reference_logprobs=reference,
        old_logprobs=torch.randn(2, 3, generator=generator, dtype=torch.float64),
    )
    options = SafeRlhfOptions(multiplier=multiplier, multiplier_learning_rate=0.0, **weigh)
    together, _ = advantages(options, fields)
    plain = PpoOptions(whiten=False, **weigh)
    of_reward, _ = advantages(plain, fields | {"old_values": values})
    negated = {"scores": -costs, "old_values": -cost_values}
    of_negated_cost, _ = advantages(plain, fields | negated)
    expected = (of_reward + multiplier * of_negated_cost) / (1 + multiplier)
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-5)


def test_safe_rlhf_clamps_reward_and_cost_after_their_penalties():
    """By hand: divergence 1 at the second token, at 3: rewards [0, -3, 5], costs [0, 3, 9], all within 2."""
    options = SafeRlhfOptions(kl_coefficient=3.0, lam=1.0, score_clip=2.0, multiplier_learning_rate=0.0)
    fields = two_samples(costs=torch.tensor([9.0, 0.0]), old_values=torch.zeros(2, 3))
    _, answer = advantages(options, fields)
    assert answer.fields["returns"].tolist() == [[-2.0, -2.0, 0.0], [0.5, 0, 0]]


def test_the_multiplier_moves_before_the_actor_by_the_mean_of_the_latest_costs():
    """By hand: rate 0.1 and mean cost 2: lambda 1.2214; then the latest 3 costs 2, 0, 4: mean 2."""
    options = SafeRlhfOptions(kl_coefficient=0, lam=1.0, cost_window=3)
    estimator = Estimator(options, workload())
    fields = two_samples(costs=torch.tensor([2.0, 2.0]), old_values=torch.zeros(2, 3))
    first = estimator.advantages(call_of(options), fields)
    multiplier = math.exp(0.2)
    assert first.metrics["actor/cost_multiplier"] == pytest.approx(1.2214, abs=1e-4)
    assert first.fields["advantages"][0, 0] == pytest.approx((5 - multiplier * 2) / (1 + multiplier))
    second = estimator.advantages(call_of(options, 1), fields | {"costs": torch.tensor([0.0, 4.0])})
    assert second.metrics["actor/episode_cost"] == 2
    assert second.metrics["actor/cost_multiplier"] == pytest.approx(math.exp(0.2 + 0.1 * 2 * multiplier))
    assert second.metrics["critic/cost/max"] == 4


def test_the_multiplier_waits_for_its_iteration():
    options = SafeRlhfOptions(kl_coefficient=0, multiplier_delay=2)
    estimator = Estimator(options, workload())
    fields = two_samples(costs=torch.tensor([2.0, 2.0]))
    values = [
        estimator.advantages(call_of(options, iteration), fields).metrics["actor/cost_multiplier"]
        for iteration in range(3)
    ]
    assert values == [1, 1, pytest.approx(1.2214, abs=1e-4)]


def test_the_penalty_is_charged_at_the_coefficient_before_it_moves():
    options = PpoOptions(kl_coefficient=0.5, kl_target=1 / 60, kl_horizon=100)
    estimator = Estimator(options, workload())
    coefficients = [
        estimator.advantages(call_of(options, iteration), two_samples()).metrics[
            "actor/reward_kl_penalty_coeff"
        ]
        for iteration in (0, 0, 1, 0, 2)
    ]
    up = 1 + 0.2 * 2 / 100
    assert coefficients == pytest.approx([0.5, 0.5, 0.5 * up, 0.5, 0.5 * up**2])
    assert estimator.state()["kl_coefficient"] == pytest.approx(0.5 * up**3)


@pytest.mark.parametrize(
    "options",
    [PpoOptions(kl_coefficient=0.5, kl_target=0.01), SafeRlhfOptions(cost_window=3), GrpoOptions()],
    ids=lambda options: options.name,
)
def test_an_estimator_goes_on_from_its_state_to_the_last_bit(options):
    work = workload(1, 2) if options.name == "grpo" else workload()
    batches = [two_samples(costs=torch.tensor([cost, 2.0])) for cost in (1.0, 3.0, -2.0, 4.0)]
    whole, first, second = (Estimator(options, work) for _ in range(3))
    straight = [whole.advantages(call_of(options, i), batch) for i, batch in enumerate(batches)]
    for i in (0, 1):
        first.advantages(call_of(options, i), batches[i])
    second.restore(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    resumed = [second.advantages(call_of(options, i), batches[i]) for i in (2, 3)]
    for one, other in zip(straight[2:], resumed, strict=True):
        assert one.metrics == other.metrics
        assert (one.fields["advantages"] == other.fields["advantages"]).all()
    assert second.state() == whole.state()


def test_dapo_keeps_the_first_prompts_whose_samples_differ():
    scores = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 3.0, 1.0, 0.0, 9.0]
    found, answer = advantages(DapoOptions(), groups(scores), workload(2, 2))
    assert answer.kept == (2, 3, 6, 7)
    assert found.shape == (10, 2)
    unit = math.sqrt(0.5)
    assert found[:, 0].tolist() == pytest.approx(
        [0, 0, -unit, unit, 0, 0, unit, -unit, -unit, unit], abs=1e-5
    )
    assert answer.metrics["critic/score/mean"] == (0 + 1 + 3 + 1) / 4
    assert answer.metrics["critic/candidate_score/mean"] == pytest.approx(sum(scores) / 10)
    assert answer.metrics["critic/kept_fraction"] == 0.4
    assert answer.metrics["perf/total_num_tokens"] == 12


def test_dapo_keeps_fewer_where_there_are_fewer_and_none_where_all_are_equal():
    assert advantages(DapoOptions(), groups([1.0, 1.0, 0.0, 1.0]), workload(2, 2))[1].kept == (2, 3)
    _, nothing = advantages(DapoOptions(), groups([1.0, 1.0, 0.0, 0.0]), workload(2, 2))
    assert nothing.kept == ()
    assert all(math.isfinite(value) for value in nothing.metrics.values())


def test_dapo_charges_long_responses_after_it_chose_by_their_scores():
    """By hand: lengths 3 and 1 of at most 3, buffer 2: the first loses 0.5; equal scores teach nothing."""
    fields = two_samples(scores=torch.tensor([1.0, 1.0]), reference_logprobs=None)
    options = DapoOptions(overlong_buffer=2, overlong_penalty=0.5)
    found, answer = advantages(options, fields, workload(1, 2))
    assert answer.kept == ()
    assert answer.metrics["critic/rewards/min"] == 0.5
    unit = math.sqrt(0.5)
    assert found.tolist() == [pytest.approx([-unit] * 3, abs=1e-4), [pytest.approx(unit, abs=1e-4), 0, 0]]


def test_a_correction_weighs_the_advantages_and_leaves_the_returns():
    """By hand: weights exp(-1), 1 and, from exp(1), 2; the ratio of the loss is against the actor's own."""
    proximal = torch.tensor([[-2.0, -1.0, 0.0], [-2.0, 5.0, 5.0]])
    options = RemaxOptions(kl_coefficient=0, correction=Correction())
    fields = two_samples(baselines=torch.tensor([2.0, 4.0]), proximal_logprobs=proximal)
    found, answer = advantages(options, fields)
    expected = torch.tensor([[3 * math.exp(-1), 3.0, 6.0], [-3.0, 0, 0]])
    torch.testing.assert_close(found, expected)
    assert answer.fields["returns"].tolist() == [[5.0] * 3, [1.0, 0, 0]]
    assert answer.metrics["critic/advantages/max"] == 3
    assert answer.metrics["rollout_corr/kl"] == pytest.approx((1 + 0 - 1 + 0) / 4)
    assert answer.metrics["rollout_corr/rollout_is_max"] == 2
    assert answer.metrics["rollout_corr/rollout_rs_masked_fraction"] == 0
    assert answer.metrics["actor/entropy"] == pytest.approx((2 + 1 + 0 + 2) / 4)


def test_the_penalty_speaks_of_the_actors_own_log_probabilities():
    proximal = torch.tensor([[-2.0, -1.0, 0.0], [-2.0, 5.0, 5.0]])
    _, answer = advantages(PpoOptions(kl_coefficient=0.5), two_samples(proximal_logprobs=proximal))
    assert answer.metrics["actor/reward_kl_penalty"] == pytest.approx((-1 + 1 + 1) / 3 / 2)
    assert "rollout_corr/kl" in answer.metrics
    assert "rollout_corr/rollout_is_mean" not in answer.metrics


def test_rejected_tokens_have_no_advantage():
    proximal = torch.tensor([[-2.0, -1.0, -1.0], [-2.0, 5.0, 5.0]])
    rejection = Rejection(measure="token_k1", upper=1.5)
    options = RemaxOptions(kl_coefficient=0, correction=Correction(reject=(rejection,)))
    fields = two_samples(baselines=torch.tensor([2.0, 4.0]), proximal_logprobs=proximal)
    found, answer = advantages(options, fields)
    assert found.tolist() == [[0, 3.0, 3.0], [-3.0, 0, 0]]
    assert answer.metrics["rollout_corr/rollout_rs_masked_fraction"] == 0.25


def test_dapo_normalises_weights_over_what_it_keeps():
    """By hand: weights of exp(0.5) are 1 over their mean; those of what is dropped do not count."""
    fields = groups([1.0, 1.0, 0.0, 1.0])
    fields["proximal_logprobs"] = torch.tensor([[-1.4] * 2, [-1.4] * 2, [-0.5] * 2, [-0.5] * 2])
    options = DapoOptions(correction=Correction(normalise=True))
    found, answer = advantages(options, fields, workload(2, 2))
    plain, _ = advantages(DapoOptions(), groups([1.0, 1.0, 0.0, 1.0]), workload(2, 2))
    assert answer.kept == (2, 3)
    torch.testing.assert_close(found, plain)
    assert answer.metrics["rollout_corr/kl"] == pytest.approx(-0.5)
    assert answer.metrics["rollout_corr/rollout_is_mean"] == pytest.approx(math.exp(0.5))


def test_a_correction_without_the_actors_own_log_probabilities_is_refused():
    with pytest.raises(ValueError, match="the batch has no proximal_logprobs"):
        advantages(PpoOptions(correction=Correction()), two_samples())
