"""The roles that only look: the reference policy and the reward model."""

from collections.abc import Mapping

import torch

from runtime.engines.megatron import MegatronEngine
from runtime.reward_functions import RewardFunction, combined
from runtime.workers.call import Answer, Call
from runtime.workers.training import MicroBatchSize, sample_lengths


class ReferenceWorker:
    """The policy as it was before training."""

    def __init__(self, engine: MegatronEngine, *, size: MicroBatchSize) -> None:
        self._engine, self._size = engine, size

    def logprobs(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Log-probabilities of the tokens, shape (b, s-1)."""
        return answer("reference_logprobs", forward(self._engine, fields, self._size))


class ScoreWorker:
    """A model that scores a whole response: a reward model, or a cost model.

    Parameters
    ----------
    function
        Whose scores are added to the model's, weighted.
    """

    def __init__(
        self, engine: MegatronEngine, *, size: MicroBatchSize, function: RewardFunction | None = None
    ) -> None:
        self._engine, self._size, self._function = engine, size, function

    def scores(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Rewards of the responses, shape (b,)."""
        return self._score("scores", call, fields)

    def baselines(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Rewards of greedy responses, shape (b,)."""
        return Answer(fields=self._score("baselines", call, fields).fields)

    def costs(self, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """Costs of the responses, shape (b,)."""
        return self._score("costs", call, fields)

    def _score(self, name: str, call: Call, fields: Mapping[str, torch.Tensor]) -> Answer:
        """The value at each sample's last valid token."""
        outputs = forward(self._engine, fields, self._size)
        if outputs is None:
            return Answer()
        last = last_tokens(fields["response_mask"]).to(outputs.device)
        scores = outputs.gather(1, last[:, None]).squeeze(1).cpu().numpy()
        if self._function is None or not call.answers:
            return Answer(fields={name: scores})
        of_function, metrics = self._function.scores(
            fields["tokens"], fields["response_mask"], fields["prompt_ids"]
        )
        return Answer(fields={name: combined(scores, of_function, self._function.settings)}, metrics=metrics)


def forward(
    engine: MegatronEngine, fields: Mapping[str, torch.Tensor], size: MicroBatchSize
) -> torch.Tensor | None:
    """What the model computes of the samples, on the ranks that have it."""
    return engine.forward(
        fields["tokens"],
        micro_batch=size.rows,
        lengths=sample_lengths(fields["response_mask"]),
        token_budget=size.tokens,
    )


def last_tokens(response_mask_bs: torch.Tensor) -> torch.Tensor:
    """Position of each sample's last response token.

    >>> last_tokens(torch.tensor([[False, True, True, False], [False, True, False, False]]))
    tensor([2, 1])
    """
    positions = torch.arange(response_mask_bs.shape[1])
    return (positions * response_mask_bs).argmax(dim=1)


def answer(name: str, outputs: torch.Tensor | None) -> Answer:
    """One field, from the stage that has it."""
    return Answer() if outputs is None else Answer(fields={name: outputs.cpu().numpy()})
