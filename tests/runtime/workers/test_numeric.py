"""Advantages of each algorithm by hand, and what is steered from one iteration to the next."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.domain.algorithm import (
    Correction,
    DapoOptions,
    DrGrpoOptions,
    GrpoOptions,
    GspoOptions,
    PpoOptions,
    ReinforcePlusPlusOptions,
    Rejection,
    RemaxOptions,
    RlooOptions,
    SafeRlhfOptions,
)
from planner.domain.lengths import TokenLengths
from planner.domain.workload import Workload
from runtime.workers.call import Call
from runtime.workers.estimators import ESTIMATORS
from runtime.workers.inference import last_tokens
from runtime.workers.numeric import Estimator

MASK = torch.tensor([[True, True, True], [True, False, False]])
ESTIMATOR_OF = {
    "ppo": "gae",
    "remax": "remax",
    "safe_rlhf": "lagrangian",
    "grpo": "grpo",
    "dr_grpo": "dr_grpo",
    "rloo": "rloo",
    "reinforce_plus_plus": "reinforce_plus_plus",
    "dapo": "grpo",
    "gspo": "grpo",
}


def workload(prompts=2, samples_per_prompt=1):
    return Workload(
        prompts=prompts,
        samples_per_prompt=samples_per_prompt,
        prompt_tokens=TokenLengths(mean=1, maximum=1),
        response_tokens=TokenLengths(mean=2, maximum=3),
    )


def call_of(options, iteration=0):
    return Call(
        name="controller.advantages",
        role="controller",
        method="advantages",
        iteration=iteration,
        rows=(range(2),),
        options={"estimator": ESTIMATOR_OF[options.name]},
    )


def two_samples(**changes):
    """Responses of three tokens and of one; numbers at positions without a token are garbage."""
    fields = {
        "response_mask": torch.tensor([[False, True, True, True], [False, True, False, False]]),
        "old_logprobs": torch.tensor([[-1.0, -1.0, -1.0], [-2.0, 70.0, -30.0]]),
        "reference_logprobs": torch.tensor([[-1.0, -2.0, -1.0], [-2.0, -9.0, 8.0]]),
        "old_values": torch.tensor([[1.0, 2.0, 3.0], [0.0, 9.0, 9.0]]),
        "scores": torch.tensor([5.0, 1.0]),
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def groups(scores, **changes):
    """Samples of two tokens, and as many groups of two as the scores fill."""
    count = len(scores)
    fields = {
        "response_mask": torch.tensor([[False, True, True]]).expand(count, 3),
        "old_logprobs": torch.full((count, 2), -1.0),
        "scores": torch.tensor(scores),
    }
    return fields | changes


def advantages(options, fields, work=None, iteration=0):
    answer = Estimator(options, work or workload()).advantages(call_of(options, iteration), fields)
    return torch.from_numpy(answer.fields["advantages"]), answer


def whitened(*values):
    raw = torch.tensor(values)
    return ((raw - raw.mean()) / raw.std()).tolist()


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


@settings(deadline=None)
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
        for iteration in (0, 0, 1)
    ]
    assert coefficients == [0.5, 0.5, pytest.approx(0.5 * (1 + 0.2 * 2 / 100))]


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


def test_a_correction_without_the_actors_own_log_probabilities_is_refused():
    with pytest.raises(ValueError, match="the batch has no proximal_logprobs"):
        advantages(PpoOptions(correction=Correction()), two_samples())


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
