"""Small batches, and the calls that ask for their advantages."""

import torch

from planner.domain.lengths import TokenLengths
from planner.domain.workload import Workload
from runtime.workers.call import Call
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
