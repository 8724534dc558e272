import pytest
import torch

from planner.domain.algorithm import PpoOptions
from planner.domain.lengths import TokenLengths
from planner.domain.workload import Workload
from runtime.workers.call import Call
from runtime.workers.inference import last_tokens
from runtime.workers.numeric import Estimator

CALL = Call(
    name="controller.advantages", role="controller", method="advantages", iteration=0, rows=(range(2),)
)


def estimate(options):
    workload = Workload(
        prompts=2,
        prompt_tokens=TokenLengths(mean=1, maximum=1),
        response_tokens=TokenLengths(mean=2, maximum=3),
    )
    fields = {
        "response_mask": torch.tensor([[False, True, True, True], [False, True, False, False]]),
        "old_logprobs": torch.tensor([[-1.0, -1.0, -1.0], [-2.0, 0.0, 0.0]]),
        "reference_logprobs": torch.tensor([[-1.0, -2.0, -1.0], [-2.0, 0.0, 0.0]]),
        "old_values": torch.tensor([[1.0, 2.0, 3.0], [0.0, 9.0, 9.0]]),
        "scores": torch.tensor([5.0, 1.0]),
    }
    return Estimator(options, workload).advantages(CALL, fields)


def test_advantages_are_temporal_differences_when_lambda_is_zero():
    """By hand: rewards [0, -0.5, 5] and [1]; V [1, 2, 3] and [0]; A = r + V' - V."""
    answer = estimate(PpoOptions(gamma=1.0, lam=0.0, kl_coefficient=0.5))
    raw = torch.tensor([1.0, 0.5, 2.0, 1.0])
    expected = (raw - raw.mean()) / raw.std()
    advantages = torch.from_numpy(answer.fields["advantages"])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert advantages[mask].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    assert advantages[~mask].tolist() == [0, 0]
    assert answer.fields["returns"].tolist() == [[2.0, 2.5, 5.0], [1.0, 0, 0]]


def test_numbers_of_the_batch_have_verls_names():
    metrics = estimate(PpoOptions(kl_coefficient=0.5)).metrics
    assert metrics["critic/score/mean"] == 3.0
    assert metrics["critic/rewards/mean"] == pytest.approx((4.5 + 1.0) / 2)
    assert metrics["actor/reward_kl_penalty"] == pytest.approx((1 / 3 + 0) / 2)
    assert (metrics["response_length/mean"], metrics["prompt_length/mean"]) == (2, 1)
    assert metrics["response_length/clip_ratio"] == 0.5
    assert metrics["perf/total_num_tokens"] == 6


def test_a_score_is_read_at_the_last_response_token():
    mask = torch.tensor([[False, True, True, False], [False, True, False, False]])
    assert last_tokens(mask).tolist() == [2, 1]
